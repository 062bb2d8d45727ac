//! Python on this machine: which interpreter, and a project's requirements installed with its pip.

use super::site::{self, Site};
use crate::error::{Error, Result, at};
use crate::show::Work;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Minor versions of the python3.x runtimes that AWS has.
const RUNTIMES: std::ops::RangeInclusive<u8> = 9..=14;

/// The interpreters on PATH and under pyenv: the ones a node on this machine finds.
pub fn installed() -> BTreeMap<u8, PathBuf> {
    let mut found = node::pythons::of_machine(&BTreeMap::new());
    found.retain(|minor, _| RUNTIMES.contains(minor));
    found
}

/// The runtime's minor version and its interpreter: the one wished for, else the newest. An interpreter is only needed
/// where there is something to install.
pub fn choose(installed: &BTreeMap<u8, PathBuf>, wish: Option<&str>, needed: bool) -> Result<(u8, Option<PathBuf>)> {
    let here = || {
        let names: Vec<String> = installed.keys().map(|minor| format!("python3.{minor}")).collect();
        if names.is_empty() { "no Python 3.9 to 3.14 is on PATH or under pyenv".into() } else { names.join(", ") }
    };
    let Some(wish) = wish else {
        return installed.iter().next_back().map(|(minor, path)| (*minor, Some(path.clone()))).ok_or_else(|| {
            Error::told(
                "there is no Python interpreter on this machine",
                format!("{}; install one, e.g. python3.12", here()),
            )
        });
    };
    let minor = wish.strip_prefix("python3.").and_then(|m| m.parse().ok()).filter(|m| RUNTIMES.contains(m));
    let minor = minor
        .ok_or_else(|| Error::usage(format!("{wish} is not a runtime that AWS has"), "python3.9 to python3.14 are"))?;
    match installed.get(&minor) {
        None if needed => Err(Error::told(
            format!("requirements.txt has to be installed with {wish}, which is not on this machine"),
            format!("here: {}; choose one with --runtime", here()),
        )),
        interpreter => Ok((minor, interpreter.cloned())),
    }
}

/// Installs `dir/requirements.txt` with the interpreter's pip, or takes what an earlier run installed from the same
/// requirements for the same interpreter.
pub async fn install(interpreter: &Path, dir: &Path) -> Result<Site> {
    let file = dir.join("requirements.txt");
    let text = std::fs::read_to_string(&file).map_err(at(&file))?;
    let key = stands_alone(&text).then(|| site::key(&[&text, &interpreter.to_string_lossy()]));
    site::cached("requirements", key, async |target| pip_install(interpreter, dir, target).await).await
}

/// Whether the text alone says what is installed: no other files, no local projects.
fn stands_alone(requirements: &str) -> bool {
    requirements.lines().map(str::trim).all(|line| {
        !["-r", "-c", "-e", "--requirement", "--constraint", "--editable", ".", "/", "file:"]
            .iter()
            .any(|local| line.starts_with(local))
            && !line.contains("file:")
    })
}

async fn pip_install(interpreter: &Path, dir: &Path, target: &Path) -> Result<()> {
    let name = interpreter.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let work = Work::start(format!("installing requirements.txt with {name}"));
    let mut command = Command::new(interpreter);
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-compile"]);
    command.args(["--progress-bar", "off", "--no-warn-conflicts", "--root-user-action", "ignore"]);
    command.arg("--target").arg(target).args(["--requirement", "requirements.txt"]).current_dir(dir);
    pip(command, &work).await?;
    work.done(format!("installed requirements.txt with {name}"));
    Ok(())
}

/// Runs pip, its last line as progress; when it fails, the end of what it said is the error.
pub async fn pip(command: Command, work: &Work) -> Result<()> {
    let Err((status, said)) = site::watch("pip", command, work).await? else { return Ok(()) };
    let advice = if said.contains("No module named pip") {
        "this interpreter has no pip: `python3 -m ensurepip`, or install the system's python3-pip"
    } else if said.contains("Failed to establish a new connection") || said.contains("Temporary failure in name") {
        "PyPI cannot be reached: look at the network, or set PIP_INDEX_URL to an index that can"
    } else {
        "run it by hand to see more: python3 -m pip install -r requirements.txt"
    };
    Err(Error::told(format!("pip failed ({status}):\n{said}"), advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_unless_wished_otherwise() {
        let here = BTreeMap::from([(9, PathBuf::from("/p9")), (12, PathBuf::from("/p12"))]);
        assert_eq!(choose(&here, None, true).expect("newest"), (12, Some("/p12".into())));
        assert_eq!(choose(&here, Some("python3.9"), true).expect("wish"), (9, Some("/p9".into())));
        // Nothing to install: the node may have what this machine has not.
        assert_eq!(choose(&here, Some("python3.13"), false).expect("remote"), (13, None));
        let error = format!("{:?}", miette::Report::new(choose(&here, Some("python3.13"), true).expect_err("absent")));
        assert!(error.contains("python3.9, python3.12"), "{error}");
        assert_eq!(choose(&here, Some("python3.99"), false).expect_err("no such").exit_code(), 2);
        assert!(choose(&BTreeMap::new(), None, false).is_err());
    }

    #[test]
    fn only_requirements_that_say_everything_are_cached() {
        assert!(stands_alone("# comment\npillow==12.3.0\nboto3 >= 1.40 ; python_version > '3.9'\n"));
        for local in ["-r base.txt", "-e .", "./lib", "lib @ file:///x", "--constraint c.txt"] {
            assert!(!stands_alone(&format!("six\n{local}\n")), "{local}");
        }
    }
}
