"""The Lambda and CloudWatch Logs operations one by one, at their edges: what AWS documents for each, and its error codes.

Every reply, here and in the other tests, is held against botocore's model of it (conftest: fits_its_model).
"""

import json
import time

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, RUNTIME, eventually, invoke, package

ECHO = "def handler(event, context):\n    return event\n"
ARN = "arn:aws:lambda:us-east-1:000000000000:"


@pytest.fixture
def lam(shared):
    # The operations are to refuse what is wrong, not the client.
    return shared.client("lambda", read_timeout=60)


@pytest.fixture
def raw(shared):
    return shared.client("lambda", parameter_validation=False)


def refused(expect, call, text="", **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    error, status = e.value.response["Error"], e.value.response["ResponseMetadata"]["HTTPStatusCode"]
    statuses = {"ResourceNotFoundException": 404, "ResourceConflictException": 409, "PreconditionFailedException": 412,
                "ProvisionedConcurrencyConfigNotFoundException": 404, "TooManyRequestsException": 429, "RequestTooLargeException": 413}
    assert error["Code"] == expect and text in error["Message"], error
    assert status == statuses.get(expect, 400), status
    return error["Message"]


def settled(lam, name):
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_names_qualifiers_and_arns(lam, function):
    name = function(ECHO)
    arn = f"{ARN}function:{name}"
    lam.publish_version(FunctionName=name)
    lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for named in (name, arn, f"000000000000:function:{name}", f"function:{name}", f"{arn}:$LATEST", f"{name}:$LATEST"):
        assert lam.get_function_configuration(FunctionName=named)["FunctionName"] == name, named
    for named, version in ((f"{name}:1", "1"), (f"{arn}:live", "1"), (f"{arn}:1", "1")):
        got = lam.get_function(FunctionName=named)["Configuration"]
        assert (got["Version"], got["FunctionArn"]) == (version, f"{arn}:{named.rsplit(':', 1)[1]}")
        assert invoke(lam, named, {"a": 1})[0] == {"a": 1}
    assert lam.get_function(FunctionName=f"{arn}:live", Qualifier="live")["Configuration"]["Version"] == "1"
    refused("InvalidParameterValueException", lam.get_function, "derived qualifier", FunctionName=f"{arn}:live", Qualifier="1")
    refused("ResourceNotFoundException", lam.get_function, f"Function not found: {arn}:7", FunctionName=name, Qualifier="7")
    refused("ResourceNotFoundException", lam.get_function, f"Function not found: {arn}:nope", FunctionName=name, Qualifier="nope")
    refused("ResourceNotFoundException", lam.invoke, f"Function not found: {arn}:nope", FunctionName=name, Qualifier="nope")
    refused("ValidationException", lam.get_function, FunctionName="no/such?name")
    refused("ValidationException", lam.get_function, FunctionName="x" * 200)
    refused("ResourceNotFoundException", lam.get_function, "not reachable", FunctionName=arn.replace("us-east-1", "eu-west-1"))
    refused("InvalidParameterValueException", lam.put_function_concurrency, "permitted on Lambda functions only",
            FunctionName=f"{name}:1", ReservedConcurrentExecutions=1)


def test_a_function_as_it_was_set(lam, raw, function):
    name = function(ECHO, Description="Größe — 尺寸 🎉", Environment={"Variables": {}}, Tags={"équipe": "photos", "b": ""})
    made = lam.get_function(FunctionName=name)
    assert made["Tags"] == {"équipe": "photos", "b": ""}
    settings = made["Configuration"]
    assert settings["Description"] == "Größe — 尺寸 🎉" and settings["Environment"] == {"Variables": {}}
    layer = lam.publish_layer_version(LayerName=name, Content={"ZipFile": package(lib="x = 1\n")})
    update = lambda **kw: (lam.update_function_configuration(FunctionName=name, **kw), settled(lam, name))
    update(Environment={"Variables": {"AA": "ä"}}, Layers=[layer["LayerVersionArn"]])
    got = lam.get_function_configuration(FunctionName=name)
    assert got["Environment"] == {"Variables": {"AA": "ä"}}
    assert got["Layers"] == [{"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]}]
    update(Timeout=7)
    kept = lam.get_function_configuration(FunctionName=name)
    assert (kept["Environment"], kept["Layers"], kept["Timeout"]) == (got["Environment"], got["Layers"], 7)
    update(Environment={}, Layers=[])
    gone = lam.get_function_configuration(FunctionName=name)
    assert gone.get("Environment", {"Variables": {}}) == {"Variables": {}} and "Layers" not in gone, gone

    for wrong, text in (({"Timeout": 901}, "900"), ({"Timeout": 0}, "1"), ({"MemorySize": 64}, "128"), ({"Role": "nobody"}, "role"),
                        ({"Handler": "x" * 200}, "handler"), ({"Runtime": "python9.9"}, "runtime"), ({"EphemeralStorage": {"Size": 100}}, "512")):
        with pytest.raises(ClientError) as e:
            raw.update_function_configuration(FunctionName=name, **wrong)
        error = e.value.response["Error"]
        assert error["Code"] in ("ValidationException", "InvalidParameterValueException") and text in error["Message"], (wrong, error)
    refused("InvalidParameterValueException", lam.update_function_configuration, "4KB limit", FunctionName=name, Environment={"Variables": {"BIG": "x" * 5000}})
    refused("InvalidParameterValueException", lam.update_function_configuration, "Reserved keys", FunctionName=name, Environment={"Variables": {"AWS_REGION": "x"}})
    refused("InvalidParameterValueException", lam.update_function_configuration, "does not exist", FunctionName=name, Layers=[f"{ARN}layer:nothing:1"])
    refused("ResourceConflictException", lam.create_function, f"Function already exist: {name}", FunctionName=name, Runtime=RUNTIME,
            Role=ROLE, Handler="app.handler", Code={"ZipFile": package(app=ECHO)})
    refused("InvalidParameterValueException", lam.create_function, "mandatory", FunctionName="no-runtime", Role=ROLE, Code={"ZipFile": package(app=ECHO)})
    lam.delete_layer_version(LayerName=name, VersionNumber=1)


def test_revisions_and_versions(lam, function):
    name = function(ECHO)
    first = lam.get_function_configuration(FunctionName=name)
    update = lam.update_function_configuration
    refused("PreconditionFailedException", update, "GetFunction/GetAlias", FunctionName=name, Description="x", RevisionId="another")
    assert update(FunctionName=name, Description="two", RevisionId=first["RevisionId"])["RevisionId"] != first["RevisionId"]
    settled(lam, name)
    refused("PreconditionFailedException", lam.update_function_code, FunctionName=name, ZipFile=package(app=ECHO), RevisionId=first["RevisionId"])
    refused("PreconditionFailedException", lam.publish_version, FunctionName=name, RevisionId=first["RevisionId"])
    refused("InvalidParameterValueException", lam.publish_version, "is different from current CodeSHA256", FunctionName=name, CodeSha256="AAAA")

    now = lam.get_function_configuration(FunctionName=name)
    one = lam.publish_version(FunctionName=name, CodeSha256=now["CodeSha256"], RevisionId=now["RevisionId"], Description="the first")
    assert (one["Version"], one["Description"], one["State"]) == ("1", "the first", "Active") and one["RevisionId"]
    again = lam.publish_version(FunctionName=name, Description="nothing has changed")
    assert (again["Version"], again["Description"]) == ("1", "the first")
    dry = lam.update_function_code(FunctionName=name, ZipFile=package(app=ECHO + "# more\n"), DryRun=True)
    assert dry["CodeSha256"] != now["CodeSha256"]
    assert lam.get_function_configuration(FunctionName=name)["RevisionId"] == now["RevisionId"], "a dry run changes nothing"
    # As measured on AWS: a call of an update counts as a change, also with the same code.
    two = lam.update_function_code(FunctionName=name, ZipFile=package(app=ECHO), Publish=True)
    assert two["Version"] == "2" and two["FunctionArn"].endswith(f"{name}:2")
    settled(lam, name)

    lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    conflict = refused("ResourceConflictException", lam.delete_function, FunctionName=name, Qualifier="1")
    assert "the following aliases reference it: [live]" in conflict
    lam.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {"1": 0.1}})
    refused("ResourceConflictException", lam.delete_function, FunctionName=name, Qualifier="1")
    lam.update_alias(FunctionName=name, Name="live", RoutingConfig={})
    assert "RoutingConfig" not in lam.get_alias(FunctionName=name, Name="live")
    lam.delete_function(FunctionName=name, Qualifier="1")
    refused("ResourceNotFoundException", lam.get_function, FunctionName=name, Qualifier="1")
    refused("InvalidParameterValueException", lam.delete_function, "$LATEST", FunctionName=name, Qualifier="$LATEST")
    lam.update_function_configuration(FunctionName=name, Description="three")
    settled(lam, name)
    assert lam.publish_version(FunctionName=name)["Version"] == "3", "numbers are never used again"
    pages = list(lam.get_paginator("list_versions_by_function").paginate(FunctionName=name, PaginationConfig={"PageSize": 1}))
    assert [v["Version"] for p in pages for v in p["Versions"]] == ["$LATEST", "2", "3"]
    assert all(len(p["Versions"]) <= 1 for p in pages)


def test_updates_wait_for_each_other(lam, function):
    name = function(ECHO, wait=False)
    pending = lam.get_function_configuration(FunctionName=name)["State"]
    if pending == "Pending":
        try:
            lam.update_function_configuration(FunctionName=name, Timeout=5)
        except ClientError as e:
            assert e.response["Error"]["Code"] == "ResourceConflictException" and "currently in the following state: Pending" in str(e)
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    seen = set()
    for i in range(20):
        try:
            lam.update_function_code(FunctionName=name, ZipFile=package(app=f"{ECHO}# {i}\n"))
        except ClientError as e:
            seen.add((e.response["Error"]["Code"], f"An update is in progress for resource: {ARN}function:{name}" in str(e)))
    assert seen <= {("ResourceConflictException", True)}, seen
    settled(lam, name)
    assert lam.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful"


def test_aliases(lam, raw, function):
    name = function(ECHO)
    lam.publish_version(FunctionName=name)
    create = lambda **kw: raw.create_alias(**{"FunctionName": name, "FunctionVersion": "1", "Name": "live", **kw})
    refused("ResourceNotFoundException", create, f"Function not found: {ARN}function:{name}:9", FunctionVersion="9")
    refused("ValidationException", create, "'name'", Name="123")
    refused("ValidationException", create, Name="")
    refused("InvalidParameterValueException", create, "already included", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    refused("InvalidParameterValueException", create, "$LATEST is not supported", FunctionVersion="$LATEST", RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}})
    refused("ResourceNotFoundException", create, RoutingConfig={"AdditionalVersionWeights": {"5": 0.5}})
    refused("ValidationException", create, "routingConfig.additionalVersionWeights", RoutingConfig={"AdditionalVersionWeights": {"$LATEST": 0.5}})
    refused("ValidationException", create, "routingConfig.additionalVersionWeights", RoutingConfig={"AdditionalVersionWeights": {"2": 1.5}})
    made = create(Description="dé")
    assert (made["Description"], made["AliasArn"], made["FunctionVersion"]) == ("dé", f"{ARN}function:{name}:live", "1")
    refused("ResourceConflictException", create, f"Alias already exists: {made['AliasArn']}")
    refused("ResourceNotFoundException", lam.get_alias, f"Cannot find alias arn: {ARN}function:{name}:nope", FunctionName=name, Name="nope")
    refused("ResourceNotFoundException", lam.update_alias, FunctionName=name, Name="nope", Description="")
    refused("PreconditionFailedException", lam.update_alias, FunctionName=name, Name="live", RevisionId="other")
    changed = lam.update_alias(FunctionName=name, Name="live", Description="", RevisionId=made["RevisionId"])
    assert changed["Description"] == "" and changed["RevisionId"] != made["RevisionId"]
    for i in range(7):
        create(Name=f"a{i}", FunctionVersion="$LATEST" if i % 2 else "1")
    pages = list(lam.get_paginator("list_aliases").paginate(FunctionName=name, PaginationConfig={"PageSize": 3}))
    assert [a["Name"] for p in pages for a in p["Aliases"]] == [*(f"a{i}" for i in range(7)), "live"] and len(pages) == 3
    assert {a["Name"] for a in lam.list_aliases(FunctionName=name, FunctionVersion="1")["Aliases"]} == {"a0", "a2", "a4", "a6", "live"}
    lam.delete_alias(FunctionName=name, Name="live")
    lam.delete_alias(FunctionName=name, Name="live")
    refused("InvalidParameterValueException", lam.list_aliases, FunctionName=name, Marker="?made up?")


def test_layers(lam, raw, function):
    publish = lambda name, **kw: lam.publish_layer_version(LayerName=name, Content={"ZipFile": package(lib="x = 1\n")}, **kw)
    for i in range(1, 6):
        made = publish("api-layer", Description=f"é {i}", CompatibleRuntimes=[RUNTIME] if i % 2 else ["nodejs20.x"], LicenseInfo="MIT")
        assert (made["Version"], made["LayerVersionArn"]) == (i, f"{ARN}layer:api-layer:{i}") and made["Content"]["CodeSha256"]
    lam.delete_layer_version(LayerName="api-layer", VersionNumber=5)
    lam.delete_layer_version(LayerName="api-layer", VersionNumber=5)
    assert publish("api-layer")["Version"] == 6, "numbers are never used again"
    listed = [v["Version"] for v in lam.list_layer_versions(LayerName="api-layer")["LayerVersions"]]
    assert listed == [6, 4, 3, 2, 1]
    pages = list(lam.get_paginator("list_layer_versions").paginate(LayerName=f"{ARN}layer:api-layer", PaginationConfig={"PageSize": 2}))
    assert [[v["Version"] for v in p["LayerVersions"]] for p in pages] == [[6, 4], [3, 2], [1]], "newest first over all pages"
    assert [v["Version"] for v in lam.list_layer_versions(LayerName="api-layer", CompatibleRuntime=RUNTIME)["LayerVersions"]] == [3, 1]
    assert lam.list_layer_versions(LayerName="none-such")["LayerVersions"] == []
    publish("api-layer-b")
    latest = {x["LayerName"]: x["LatestMatchingVersion"]["Version"] for x in lam.list_layers()["Layers"]}
    assert latest["api-layer"] == 6 and latest["api-layer-b"] == 1
    matching = {x["LayerName"]: x["LatestMatchingVersion"]["Version"] for x in lam.list_layers(CompatibleRuntime="nodejs20.x")["Layers"]}
    assert matching["api-layer"] == 4 and "api-layer-b" not in matching
    got = lam.get_layer_version(LayerName="api-layer", VersionNumber=1)
    assert got["Description"] == "é 1" and got["LicenseInfo"] == "MIT" and got["CompatibleRuntimes"] == [RUNTIME]
    assert lam.get_layer_version_by_arn(Arn=got["LayerVersionArn"])["CreatedDate"] == got["CreatedDate"]
    refused("ResourceNotFoundException", lam.get_layer_version, "does not exist", LayerName="api-layer", VersionNumber=5)
    refused("InvalidParameterValueException", lam.get_layer_version, "Layer Version Cannot be less than 1", LayerName="api-layer", VersionNumber=0)
    refused("ValidationException", lam.get_layer_version_by_arn, Arn=f"{ARN}layer:api-layer")
    refused("ValidationException", raw.publish_layer_version, LayerName="bad name!", Content={"ZipFile": package(lib="")})

    permit = lambda **kw: raw.add_layer_version_permission(**{"LayerName": "api-layer", "VersionNumber": 1, "StatementId": "all",
                                                              "Action": "lambda:GetLayerVersion", "Principal": "*", **kw})
    refused("ResourceNotFoundException", lam.get_layer_version_policy, "No policy is associated", LayerName="api-layer", VersionNumber=1)
    first = permit()
    refused("ResourceConflictException", permit, "The statement id (all) provided already exists")
    refused("PreconditionFailedException", permit, StatementId="two", RevisionId="another")
    refused("ValidationException", permit, Action="lambda:Else")
    refused("ResourceNotFoundException", permit, f"Layer version {ARN}layer:api-layer:5 does not exist.", VersionNumber=5)
    policy = lam.get_layer_version_policy(LayerName="api-layer", VersionNumber=1)
    assert json.loads(policy["Policy"])["Statement"] == [json.loads(first["Statement"])] and policy["RevisionId"] == first["RevisionId"]
    refused("ResourceNotFoundException", lam.remove_layer_version_permission, LayerName="api-layer", VersionNumber=1, StatementId="no")
    lam.remove_layer_version_permission(LayerName="api-layer", VersionNumber=1, StatementId="all")

    name = function(ECHO, Layers=[f"{ARN}layer:api-layer:1"])
    lam.delete_layer_version(LayerName="api-layer", VersionNumber=1)
    assert invoke(lam, name, 1)[0] == 1, "functions keep the layer they have"
    for layer, version in (("api-layer", 2), ("api-layer", 3), ("api-layer", 4), ("api-layer", 6), ("api-layer-b", 1)):
        lam.delete_layer_version(LayerName=layer, VersionNumber=version)
    assert not {"api-layer", "api-layer-b"} & {x["LayerName"] for x in lam.list_layers()["Layers"]}


def test_event_invoke_config(lam, raw, function):
    name = function(ECHO)
    put, update = raw.put_function_event_invoke_config, raw.update_function_event_invoke_config
    refused("ResourceNotFoundException", lam.get_function_event_invoke_config, f"The function {ARN}function:{name}:$LATEST doesn't have an EventInvokeConfig", FunctionName=name)
    for call in (put, update):
        refused("InvalidParameterValueException", call, "You must specify at least one of error handling or destination setting.", FunctionName=name)
    refused("ResourceNotFoundException", update, "doesn't have an EventInvokeConfig", FunctionName=name, MaximumRetryAttempts=1)
    refused("ValidationException", put, FunctionName=name, MaximumRetryAttempts=3)
    refused("ValidationException", put, FunctionName=name, MaximumEventAgeInSeconds=59)
    refused("ResourceNotFoundException", put, "The function doesn't exist.", FunctionName="none-such", MaximumRetryAttempts=1)
    refused("InvalidParameterValueException", put, "a bucket takes failures alone", FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": "arn:aws:s3:::bucket"}})
    made = put(FunctionName=name, MaximumRetryAttempts=0)
    assert made["FunctionArn"] == f"{ARN}function:{name}:$LATEST" and made["MaximumRetryAttempts"] == 0 and "MaximumEventAgeInSeconds" not in made
    assert made["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {}}
    both = update(FunctionName=name, MaximumEventAgeInSeconds=60)
    assert (both["MaximumRetryAttempts"], both["MaximumEventAgeInSeconds"]) == (0, 60)
    assert "MaximumEventAgeInSeconds" not in put(FunctionName=name, MaximumRetryAttempts=2), "put replaces all"
    lam.publish_version(FunctionName=name)
    put(FunctionName=name, Qualifier="1", MaximumRetryAttempts=1)
    assert len(lam.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]) == 2
    lam.delete_function_event_invoke_config(FunctionName=name)
    refused("ResourceNotFoundException", lam.delete_function_event_invoke_config, FunctionName=name)


def test_urls(lam, raw, function):
    name = function(ECHO)
    lam.publish_version(FunctionName=name)
    lam.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    create = lambda **kw: raw.create_function_url_config(**{"FunctionName": name, "AuthType": "NONE", **kw})
    urls = {create()["FunctionUrl"], create(Qualifier="live", Cors={"AllowOrigins": ["*"], "MaxAge": 5})["FunctionUrl"]}
    assert len(urls) == 2 and all(u.endswith("/") for u in urls)
    refused("ResourceConflictException", create, "exists for this Lambda function")
    refused("ValidationException", create, Qualifier="1")
    refused("ValidationException", create, AuthType="SOME")
    refused("ResourceNotFoundException", create, FunctionName="none-such")
    refused("ResourceNotFoundException", create, Qualifier="nope")
    got = lam.get_function_url_config(FunctionName=name, Qualifier="live")
    assert got["FunctionArn"] == f"{ARN}function:{name}:live" and got["Cors"] == {"AllowOrigins": ["*"], "MaxAge": 5} and got["InvokeMode"] == "BUFFERED"
    pages = list(lam.get_paginator("list_function_url_configs").paginate(FunctionName=name, PaginationConfig={"PageSize": 1}))
    assert {u["FunctionUrl"] for p in pages for u in p["FunctionUrlConfigs"]} == urls and len(pages) == 2
    changed = lam.update_function_url_config(FunctionName=name, Qualifier="live", AuthType="AWS_IAM")
    assert changed["AuthType"] == "AWS_IAM" and changed["Cors"] == got["Cors"] and changed["FunctionUrl"] == got["FunctionUrl"]
    lam.delete_function_url_config(FunctionName=name, Qualifier="live")
    refused("ResourceNotFoundException", lam.get_function_url_config, FunctionName=name, Qualifier="live")
    refused("ResourceNotFoundException", lam.delete_function_url_config, FunctionName=name, Qualifier="live")


def test_permissions(lam, raw, function):
    name = function(ECHO)
    add = lambda **kw: raw.add_permission(**{"FunctionName": name, "StatementId": "s3", "Action": "lambda:InvokeFunction",
                                             "Principal": "s3.amazonaws.com", **kw})
    refused("ResourceNotFoundException", lam.get_policy, "The resource you requested does not exist.", FunctionName=name)
    refused("ResourceNotFoundException", lam.remove_permission, "No policy is associated", FunctionName=name, StatementId="x")
    said = json.loads(add(SourceArn="arn:aws:s3:::b", SourceAccount="000000000000")["Statement"])
    assert said == {"Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction",
                    "Resource": f"{ARN}function:{name}", "Condition": {"StringEquals": {"AWS:SourceAccount": "000000000000"}, "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}}
    refused("ResourceConflictException", add, "The statement id (s3) provided already exists")
    refused("ValidationException", add, StatementId="a b")
    refused("ValidationException", add, StatementId="b", Action="s3:Get")
    refused("InvalidParameterValueException", add, StatementId="b", Principal="nosuch!")
    refused("ResourceNotFoundException", add, FunctionName="none-such")
    policy = lam.get_policy(FunctionName=name)
    assert json.loads(policy["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [said]}
    refused("PreconditionFailedException", add, StatementId="b", RevisionId="another")
    add(StatementId="b", RevisionId=policy["RevisionId"])
    refused("ResourceNotFoundException", lam.remove_permission, "Statement none is not found in resource policy.", FunctionName=name, StatementId="none")
    for statement in ("s3", "b"):
        lam.remove_permission(FunctionName=name, StatementId=statement)
    refused("ResourceNotFoundException", lam.get_policy, FunctionName=name)


def test_tags_concurrency_and_the_account(own):
    own.start()
    lam, raw = own.client("lambda"), own.client("lambda", parameter_validation=False)
    limits = {"TotalCodeSize": 80530636800, "CodeSizeUnzipped": 262144000, "CodeSizeZipped": 52428800, "ConcurrentExecutions": 1000}
    assert lam.get_account_settings()["AccountLimit"] == {**limits, "UnreservedConcurrentExecutions": 1000}
    assert lam.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    code = package(app=ECHO)
    arn = lam.create_function(FunctionName="f", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": code}, Publish=True)["FunctionArn"]
    assert arn.endswith(":f:1")
    arn = arn[:-2]
    layer = lam.publish_layer_version(LayerName="l", Content={"ZipFile": code})
    assert lam.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 3 * len(code), "FunctionCount": 1}
    assert lam.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=900)["ReservedConcurrentExecutions"] == 900
    assert lam.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    refused("InvalidParameterValueException", lam.put_function_concurrency, "below its minimum value of [100]", FunctionName="f", ReservedConcurrentExecutions=901)
    refused("ValidationException", raw.put_function_concurrency, FunctionName="f", ReservedConcurrentExecutions=-1)
    refused("ResourceNotFoundException", lam.put_function_concurrency, FunctionName="g", ReservedConcurrentExecutions=1)
    assert lam.get_function(FunctionName="f")["Concurrency"] == {"ReservedConcurrentExecutions": 900}
    lam.delete_function_concurrency(FunctionName="f")
    assert "ReservedConcurrentExecutions" not in lam.get_function_concurrency(FunctionName="f")

    lam.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    lam.tag_resource(Resource=arn, Tags={"b": "3"})
    lam.untag_resource(Resource=arn, TagKeys=["a", "none"])
    assert lam.list_tags(Resource=arn)["Tags"] == {"b": "3"}
    refused("InvalidParameterValueException", lam.tag_resource, "exceeds resource tag limit", Resource=arn, Tags={f"k{i}": "" for i in range(50)})
    refused("InvalidParameterValueException", lam.list_tags, "Tags on function aliases and versions are not supported", Resource=arn + ":1")
    refused("ResourceNotFoundException", lam.list_tags, f"Function not found: {ARN}function:g", Resource=f"{ARN}function:g")
    refused("ValidationException", raw.list_tags, Resource="f")
    lam.delete_layer_version(LayerName="l", VersionNumber=layer["Version"])
    lam.delete_function(FunctionName="f")
    assert lam.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    own.stop()


def test_invoke_at_its_edges(lam, raw, function):
    name = function(ECHO)
    body, reply = invoke(lam, name, {"é": None}, InvocationType="DryRun")
    assert (body, reply["StatusCode"]) == (None, 204)
    reply = lam.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    assert reply["StatusCode"] == 202 and reply["Payload"].read() == b"" and "ExecutedVersion" not in reply
    assert json.loads(lam.invoke(FunctionName=name)["Payload"].read()) == {}, "no payload is an empty object"
    assert "LogResult" not in lam.invoke(FunctionName=name, LogType="None")
    refused("InvalidRequestContentException", lam.invoke, "Could not parse request body into json", FunctionName=name, Payload=b"{")
    refused("InvalidRequestContentException", lam.invoke, "Could not parse", FunctionName=name, Payload=b"\xff", InvocationType="Event")
    refused("InvalidRequestContentException", lam.invoke, FunctionName=name, ClientContext="not base64!")
    refused("RequestTooLargeException", lam.invoke, "6291456", FunctionName=name, Payload=b'"' + b"x" * 6291456 + b'"')
    refused("RequestTooLargeException", lam.invoke, "1048576", FunctionName=name, Payload=b'"' + b"x" * 1048576 + b'"', InvocationType="Event")
    refused("ValidationException", raw.invoke, FunctionName=name, InvocationType="Sometime")
    refused("ValidationException", raw.invoke, FunctionName=name, LogType="Head")
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(lam.exceptions.TooManyRequestsException) as e:
        lam.invoke(FunctionName=name)
    assert e.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_functions_in_pages(lam, raw, function):
    names = [function(ECHO, name=f"pages-{i}", wait=False) for i in range(5)]
    for name in names[:2]:
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        lam.publish_version(FunctionName=name)
    ours = lambda pages: [(f["FunctionName"], f["Version"]) for p in pages for f in p["Functions"] if f["FunctionName"].startswith("pages-")]
    paged = lam.get_paginator("list_functions").paginate
    assert ours(paged(PaginationConfig={"PageSize": 2})) == [(n, "$LATEST") for n in names]
    every = [(n, v) for i, n in enumerate(names) for v in (["$LATEST", "1"] if i < 2 else ["$LATEST"])]
    for size in (1, 2, 3, 50):
        pages = list(paged(FunctionVersion="ALL", PaginationConfig={"PageSize": size}))
        assert ours(pages) == every and all(len(p["Functions"]) <= size for p in pages), size
    refused("ValidationException", raw.list_functions, MaxItems=0)
    refused("ValidationException", raw.list_functions, MaxItems=100_000)
    refused("ValidationException", raw.list_functions, FunctionVersion="SOME")
    refused("InvalidParameterValueException", lam.list_functions, Marker="zz")
    refused("ResourceNotFoundException", lam.list_versions_by_function, FunctionName="none-such")


def test_logs_at_their_edges(shared):
    logs, raw = shared.client("logs"), shared.client("logs", parameter_validation=False)
    group, now = "/api/edges", int(time.time() * 1000)
    arn = "arn:aws:logs:us-east-1:000000000000:log-group:" + group
    logs.create_log_group(logGroupName=group, tags={"team": "é"})
    described = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    assert described["arn"] == arn + ":*" and described["logGroupArn"] == arn and described["storedBytes"] == 0 and "retentionInDays" not in described
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "é"}
    logs.tag_resource(resourceArn=arn, tags={"a": "b"})
    logs.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"a": "b"}
    refused("InvalidParameterException", raw.create_log_group, logGroupName="bad name?")
    refused("InvalidParameterException", raw.create_log_group, logGroupName="x" * 513)
    refused("InvalidParameterException", raw.create_log_stream, logGroupName=group, logStreamName="a:b")
    for name in ("b", "a", "c"):
        logs.create_log_stream(logGroupName=group, logStreamName=name)
    refused("ResourceAlreadyExistsException", logs.create_log_stream, logGroupName=group, logStreamName="a")
    for call, kw in ((logs.create_log_stream, {"logStreamName": "x"}), (logs.describe_log_streams, {}), (logs.delete_log_group, {}),
                     (logs.put_retention_policy, {"retentionInDays": 1}), (logs.filter_log_events, {}), (logs.delete_retention_policy, {})):
        with pytest.raises(logs.exceptions.ResourceNotFoundException) as e:
            call(logGroupName="/no/such", **kw)
        assert e.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    put = lambda events, stream="a", **kw: raw.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events, **kw)
    assert put([{"timestamp": now, "message": "one ☃"}])["nextSequenceToken"]
    put([{"timestamp": now + 1, "message": "two"}], sequenceToken="whatever")
    put([{"timestamp": now + 2, "message": "three"}], stream="b")
    refused("InvalidParameterException", put, events=[])
    refused("InvalidParameterException", put, events=[{"timestamp": now, "message": ""}])
    refused("InvalidParameterException", put, "chronological", events=[{"timestamp": now, "message": "x"}, {"timestamp": now - 1, "message": "x"}])
    old = put([{"timestamp": now - 20 * 86_400_000, "message": "old"}])
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert put([{"timestamp": now + 3 * 3_600_000, "message": "new"}])["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 0}

    streams = lambda **kw: [s["logStreamName"] for s in logs.describe_log_streams(logGroupName=group, **kw)["logStreams"]]
    assert streams() == ["a", "b", "c"] and streams(descending=True) == ["c", "b", "a"] and streams(logStreamNamePrefix="b") == ["b"]
    assert streams(orderBy="LastEventTime", descending=True)[:2] == ["b", "a"]
    refused("InvalidParameterException", logs.describe_log_streams, logGroupName=group, orderBy="LastEventTime", logStreamNamePrefix="a")
    pages = list(logs.get_paginator("describe_log_streams").paginate(logGroupName=group, PaginationConfig={"PageSize": 1}))
    assert [s["logStreamName"] for p in pages for s in p["logStreams"]] == ["a", "b", "c"]
    refused("InvalidParameterException", logs.describe_log_streams, logGroupName=group, nextToken="made up")
    assert [s["logStreamName"] for s in logs.describe_log_streams(logGroupIdentifier=arn)["logStreams"]] == ["a", "b", "c"]

    got = logs.get_log_events(logGroupName=group, logStreamName="a")
    assert [e["message"] for e in got["events"]] == ["one ☃", "two"] and got["nextForwardToken"].startswith("f/") and got["nextBackwardToken"].startswith("b/")
    back = logs.get_log_events(logGroupName=group, logStreamName="a", limit=1)
    assert [e["message"] for e in back["events"]] == ["two"], "the latest first, without startFromHead"
    before = logs.get_log_events(logGroupName=group, logStreamName="a", limit=1, nextToken=back["nextBackwardToken"])
    assert [e["message"] for e in before["events"]] == ["one ☃"]
    assert logs.get_log_events(logGroupName=group, logStreamName="a", startTime=now, endTime=now + 1)["events"][0]["message"] == "one ☃"
    refused("InvalidParameterException", logs.get_log_events, logGroupName=group, logStreamName="a", nextToken="made up")
    found = logs.filter_log_events(logGroupName=group, logStreamNames=["a"], filterPattern="two")["events"]
    assert [(e["logStreamName"], e["message"]) for e in found] == [("a", "two")]
    assert logs.filter_log_events(logGroupName=group, filterPattern='?"☃" ?three')["events"][0]["eventId"]
    refused("InvalidParameterException", logs.filter_log_events, logGroupName=group, logStreamNames=["a"], logStreamNamePrefix="a")
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    logs.delete_retention_policy(logGroupName=group)
    assert "retentionInDays" not in logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]
    logs.delete_log_stream(logGroupName=group, logStreamName="a")
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName=group, logStreamName="a")
    for i in range(4):
        logs.create_log_group(logGroupName=f"{group}/{i}")
    pages = list(logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=group, PaginationConfig={"PageSize": 2}))
    assert [g["logGroupName"] for p in pages for g in p["logGroups"]] == [group, *(f"{group}/{i}" for i in range(4))]
    assert len(logs.describe_log_groups(logGroupNamePattern="pi/edg")["logGroups"]) == 5
    for name in [group, *(f"{group}/{i}" for i in range(4))]:
        logs.delete_log_group(logGroupName=name)
