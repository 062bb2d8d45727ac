//! What a project needs installed: the directory it goes to, kept for the next time, and the installer's run.

use crate::error::{Error, Result, at};
use crate::show::Work;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Lines of an installer's output shown when it fails.
const LINES_MAX: usize = 20;

/// Installed packages: a directory in the cache, or one that goes when this is dropped.
pub enum Site {
    Cached(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Site {
    pub fn path(&self) -> &Path {
        match self {
            Self::Cached(path) => path,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

/// `$XDG_CACHE_HOME/wadi`, else `~/.cache/wadi`.
pub fn cache_dir() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    named("XDG_CACHE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".cache")))
        .map(|base| base.join("wadi"))
        .ok_or_else(|| Error::told("neither HOME nor XDG_CACHE_HOME is set", "set XDG_CACHE_HOME to a directory"))
}

/// Names what is installed by all that decides it, on this kind of machine.
pub fn key(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts.iter().chain([&std::env::consts::ARCH]) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hex::encode(&hasher.finalize()[..16])
}

/// A directory that `install` fills, or the one that an earlier run filled under the same key. Without a key it is not
/// kept.
pub async fn cached(kind: &str, key: Option<String>, install: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<Site> {
    let cache = cache_dir()?.join(kind);
    std::fs::create_dir_all(&cache).map_err(at(&cache))?;
    let ready = key.map(|key| cache.join(key));
    if let Some(ready) = ready.as_ref().filter(|ready| ready.is_dir()) {
        return Ok(Site::Cached(ready.clone()));
    }
    let fresh = tempfile::Builder::new().prefix(".install-").tempdir_in(&cache).map_err(at(&cache))?;
    install(fresh.path()).await?;
    let Some(ready) = ready else { return Ok(Site::Temporary(fresh)) };
    // Another run may have been quicker; what it put there is as good.
    match std::fs::rename(fresh.path(), &ready) {
        Err(e) if !ready.is_dir() => Err(at(&ready)(e)),
        _ => Ok(Site::Cached(ready)),
    }
}

/// Runs an installer, its last line as progress. When it fails: its status and the end of what it said.
pub async fn watch(
    name: &str,
    mut command: Command,
    work: &Work,
) -> Result<std::result::Result<(), (ExitStatus, String)>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|e| Error::bare(format!("{name} did not start: {e}")))?;
    let out = child.stdout.take().expect("stdout is piped");
    let err = child.stderr.take().expect("stderr is piped");
    let mut said = Vec::new();
    let told = async {
        let mut lines = BufReader::new(out).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            work.now(line.chars().take(100).collect::<String>());
        }
    };
    let complained = async {
        let mut lines = BufReader::new(err).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if said.len() == LINES_MAX {
                said.remove(0);
            }
            said.push(line);
        }
    };
    let ((), (), status) = tokio::join!(told, complained, child.wait());
    let status = status.map_err(|e| Error::bare(format!("{name}: {e}")))?;
    Ok(if status.success() { Ok(()) } else { Err((status, said.join("\n"))) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_parts_apart() {
        assert_ne!(key(&["a", "/p9"]), key(&["a", "/p12"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
    }
}
