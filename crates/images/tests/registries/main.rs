//! What registries are shown, and where: against servers that the tests play. What TLS and real registries do is tried from
//! outside, with `docker-registry`.

mod bounds;
mod fake;
mod logins;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use images::{Config, Error, Image, Images};
use serde_json::json;
use sha2::{Digest, Sha256};
use store::Blobs;

/// The layer of the one image that there is.
const LAYER: &[u8] = &[7; 100];

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn config() -> String {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let rootfs = json!({"type": "layers", "diff_ids": [digest(b"unpacked")]});
    json!({"architecture": architecture, "os": "linux", "rootfs": rootfs, "config": {"Entrypoint": ["/e"]}}).to_string()
}

fn manifest() -> String {
    let layer =
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(LAYER), "size": LAYER.len()});
    let config = json!({"digest": digest(config().as_bytes()), "size": config().len()});
    json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string()
}

/// What a registry has at a path of the repository `a/b`.
fn found(line: &str) -> Option<Vec<u8>> {
    let blob = |bytes: &[u8]| format!("GET /v2/a/b/blobs/{}", digest(bytes));
    match line {
        "GET /v2/a/b/manifests/1" => Some(manifest().into()),
        line if line == blob(config().as_bytes()) => Some(config().into()),
        line if line == blob(LAYER) => Some(LAYER.into()),
        _ => None,
    }
}

fn is_layer(line: &str) -> bool {
    line.ends_with(&digest(LAYER))
}

/// A node's images, with a file of logins.
struct Rig {
    images: Images,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new(logins: serde_json::Value) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config.json");
        std::fs::write(&file, logins.to_string()).expect("writes");
        let blobs = Blobs::directory(&dir.path().join("blobs")).expect("blobs");
        Self { images: Images::new(Config { credentials: vec![file], ..Config::default() }, blobs), _dir: dir }
    }

    /// As `ada` with the password `secret`, at a registry.
    fn of_ada(host: &str) -> Self {
        Self::new(json!({"auths": {host: {"auth": STANDARD.encode("ada:secret")}}}))
    }

    /// Resolves and pulls the image of a registry.
    async fn take(&self, host: &str) -> Result<Image, Error> {
        let image = self.images.resolve(&format!("{host}/a/b:1")).await?;
        self.images.pull(&image).await.map(|()| image)
    }

    async fn fails(&self, host: &str) -> Error {
        let Err(error) = self.take(host).await else { panic!("it was taken") };
        for secret in ["secret", &STANDARD.encode("ada:secret"), "token-of"] {
            assert!(!error.to_string().contains(secret), "{error}");
        }
        error
    }
}
