//! The node's master keys: from a file in the data directory, made at first start, or from a command that prints them.

use crate::settings::Settings;
use anyhow::{Context, Result, bail, ensure};
use base::port::Entropy;
use rustix::process::geteuid;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// 32 bytes, in 64 hexadecimal digits a line; empty lines and what follows a `#` are nothing.
pub type Key = [u8; 32];

const FILE: &str = "master-key";
/// Keys that one ring has, and what a file or a command may say.
const KEYS_MAX: usize = 16;
const TEXT_BYTES_MAX: u64 = 16 << 10;
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// Where the key file is.
pub fn file(settings: &Settings) -> PathBuf {
    settings.data_dir.join(FILE)
}

/// The master keys, the current one first. Where there is no file yet, it is made, unless something was sealed already.
///
/// # Errors
/// The file is lost, can be read by others, or holds no keys; the command fails.
pub async fn load(settings: &Settings, sealed: bool, entropy: &dyn Entropy) -> Result<Vec<Key>> {
    match &settings.secrets.key_command {
        Some(command) => {
            let text = ask(command).await.with_context(|| format!("the key command `{command}`"))?;
            parse(&text).with_context(|| format!("what the key command `{command}` prints"))
        }
        None => from_file(&file(settings), sealed, entropy),
    }
}

fn from_file(path: &Path, sealed: bool, entropy: &dyn Entropy) -> Result<Vec<Key>> {
    let shown = path.display();
    let opened = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && sealed => bail!(
            "the master key is lost: {shown} is not there, and functions' environments are sealed with it. Put it back \
             from your backup, or name a `key_command` under [secrets] in wadi.toml"
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => return make(path, entropy),
        opened => opened.with_context(|| format!("cannot read {shown}"))?,
    };
    let found = opened.metadata()?;
    ensure!(
        found.mode() & 0o077 == 0,
        "{shown} can be used by others (mode {:03o}): chmod 600 it, and make a new key if others may have read it",
        found.mode() & 0o777
    );
    ensure!([0, geteuid().as_raw()].contains(&found.uid()), "{shown} is another user's");
    let mut text = String::new();
    opened.take(TEXT_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
    parse(&text).with_context(|| format!("{shown}"))
}

fn make(path: &Path, entropy: &dyn Entropy) -> Result<Vec<Key>> {
    let mut key = Key::default();
    entropy.fill(&mut key);
    let shown = path.display();
    let written = || -> std::io::Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{hex}")?;
        file.sync_all()?;
        // Before anything is sealed with it, it is there for good.
        File::open(path.parent().unwrap_or(path))?.sync_all()
    };
    written().with_context(|| format!("cannot write {shown}"))?;
    tracing::info!("made the master key {shown}: keep a copy of it elsewhere");
    Ok(vec![key])
}

fn parse(text: &str) -> Result<Vec<Key>> {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(before, _)| before).trim());
    let keys = lines.filter(|line| !line.is_empty()).map(of_hex).collect::<Option<Vec<Key>>>();
    let keys = keys.context("a line is not a key: 64 hexadecimal digits")?;
    ensure!(!keys.is_empty(), "there is no key: one of 64 hexadecimal digits is wanted");
    ensure!(keys.len() <= KEYS_MAX, "more than {KEYS_MAX} keys");
    Ok(keys)
}

fn of_hex(text: &str) -> Option<Key> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = Key::default();
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

/// What a command prints. Its errors go where the node's do; what it prints is never shown.
async fn ask(command: &str) -> Result<String> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let output = child.stdout.take().context("it has no output")?;
    let mut text = String::new();
    let said = async {
        output.take(TEXT_BYTES_MAX).read_to_string(&mut text).await?;
        child.wait().await
    };
    let status = tokio::time::timeout(COMMAND_MAX, said).await.context("gave no answer in 30 seconds")??;
    ensure!(status.success(), "failed ({status})");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;
    use std::os::unix::fs::PermissionsExt;

    fn refused(path: &Path, sealed: bool) -> String {
        format!("{:#}", from_file(path, sealed, &SystemEntropy).expect_err("refused"))
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join(FILE);
        let made = from_file(&path, false, &SystemEntropy).expect("made");
        assert_eq!(from_file(&path, true, &SystemEntropy).expect("kept"), made);
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
        assert_eq!(std::fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        for open in [0o640, 0o604, 0o620] {
            mode(open);
            assert!(refused(&path, true).contains("can be used by others"), "{open:o}");
        }
        mode(0o600);
        std::fs::write(&path, "what?").expect("write");
        assert!(refused(&path, true).contains("64 hexadecimal digits"), "{}", refused(&path, true));
        std::fs::remove_file(&path).expect("remove");
        assert!(refused(&path, true).contains("the master key is lost"));
        assert!(!path.exists(), "none is made in its place");
    }

    #[test]
    fn keys_in_lines() {
        let (a, b) = ("0a".repeat(32), "FF".repeat(32));
        assert_eq!(parse(&format!("# new\n{a} # 2026\n\n {b}\n")).expect("two"), [[10; 32], [255; 32]]);
        for text in ["", "# none", &a[1..], &format!("{a}{b}"), &"zz".repeat(32), &format!("{a}\n").repeat(17)] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_command_prints_them() {
        let key = "0b".repeat(32);
        assert_eq!(parse(&ask(&format!("printf {key}")).await.expect("runs")).expect("a key"), [[11; 32]]);
        let failed = format!("{:#}", ask(&format!("echo {key}; exit 3")).await.expect_err("fails"));
        assert!(failed.contains("exit status: 3") && !failed.contains(&key), "{failed}");
        assert!(ask("head -c 99999999 /dev/zero | tr '\\0' a").await.is_err_and(|e| !e.to_string().contains("aaaa")));
    }
}
