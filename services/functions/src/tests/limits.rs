//! What is refused, and in which words.

use super::rig::{Rig, zip_text};
use crate::Config;
use base64::Engine as _;
use serde_json::{Value, json};

async fn refused(member: &str, value: Value, code: &str, text: &str) {
    let mut input = Rig::create_input("f");
    input[member] = value;
    Rig::new().refused("CreateFunction", input, code, text).await;
}

const INVALID: &str = "InvalidParameterValueException";

#[tokio::test]
async fn runtimes() {
    refused(
        "Runtime",
        json!("nodejs22.x"),
        INVALID,
        "nodejs22.x is not available on this node. Available runtimes: [python3.11",
    )
    .await;
    refused("Runtime", json!("cobol"), INVALID, "Value cobol at 'runtime' failed to satisfy constraint").await;
}

#[tokio::test]
async fn options_that_are_not_there_are_refused_by_name() {
    for (member, value, name) in [
        ("VpcConfig", json!({"SubnetIds": ["subnet-1"]}), "VpcConfig with SubnetIds"),
        (
            "VpcConfig",
            json!({"SecurityGroupIds": ["sg-a", "sg-b"]}),
            "VpcConfig with more than one of SecurityGroupIds",
        ),
        ("VpcConfig", json!({"Ipv6AllowedForDualStack": true}), "VpcConfig with Ipv6AllowedForDualStack"),
        ("KMSKeyArn", json!("arn:aws:kms:x"), "KMSKeyArn"),
        ("TracingConfig", json!({"Mode": "Active"}), "TracingConfig with Mode Active"),
        ("FileSystemConfigs", json!([{"Arn": "a", "LocalMountPath": "/mnt/x"}]), "FileSystemConfigs"),
        ("LoggingConfig", json!({"LogFormat": "JSON"}), "LoggingConfig with LogFormat JSON"),
        ("TenancyConfig", json!({"TenantIsolationMode": "PER_TENANT"}), "TenancyConfig"),
        ("DurableConfig", json!({}), "DurableConfig"),
        ("CodeSigningConfigArn", json!("arn"), "CodeSigningConfigArn"),
        ("Code", json!({"S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v"}), "S3ObjectVersion"),
    ] {
        refused(member, value, INVALID, &format!("Wadi does not support {name}")).await;
    }
    let elsewhere = json!({"SecurityGroupIds": ["sg-1"]});
    refused("VpcConfig", elsewhere, INVALID, "Invalid SecurityGroupIds: the network \"1\" is none of").await;
    refused("Architectures", json!(["arm64"]), INVALID, "architecture arm64 is not available on this node").await;
}

#[tokio::test]
async fn options_that_ask_for_nothing_pass() {
    let rig = Rig::new();
    let mut input = Rig::create_input("f");
    input["VpcConfig"] = json!({"SubnetIds": [], "SecurityGroupIds": []});
    input["TracingConfig"] = json!({"Mode": "PassThrough"});
    input["SnapStart"] = json!({"ApplyOn": "None"});
    input["DeadLetterConfig"] = json!({});
    input["LoggingConfig"] = json!({"LogFormat": "Text", "LogGroup": "/my/group"});
    input["KMSKeyArn"] = json!("");
    input["Architectures"] = json!(["x86_64"]);
    let created = rig.ok("CreateFunction", input).await;
    assert_eq!(created["LoggingConfig"]["LogGroup"], "/my/group");
}

#[tokio::test]
async fn a_network_is_part_of_a_version() {
    let rig = Rig::new();
    let mut input = Rig::create_input("f");
    input["VpcConfig"] = json!({"SecurityGroupIds": ["sg-db"]});
    let created = rig.ok("CreateFunction", input).await;
    let expected = json!({"SecurityGroupIds": ["sg-db"], "SubnetIds": []});
    assert_eq!(created["VpcConfig"], expected);
    rig.settle().await;
    let runs_in = async |qualifier: &str| {
        let call = json!({"FunctionName": "f", "Qualifier": qualifier});
        rig.send("Invoke", call, "{}".into()).await.expect("it runs");
        rig.runner.last_call().1
    };
    let first = runs_in("$LATEST").await;
    assert_eq!(first.network.as_deref(), Some("db"));
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.settle().await;
    let update = |groups: Value| json!({"FunctionName": "f", "VpcConfig": {"SecurityGroupIds": groups}});
    let elsewhere = update(json!(["sg-1"]));
    rig.refused("UpdateFunctionConfiguration", elsewhere, INVALID, "none of this node's: db, platform").await;
    let usual = rig.ok("UpdateFunctionConfiguration", update(json!([]))).await;
    assert_eq!(usual.get("VpcConfig"), None);
    rig.settle().await;
    let second = runs_in("$LATEST").await;
    assert_eq!(second.network, None);
    assert_ne!(first.revision, second.revision, "instances of the other network are not used again");
    assert_eq!(runs_in("1").await.network.as_deref(), Some("db"));
}

#[tokio::test]
async fn packages() {
    let encode = |bytes: &[u8]| json!({"ZipFile": base64::engine::general_purpose::STANDARD.encode(bytes)});
    refused("Code", json!({}), INVALID, "Please provide a source for function code.").await;
    refused("Code", encode(b""), INVALID, "Uploaded file must be a non-empty zip").await;
    refused("Code", encode(b"not a zip"), INVALID, "Could not unzip uploaded file. Please check your file").await;
}

#[tokio::test]
async fn code_storage() {
    let rig = Rig::with(Config { code_bytes_total_max: 200, architecture: "x86_64", ..Config::default() });
    rig.create("f").await;
    let second = Rig::create_input("g");
    rig.refused("CreateFunction", second, "CodeStorageExceededException", "Code storage limit exceeded.").await;
    rig.refused("PublishVersion", json!({"FunctionName": "f"}), "CodeStorageExceededException", "").await;
    rig.update("f", "2").await;
    rig.ok("DeleteFunction", json!({"FunctionName": "f"})).await;
    rig.create("g").await;
}

#[tokio::test]
async fn concurrency_leaves_a_hundred() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.create("g").await;
    let put = |name: &str, n: i32| json!({"FunctionName": name, "ReservedConcurrentExecutions": n});
    rig.ok("PutFunctionConcurrency", put("f", 600)).await;
    let text = "decreases account's UnreservedConcurrentExecution below its minimum value of [100].";
    rig.refused("PutFunctionConcurrency", put("g", 301), INVALID, text).await;
    rig.ok("PutFunctionConcurrency", put("g", 300)).await;
    rig.ok("PutFunctionConcurrency", put("f", 0)).await;
    let off = rig.ok("GetFunctionConcurrency", json!({"FunctionName": "f"})).await;
    assert_eq!(off, json!({"ReservedConcurrentExecutions": 0}));
    rig.ok("DeleteFunctionConcurrency", json!({"FunctionName": "f"})).await;
    assert_eq!(rig.ok("GetFunctionConcurrency", json!({"FunctionName": "f"})).await, json!({}));
    let settings = rig.ok("GetAccountSettings", json!({})).await;
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 700);
}

#[tokio::test]
async fn an_update_is_held_to_the_same_rules() {
    let rig = Rig::new();
    rig.create("f").await;
    let update = |member: &str, value: Value| json!({"FunctionName": "f", member: value});
    let environment = update("Environment", json!({"Variables": {"AWS_REGION": "x"}}));
    rig.refused("UpdateFunctionConfiguration", environment, INVALID, "Reserved keys used in this request: AWS_REGION")
        .await;
    let vpc = update("VpcConfig", json!({"SubnetIds": ["subnet-1"]}));
    rig.refused("UpdateFunctionConfiguration", vpc, INVALID, "VpcConfig").await;
    let timeout = update("Timeout", json!(5000));
    rig.refused("UpdateFunctionConfiguration", timeout, "ValidationException", "'timeout'").await;
    let both = json!({"FunctionName": "f", "ZipFile": zip_text("1"), "S3Bucket": "b", "S3Key": "k"});
    rig.refused("UpdateFunctionCode", both, INVALID, "Please provide a source").await;
}
