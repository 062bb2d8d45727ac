//! Provisioned concurrency: its rules, what the engine is told, and what moves it.

use super::rig::{ARN, Rig};
use serde_json::{Value, json};

const INVALID: &str = "InvalidParameterValueException";
const CONFLICT: &str = "ResourceConflictException";
const NONE: &str = "ProvisionedConcurrencyConfigNotFoundException";

fn at(qualifier: &str) -> Value {
    json!({"FunctionName": "f", "Qualifier": qualifier})
}

fn put(qualifier: &str, wanted: i32) -> Value {
    json!({"FunctionName": "f", "Qualifier": qualifier, "ProvisionedConcurrentExecutions": wanted})
}

/// A function with versions 1 and 2, and an alias `live` for 1.
async fn rig() -> Rig {
    let rig = Rig::new();
    rig.create("f").await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.update("f", "2").await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.settle().await;
    rig.ok("CreateAlias", json!({"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})).await;
    rig
}

fn told(rig: &Rig) -> Vec<(String, u32)> {
    rig.runner.script.lock().provisioned.get("f").cloned().unwrap_or_default()
}

fn of(shares: &[(&str, u32)]) -> Vec<(String, u32)> {
    shares.iter().map(|(version, n)| ((*version).to_owned(), *n)).collect()
}

#[tokio::test]
async fn put_get_list_delete() {
    let rig = rig().await;
    let reply = rig.ok("PutProvisionedConcurrencyConfig", put("2", 5)).await;
    let fresh = json!({
        "RequestedProvisionedConcurrentExecutions": 5, "AvailableProvisionedConcurrentExecutions": 0,
        "AllocatedProvisionedConcurrentExecutions": 0, "Status": "IN_PROGRESS",
        "LastModified": "2026-11-23T15:51:04.123+0000",
    });
    assert_eq!(reply, fresh);
    assert_eq!(told(&rig), of(&[("2", 5)]));
    let got = rig.ok("GetProvisionedConcurrencyConfig", at("2")).await;
    assert_eq!((&got["Status"], &got["AvailableProvisionedConcurrentExecutions"]), (&json!("READY"), &json!(5)));
    rig.runner.script.lock().cannot_provision = true;
    let got = rig.ok("GetProvisionedConcurrencyConfig", at("2")).await;
    assert_eq!((&got["Status"], &got["StatusReason"]), (&json!("FAILED"), &json!("FUNCTION_ERROR_INIT_FAILURE")));
    rig.ok("PutProvisionedConcurrencyConfig", put("live", 3)).await;
    let all = rig.ok("ListProvisionedConcurrencyConfigs", json!({"FunctionName": "f"})).await;
    let arns: Vec<_> = all["ProvisionedConcurrencyConfigs"].as_array().expect("a list").iter().collect();
    let arns: Vec<_> = arns.iter().map(|item| item["FunctionArn"].as_str().expect("one")).collect();
    assert_eq!(arns, [format!("{ARN}:2"), format!("{ARN}:live")]);
    for qualifier in ["2", "live", "live"] {
        rig.ok("DeleteProvisionedConcurrencyConfig", at(qualifier)).await;
        rig.refused("GetProvisionedConcurrencyConfig", at(qualifier), NONE, "No Provisioned Concurrency Config").await;
    }
    assert_eq!(told(&rig), []);
}

#[tokio::test]
async fn what_may_be_provisioned() {
    let rig = rig().await;
    let operation = "PutProvisionedConcurrencyConfig";
    let unpublished = "cannot be applied to unpublished function versions.";
    rig.refused(operation, put("$LATEST", 1), INVALID, unpublished).await;
    rig.ok("CreateAlias", json!({"FunctionName": "f", "Name": "tip", "FunctionVersion": "$LATEST"})).await;
    rig.refused(operation, put("tip", 1), INVALID, unpublished).await;
    rig.refused(operation, put("9", 1), "ResourceNotFoundException", "Function not found").await;
    rig.refused(operation, put("none", 1), "ResourceNotFoundException", "Function not found").await;
    rig.refused(operation, put("1", 901), INVALID, "below its minimum value of [100].").await;
    rig.ok(operation, put("1", 1)).await;
    rig.refused(operation, put("live", 1), CONFLICT, "on an already Provisioned version").await;
    rig.ok(operation, put("2", 899)).await;
    rig.ok("DeleteProvisionedConcurrencyConfig", at("1")).await;
    rig.ok(operation, put("live", 1)).await;
    rig.refused(operation, put("1", 1), CONFLICT, "pointed by a Provisioned Concurrency alias").await;
    let update = json!({"FunctionName": "f", "Name": "live", "FunctionVersion": "2"});
    rig.refused("UpdateAlias", update, CONFLICT, "on an already Provisioned version").await;
    let update = json!({"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST"});
    rig.refused("UpdateAlias", update, INVALID, unpublished).await;
}

#[tokio::test]
async fn it_counts_against_the_reserved_and_the_account() {
    let rig = rig().await;
    let unreserved = async || {
        let settings = rig.ok("GetAccountSettings", json!({})).await;
        let shown = settings["AccountLimit"]["UnreservedConcurrentExecutions"].as_u64();
        assert_eq!(shown, rig.runner.script.lock().unreserved.map(u64::from));
        shown.expect("a number")
    };
    let reserve = |n: i32| json!({"FunctionName": "f", "ReservedConcurrentExecutions": n});
    rig.ok("PutProvisionedConcurrencyConfig", put("1", 10)).await;
    assert_eq!(unreserved().await, 990);
    let text = "9 should not be lower than function's total provisioned concurrency [10].";
    rig.refused("PutFunctionConcurrency", reserve(9), INVALID, text).await;
    rig.ok("PutFunctionConcurrency", reserve(20)).await;
    assert_eq!(unreserved().await, 980, "the provisioned is part of the reserved");
    let text = "should not be greater than the reservedConcurrentExecution for function";
    rig.refused("PutProvisionedConcurrencyConfig", put("2", 11), INVALID, text).await;
    rig.ok("PutProvisionedConcurrencyConfig", put("2", 10)).await;
    rig.ok("DeleteFunctionConcurrency", json!({"FunctionName": "f"})).await;
    assert_eq!(unreserved().await, 980);
    rig.ok("DeleteFunction", json!({"FunctionName": "f", "Qualifier": "2"})).await;
    assert_eq!((unreserved().await, told(&rig)), (990, of(&[("1", 10)])));
    rig.ok("DeleteFunction", json!({"FunctionName": "f"})).await;
    assert_eq!((unreserved().await, told(&rig)), (1000, of(&[])));
}

#[tokio::test]
async fn it_moves_with_its_alias_and_survives_a_restart() {
    let rig = rig().await;
    rig.ok("PutProvisionedConcurrencyConfig", put("live", 10)).await;
    assert_eq!(told(&rig), of(&[("1", 10)]));
    let split = json!({"FunctionName": "f", "Name": "live", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.3}}});
    rig.ok("UpdateAlias", split).await;
    assert_eq!(told(&rig), of(&[("1", 7), ("2", 3)]));
    let moved = json!({
        "FunctionName": "f", "Name": "live", "FunctionVersion": "2", "RoutingConfig": {"AdditionalVersionWeights": {}},
    });
    rig.ok("UpdateAlias", moved).await;
    assert_eq!(told(&rig), of(&[("2", 10)]));
    let rig = rig.restarted();
    assert_eq!(told(&rig), []);
    rig.functions.tell_all().await.expect("storage works");
    assert_eq!((told(&rig), rig.runner.script.lock().unreserved), (of(&[("2", 10)]), Some(990)));
    rig.ok("DeleteAlias", json!({"FunctionName": "f", "Name": "live"})).await;
    assert_eq!(told(&rig), []);
}
