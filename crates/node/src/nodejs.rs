//! Which Node.js versions this machine has: by settings, on PATH, and where version managers keep them.

use crate::pythons::is_program;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest major version looked for: the oldest that AWS takes for new functions. Odd ones, which nobody maintains for
/// long, have no runtime.
const MAJOR_MIN: u8 = 20;
/// Below the home directory: where nvm, fnm and asdf keep a directory per version, and the program in it.
const MANAGERS: [(&str, &str); 3] = [
    (".nvm/versions/node", "bin/node"),
    (".local/share/fnm/node-versions", "installation/bin/node"),
    (".asdf/installs/nodejs", "bin/node"),
];

/// Major version → executable. Settings win over PATH, PATH over version managers, whose newest of a major counts.
/// `version` asks a program on PATH what it is.
fn find(
    configured: &BTreeMap<String, PathBuf>,
    path: &str,
    home: Option<&Path>,
    version: impl Fn(&Path) -> Option<String>,
) -> BTreeMap<u8, PathBuf> {
    let mut found = BTreeMap::new();
    for (name, executable) in configured {
        let major = name.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x")).and_then(|m| m.parse().ok());
        if let Some(major) = major {
            found.insert(major, executable.clone());
        }
    }
    for dir in std::env::split_paths(path).filter(|d| !d.ends_with("shims")) {
        let executable = dir.join("node");
        if is_program(&executable)
            && let Some([major, ..]) = version(&executable).as_deref().and_then(numbers)
        {
            found.entry(major).or_insert(executable);
        }
    }
    for (place, program) in MANAGERS {
        let versions = home.and_then(|home| std::fs::read_dir(home.join(place)).ok());
        let mut versions: Vec<_> = versions
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|item| {
                let executable = item.path().join(program);
                Some((numbers(item.file_name().to_str()?)?, executable))
            })
            .filter(|(_, executable)| is_program(executable))
            .collect();
        versions.sort_unstable_by(|a, b| b.cmp(a));
        for ([major, ..], executable) in versions {
            found.entry(major).or_insert(executable);
        }
    }
    found.retain(|major, _| *major >= MAJOR_MIN && major.is_multiple_of(2));
    found
}

/// `v20.11.1` or `20.11.1`, in numbers.
fn numbers(version: &str) -> Option<[u8; 3]> {
    let mut parts = version.trim().trim_start_matches('v').split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// [`find`] on this machine: `PATH` and the home directory.
pub fn of_machine(configured: &BTreeMap<String, PathBuf>) -> BTreeMap<u8, PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let ask = |program: &Path| {
        let output = Command::new(program).arg("--version").env_remove("NODE_OPTIONS").output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    find(configured, &std::env::var("PATH").unwrap_or_default(), home.as_deref(), ask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pythons::tests::put_program;

    #[test]
    fn settings_then_path_then_version_managers() {
        let dir = tempfile::tempdir().expect("tempdir");
        let put = |path: &str| put_program(&dir.path().join(path));
        let on_path = put("bin/node");
        put("shims/node");
        put(".nvm/versions/node/v20.1.0/bin/node");
        put(".nvm/versions/node/v22.9.0/bin/node");
        let newest = put(".nvm/versions/node/v22.10.0/bin/node");
        put(".nvm/versions/node/v18.20.0/bin/node");
        put(".nvm/versions/node/v23.1.0/bin/node");
        let fnm = put(".local/share/fnm/node-versions/v24.0.1/installation/bin/node");
        let configured = ["python3.11", "nodejs26.x"].map(|name| (name.to_owned(), PathBuf::from("/opt/own"))).into();
        let path = std::env::join_paths([dir.path().join("shims"), dir.path().join("bin")]).expect("path");
        let version = |_: &Path| Some("v20.11.1\n".to_owned());
        let found = find(&configured, path.to_str().expect("utf8"), Some(dir.path()), version);
        let want = [(20, on_path), (22, newest), (24, fnm), (26, PathBuf::from("/opt/own"))];
        assert_eq!(found, BTreeMap::from(want));
    }
}
