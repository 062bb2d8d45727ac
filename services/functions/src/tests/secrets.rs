//! Environments at rest: what storage holds, and what comes of it with another master key.

use super::rig::Rig;
use crate::records::Function;
use crate::sealing::{self, Environment};
use crate::store::At;
use base::{AccountId, Region, Scope};
use serde_json::{Value, json};

const SECRET: &str = "correct horse battery staple";

fn with_secret(name: &str) -> Value {
    let mut input = Rig::create_input(name);
    input["Environment"] = json!({"Variables": {"PASSWORD": SECRET}});
    input
}

fn scope() -> Scope {
    Scope::new(AccountId::development(), Region::parse("us-east-1").expect("a region"))
}

/// Everything that storage holds, keys and values.
async fn stored(rig: &Rig) -> String {
    let items = rig.store.scan(&[], &[0xff; 16], 10_000).await.expect("storage works");
    items.iter().map(|i| String::from_utf8_lossy(&[&i.key[..], &i.value[..]].concat()).into_owned()).collect()
}

async fn given(rig: &Rig) -> String {
    rig.ok("Invoke", json!({"FunctionName": "f"})).await;
    rig.runner.last_call().1.environment["PASSWORD"].clone()
}

#[tokio::test]
async fn storage_never_sees_them() {
    let rig = Rig::new();
    rig.ok("CreateFunction", with_secret("f")).await;
    rig.settle().await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    let change =
        json!({"FunctionName": "f", "Environment": {"Variables": {"PASSWORD": SECRET, "STAGE": "staging-4711"}}});
    let updated = rig.ok("UpdateFunctionConfiguration", change).await;
    assert_eq!(updated["Environment"]["Variables"]["PASSWORD"], SECRET);
    for _ in 0..2 {
        let held = stored(&rig).await;
        assert!(held.contains("sealed") && !held.contains(SECRET) && !held.contains("staging-4711"), "{held}");
        assert!(!held.contains("PASSWORD"), "nor their names");
        rig.settle().await;
    }
    assert_eq!(given(&rig).await, SECRET);
    let function: Function = rig.store.get(&At::Function(&scope(), "f").key()).await.expect("reads").expect("there");
    assert!(!format!("{function:?}").contains(SECRET));
    let rig = rig.restarted();
    assert_eq!(given(&rig).await, SECRET);
}

/// What a node of before wrote.
async fn make_plain(rig: &Rig) {
    let key = &At::Function(&scope(), "f").key();
    rig.store
        .transact(|tx| async move {
            let mut function: Function = tx.get(key).await?.expect("there");
            let variables = [("PASSWORD".to_owned(), SECRET.to_owned()), ("sealed".to_owned(), "x".to_owned())];
            function.latest.settings.environment = Some(Environment::plain(variables.into()));
            tx.put(key, &function)
        })
        .await
        .expect("commits");
}

#[tokio::test]
async fn what_was_plain_is_read_and_then_sealed() {
    let rig = Rig::new();
    rig.ok("CreateFunction", with_secret("f")).await;
    rig.settle().await;
    make_plain(&rig).await;
    assert!(stored(&rig).await.contains(SECRET));
    let shown = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!(shown["Environment"]["Variables"], json!({"PASSWORD": SECRET, "sealed": "x"}));
    assert_eq!(given(&rig).await, SECRET);
    assert_eq!(rig.functions.reseal().await.expect("works"), 1);
    assert!(!stored(&rig).await.contains(SECRET));
    assert_eq!(rig.config(json!({"FunctionName": "f"})).await["Environment"], shown["Environment"]);
    assert_eq!(rig.functions.reseal().await.expect("works"), 0);
}

#[tokio::test]
async fn a_wrong_key_is_told_before_and_after() {
    let rig = Rig::new();
    assert_eq!(sealing::is_sealed(&rig.store).await, Ok(false));
    sealing::check(&rig.store, &rig.seal).await.expect("the first");
    assert_eq!(sealing::is_sealed(&rig.store).await, Ok(true));
    rig.ok("CreateFunction", with_secret("f")).await;
    rig.settle().await;
    let rig = rig.rekeyed(&[2]);
    let refused = sealing::check(&rig.store, &rig.seal).await.expect_err("another");
    assert!(refused.contains("which this node has not been given"), "{refused}");
    let shown = rig.config(json!({"FunctionName": "f"})).await;
    assert_eq!(shown["Environment"]["Error"]["ErrorCode"], "InvalidKey");
    assert!(shown["Environment"].get("Variables").is_none(), "{shown}");
    rig.refused("Invoke", json!({"FunctionName": "f"}), "ServiceException", "unable to decrypt").await;
    // Whoever lost the key for good sets the environment anew.
    rig.ok(
        "UpdateFunctionConfiguration",
        json!({"FunctionName": "f", "Environment": {"Variables": {"PASSWORD": "b"}}}),
    )
    .await;
    rig.settle().await;
    assert_eq!(given(&rig).await, "b");
}

#[tokio::test]
async fn a_new_master_key_takes_over() {
    let rig = Rig::new();
    sealing::check(&rig.store, &rig.seal).await.expect("the first");
    rig.ok("CreateFunction", with_secret("f")).await;
    rig.settle().await;
    rig.ok("PublishVersion", json!({"FunctionName": "f"})).await;
    let rig = rig.rekeyed(&[2, 1]);
    sealing::check(&rig.store, &rig.seal).await.expect("the old one is there");
    assert_eq!(rig.functions.reseal().await.expect("works"), 2, "$LATEST and version 1");
    let rig = rig.rekeyed(&[2]);
    sealing::check(&rig.store, &rig.seal).await.expect("the old one is needed no more");
    assert_eq!(given(&rig).await, SECRET);
    let published = rig.config(json!({"FunctionName": "f", "Qualifier": "1"})).await;
    assert_eq!(published["Environment"]["Variables"]["PASSWORD"], SECRET);
}

#[tokio::test]
async fn the_key_of_links_is_sealed_too() {
    let rig = Rig::new();
    let key = rig.functions.link_key_or("a-fresh-key").await.expect("made");
    assert_eq!((key.as_str(), stored(&rig).await.contains("a-fresh-key")), ("a-fresh-key", false));
    rig.store
        .transact(|tx| async move { tx.put_bytes(&At::Secret.key(), b"\x01{\"key\":\"plain\"}".to_vec()) })
        .await
        .expect("as before");
    let read = async |rig: &Rig| rig.functions.link_key_or("another").await.expect("kept");
    assert_eq!(read(&rig).await, "plain");
    rig.functions.reseal().await.expect("works");
    assert!(!stored(&rig).await.contains("plain"));
    assert_eq!(read(&rig).await, "plain");
    let rig = rig.rekeyed(&[2, 1]);
    rig.functions.reseal().await.expect("works");
    assert_eq!(read(&rig.rekeyed(&[2])).await, "plain");
}

#[tokio::test]
async fn an_old_key_is_needed_while_anything_is_sealed_with_it() {
    let rig = Rig::new();
    sealing::check(&rig.store, &rig.seal).await.expect("the first");
    rig.ok("CreateFunction", with_secret("f")).await;
    rig.settle().await;
    let rig = rig.rekeyed(&[2]);
    assert_eq!(rig.functions.reseal().await.expect("works"), 0);
    assert!(sealing::check(&rig.store, &rig.seal).await.is_err(), "what cannot be read is not forgotten");
}
