//! A login goes where it is meant to go, and nowhere else.

use crate::fake::{Fake, Reply, ok, to, wants};
use crate::{Rig, digest, found, is_layer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use images::Error;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn of_ada() -> String {
    format!("Basic {}", STANDARD.encode("ada:secret"))
}

/// A registry that wants this shown, and asks for it so.
async fn registry(shown: impl Into<String>, challenge: String) -> Fake {
    let shown = shown.into();
    let reply = move |line: &str| found(line).map_or(Reply::Whole(404, "x", "y".into(), Vec::new()), ok);
    Fake::on("127.0.0.1", move |asked| if asked.shown == shown { reply(&asked.line) } else { wants(challenge.clone()) })
        .await
}

/// A token server for whoever shows this.
async fn tokens(shown: impl Into<String>) -> Fake {
    let shown = shown.into();
    Fake::on("127.0.0.2", move |asked| match asked.shown == shown {
        true => ok(r#"{"token": "token-of-ada", "expires_in": 60}"#),
        false => Reply::Whole(401, "x", "y".into(), asked.shown.clone().into()),
    })
    .await
}

fn bearer(realm: &Fake) -> String {
    format!(r#"Bearer realm="http://{}/token",service="reg",scope="repository:a/b:pull,push""#, realm.host)
}

#[tokio::test]
async fn a_login_itself() {
    let registry = registry(of_ada(), r#"Basic realm="here""#.into()).await;
    let image = Rig::of_ada(&registry.host).take(&registry.host).await.expect("taken");
    assert_eq!(image.uri, format!("{}/a/b:1", registry.host));
    let lines = registry.lines();
    assert_eq!(lines[0], "GET /v2/a/b/manifests/1", "nothing is shown that is not asked for");
    assert_eq!(lines[1], format!("GET /v2/a/b/manifests/1 {}", of_ada()));
    assert!(lines[2].ends_with(&of_ada()), "and is not asked for again");
    let Error::Denied(why) = Rig::new(json!({})).fails(&registry.host).await else { panic!("no login") };
    assert!(
        why.contains("Lambda does not have permission to access the image") && why.contains("has no login"),
        "{why}"
    );
    let wrong = Rig::new(json!({"auths": {&registry.host: {"auth": STANDARD.encode("ada:wrong")}}}));
    let Error::Denied(why) = wrong.fails(&registry.host).await else { panic!("another login") };
    assert!(why.contains("does not take the login") && !why.contains("wrong"), "{why}");
}

#[tokio::test]
async fn a_token_for_reading_that_one_repository() {
    let tokens = tokens(of_ada()).await;
    let registry = registry("Bearer token-of-ada", bearer(&tokens)).await;
    Rig::of_ada(&registry.host).take(&registry.host).await.expect("taken");
    let once = [format!("GET /token?service=reg&scope=repository%3Aa%2Fb%3Apull {}", of_ada())];
    assert_eq!(tokens.lines()[..1], once);
    assert_eq!(tokens.lines().len(), 2, "one to resolve, one to pull");
    assert!(registry.lines().iter().all(|line| !line.contains("Basic")), "the login is the token server's");
    assert!(matches!(Rig::new(json!({})).fails(&registry.host).await, Error::Denied(_)));
}

#[tokio::test]
async fn a_token_for_nobody() {
    let tokens = tokens("").await;
    let registry = registry("Bearer token-of-ada", bearer(&tokens)).await;
    Rig::new(json!({})).take(&registry.host).await.expect("public images are");
}

#[tokio::test]
async fn a_token_that_is_over_is_asked_for_anew() {
    // Each is good once.
    let good = Arc::new(AtomicBool::new(false));
    let given = good.clone();
    let tokens = Fake::on("127.0.0.2", move |_| {
        given.store(true, Ordering::SeqCst);
        ok(r#"{"token": "token-of-ada"}"#)
    })
    .await;
    let challenge = bearer(&tokens);
    let registry =
        Fake::on("127.0.0.1", move |asked| match !asked.shown.is_empty() && good.swap(false, Ordering::SeqCst) {
            true => found(&asked.line).map_or(Reply::Silent, ok),
            false => wants(challenge.clone()),
        })
        .await;
    Rig::of_ada(&registry.host).take(&registry.host).await.expect("taken");
    assert_eq!(tokens.lines().len(), 3, "for the manifest, the configuration, the layer");
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let tokens = Fake::on("127.0.0.2", |_| ok(r#"{"access_token": "token-of-ada"}"#)).await;
    let registry = registry("Bearer token-of-ada", bearer(&tokens)).await;
    let rig = Rig::new(json!({"auths": {&registry.host: {"identitytoken": "secret"}}}));
    rig.take(&registry.host).await.expect("taken");
    let asked = &tokens.asked()[0];
    assert_eq!((asked.line.as_str(), asked.shown.as_str()), ("POST /token", ""));
    let form =
        "service=reg&scope=repository%3Aa%2Fb%3Apull&grant_type=refresh_token&client_id=wadi&refresh_token=secret";
    assert_eq!(asked.body, form);
}

#[tokio::test]
async fn nothing_is_shown_where_a_redirect_leads() {
    let storage =
        Fake::on("127.0.0.2", |asked| found(&asked.line.replace("/store", "/v2")).map_or(Reply::Silent, ok)).await;
    for shown in [of_ada(), "Bearer token-of-ada".into()] {
        let (tokens, place) = (tokens(of_ada()).await, storage.host.clone());
        let challenge = if shown == of_ada() { r#"Basic realm="x""#.into() } else { bearer(&tokens) };
        let registry =
            Fake::on("127.0.0.1", move |asked| match (asked.shown == shown, asked.line.contains("/blobs/")) {
                (false, _) => wants(challenge.clone()),
                (true, true) => to(format!("http://{place}{}", asked.line.replace("GET /v2", "/store"))),
                (true, false) => found(&asked.line).map_or(Reply::Silent, ok),
            })
            .await;
        Rig::of_ada(&registry.host).take(&registry.host).await.expect("taken");
    }
    assert_eq!(storage.asked().len(), 4, "two blobs, twice");
    assert!(storage.asked().iter().all(|asked| asked.shown.is_empty()));
}

#[tokio::test]
async fn nor_because_that_place_asks() {
    let thief = Fake::on("127.0.0.3", |_| ok(r#"{"token": "x"}"#)).await;
    for challenge in [bearer(&thief), r#"Basic realm="x""#.into()] {
        let place = Fake::on("127.0.0.2", move |_| wants(challenge.clone())).await;
        let target = format!("http://{}/blob", place.host);
        let registry = Fake::on("127.0.0.1", move |asked| match asked.line.contains("/blobs/") {
            true => to(target.clone()),
            false => found(&asked.line).map_or(Reply::Silent, ok),
        })
        .await;
        let why = Rig::of_ada(&registry.host).fails(&registry.host).await.to_string();
        assert!(why.contains("sends us to 127.0.0.2, which answers 401"), "{why}");
        assert_eq!(place.lines(), ["GET /blob"]);
    }
    assert!(thief.asked().is_empty());
}

#[tokio::test]
async fn redirects_end_and_stay_within_https() {
    for target in ["http://192.0.2.1/x", "ftp://127.0.0.1/x", "http://localhost.example/x"] {
        let registry = Fake::on("127.0.0.1", move |_| to(target.into())).await;
        let why = Rig::of_ada(&registry.host).fails(&registry.host).await.to_string();
        assert!(why.contains("by https alone") && why.contains(&target[..target.len() - 2]), "{why}");
        let registry = Fake::on("127.0.0.1", move |_| wants(format!("Bearer realm=\"{target}\""))).await;
        let why = Rig::of_ada(&registry.host).fails(&registry.host).await.to_string();
        assert!(why.contains("by https alone"), "{why}");
    }
    let registry = Fake::on("127.0.0.1", |asked| to(asked.line.replace("GET ", ""))).await;
    let why = Rig::of_ada(&registry.host).fails(&registry.host).await.to_string();
    assert!(why.contains("without end"), "{why}");
    assert_eq!(registry.asked().len(), 6);
}

#[tokio::test]
async fn a_blob_that_another_place_gives_is_what_its_digest_says() {
    let storage = Fake::on("127.0.0.2", |asked| if is_layer(&asked.line) { ok([0; 100]) } else { ok("other") }).await;
    let place = storage.host.clone();
    let registry = Fake::on("127.0.0.1", move |asked| match is_layer(&asked.line) {
        true => to(format!("http://{place}/{}", digest(crate::LAYER))),
        false => found(&asked.line).map_or(Reply::Silent, ok),
    })
    .await;
    let why = Rig::new(json!({})).fails(&registry.host).await.to_string();
    assert!(why.contains("is not what its digest and size say"), "{why}");
}
