//! What a restart and the sweep leave standing.

use super::rig::{Rig, zip_text};
use base::{AccountId, Caller, Scope, Timestamp};
use bytes::Bytes;
use kit::{caller, scope};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn pending_functions_are_taken_up_after_a_restart() {
    let rig = Rig::new();
    rig.ok("CreateFunction", Rig::create_input("f")).await;
    rig.create("g").await;
    rig.ok("UpdateFunctionCode", json!({"FunctionName": "g", "ZipFile": zip_text("2")})).await;
    // `f` was made ready along with `g`; leave one of each kind behind.
    rig.ok("CreateFunction", Rig::create_input("h")).await;
    let rig = rig.restarted();
    assert_eq!(rig.config(json!({"FunctionName": "h"})).await["State"], "Pending");
    let stop = CancellationToken::new();
    let work = tokio::spawn(rig.functions.clone().work(stop.clone()));
    for _ in 0..1000 {
        if rig.config(json!({"FunctionName": "h"})).await["State"] == "Active"
            && rig.config(json!({"FunctionName": "g"})).await["LastUpdateStatus"] == "Successful"
        {
            stop.cancel();
            work.await.expect("ends when told");
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the functions stayed pending");
}

#[tokio::test]
async fn work_makes_new_functions_ready() {
    let rig = Rig::new();
    let stop = CancellationToken::new();
    let work = tokio::spawn(rig.functions.clone().work(stop.clone()));
    rig.ok("CreateFunction", Rig::create_input("f")).await;
    for _ in 0..1000 {
        if rig.config(json!({"FunctionName": "f"})).await["State"] == "Active" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(rig.config(json!({"FunctionName": "f"})).await["State"], "Active");
    stop.cancel();
    work.await.expect("ends when told");
}

/// One account's functions take for ever; its own next ones wait for a place, another account's do not.
#[tokio::test]
async fn what_is_slow_keeps_no_other_account_waiting() {
    let rig = Rig::new();
    let other =
        Caller { scope: Scope::new(AccountId::parse("111111111111").expect("an account"), scope().region), ..caller() };
    let state = async |caller: &Caller, name: &str| {
        let input = json!({"FunctionName": name});
        let got = rig.send_as(caller.clone(), "GetFunctionConfiguration", input, Bytes::new()).await.expect("is there");
        got.output["State"].as_str().expect("a state").to_owned()
    };
    rig.runner.script.lock().slow = (1..=4).map(|n| format!("slow{n}")).collect();
    let stop = CancellationToken::new();
    let work = tokio::spawn(rig.functions.clone().work(stop.clone()));
    for name in ["slow1", "slow2", "slow3", "quick", "slow4", "late"] {
        rig.ok("CreateFunction", Rig::create_input(name)).await;
        if name == "quick" {
            until(async || state(&caller(), "quick").await == "Active").await;
        }
    }
    until(async || rig.runner.script.lock().prepared.iter().any(|version| version.name == "slow4")).await;
    let mut input = Rig::create_input("theirs");
    input["Role"] = json!("arn:aws:iam::111111111111:role/r");
    rig.send_as(other.clone(), "CreateFunction", input, Bytes::new()).await.expect("takes it");
    until(async || state(&other, "theirs").await == "Active").await;
    assert_eq!(state(&caller(), "late").await, "Pending");
    stop.cancel();
    work.await.expect("ends when told");
}

async fn until(is: impl AsyncFn() -> bool) {
    for _ in 0..2000 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not in time");
}

#[tokio::test]
async fn the_sweep_takes_only_code_that_nothing_names() {
    let rig = Rig::new();
    let layer = json!({"LayerName": "lib", "Content": {"ZipFile": zip_text("l")}});
    rig.ok("PublishLayerVersion", layer).await;
    let mut input = Rig::create_input("f");
    input["Layers"] = json!(["arn:aws:lambda:us-east-1:000000000000:layer:lib:1"]);
    rig.ok("CreateFunction", input).await;
    rig.settle().await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.ok("DeleteLayerVersion", json!({"LayerName": "lib", "VersionNumber": 1})).await;
    rig.update("f", "2").await;
    rig.update("f", "3").await;
    // Blobs are dated by the file system, so look from far ahead.
    assert_eq!(rig.functions.sweep_code_at(Timestamp(0)).await.expect("storage works"), 0, "young ones stay");
    let later = Timestamp(u64::MAX);
    assert_eq!(rig.functions.sweep_code_at(later).await.expect("storage works"), 1, "the second code");
    assert_eq!(rig.functions.sweep_code_at(later).await.expect("storage works"), 0);
    rig.ok("DeleteFunction", json!({"FunctionName": "f"})).await;
    assert_eq!(rig.functions.sweep_code_at(later).await.expect("storage works"), 3, "two versions and a layer");
}
