"""Container images as functions: from a registry and from layouts, on every tier that the machine has."""

import json
import os
import pathlib
import subprocess
import time

import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, RUNTIME, eventually, invoke, nothing_is_left, package, process_tree
from images import Registry, base, greeter, layer, layout, need, program

TIERS = {"process": (), "container": ("runc",), "gvisor": ("runsc",)}
HELLO = {"name": "Ada"}
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="containers are made by root alone")


@pytest.fixture
def registry(tmp_path):
    need("docker-registry", "skopeo")
    registry = Registry(tmp_path)
    yield registry
    registry.stop()


def create(node, name, uri, wait=True, **more):
    lam = node.client("lambda", read_timeout=60)
    made = lam.create_function(FunctionName=name, PackageType="Image", Role=ROLE, Code={"ImageUri": uri}, MemorySize=256,
                               Timeout=20, **more)
    if wait:
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return lam, made


@root_only
@pytest.mark.parametrize("tier", TIERS)
def test_a_program_with_its_libraries_answers(own, registry, tmp_path, tier):
    need(*TIERS[tier])
    layout(tmp_path / "layout", *greeter())
    registry.push(tmp_path / "layout", "greeter")
    own.start()
    lam, _ = create(own, "greeter", f"{registry.host}/greeter", Tags={"wadi:isolation": tier})
    for _ in range(3):
        answer, response = invoke(lam, "greeter", HELLO)
        assert "FunctionError" not in response and answer["greeting"] == "Hello, Ada!", answer


@root_only
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "gvisor"])
def test_an_image_from_a_registry_answers(own, registry, tmp_path, tier):
    need(*TIERS[tier])
    digest = layout(tmp_path / "layout", [base(), layer({"greeting": "from the image"})])
    registry.push(tmp_path / "layout", "greeter")
    uri = f"{registry.host}/greeter:latest"
    own.start()
    own_env = {"Environment": {"Variables": {"GIVEN": "mine"}}}
    words = "echo \\\"$(id -u) $(cat /greeting) $OF_THE_IMAGE $GIVEN $AWS_LAMBDA_FUNCTION_NAME\\\""
    lam, made = create(own, "greeter", uri, Tags={"wadi:isolation": tier}, ImageConfig={"Command": [words]}, **own_env)
    assert (made["PackageType"], made["State"], made["CodeSize"]) == ("Image", "Pending", 0)
    assert made["ImageConfigResponse"]["ImageConfig"] == {"Command": [words]}
    assert "Runtime" not in made and "Handler" not in made
    code = lam.get_function(FunctionName="greeter")["Code"]
    assert code["RepositoryType"] == "ECR" and code["ImageUri"] == uri
    pushed = code["ResolvedImageUri"].removeprefix(f"{registry.host}/greeter@")
    assert pushed == f"sha256:{made['CodeSha256']}"
    assert pushed == digest
    answer, response = invoke(lam, "greeter")
    assert "FunctionError" not in response, answer
    assert answer == "993 from the image yes mine greeter"
    assert invoke(lam, "greeter")[0] == answer, "the same instance again"


def test_a_second_function_on_a_shared_base_pulls_nothing_of_it(own, registry, tmp_path):
    shared = base()
    for name in ("one", "two"):
        layout(tmp_path / name, [shared, layer({"name": name})], {"Cmd": [f"echo '\"{name}\"'"]})
        registry.push(tmp_path / name, name)
    own.start()
    pushes = registry.asked("/blobs/sha256")
    lam, _ = create(own, "one", f"{registry.host}/one")
    pulled = registry.asked('"GET /v2/one/blobs/') or registry.asked("GET /v2/one/blobs/")
    assert pulled == 3, "its configuration and two layers"
    assert registry.asked("/blobs/sha256") == pushes + 3
    create(own, "two", f"{registry.host}/two")
    assert registry.asked("GET /v2/two/blobs/") == 2, "its configuration and the layer that is its own"
    create(own, "again", f"{registry.host}/one")
    assert registry.asked("GET /v2/one/blobs/") == pulled + 1, "the configuration, when it was resolved"
    assert [invoke(lam, name)[0] for name in ("one", "two", "again")] == ["one", "two", "one"]


def test_a_tag_that_moves_moves_nothing_until_it_is_asked_for(own, tmp_path):
    need()
    where = tmp_path / "layout"
    layout(where, [base()], {"Cmd": ["echo 1"]})
    own.start()
    lam, made = create(own, "moving", f"oci:{where}:latest")
    assert invoke(lam, "moving")[0] == 1
    version = lam.publish_version(FunctionName="moving")
    second = layout(where, [base()], {"Cmd": ["echo 2"]})
    own.stop()
    own.start()
    lam = own.client("lambda", read_timeout=60)
    assert invoke(lam, "moving")[0] == 1, "also after a restart"
    updated = lam.update_function_code(FunctionName="moving", ImageUri=f"oci:{where}:latest")
    assert f"sha256:{updated['CodeSha256']}" == second and updated["CodeSha256"] != made["CodeSha256"]
    lam.get_waiter("function_updated_v2").wait(FunctionName="moving", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert invoke(lam, "moving")[0] == 2
    assert invoke(lam, "moving", Qualifier=version["Version"])[0] == 1
    lam.update_function_configuration(FunctionName="moving", ImageConfig={"EntryPoint": ["/var/runtime/bootstrap"], "Command": ["echo 3"]})
    lam.get_waiter("function_updated_v2").wait(FunctionName="moving", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert invoke(lam, "moving")[0] == 3


def test_an_archive_of_a_layout_answers(own, tmp_path):
    need()
    layout(tmp_path / "layout", [base()])
    subprocess.run(["tar", "-C", str(tmp_path / "layout"), "-cf", str(tmp_path / "image.tar"), "."], check=True)
    own.start()
    lam, _ = create(own, "archived", f"oci-archive:{tmp_path}/image.tar")
    assert invoke(lam, "archived")[0] == "hello"


def test_what_is_wrong_is_told(own, tmp_path):
    need()
    layout(tmp_path / "other", [base()], architecture="s390x")
    layout(tmp_path / "none", [base()], {"Entrypoint": ["/bin/none"], "Cmd": []})
    layout(tmp_path / "good", [base()])
    own.start()
    lam = own.client("lambda", read_timeout=60)

    def refused(text, **request):
        arguments = {"FunctionName": "f", "Role": ROLE, "PackageType": "Image", **request}
        with pytest.raises(ClientError) as error:
            lam.create_function(**arguments)
        assert error.value.response["Error"]["Code"] == "InvalidParameterValueException", error.value
        assert text in str(error.value)

    good = {"ImageUri": f"oci:{tmp_path}/good"}
    refused("Provide a valid source image", Code={"ImageUri": f"oci:{tmp_path}/nowhere"})
    refused("this node is linux/", Code={"ImageUri": f"oci:{tmp_path}/other"})
    refused("Please provide ImageUri", Code={})
    refused("Please don't provide Runtime", Code=good, Runtime=RUNTIME)
    refused("Please don't provide Handler", Code=good, Handler="a.b")
    refused("Please don't provide ImageUri", Code=good, PackageType="Zip", Runtime=RUNTIME, Handler="a.b")
    refused("Please don't provide ImageConfig", Code={"ZipFile": package(app="")}, PackageType="Zip", Runtime=RUNTIME, Handler="a.b", ImageConfig={"Command": ["x"]})
    refused("wadi:isolation", Code=good, Tags={"wadi:isolation": "moat"})
    lam, _ = create(own, "none", f"oci:{tmp_path}/none")
    answer, response = invoke(lam, "none")
    assert response["FunctionError"] == "Unhandled" and answer["errorType"] == "Runtime.InvalidEntrypoint", answer


def test_a_hostile_layer_fails_the_function_and_nothing_else(own, tmp_path):
    need()
    layout(tmp_path / "bad", [base(), layer({"../../escaped": "x"})])
    own.start()
    lam, _ = create(own, "bad", f"oci:{tmp_path}/bad", wait=False)
    failed = eventually(lambda: (c := lam.get_function_configuration(FunctionName="bad"))["State"] == "Failed" and c, seconds=60)
    assert failed["StateReasonCode"] == "InvalidImage" and "leads out of the image" in failed["StateReason"]
    assert not list(tmp_path.rglob("escaped"))


@root_only
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "process"])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_nothing_is_left_behind(own, tmp_path, tier, how):
    need(*TIERS[tier])
    layout(tmp_path / "layout", *greeter())
    mounts = pathlib.Path("/proc/self/mounts").read_text()
    own.start()
    lam, _ = create(own, "left", f"oci:{tmp_path}/layout", Tags={"wadi:isolation": tier})
    assert invoke(lam, "left", HELLO)[0]["greeting"] == "Hello, Ada!"
    assert pathlib.Path("/proc/self/mounts").read_text() == mounts, "no mount is seen outside"
    pids = process_tree(own.process.pid)
    assert len(pids) >= 4, "the node, its launcher, an init, and a container at least"
    if how == "stopped":
        own.stop()
    else:
        own.kill()
        eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), seconds=10)
        # What no process is needed for, the next node clears away.
        own.start()
        pids += process_tree(own.process.pid)
        own.stop()
    nothing_is_left(own, pids)


@root_only
@pytest.mark.parametrize("tier", [tier for tier in TIERS if tier != "process"])
def test_packages_run_behind_other_walls_too(own, tier):
    need(*TIERS[tier])
    own.start()
    lam = own.client("lambda", read_timeout=60)
    code = "import os, platform\ndef handler(event, context):\n    return {'sum': event['a'] + event['b'], 'uid': os.getuid(), 'kernel': platform.release()}\n"
    lam.create_function(FunctionName="zip", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", MemorySize=512, Timeout=30,
                        Code={"ZipFile": package(app=code)}, Tags={"wadi:isolation": tier})
    lam.get_waiter("function_active_v2").wait(FunctionName="zip", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    answer, response = invoke(lam, "zip", {"a": 1, "b": 2})
    assert "FunctionError" not in response, answer
    assert (answer["sum"], answer["uid"]) == (3, 993)
    assert (answer["kernel"] != os.uname().release) == (tier == "gvisor"), answer
    # Another wall is another configuration.
    arn = lam.get_function(FunctionName="zip")["Configuration"]["FunctionArn"]
    lam.untag_resource(Resource=arn, TagKeys=["wadi:isolation"])
    lam.get_waiter("function_updated_v2").wait(FunctionName="zip", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert invoke(lam, "zip", {"a": 1, "b": 2})[0]["kernel"] == os.uname().release


@root_only
def test_the_doctor_tells_the_walls(own):
    need("runc")
    own.start()
    told = json.loads(own.cli("doctor", "--json").stdout)
    rows = {row["Name"]: row for row in told["Checks"]}
    row = rows["isolation: container"]
    assert row["Status"] == "ok" and (program("crun") or program("runc")) in row["Detail"]
    assert "isolation: gvisor" in rows
