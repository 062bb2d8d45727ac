//! Versions and aliases.

use super::rig::{ARN, Rig};
use serde_json::{Value, json};

async fn publish(rig: &Rig) -> Value {
    let published = rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    rig.settle().await;
    published
}

#[tokio::test]
async fn publishing_is_idempotent_until_something_changes() {
    let rig = Rig::new();
    rig.create("f").await;
    let first = publish(&rig).await;
    assert_eq!((&first["Version"], &first["FunctionArn"]), (&json!("1"), &json!(format!("{ARN}:1"))));
    assert_eq!((&first["State"], &first["LastUpdateStatus"]), (&json!("Active"), &json!("Successful")));
    assert_eq!(publish(&rig).await["Version"], "1");
    rig.update("f", "2").await;
    let second = rig.ok("PublishVersion", json!({"FunctionName": "f", "Description": "the second"})).await;
    assert_eq!((&second["Version"], &second["Description"]), (&json!("2"), &json!("the second")));
    let first_again = rig.config(json!({"FunctionName": "f", "Qualifier": "1"})).await;
    assert_eq!(first_again["CodeSha256"], first["CodeSha256"], "a version never changes");
    rig.ok("DeleteFunction", json!({"FunctionName": "f", "Qualifier": "2"})).await;
    assert_eq!(publish(&rig).await["Version"], "3", "numbers are not used twice");
}

#[tokio::test]
async fn publishing_with_create_and_update() {
    let rig = Rig::new();
    let mut input = Rig::create_input("f");
    input["Publish"] = json!(true);
    let created = rig.ok("CreateFunction", input).await;
    assert_eq!((&created["Version"], &created["State"]), (&json!("1"), &json!("Pending")));
    rig.settle().await;
    assert_eq!(rig.config(json!({"FunctionName": "f:1"})).await["State"], "Active");
    let update = json!({"FunctionName": "f", "ZipFile": super::rig::zip_text("2"), "Publish": true});
    assert_eq!(rig.ok("UpdateFunctionCode", update).await["Version"], "2");
    rig.settle().await;
    assert_eq!(rig.config(json!({"FunctionName": "f:2"})).await["State"], "Active");
}

#[tokio::test]
async fn preconditions_of_publishing() {
    let rig = Rig::new();
    rig.create("f").await;
    let wrong = json!({"FunctionName": "f", "CodeSha256": "x"});
    let text = "CodeSHA256 (x) is different from current CodeSHA256 in $LATEST (";
    rig.refused("PublishVersion", wrong, "InvalidParameterValueException", text).await;
    let stale = json!({"FunctionName": "f", "RevisionId": "x"});
    rig.refused("PublishVersion", stale, "PreconditionFailedException", "Revision Id").await;
    let config = rig.config(json!({"FunctionName": "f"})).await;
    let right = json!({"FunctionName": "f", "CodeSha256": config["CodeSha256"], "RevisionId": config["RevisionId"]});
    assert_eq!(rig.ok("PublishVersion", right).await["Version"], "1");
}

#[tokio::test]
async fn aliases() {
    let rig = Rig::new();
    rig.create("f").await;
    publish(&rig).await;
    rig.update("f", "2").await;
    publish(&rig).await;
    let create = json!({
        "FunctionName": "f", "Name": "prod", "FunctionVersion": "1", "Description": "d",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}},
    });
    let alias = rig.ok("CreateAlias", create.clone()).await;
    assert_eq!(
        alias,
        json!({
            "AliasArn": format!("{ARN}:prod"), "Name": "prod", "FunctionVersion": "1", "Description": "d",
            "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}, "RevisionId": alias["RevisionId"],
        })
    );
    let text = format!("Alias already exists: {ARN}:prod");
    rig.refused("CreateAlias", create, "ResourceConflictException", &text).await;
    let nowhere = json!({"FunctionName": "f", "Name": "x", "FunctionVersion": "9"});
    rig.refused("CreateAlias", nowhere, "ResourceNotFoundException", &format!("Function not found: {ARN}:9")).await;

    // The fake runner draws 0: always the additional version.
    rig.ok("Invoke", json!({"FunctionName": "f:prod"})).await;
    assert_eq!(rig.runner.last_call().1.version, "2");
    let update = json!({"FunctionName": "f", "Name": "prod", "RoutingConfig": {}, "RevisionId": alias["RevisionId"]});
    let updated = rig.ok("UpdateAlias", update.clone()).await;
    assert!(updated.get("RoutingConfig").is_none());
    rig.refused("UpdateAlias", update, "PreconditionFailedException", "Revision Id").await;
    rig.ok("Invoke", json!({"FunctionName": "f", "Qualifier": "prod"})).await;
    assert_eq!(rig.runner.last_call().1.version, "1");

    let delete = json!({"FunctionName": "f", "Qualifier": "1"});
    rig.refused("DeleteFunction", delete, "ResourceConflictException", "[prod]").await;
    let config = rig.config(json!({"FunctionName": "f", "Qualifier": "prod"})).await;
    assert_eq!((&config["FunctionArn"], &config["Version"]), (&json!(format!("{ARN}:prod")), &json!("1")));
    let listed = rig.ok("ListAliases", json!({"FunctionName": "f", "FunctionVersion": "2"})).await;
    assert_eq!(listed, json!({"Aliases": []}));
    rig.ok("DeleteAlias", json!({"FunctionName": "f", "Name": "prod"})).await;
    let gone = json!({"FunctionName": "f", "Name": "prod"});
    rig.refused("GetAlias", gone, "ResourceNotFoundException", &format!("Cannot find alias arn: {ARN}:prod")).await;
    let text = format!("Function not found: {ARN}:prod");
    rig.refused("Invoke", json!({"FunctionName": "f:prod"}), "ResourceNotFoundException", &text).await;
}

#[tokio::test]
async fn what_cannot_be_deleted_by_qualifier() {
    let rig = Rig::new();
    rig.create("f").await;
    let latest = json!({"FunctionName": "f", "Qualifier": "$LATEST"});
    let text = "$LATEST version cannot be deleted without deleting the function.";
    rig.refused("DeleteFunction", latest, "InvalidParameterValueException", text).await;
    let alias = json!({"FunctionName": "f", "Qualifier": "prod"});
    rig.refused("DeleteFunction", alias, "InvalidParameterValueException", "Deletion of aliases").await;
}
