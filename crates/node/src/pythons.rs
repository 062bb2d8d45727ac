//! Which Python interpreters this machine has: by settings, on PATH, and under pyenv.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The oldest and newest minor version looked for; AWS knows 3.8 (retired) to 3.15.
const MINORS: std::ops::RangeInclusive<u8> = 8..=15;

/// Minor version → executable. Settings win over PATH, PATH over pyenv. pyenv's shims are not interpreters and are passed
/// over: what they would run is found under pyenv's versions.
fn find(configured: &BTreeMap<String, PathBuf>, path: &str, pyenv_root: Option<&Path>) -> BTreeMap<u8, PathBuf> {
    let mut found = BTreeMap::new();
    for (name, executable) in configured {
        if let Some(minor) = name.strip_prefix("python3.").and_then(|m| m.parse().ok()) {
            found.insert(minor, executable.clone());
        }
    }
    for dir in std::env::split_paths(path).filter(|d| !d.ends_with("shims")) {
        for minor in MINORS {
            let executable = dir.join(format!("python3.{minor}"));
            if is_program(&executable) {
                found.entry(minor).or_insert(executable);
            }
        }
    }
    if let Some(versions) = pyenv_root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) {
        let mut dirs: Vec<PathBuf> = versions.filter_map(|e| Some(e.ok()?.path())).collect();
        // The latest patch of a minor first: names sort well enough within one minor once numbers are compared.
        dirs.sort_by_key(|d| std::cmp::Reverse(patch(d)));
        for dir in dirs {
            for minor in MINORS {
                let executable = dir.join(format!("bin/python3.{minor}"));
                if is_program(&executable) {
                    found.entry(minor).or_insert(executable);
                }
            }
        }
    }
    found
}

/// `find` on this machine: `PATH`, and `PYENV_ROOT` or `~/.pyenv`.
pub fn of_machine(configured: &BTreeMap<String, PathBuf>) -> BTreeMap<u8, PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let pyenv = named("PYENV_ROOT").or_else(|| named("HOME").map(|home| home.join(".pyenv")));
    find(configured, &std::env::var("PATH").unwrap_or_default(), pyenv.as_deref())
}

fn patch(dir: &Path) -> u32 {
    let name = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    name.split('.').nth(2).and_then(|p| p.parse().ok()).unwrap_or(0)
}

pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// An empty file that may be executed, its directories made.
    pub(crate) fn put_program(file: &Path) -> PathBuf {
        std::fs::create_dir_all(file.parent().expect("parent")).expect("mkdir");
        std::fs::write(file, "").expect("write");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        file.to_owned()
    }

    #[test]
    fn settings_then_path_then_pyenv() {
        let dir = tempfile::tempdir().expect("tempdir");
        let put = |path: &str| put_program(&dir.path().join(path));
        let on_path = put("bin/python3.11");
        put("shims/python3.12");
        put("pyenv/versions/3.12.1/bin/python3.12");
        let newest = put("pyenv/versions/3.12.10/bin/python3.12");
        put("pyenv/versions/3.11.7/bin/python3.11");
        let configured = BTreeMap::from([("python3.9".to_owned(), PathBuf::from("/opt/py39"))]);
        let path = std::env::join_paths([dir.path().join("shims"), dir.path().join("bin")]).expect("path");
        let found = find(&configured, path.to_str().expect("utf8"), Some(&dir.path().join("pyenv")));
        assert_eq!(found, BTreeMap::from([(9, PathBuf::from("/opt/py39")), (11, on_path), (12, newest)]));
    }
}
