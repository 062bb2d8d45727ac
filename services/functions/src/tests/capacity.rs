//! Capacity providers, functions on them, and `$LATEST.PUBLISHED`.

use super::rig::{ROLE, Rig, zip_text};
use engine::PrepareError;
use serde_json::{Value, json};

const INVALID: &str = "InvalidParameterValueException";
const MISSING: &str = "ResourceNotFoundException";
const CONFLICT: &str = "ResourceConflictException";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:capacity-provider:p";
const PUBLISHED: &str = "$LATEST.PUBLISHED";

fn provider(more: &Value) -> Value {
    let mut input = json!({
        "CapacityProviderName": "p",
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
    });
    for (name, value) in more.as_object().expect("an object") {
        input[name] = value.clone();
    }
    input
}

fn function(more: &Value) -> Value {
    let mut input = json!({
        "FunctionName": "f", "Runtime": "provided.al2023", "Role": ROLE, "Handler": "x", "Code": {"ZipFile": zip_text("1")},
        "CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": ARN}},
    });
    for (name, value) in more.as_object().expect("an object") {
        input[name] = value.clone();
    }
    input
}

fn managed(calls: u32) -> Value {
    json!({"LambdaManagedInstancesCapacityProviderConfig": {
        "CapacityProviderArn": ARN, "PerExecutionEnvironmentMaxConcurrency": calls,
    }})
}

async fn rig() -> Rig {
    let rig = Rig::new();
    rig.ok("CreateCapacityProvider", provider(&json!({}))).await;
    rig
}

async fn publish(rig: &Rig) -> Value {
    let published = rig.ok("PublishVersion", json!({"FunctionName": "f", "PublishTo": "LATEST_PUBLISHED"})).await;
    rig.settle().await;
    published
}

async fn users(rig: &Rig) -> Vec<(String, String)> {
    let listed = rig.ok("ListFunctionVersionsByCapacityProvider", json!({"CapacityProviderName": "p"})).await;
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let version = |arn: &Value| text(arn).split_once(":function:").expect("a function").1.to_owned();
    let all = listed["FunctionVersions"].as_array().expect("a list").clone();
    all.iter().map(|item| (version(&item["FunctionArn"]), text(&item["State"]))).collect()
}

#[tokio::test]
async fn providers_come_and_go() {
    let rig = Rig::new();
    let created = rig.ok("CreateCapacityProvider", provider(&json!({"Tags": {"a": "b"}}))).await;
    let expect = json!({
        "CapacityProviderArn": ARN, "State": "Active", "LastModified": "2026-11-23T15:51:04.123+0000",
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
        "CapacityProviderScalingConfig": {"MaxVCpuCount": 400, "ScalingMode": "Auto"},
    });
    assert_eq!(created["CapacityProvider"], expect);
    rig.refused("CreateCapacityProvider", provider(&json!({})), CONFLICT, "already exists: p").await;
    for name in ["p", ARN] {
        assert_eq!(
            rig.ok("GetCapacityProvider", json!({"CapacityProviderName": name})).await["CapacityProvider"],
            expect
        );
    }
    let scaling = json!({"MaxVCpuCount": 12, "ScalingMode": "Manual", "ScalingPolicies": [
        {"PredefinedMetricType": "LambdaCapacityProviderAverageCPUUtilization", "TargetValue": 50.0}
    ]});
    let update = json!({"CapacityProviderName": "p", "CapacityProviderScalingConfig": scaling});
    assert_eq!(
        rig.ok("UpdateCapacityProvider", update).await["CapacityProvider"]["CapacityProviderScalingConfig"],
        scaling
    );
    rig.ok("TagResource", json!({"Resource": ARN, "Tags": {"c": "d"}})).await;
    rig.ok("UntagResource", json!({"Resource": ARN, "TagKeys": ["a"]})).await;
    assert_eq!(rig.ok("ListTags", json!({"Resource": ARN})).await["Tags"], json!({"c": "d"}));
    rig.ok("CreateCapacityProvider", provider(&json!({"CapacityProviderName": "q"}))).await;
    let listed = rig.ok("ListCapacityProviders", json!({"MaxItems": 1})).await;
    assert_eq!(listed["CapacityProviders"][0]["CapacityProviderArn"], ARN);
    let rest = rig.ok("ListCapacityProviders", json!({"Marker": listed["NextMarker"], "State": "Active"})).await;
    assert_eq!((rest["CapacityProviders"].as_array().map(Vec::len), rest.get("NextMarker")), (Some(1), None));
    let deleted = rig.ok("DeleteCapacityProvider", json!({"CapacityProviderName": "p"})).await;
    assert_eq!(deleted["CapacityProvider"]["State"], "Deleting");
    for operation in ["GetCapacityProvider", "DeleteCapacityProvider", "UpdateCapacityProvider"] {
        rig.refused(operation, json!({"CapacityProviderName": "p"}), MISSING, ARN).await;
    }
}

#[tokio::test]
async fn what_a_provider_cannot_be() {
    let rig = Rig::new();
    for (more, text) in [
        (json!({"KmsKeyArn": "arn:aws:kms:us-east-1:000000000000:key/k"}), "KmsKeyArn"),
        (json!({"PropagateTags": {"Mode": "Explicit", "ExplicitTags": {"a": "b"}}}), "PropagateTags"),
        (json!({"TelemetryConfig": {"LoggingConfig": {"LogGroup": "g"}}}), "TelemetryConfig"),
        (json!({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-db"]}}), "sg-db"),
        (json!({"InstanceRequirements": {"Architectures": ["arm64"]}}), "arm64"),
        (json!({"InstanceRequirements": {"AllowedInstanceTypes": ["a"], "ExcludedInstanceTypes": ["b"]}}), "together"),
        (json!({"CapacityProviderScalingConfig": {"ScalingMode": "Manual"}}), "ScalingPolicies"),
        (
            json!({"CapacityProviderScalingConfig": {"ScalingMode": "Manual", "ScalingPolicies": [
                {"PredefinedMetricType": "LambdaCapacityProviderAverageGPUUtilization", "TargetValue": 1.0}
            ]}}),
            "GPU",
        ),
    ] {
        rig.refused("CreateCapacityProvider", provider(&more), INVALID, text).await;
    }
    let long = provider(&json!({"CapacityProviderName": "x".repeat(65)}));
    rig.refused("CreateCapacityProvider", long, "ValidationException", "less than or equal to 64").await;
    rig.ok("CreateCapacityProvider", provider(&json!({"PropagateTags": {"Mode": "None"}}))).await;
}

#[tokio::test]
async fn a_function_runs_as_what_was_published_of_it() {
    let rig = rig().await;
    let created = rig.ok("CreateFunction", function(&json!({}))).await;
    assert_eq!((&created["MemorySize"], &created["State"]), (&json!(2048), &json!("Pending")));
    rig.settle().await;
    let latest = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!((&latest["State"], &latest["Version"]), (&json!("ActiveNonInvocable"), &json!("$LATEST")));
    rig.refused("Invoke", json!({"FunctionName": "f"}), "NoPublishedVersionException", "no published versions").await;
    rig.refused("Invoke", json!({"FunctionName": "f:$LATEST"}), CONFLICT, "ActiveNonInvocable").await;
    for kind in ["Event", "DryRun"] {
        let call = json!({"FunctionName": "f", "InvocationType": kind});
        rig.refused("Invoke", call, "NoPublishedVersionException", "").await;
    }
    let published = publish(&rig).await;
    assert_eq!((&published["Version"], &published["State"]), (&json!(PUBLISHED), &json!("Active")));
    assert_eq!(published["FunctionArn"], format!("arn:aws:lambda:us-east-1:000000000000:function:f:{PUBLISHED}"));
    for name in ["f", "f:$LATEST.PUBLISHED"] {
        assert_eq!(rig.ok("Invoke", json!({"FunctionName": name})).await["ExecutedVersion"], PUBLISHED);
    }
    let (_, ran) = rig.runner.last_call();
    assert_eq!((ran.per_instance, ran.memory_mb), (Some(8), 2048));
    assert_eq!(rig.ok("PublishVersion", json!({"FunctionName": "f"})).await["Version"], "1");
    rig.settle().await;
    let alias = json!({"FunctionName": "f", "Name": "live", "FunctionVersion": PUBLISHED});
    rig.ok("CreateAlias", alias).await;
    assert_eq!(rig.ok("Invoke", json!({"FunctionName": "f:live"})).await["ExecutedVersion"], PUBLISHED);
    let states = [("f:$LATEST", "ActiveNonInvocable"), ("f:$LATEST.PUBLISHED", "Active"), ("f:1", "Active")];
    let mut seen = users(&rig).await;
    seen.sort();
    let mut expect = states.map(|(version, state)| (version.to_owned(), state.to_owned()));
    expect.sort();
    assert_eq!(seen, expect);
    let versions = rig.ok("ListVersionsByFunction", json!({"FunctionName": "f"})).await;
    let names: Vec<_> = versions["Versions"].as_array().expect("a list").iter().map(|v| v["Version"].clone()).collect();
    assert_eq!(names, ["$LATEST", PUBLISHED, "1"]);
    let mut all = Vec::new();
    let mut marker = json!("");
    while !marker.is_null() {
        let page = rig.ok("ListFunctions", json!({"FunctionVersion": "ALL", "MaxItems": 1, "Marker": marker})).await;
        all.push(page["Functions"][0]["Version"].clone());
        marker = page["NextMarker"].clone();
    }
    assert_eq!(all, names, "one a page");
    rig.refused("DeleteCapacityProvider", json!({"CapacityProviderName": "p"}), CONFLICT, "configured to use it").await;
    rig.ok("DeleteAlias", json!({"FunctionName": "f", "Name": "live"})).await;
    rig.ok("DeleteFunction", json!({"FunctionName": "f", "Qualifier": PUBLISHED})).await;
    rig.refused("Invoke", json!({"FunctionName": "f"}), "NoPublishedVersionException", "").await;
    rig.ok("DeleteFunction", json!({"FunctionName": "f"})).await;
    assert!(users(&rig).await.is_empty());
    rig.ok("DeleteCapacityProvider", json!({"CapacityProviderName": "p"})).await;
}

#[tokio::test]
async fn publishing_again_leaves_the_old_one_running_until_the_new_is_ready() {
    let rig = rig().await;
    let with = json!({"Publish": true, "PublishTo": "LATEST_PUBLISHED", "CapacityProviderConfig": managed(5)});
    let created = rig.ok("CreateFunction", function(&with)).await;
    assert_eq!((&created["Version"], &created["State"]), (&json!(PUBLISHED), &json!("Pending")));
    rig.settle().await;
    let update = |code: &str| json!({"FunctionName": "f", "ZipFile": zip_text(code), "Publish": true, "PublishTo": "LATEST_PUBLISHED"});
    let revision = async || {
        rig.ok("Invoke", json!({"FunctionName": "f"})).await;
        rig.runner.last_call().1.revision
    };
    let first = revision().await;
    let updated = rig.ok("UpdateFunctionCode", update("2")).await;
    assert_eq!((&updated["State"], &updated["LastUpdateStatus"]), (&json!("Active"), &json!("InProgress")));
    assert_eq!(revision().await, first, "not ready yet");
    rig.settle().await;
    let second = revision().await;
    assert_ne!(second, first);
    assert!(rig.runner.script.lock().retired.contains(&(PUBLISHED.to_owned(), Some(second.clone()))));
    assert_eq!(
        publish(&rig).await["RevisionId"],
        rig.config(json!({"FunctionName": "f:$LATEST.PUBLISHED"})).await["RevisionId"]
    );
    rig.runner.script.lock().cannot_prepare =
        Some(PrepareError { code: "InvalidRuntime", message: "it cannot".into() });
    rig.ok("UpdateFunctionCode", update("3")).await;
    rig.settle().await;
    let failed = rig.config(json!({"FunctionName": "f:$LATEST.PUBLISHED"})).await;
    assert_eq!((&failed["State"], &failed["LastUpdateStatus"]), (&json!("Active"), &json!("Failed")));
    assert_eq!(revision().await, second, "the last that was ready goes on");
    rig.runner.script.lock().cannot_prepare = None;
    let change = json!({"FunctionName": "f", "CapacityProviderConfig": managed(7)});
    let changed = rig.ok("UpdateFunctionConfiguration", change).await;
    assert_eq!(changed["CapacityProviderConfig"], managed(7));
    rig.settle().await;
    assert_eq!(rig.runner.last_call().1.per_instance, Some(5));
    publish(&rig).await;
    revision().await;
    assert_eq!(rig.runner.last_call().1.per_instance, Some(7));
}

#[tokio::test]
async fn what_a_function_on_a_provider_cannot_be() {
    let rig = rig().await;
    let elsewhere = "arn:aws:lambda:us-east-1:000000000000:capacity-provider:q";
    let on = |arn: &str| json!({"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": arn}});
    for (more, code, text) in [
        (json!({"CapacityProviderConfig": on(elsewhere)}), MISSING, elsewhere),
        (json!({"CapacityProviderConfig": on(&elsewhere.replace("000000000000", "111111111111"))}), MISSING, "1111"),
        (json!({"MemorySize": 2047}), INVALID, "at least 2048 MB"),
        (json!({"MemorySize": 32_769}), "ValidationException", "32768"),
        (
            json!({"Runtime": "python3.11"}),
            INVALID,
            "python3.11 is not supported for functions with CapacityProviderConfig",
        ),
        (json!({"PublishTo": "LATEST_PUBLISHED"}), INVALID, "only where Publish is true"),
    ] {
        rig.refused("CreateFunction", function(&more), code, text).await;
    }
    rig.ok("CreateFunction", function(&json!({"Publish": true}))).await;
    rig.settle().await;
    let provisioned = json!({"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 1});
    rig.refused("PutProvisionedConcurrencyConfig", provisioned, INVALID, "not supported for functions with Cap").await;
    rig.create("g").await;
    let change = json!({"FunctionName": "g", "CapacityProviderConfig": managed(1)});
    rig.refused("UpdateFunctionConfiguration", change, INVALID, "created without it").await;
    let publish = json!({"FunctionName": "g", "PublishTo": "LATEST_PUBLISHED"});
    rig.refused("PublishVersion", publish, INVALID, "CapacityProviderConfig only").await;
}

#[tokio::test]
async fn a_provider_has_a_hundred_published_versions() {
    let rig = rig().await;
    rig.ok("CreateFunction", function(&json!({"Publish": true}))).await;
    rig.settle().await;
    let next = async |n: u32| {
        let change = json!({"FunctionName": "f", "Description": n.to_string()});
        rig.ok("UpdateFunctionConfiguration", change).await;
        rig.settle().await;
    };
    for n in 2..=100 {
        next(n).await;
        rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    }
    next(101).await;
    let code = "FunctionVersionsPerCapacityProviderLimitExceededException";
    rig.refused("PublishVersion", json!({"FunctionName": "f"}), code, "exceeded").await;
    rig.ok("DeleteFunction", json!({"FunctionName": "f", "Qualifier": "1"})).await;
    publish(&rig).await;
    rig.refused("PublishVersion", json!({"FunctionName": "f"}), code, "exceeded").await;
}

#[tokio::test]
async fn a_tag_does_it_without_a_provider() {
    let rig = Rig::new();
    let mut input = Rig::create_input("f");
    input["Tags"] = json!({"wadi:concurrency": "20"});
    rig.ok("CreateFunction", input).await;
    rig.settle().await;
    let calls = async || {
        rig.ok("Invoke", json!({"FunctionName": "f"})).await;
        rig.runner.last_call().1.per_instance
    };
    assert_eq!(calls().await, Some(20));
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for bad in ["0", "1601", "-1", "many", ""] {
        let tag = json!({"Resource": arn, "Tags": {"wadi:concurrency": bad}});
        rig.refused("TagResource", tag, INVALID, "not a number from 1 to 1600").await;
    }
    rig.ok("TagResource", json!({"Resource": arn, "Tags": {"wadi:concurrency": "1"}})).await;
    assert_eq!(rig.config(json!({"FunctionName": "f"})).await["LastUpdateStatus"], "InProgress");
    rig.settle().await;
    assert_eq!(calls().await, None);
}
