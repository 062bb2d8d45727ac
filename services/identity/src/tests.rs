//! Keys as the gate asks for them: development, root, temporary.

use crate::{Config, Identity, Parts};
use base::port::{Clock, Identity as _};
use base::{AccountId, Timestamp};
use kit::{ManualClock, Seeded};
use std::sync::Arc;
use std::time::Duration;
use store::{Seal, Store, memory::Memory};

async fn open(store: &Store, clock: &Arc<ManualClock>, development: bool) -> Arc<Identity> {
    let account = AccountId::parse("111122223333").expect("twelve digits");
    let entropy = Arc::new(Seeded::new(clock.now().millis()));
    let config = Config { development, account };
    let seal = Arc::new(Seal::new(&[[1; 32]], entropy.clone()));
    Identity::open(Parts { store: store.clone(), seal, clock: clock.clone(), entropy, config }).await.expect("opens")
}

fn setting() -> (Store, Arc<ManualClock>) {
    (Store::new(Arc::new(Memory::default())), ManualClock::at(Timestamp(1_000)))
}

#[tokio::test]
async fn development_key_only_in_development() {
    let (store, clock) = setting();
    let room = open(&store, &clock, true).await;
    let key = room.credential("test", None).await.expect("the development key");
    assert_eq!((key.secret_key.as_str(), key.principal.as_str()), ("test", "arn:aws:iam::000000000000:root"));
    assert!(room.credential("test", Some("token")).await.is_none());
    assert!(room.credential("tset", None).await.is_none());
    assert!(room.root_key().is_none());

    let room = open(&store, &clock, false).await;
    assert!(room.credential("test", None).await.is_none());
}

#[tokio::test]
async fn root_key_is_made_once_and_kept() {
    let (store, clock) = setting();
    let first = open(&store, &clock, false).await.root_key().expect("made").clone();
    assert!(first.access_key.starts_with("AKIA") && first.access_key.len() == 20);
    assert_eq!(first.secret_key.len(), 40);
    clock.set(Timestamp(5));
    let room = open(&store, &clock, false).await;
    assert_eq!(room.root_key(), Some(&first));
    let key = room.credential(&first.access_key, None).await.expect("known");
    assert_eq!((key.secret_key, key.account.as_str()), (first.secret_key, "111122223333"));
}

#[tokio::test]
async fn temporary_keys_survive_restart_and_end() {
    let (store, clock) = setting();
    let room = open(&store, &clock, true).await;
    let role = "arn:aws:iam::000000000000:role/thumbs-role";
    let keys = room.issue(&AccountId::development(), role, "thumbs", Duration::from_secs(60));
    assert!(keys.access_key.starts_with("ASIA") && keys.secret_key.len() == 40);

    let room = open(&store, &clock, true).await;
    let token = Some(keys.session_token.as_str());
    let found = room.credential(&keys.access_key, token).await.expect("issued here");
    assert_eq!(found.secret_key, keys.secret_key);
    assert_eq!(found.principal, "arn:aws:sts::000000000000:assumed-role/thumbs-role/thumbs");

    assert!(room.credential(&keys.access_key, None).await.is_none(), "the token is part of the key");
    assert!(room.credential("test", token).await.is_none(), "the token is another key's");
    let mut forged = keys.session_token.clone();
    forged.replace_range(3..4, if &forged[3..4] == "A" { "B" } else { "A" });
    assert!(room.credential(&keys.access_key, Some(&forged)).await.is_none());
    for junk in ["", ".", "a.b", "é.é"] {
        assert!(room.credential(&keys.access_key, Some(junk)).await.is_none(), "{junk}");
    }
    clock.advance(Duration::from_secs(60));
    assert!(room.credential(&keys.access_key, token).await.is_none(), "it has expired");
}

#[tokio::test]
async fn another_node_does_not_know_the_keys() {
    let (store, clock) = setting();
    let keys = open(&store, &clock, true).await.issue(&AccountId::development(), "r", "s", Duration::from_secs(60));
    let (other, later) = (Store::new(Arc::new(Memory::default())), ManualClock::at(Timestamp(77)));
    let room = open(&other, &later, true).await;
    assert!(room.credential(&keys.access_key, Some(&keys.session_token)).await.is_none());
}

#[tokio::test]
async fn storage_never_sees_the_keys_and_plain_ones_are_sealed() {
    let (store, clock) = setting();
    let plain = |name: &str, text: &str| (store::Key::of(name), [&[1][..], text.as_bytes()].concat());
    let hex = "ab".repeat(32);
    let written = [
        plain("identity/secret", &format!("{{\"hex\":\"{hex}\"}}")),
        plain("identity/root", r#"{"access_key":"AKIAOLD","secret_key":"old-secret"}"#),
    ];
    let before = &written;
    let write =
        |tx: store::Tx| async move { before.iter().try_for_each(|(key, bytes)| tx.put_bytes(key, bytes.clone())) };
    store.transact(write).await.expect("commits");
    for _ in 0..2 {
        let room = open(&store, &clock, false).await;
        assert_eq!(room.root_key().map(|key| key.secret_key.as_str()), Some("old-secret"));
        let items = store.scan(&[], &[0xff; 16], 10).await.expect("storage works");
        let held: String = items.iter().map(|item| String::from_utf8_lossy(&item.value).into_owned()).collect();
        assert_eq!(items.len(), 2);
        assert!(!held.contains("old-secret") && !held.contains("AKIAOLD") && !held.contains(&hex), "{held}");
    }
    let entropy = Arc::new(Seeded::new(1));
    let other = Arc::new(Seal::new(&[[2; 32]], entropy.clone()));
    let config = Config { development: true, account: AccountId::development() };
    let refused = Identity::open(Parts { store: store.clone(), seal: other, clock, entropy, config }).await;
    assert!(refused.err().expect("another key").to_string().contains("has not been given"));
}
