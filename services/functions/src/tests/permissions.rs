//! AddPermission, RemovePermission, GetPolicy.

use super::rig::{ARN, Rig};
use serde_json::{Value, json};

fn grant(id: &str) -> Value {
    json!({
        "FunctionName": "f", "StatementId": id, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::photos",
    })
}

#[tokio::test]
async fn a_policy_grows_and_shrinks() {
    let rig = Rig::new();
    rig.create("f").await;
    let added = rig.ok("AddPermission", grant("a")).await;
    let statement: Value = serde_json::from_str(added["Statement"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        statement,
        json!({
            "Sid": "a", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "lambda:InvokeFunction", "Resource": ARN,
            "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"}},
        })
    );
    let text = "The statement id (a) provided already exists.";
    rig.refused("AddPermission", grant("a"), "ResourceConflictException", text).await;
    rig.ok("AddPermission", grant("b")).await;
    let got = rig.ok("GetPolicy", json!({"FunctionName": "f"})).await;
    let policy: Value = serde_json::from_str(got["Policy"].as_str().expect("text")).expect("JSON");
    assert_eq!((&policy["Version"], &policy["Id"]), (&json!("2012-10-17"), &json!("default")));
    assert_eq!(policy["Statement"].as_array().expect("a list").len(), 2);

    let remove = |id: &str, revision: &Value| json!({"FunctionName": "f", "StatementId": id, "RevisionId": revision});
    rig.refused("RemovePermission", remove("a", &json!("x")), "PreconditionFailedException", "GetPolicy").await;
    rig.ok("RemovePermission", remove("a", &got["RevisionId"])).await;
    let text = "Statement a is not found in resource policy.";
    rig.refused("RemovePermission", remove("a", &Value::Null), "ResourceNotFoundException", text).await;
    rig.ok("RemovePermission", remove("b", &Value::Null)).await;
    let text = "The resource you requested does not exist.";
    rig.refused("GetPolicy", json!({"FunctionName": "f"}), "ResourceNotFoundException", text).await;
    let text = "No policy is associated with the given resource.";
    rig.refused("RemovePermission", remove("b", &Value::Null), "ResourceNotFoundException", text).await;
}

#[tokio::test]
async fn each_qualifier_has_its_own() {
    let rig = Rig::new();
    rig.create("f").await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    let mut input = grant("a");
    input["Qualifier"] = json!("1");
    let added = rig.ok("AddPermission", input.clone()).await;
    assert!(added["Statement"].as_str().expect("text").contains(&format!("{ARN}:1")));
    rig.refused("GetPolicy", json!({"FunctionName": "f"}), "ResourceNotFoundException", "").await;
    rig.ok("GetPolicy", json!({"FunctionName": "f:1"})).await;
    input["Qualifier"] = json!("$LATEST");
    let text = "We currently do not support adding policies for $LATEST.";
    rig.refused("AddPermission", input.clone(), "InvalidParameterValueException", text).await;
    input["Qualifier"] = json!("9");
    rig.refused("AddPermission", input, "ResourceNotFoundException", &format!("Function not found: {ARN}:9")).await;
}

#[tokio::test]
async fn what_a_policy_may_not_be() {
    let rig = Rig::new();
    rig.create("f").await;
    let mut bad = grant("a");
    bad["Principal"] = json!("someone");
    let text = "The provided principal was invalid.";
    rig.refused("AddPermission", bad, "InvalidParameterValueException", text).await;
    let mut url = grant("a");
    url["FunctionUrlAuthType"] = json!("NONE");
    let text = "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action";
    rig.refused("AddPermission", url, "InvalidParameterValueException", text).await;
    for i in 0.. {
        match rig.call("AddPermission", grant(&format!("statement-{i}"))).await {
            Ok(_) => assert!(i < 200, "a policy has a bound"),
            Err(fault) => {
                assert_eq!(fault.code, "PolicyLengthExceededException");
                assert!(fault.message.contains("is bigger than the limit (20480)."), "{}", fault.message);
                break;
            }
        }
    }
}
