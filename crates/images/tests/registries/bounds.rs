//! Registries that say nothing, or too much: the node gives up, and says why.

use crate::fake::{Fake, Reply, ok, wants};
use crate::{Rig, found, is_layer};
use images::Error;
use serde_json::json;

/// What comes of a registry that answers so where `at` says, and is sound elsewhere.
async fn fails(at: fn(&str) -> bool, reply: fn() -> Reply) -> Error {
    let registry = Fake::on("127.0.0.1", move |asked| match at(&asked.line) {
        true => reply(),
        false => found(&asked.line).map_or(Reply::Whole(404, "x", "y".into(), Vec::new()), ok),
    })
    .await;
    Rig::new(json!({})).fails(&registry.host).await
}

fn is_manifest(line: &str) -> bool {
    line.contains("/manifests/")
}

fn is_configuration(line: &str) -> bool {
    line.contains("/blobs/") && !is_layer(line)
}

#[tokio::test]
async fn answers_without_end() {
    let why = fails(is_manifest, || Reply::Endless(200)).await.to_string();
    assert!(why.contains("manifest is larger than"), "{why}");
    let why = fails(is_configuration, || Reply::Endless(200)).await.to_string();
    assert!(why.contains("document of the image is larger than"), "{why}");
    let why = fails(is_layer, || Reply::Endless(200)).await.to_string();
    assert!(why.contains("is not what its digest and size say"), "{why}");
}

#[tokio::test]
async fn errors_without_end() {
    let why = fails(is_manifest, || Reply::Endless(500)).await.to_string();
    assert!(why.contains("answers 500"), "{why}");
    assert!(matches!(fails(is_layer, || Reply::Endless(401)).await, Error::Denied(_)));
    assert!(matches!(fails(is_layer, || Reply::Endless(404)).await, Error::Refused(_)));
}

#[tokio::test]
async fn tokens_without_end() {
    for (status, why) in [(200, "gives no token"), (503, "answers 503"), (302, "answers 302")] {
        let tokens = Fake::on("127.0.0.2", move |_| Reply::Endless(status)).await;
        let challenge = format!("Bearer realm=\"http://{}/\"", tokens.host);
        let registry = Fake::on("127.0.0.1", move |_| wants(challenge.clone())).await;
        let told = Rig::of_ada(&registry.host).fails(&registry.host).await;
        assert!(matches!(&told, Error::Unavailable(text) if text.contains(why)), "{told}");
    }
}

#[tokio::test]
async fn silence() {
    let why = fails(is_manifest, || Reply::Silent).await;
    assert!(matches!(&why, Error::Unavailable(text) if text.contains("cannot be read: operation timed out")), "{why}");
}

#[tokio::test]
async fn silence_in_the_place_of_a_layer() {
    let why = fails(is_layer, || Reply::Silent).await;
    assert!(matches!(&why, Error::Unavailable(text) if text.contains("timed out")), "{why}");
}

#[tokio::test]
async fn a_byte_now_and_then() {
    let why = fails(is_manifest, || Reply::Slow(20)).await;
    assert!(matches!(&why, Error::Unavailable(text) if text.contains("was not found in 60 s")), "{why}");
}

#[tokio::test]
async fn a_layer_of_which_a_byte_comes_now_and_then() {
    let why = fails(is_layer, || Reply::Slow(29)).await;
    assert!(matches!(&why, Error::Unavailable(text) if text.contains("was not there after 1800 s")), "{why}");
}
