//! Layers.

use super::rig::{Rig, zip, zip_text};
use serde_json::{Value, json};

const LAYER: &str = "arn:aws:lambda:us-east-1:000000000000:layer:lib";

async fn publish(rig: &Rig, name: &str, runtime: &str) -> Value {
    let input = json!({
        "LayerName": name, "Content": {"ZipFile": zip_text(runtime)}, "CompatibleRuntimes": [runtime],
        "Description": "d", "LicenseInfo": "MIT",
    });
    rig.ok("PublishLayerVersion", input).await
}

#[tokio::test]
async fn published_listed_deleted() {
    let rig = Rig::new();
    let first = publish(&rig, "lib", "python3.11").await;
    assert_eq!((&first["LayerArn"], &first["LayerVersionArn"]), (&json!(LAYER), &json!(format!("{LAYER}:1"))));
    assert_eq!((&first["Version"], &first["Content"]["CodeSize"]), (&json!(1), &json!(zip("python3.11").len())));
    assert_eq!(first["CreatedDate"], "2026-11-23T15:51:04.123+0000");
    publish(&rig, "lib", "python3.12").await;
    publish(&rig, "other", "python3.12").await;
    let by_arn = rig.ok("GetLayerVersionByArn", json!({"Arn": format!("{LAYER}:1")})).await;
    assert_eq!((&by_arn["Description"], &by_arn["LicenseInfo"]), (&json!("d"), &json!("MIT")));
    let versions = rig.ok("ListLayerVersions", json!({"LayerName": "lib"})).await;
    let numbers: Vec<&Value> =
        versions["LayerVersions"].as_array().expect("a list").iter().map(|v| &v["Version"]).collect();
    assert_eq!(numbers, [&json!(2), &json!(1)]);
    let layers = rig.ok("ListLayers", json!({"CompatibleRuntime": "python3.11"})).await;
    assert_eq!(layers["Layers"].as_array().expect("a list").len(), 1);
    assert_eq!(layers["Layers"][0]["LatestMatchingVersion"]["Version"], 1);

    rig.ok("DeleteLayerVersion", json!({"LayerName": "lib", "VersionNumber": 2})).await;
    let gone = json!({"LayerName": LAYER, "VersionNumber": 2});
    rig.refused("GetLayerVersion", gone, "ResourceNotFoundException", "The resource you requested does not exist.")
        .await;
    assert_eq!(publish(&rig, "lib", "python3.11").await["Version"], 3);
}

#[tokio::test]
async fn functions_use_them() {
    let rig = Rig::new();
    for name in ["lib", "l2", "l3", "l4", "l5", "l6"] {
        publish(&rig, name, "python3.11").await;
    }
    publish(&rig, "lib", "python3.12").await;
    let arn = |name: &str, n: u32| format!("arn:aws:lambda:us-east-1:000000000000:layer:{name}:{n}");
    let mut input = Rig::create_input("f");
    let mut with = |layers: Vec<String>| {
        input["Layers"] = json!(layers);
        input.clone()
    };
    let invalid = "InvalidParameterValueException";
    let missing = format!("Layer version {} does not exist.", arn("lib", 9));
    rig.refused("CreateFunction", with(vec![arn("lib", 9)]), invalid, &missing).await;
    let twice = with(vec![arn("lib", 1), arn("lib", 2)]);
    rig.refused("CreateFunction", twice, invalid, "Two different versions of the same layer").await;
    let six = ["lib", "l2", "l3", "l4", "l5", "l6"].map(|n| arn(n, 1)).to_vec();
    rig.refused("CreateFunction", with(six), invalid, "Cannot reference more than 5 layers.").await;
    let created = rig.ok("CreateFunction", with(vec![arn("l2", 1), arn("lib", 1)])).await;
    assert_eq!(created["Layers"][1], json!({"Arn": arn("lib", 1), "CodeSize": zip("python3.11").len()}));
    rig.ok("DeleteLayerVersion", json!({"LayerName": "lib", "VersionNumber": 1})).await;
    rig.settle().await;
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    assert_eq!(rig.runner.last_call().1.layers.len(), 2, "a deleted layer stays with who uses it");
    rig.ok("UpdateFunctionConfiguration", json!({"FunctionName": "f", "Layers": []})).await;
    rig.settle().await;
    assert!(rig.config(json!({"FunctionName": "f"})).await.get("Layers").is_none());
}

#[tokio::test]
async fn policies_of_layers() {
    let rig = Rig::new();
    publish(&rig, "lib", "python3.11").await;
    let at = json!({"LayerName": "lib", "VersionNumber": 1});
    rig.refused("GetLayerVersionPolicy", at.clone(), "ResourceNotFoundException", "").await;
    let mut add = at.clone();
    add["StatementId"] = json!("all");
    add["Action"] = json!("lambda:GetLayerVersion");
    add["Principal"] = json!("*");
    let added = rig.ok("AddLayerVersionPermission", add.clone()).await;
    rig.refused("AddLayerVersionPermission", add, "ResourceConflictException", "(all)").await;
    let got = rig.ok("GetLayerVersionPolicy", at.clone()).await;
    assert_eq!(got["RevisionId"], added["RevisionId"]);
    assert!(got["Policy"].as_str().expect("text").contains(&format!("{LAYER}:1")));
    let mut remove = at.clone();
    remove["StatementId"] = json!("all");
    rig.ok("RemoveLayerVersionPermission", remove).await;
    rig.refused("GetLayerVersionPolicy", at, "ResourceNotFoundException", "").await;
}
