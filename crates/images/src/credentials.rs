//! Logins for registries, from the files that docker, podman and skopeo keep, and from the helpers that those name.

use crate::{Error, Result, keeper};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

const FILE_BYTES_MAX: u64 = 1 << 20;
/// What Docker's own registry is called by those who log in: by an address of old.
const DOCKER: [&str; 3] = ["https://index.docker.io/v1/", "index.docker.io", "docker.io"];

/// What a registry knows somebody by. It is shown nowhere: there is no `Debug`.
#[derive(Clone, PartialEq)]
pub(crate) enum Login {
    Password {
        user: String,
        password: String,
    },
    /// Which a token server exchanges for others (`identitytoken`).
    Identity(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    /// The helper of a registry.
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
    /// The helper of all others.
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    /// `user:password` in base64.
    auth: Option<String>,
    identitytoken: Option<String>,
}

/// What the files have for a registry's repository; the first that has something counts. They are read each time: people log in
/// while a node runs.
pub(crate) async fn of(files: &[PathBuf], registry: &str, repository: &str) -> Result<Option<Login>> {
    for path in files {
        let Some(file) = read(path)? else { continue };
        if let Some(name) = file.helper(registry)
            && let Some(login) = keeper::ask(name, server(registry)).await?
        {
            return Ok(Some(login));
        }
        if let Some(entry) = file.entry(registry, repository) {
            let shown = path.display();
            let login = entry.login().map_err(|()| {
                Error::unavailable(format!("What this node's {shown} has for the registry {registry} is no login"))
            })?;
            if login.is_some() {
                return Ok(login);
            }
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<File>> {
    // No more than where it is wrong is told: what stands there is secret.
    let unreadable = |why: String| Error::unavailable(format!("This node's {} cannot be read: {why}", path.display()));
    let file = match std::fs::File::open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        opened => opened.map_err(|error| unreadable(error.to_string()))?,
    };
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let file = serde_json::from_slice(&text);
    file.map(Some).map_err(|error| unreadable(format!("line {}, column {}", error.line(), error.column())))
}

/// As helpers know a registry.
fn server(registry: &str) -> &str {
    if DOCKER.contains(&registry) { DOCKER[0] } else { registry }
}

impl File {
    fn helper(&self, registry: &str) -> Option<&str> {
        let own = names(registry).find_map(|name| self.cred_helpers.get(name));
        own.or(self.creds_store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Of the repository or what is above it, the nearest first (as podman keeps them); of the registry; of an address in it.
    fn entry(&self, registry: &str, repository: &str) -> Option<&Entry> {
        let whole = format!("{registry}/{repository}");
        let above = whole.match_indices('/').map(|(at, _)| &whole[..at]);
        let mut nearest: Vec<&str> = above.chain([whole.as_str()]).collect();
        nearest.reverse();
        let named = nearest.into_iter().chain(names(registry)).find_map(|name| self.auths.get(name));
        named.or_else(|| self.auths.iter().find(|(name, _)| host_of(name) == Some(registry)).map(|(_, entry)| entry))
    }
}

fn names(registry: &str) -> impl Iterator<Item = &str> {
    let docker = if DOCKER.contains(&registry) { &DOCKER[..] } else { &[] };
    docker.iter().copied().chain([registry])
}

/// The host of an entry that is an address, as old clients write them (`https://registry.example/v1/`).
fn host_of(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("https://").or(name.strip_prefix("http://"))?;
    rest.split('/').next()
}

impl Entry {
    fn login(&self) -> Result<Option<Login>, ()> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Some(Login::Identity(token.clone())));
        }
        // Clients that keep logins in a helper leave empty entries here.
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let pair = String::from_utf8(STANDARD.decode(auth).map_err(drop)?).map_err(drop)?;
        let (user, password) = pair.split_once(':').ok_or(())?;
        Ok(Some(Login::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Login> {
        Some(Login::Password { user: user.to_owned(), password: password.to_owned() })
    }

    async fn of(files: &[PathBuf], registry: &str, repository: &str) -> Option<Login> {
        super::of(files, registry, repository).await.expect("can be read")
    }

    #[tokio::test]
    async fn for_the_registry_that_is_meant() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = [dir.path().join("none.json"), dir.path().join("config.json"), dir.path().join("auth.json")];
        let auth = |pair: &str| serde_json::json!({"auth": STANDARD.encode(pair)});
        let text = serde_json::json!({"auths": {
            "r.example:5000": auth("ada:p:w"),
            "r.example:5000/team": auth("team:pw"),
            "https://old.example/v1/": auth("old:pw"),
            "https://index.docker.io/v1/": {"identitytoken": "t"},
            "kept.example": {},
        }});
        std::fs::write(&files[1], text.to_string()).expect("writes");
        let text = serde_json::json!({"auths": {"r.example:5000": auth("other:pw"), "kept.example": auth("kept:pw")}});
        std::fs::write(&files[2], text.to_string()).expect("writes");
        assert!(of(&files, "r.example:5000", "a/b").await == password("ada", "p:w"), "the first file's");
        assert!(of(&files, "r.example:5000", "team/a/b").await == password("team", "pw"));
        assert!(of(&files, "r.example:5000", "teams").await == password("ada", "p:w"));
        assert!(of(&files, "old.example", "a").await == password("old", "pw"));
        assert!(of(&files, "index.docker.io", "library/a").await == Some(Login::Identity("t".into())));
        assert!(of(&files, "kept.example", "a").await == password("kept", "pw"), "an empty entry is none");
        assert!(of(&files, "r.example", "a").await.is_none() && of(&[], "r.example:5000", "a").await.is_none());
    }

    #[tokio::test]
    async fn what_is_no_login_is_told_and_not_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = [dir.path().join("config.json")];
        for text in [
            r#"{"auths": {"r": {"auth": "secret!"}}}"#,
            r#"{"auths": "secret"}"#,
            r#"{"auths": {"r": {"auth": "c2VjcmV0"}}}"#,
        ] {
            std::fs::write(&file[0], text).expect("writes");
            let Err(Error::Unavailable(why)) = super::of(&file, "r", "a").await else { panic!("{text} is no login") };
            assert!(why.contains("config.json") && !why.contains("secret") && !why.contains("c2VjcmV0"), "{why}");
        }
        std::fs::write(&file[0], vec![b' '; FILE_BYTES_MAX as usize + 1]).expect("writes");
        assert!(super::of(&file, "r", "a").await.is_err_and(|why| why.to_string().contains("larger than")));
    }
}
