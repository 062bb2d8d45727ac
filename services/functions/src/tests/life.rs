//! The life of a function: created, updated, deleted; its states; where its code comes from.

use super::rig::{ARN, ROLE, Rig, START, zip, zip_text};
use bytes::Bytes;
use engine::PrepareError;
use serde_json::json;

#[tokio::test]
async fn created_with_the_whole_shape() {
    let rig = Rig::new();
    let created = rig.ok("CreateFunction", Rig::create_input("f")).await;
    let runtime_version = created["RuntimeVersionConfig"]["RuntimeVersionArn"].as_str().expect("text");
    assert!(runtime_version.starts_with("arn:aws:lambda:us-east-1::runtime:"));
    let expect = json!({
        "FunctionName": "f", "FunctionArn": ARN, "Runtime": "python3.11", "Role": ROLE, "Handler": "m.h",
        "CodeSize": zip("1").len(), "Description": "", "Timeout": 3, "MemorySize": 128,
        "LastModified": "2026-11-23T15:51:04.123+0000", "CodeSha256": created["CodeSha256"], "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"}, "RevisionId": created["RevisionId"],
        "State": "Pending", "StateReason": "The function is being created.", "StateReasonCode": "Creating",
        "PackageType": "Zip", "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": created["RuntimeVersionConfig"],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
    });
    assert_eq!(created, expect);
    assert_eq!(created["CodeSha256"].as_str().expect("text").len(), 44, "base64 of a SHA-256");
    rig.refused("Invoke", json!({"FunctionName": "f"}), "ResourceConflictException", "following state: Pending").await;

    rig.settle().await;
    let active = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!((&active["State"], &active["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    assert!(active.get("StateReason").is_none());
    assert_ne!(active["RevisionId"], created["RevisionId"]);
    assert_eq!(rig.runner.script.lock().prepared.len(), 1);
}

#[tokio::test]
async fn an_update_leaves_the_old_one_running_until_it_is_ready() {
    let rig = Rig::new();
    rig.create("f").await;
    let change = json!({"FunctionName": "f", "Timeout": 10, "Environment": {"Variables": {"STAGE": "x"}}});
    let updated = rig.ok("UpdateFunctionConfiguration", change.clone()).await;
    assert_eq!((&updated["State"], &updated["LastUpdateStatus"]), (&json!("Active"), &json!("InProgress")));
    assert_eq!(updated["Timeout"], 10);
    let busy = format!("An update is in progress for resource: {ARN}");
    rig.refused("UpdateFunctionConfiguration", change, "ResourceConflictException", &busy).await;
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    assert_eq!(rig.runner.last_call().1.timeout_s, 3, "the old configuration still runs");

    rig.settle().await;
    let after = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!(
        (&after["LastUpdateStatus"], &after["Environment"]["Variables"]["STAGE"]),
        (&json!("Successful"), &json!("x"))
    );
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    let (_, version) = rig.runner.last_call();
    assert_eq!((version.timeout_s, version.environment["STAGE"].as_str()), (10, "x"));
    let retired = rig.runner.script.lock().retired.last().cloned();
    assert_eq!(retired, Some(("$LATEST".into(), Some(version.revision))));
}

#[tokio::test]
async fn what_cannot_be_made_ready_says_why() {
    let rig = Rig::new();
    let error = PrepareError { code: "InvalidRuntime", message: "no such interpreter".into() };
    rig.runner.script.lock().cannot_prepare = Some(error.clone());
    rig.create("f").await;
    let failed = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!(
        (&failed["State"], &failed["StateReasonCode"], &failed["StateReason"]),
        (&json!("Failed"), &json!("InvalidRuntime"), &json!("no such interpreter"))
    );
    rig.refused("Invoke", json!({"FunctionName": "f"}), "ResourceConflictException", "following state: Failed").await;

    rig.runner.script.lock().cannot_prepare = None;
    rig.update("f", "2").await;
    let mended = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!(mended["State"], "Active");

    rig.runner.script.lock().cannot_prepare = Some(error);
    rig.update("f", "3").await;
    let kept = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!((&kept["State"], &kept["LastUpdateStatus"]), (&json!("Active"), &json!("Failed")));
    assert_eq!(kept["LastUpdateStatusReason"], "no such interpreter");
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    let (ran, prepared) = (rig.runner.last_call().1, rig.runner.script.lock().prepared.clone());
    assert_eq!(ran.revision, prepared[1].revision, "the last good one goes on running");
}

#[tokio::test]
async fn duplicates_and_strangers() {
    let rig = Rig::new();
    rig.create("f").await;
    let again = Rig::create_input("f");
    rig.refused("CreateFunction", again, "ResourceConflictException", "Function already exist: f").await;
    for (operation, input) in [
        ("GetFunction", json!({"FunctionName": "g"})),
        ("GetFunctionConfiguration", json!({"FunctionName": "g"})),
        ("DeleteFunction", json!({"FunctionName": "g"})),
        ("UpdateFunctionConfiguration", json!({"FunctionName": "g"})),
        ("UpdateFunctionCode", json!({"FunctionName": "g", "ZipFile": zip_text("1")})),
        ("PublishVersion", json!({"FunctionName": "g"})),
        ("ListVersionsByFunction", json!({"FunctionName": "g"})),
        ("PutFunctionConcurrency", json!({"FunctionName": "g", "ReservedConcurrentExecutions": 1})),
        ("Invoke", json!({"FunctionName": "g"})),
        ("Invoke", json!({"FunctionName": "g", "InvocationType": "Event"})),
    ] {
        let text = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:g";
        rig.refused(operation, input, "ResourceNotFoundException", text).await;
    }
}

#[tokio::test]
async fn deleted_with_all_that_hangs_on_it() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.ok("CreateAlias", json!({"FunctionName": "f", "Name": "a", "FunctionVersion": "1"})).await;
    rig.ok("CreateFunctionUrlConfig", json!({"FunctionName": "f", "AuthType": "NONE"})).await;
    let grant = json!({
        "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
    });
    rig.ok("AddPermission", grant).await;
    rig.ok("PutFunctionConcurrency", json!({"FunctionName": "f", "ReservedConcurrentExecutions": 5})).await;
    let reply = rig.send("DeleteFunction", json!({"FunctionName": "f"}), Bytes::new()).await.expect("deleted");
    assert_eq!(reply.status, Some(204));
    let settings = rig.ok("GetAccountSettings", json!({})).await;
    assert_eq!(settings["AccountUsage"], json!({"TotalCodeSize": 0, "FunctionCount": 0}));
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], 1000);
    rig.create("f").await;
    rig.refused("GetPolicy", json!({"FunctionName": "f"}), "ResourceNotFoundException", "").await;
    rig.refused(
        "GetAlias",
        json!({"FunctionName": "f", "Name": "a"}),
        "ResourceNotFoundException",
        "Cannot find alias arn: ",
    )
    .await;
    rig.refused("GetFunctionUrlConfig", json!({"FunctionName": "f"}), "ResourceNotFoundException", "").await;
}

#[tokio::test]
async fn code_from_a_bucket() {
    let rig = Rig::new();
    rig.objects.0.lock().insert(("b".into(), "k".into()), zip("from s3").into());
    let with = |bucket: &str, key: &str| {
        let mut input = Rig::create_input("f");
        input["Code"] = json!({"S3Bucket": bucket, "S3Key": key});
        input
    };
    let message =
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.";
    rig.refused("CreateFunction", with("b", "other"), "InvalidParameterValueException", message).await;
    rig.refused("CreateFunction", with("x", "k"), "InvalidParameterValueException", "S3 Error Code: NoSuchBucket")
        .await;
    let created = rig.ok("CreateFunction", with("b", "k")).await;
    assert_eq!(created["CodeSize"], zip("from s3").len());
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let rig = Rig::new();
    rig.create("f").await;
    let before = rig.config(json!({"FunctionName": "f"})).await;
    let input = json!({"FunctionName": "f", "ZipFile": zip_text("2"), "DryRun": true});
    let would = rig.ok("UpdateFunctionCode", input).await;
    assert_ne!(would["CodeSha256"], before["CodeSha256"]);
    assert_eq!(rig.config(json!({"FunctionName": "f"})).await, before);
}

#[tokio::test]
async fn revisions_are_preconditions() {
    let rig = Rig::new();
    let created = rig.create("f").await;
    let update = |id: &serde_json::Value| json!({"FunctionName": "f", "Timeout": 5, "RevisionId": id});
    let text = "The Revision Id provided does not match the latest Revision Id.";
    rig.refused("UpdateFunctionConfiguration", update(&created["RevisionId"]), "PreconditionFailedException", text)
        .await;
    let latest = rig.config(json!({"FunctionName": "f"})).await;
    rig.clock.advance(std::time::Duration::from_secs(1));
    let updated = rig.ok("UpdateFunctionConfiguration", update(&latest["RevisionId"])).await;
    assert_eq!(updated["LastModified"], "2026-11-23T15:51:05.123+0000");
    assert_eq!(START.millis() % 1000, 123);
}

#[tokio::test]
async fn get_function_links_to_code() {
    let rig = Rig::new();
    let mut input = Rig::create_input("f");
    input["Tags"] = json!({"team": "x"});
    rig.ok("CreateFunction", input).await;
    rig.ok("PutFunctionConcurrency", json!({"FunctionName": "f", "ReservedConcurrentExecutions": 7})).await;
    let got = rig.ok("GetFunction", json!({"FunctionName": ARN})).await;
    assert_eq!(got["Tags"], json!({"team": "x"}));
    assert_eq!(got["Concurrency"], json!({"ReservedConcurrentExecutions": 7}));
    assert_eq!(got["Code"]["RepositoryType"], "S3");
    let location = got["Code"]["Location"].as_str().expect("a link");
    assert!(location.starts_with("http://127.0.0.1:4566/_wadi/code/"), "{location}");
}

#[tokio::test]
async fn tags_come_and_go() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.ok("TagResource", json!({"Resource": ARN, "Tags": {"a": "1", "b": "2"}})).await;
    rig.ok("UntagResource", json!({"Resource": ARN, "TagKeys": ["a", "x"]})).await;
    assert_eq!(rig.ok("ListTags", json!({"Resource": ARN})).await, json!({"Tags": {"b": "2"}}));
    let many: serde_json::Map<_, _> = (0..51).map(|i| (format!("k{i}"), json!("v"))).collect();
    let input = json!({"Resource": ARN, "Tags": many});
    rig.refused("TagResource", input, "InvalidParameterValueException", "exceeds resource tag limit").await;
}
