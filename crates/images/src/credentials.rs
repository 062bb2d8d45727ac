//! Credentials for registries, from the file that docker, podman and skopeo keep: `config.json`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// `user:password` in base64.
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What the file has for a registry. It is read each time: people log in while a node runs. Credential helpers are not asked.
pub(crate) fn of(file: Option<&Path>, registry: &str) -> RegistryAuth {
    file.and_then(|file| read(file, registry)).unwrap_or(RegistryAuth::Anonymous)
}

fn read(file: &Path, registry: &str) -> Option<RegistryAuth> {
    if std::fs::metadata(file).ok()?.len() > FILE_BYTES_MAX {
        return None;
    }
    let file: File = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    // Docker's own registry is named by an address of old.
    let names = match registry {
        "index.docker.io" | "docker.io" => vec!["https://index.docker.io/v1/", "index.docker.io", "docker.io"],
        other => vec![other],
    };
    let entry = names.into_iter().find_map(|name| file.auths.get(name))?;
    if let Some(token) = entry.identitytoken.as_ref().filter(|token| !token.is_empty()) {
        return Some(RegistryAuth::Bearer(token.clone()));
    }
    let pair = String::from_utf8(STANDARD.decode(entry.auth.as_ref()?).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some(RegistryAuth::Basic(user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_the_registry_that_is_meant() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("config.json");
        let text = serde_json::json!({"auths": {
            "r.example:5000": {"auth": STANDARD.encode("ada:p:w")},
            "https://index.docker.io/v1/": {"identitytoken": "t"},
            "odd": {"auth": "!"},
        }});
        std::fs::write(&file, text.to_string()).expect("writes");
        let of = |registry: &str| of(Some(&file), registry);
        assert_eq!(of("r.example:5000"), RegistryAuth::Basic("ada".into(), "p:w".into()));
        assert_eq!(of("index.docker.io"), RegistryAuth::Bearer("t".into()));
        assert_eq!([of("r.example"), of("odd")], [RegistryAuth::Anonymous, RegistryAuth::Anonymous]);
        assert_eq!(super::of(None, "x"), RegistryAuth::Anonymous);
    }
}
