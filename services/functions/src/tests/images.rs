//! Functions of container images: what is asked, what is shown, what is refused.

use super::rig::{ROLE, Rig, zip_text};
use engine::{Isolation, Runtime};
use serde_json::{Value, json};

fn create(uri: &str) -> Value {
    json!({"FunctionName": "f", "PackageType": "Image", "Role": ROLE, "Code": {"ImageUri": uri}})
}

#[tokio::test]
async fn an_image_is_shown_as_aws_shows_it() {
    let rig = Rig::new();
    let mut input = create("r.example/f:1");
    input["ImageConfig"] = json!({"Command": ["app.handler"], "WorkingDirectory": "/srv"});
    let created = rig.ok("CreateFunction", input).await;
    assert_eq!((&created["PackageType"], &created["CodeSize"]), (&json!("Image"), &json!(0)));
    assert_eq!(
        created["ImageConfigResponse"]["ImageConfig"],
        json!({"Command": ["app.handler"], "WorkingDirectory": "/srv"})
    );
    for absent in ["Runtime", "Handler", "RuntimeVersionConfig", "Layers"] {
        assert!(created.get(absent).is_none(), "{absent}");
    }
    rig.settle().await;
    let code = &rig.ok("GetFunction", json!({"FunctionName": "f"})).await["Code"];
    let sha256 = created["CodeSha256"].as_str().expect("text");
    assert_eq!(sha256.len(), 64, "an image's digest is hexadecimal");
    let resolved = format!("r.example/f@sha256:{sha256}");
    let expect = json!({"RepositoryType": "ECR", "ImageUri": "r.example/f:1", "ResolvedImageUri": resolved});
    assert_eq!(code, &expect);
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    let (_, version) = rig.runner.last_call();
    let Runtime::Image(config) = &version.runtime else { panic!("{:?}", version.runtime) };
    assert_eq!((&config.command, config.directory.as_deref()), (&vec!["app.handler".to_owned()], Some("/srv")));
    assert_eq!(rig.ok("GetAccountSettings", json!({})).await["AccountUsage"]["TotalCodeSize"], 0);
}

#[tokio::test]
async fn an_update_resolves_again_and_versions_stay() {
    let rig = Rig::new();
    rig.ok("CreateFunction", create("r.example/f:1")).await;
    rig.settle().await;
    let first = rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    let updated = rig.ok("UpdateFunctionCode", json!({"FunctionName": "f", "ImageUri": "r.example/f:2"})).await;
    assert_ne!(updated["CodeSha256"], first["CodeSha256"]);
    rig.settle().await;
    rig.ok("Invoke", json!({"FunctionName": "f", "Qualifier": "1"})).await;
    assert_eq!(rig.runner.last_call().1.code.sha256(), first["CodeSha256"]);
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    assert_eq!(rig.runner.last_call().1.code.sha256(), updated["CodeSha256"]);
}

#[tokio::test]
async fn what_belongs_to_the_other_kind_is_refused() {
    let rig = Rig::new();
    let invalid = "InvalidParameterValueException";
    let with = |name: &str, value: Value| {
        let mut input = create("r.example/f:1");
        input[name] = value;
        input
    };
    rig.refused("CreateFunction", create("none"), invalid, "does not exist").await;
    rig.refused("CreateFunction", with("Runtime", "python3.11".into()), invalid, "provide Runtime").await;
    rig.refused("CreateFunction", with("Handler", "a.b".into()), invalid, "provide Handler").await;
    rig.refused(
        "CreateFunction",
        with("Layers", json!(["arn:aws:lambda:us-east-1:000000000000:layer:l:1"])),
        invalid,
        "provide Layers",
    )
    .await;
    rig.refused(
        "CreateFunction",
        with("SnapStart", json!({"ApplyOn": "PublishedVersions"})),
        invalid,
        "A container image is not supported",
    )
    .await;
    rig.refused("CreateFunction", with("Code", json!({})), invalid, "Please provide ImageUri").await;
    rig.refused("CreateFunction", with("ImageConfig", json!({"WorkingDirectory": "../x"})), invalid, "absolute path")
        .await;
    let mut zip = Rig::create_input("f");
    zip["ImageConfig"] = json!({"Command": ["x"]});
    rig.refused("CreateFunction", zip, invalid, "provide ImageConfig").await;
    rig.create("z").await;
    rig.refused(
        "UpdateFunctionCode",
        json!({"FunctionName": "z", "ImageUri": "r.example/f:1"}),
        invalid,
        "packageType Zip",
    )
    .await;
    rig.ok("CreateFunction", create("r.example/f:1")).await;
    rig.settle().await;
    rig.refused(
        "UpdateFunctionCode",
        json!({"FunctionName": "f", "ZipFile": zip_text("1")}),
        invalid,
        "packageType Image",
    )
    .await;
    rig.refused(
        "UpdateFunctionConfiguration",
        json!({"FunctionName": "f", "Handler": "a.b"}),
        invalid,
        "provide Handler",
    )
    .await;
}

#[tokio::test]
async fn the_tag_for_the_wall_is_a_configuration() {
    let rig = Rig::new();
    let mut input = create("r.example/f:1");
    input["Tags"] = json!({"wadi:isolation": "gvisor"});
    let created = rig.ok("CreateFunction", input).await;
    rig.settle().await;
    let isolation = async || {
        rig.ok("Invoke", json!({"FunctionName": "f"})).await;
        rig.runner.last_call().1.isolation
    };
    assert_eq!(isolation().await, Some(Isolation::Gvisor));
    let arn = &created["FunctionArn"];
    let tag = |value: &str| json!({"Resource": arn, "Tags": {"wadi:isolation": value}});
    rig.refused("TagResource", tag("moat"), "InvalidParameterValueException", "process, container, gvisor").await;
    let before = rig.runner.last_call().1.revision;
    rig.ok("TagResource", tag("container")).await;
    assert_eq!(rig.config(json!({"FunctionName": "f"})).await["LastUpdateStatus"], "InProgress");
    assert_eq!(isolation().await, Some(Isolation::Gvisor), "until it is ready");
    rig.settle().await;
    assert_eq!(isolation().await, Some(Isolation::Container));
    assert_ne!(rig.runner.last_call().1.revision, before, "instances of before are not used");
    rig.ok("TagResource", json!({"Resource": arn, "Tags": {"other": "x"}})).await;
    assert_eq!(
        rig.config(json!({"FunctionName": "f"})).await["LastUpdateStatus"],
        "Successful",
        "others change nothing"
    );
    rig.ok("UntagResource", json!({"Resource": arn, "TagKeys": ["wadi:isolation"]})).await;
    rig.settle().await;
    assert_eq!(isolation().await, None);
}

#[tokio::test]
async fn the_tag_for_the_network_is_a_configuration() {
    let rig = Rig::new();
    let mut input = Rig::create_input("f");
    input["Tags"] = json!({"wadi:network": "db"});
    let created = rig.ok("CreateFunction", input).await;
    assert!(created.get("VpcConfig").is_none(), "{created}");
    rig.settle().await;
    let network = async || {
        rig.ok("Invoke", json!({"FunctionName": "f"})).await;
        rig.runner.last_call().1.network
    };
    assert_eq!(network().await.as_deref(), Some("db"));
    let tag = |value: &str| json!({"Resource": created["FunctionArn"], "Tags": {"wadi:network": value}});
    rig.refused("TagResource", tag("moon"), "InvalidParameterValueException", "wadi:network").await;
    rig.ok("TagResource", tag("platform")).await;
    rig.settle().await;
    assert_eq!(network().await.as_deref(), Some("platform"));
    // What belongs to the version comes first.
    let named = |groups: Value| json!({"FunctionName": "f", "VpcConfig": {"SecurityGroupIds": groups}});
    rig.ok("UpdateFunctionConfiguration", named(json!(["sg-db"]))).await;
    rig.settle().await;
    assert_eq!(network().await.as_deref(), Some("db"));
    rig.ok("UpdateFunctionConfiguration", named(json!([]))).await;
    rig.settle().await;
    assert_eq!(network().await.as_deref(), Some("platform"));
    rig.ok("UntagResource", json!({"Resource": created["FunctionArn"], "TagKeys": ["wadi:network"]})).await;
    rig.settle().await;
    assert_eq!(network().await, None);
}
