//! What a restart and the sweep leave standing.

use super::rig::{Rig, zip_text};
use base::Timestamp;
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
