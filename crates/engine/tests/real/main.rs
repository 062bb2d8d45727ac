//! The engine over real sandboxes: Python functions and a `provided` bootstrap, as users write them. Needs root, else
//! the tests count as ignored; needs one Python 3 and one Node.js, else those of the one that is missing do.

mod cells;
mod copies;
mod functions;
mod nodejs;
#[path = "../support/mod.rs"]
mod support;

use libtest_mimic::{Arguments, Trial};
use sandbox::{Process, ProcessConfig};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use support::World;

/// The minor version of the Python that the tests run on, and where it is.
pub fn python() -> Option<(u8, PathBuf)> {
    static FOUND: OnceLock<Option<(u8, PathBuf)>> = OnceLock::new();
    let ask = || {
        let program = std::env::var("WADI_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let code = "import sys; print(sys.version_info[1], sys.executable)";
        let output = std::process::Command::new(program).args(["-c", code]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (minor, path) = text.trim().split_once(' ')?;
        Some((minor.parse().ok()?, path.into()))
    };
    FOUND.get_or_init(ask).clone()
}

/// The major version of the Node.js that the tests run on, and where it is.
pub fn nodejs() -> Option<(u8, PathBuf)> {
    static FOUND: OnceLock<Option<(u8, PathBuf)>> = OnceLock::new();
    let ask = || {
        let program = std::env::var("WADI_TEST_NODE").unwrap_or_else(|_| "node".into());
        let code = "console.log(process.versions.node.split('.')[0], process.execPath)";
        let output = std::process::Command::new(program).args(["-e", code]).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (major, path) = text.trim().split_once(' ')?;
        Some((major.parse().ok().filter(|major| *major >= 20)?, path.into()))
    };
    FOUND.get_or_init(ask).clone()
}

/// One launcher for all tests: each has an engine of its own.
fn driver() -> Arc<Process> {
    static DRIVER: OnceLock<(Arc<Process>, tempfile::TempDir)> = OnceLock::new();
    let start = || {
        let dir = tempfile::tempdir().expect("a directory");
        let program = std::env::current_exe().expect("this test");
        let config = ProcessConfig { program, state_dir: dir.path().to_owned(), egress: None };
        (Process::start(config).expect("starts"), dir)
    };
    DRIVER.get_or_init(start).0.clone()
}

pub fn world() -> World {
    world_with(|_| {})
}

pub fn world_with(adjust: impl FnOnce(&mut engine::Config)) -> World {
    let pythons: BTreeMap<u8, PathBuf> = python().into_iter().collect();
    World::new(driver(), 1, |config| {
        config.pythons = pythons;
        config.nodes = nodejs().into_iter().collect();
        adjust(config);
    })
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some(sandbox::LAUNCHER_ARG) {
        sandbox::launcher_main();
    }
    let arguments = Arguments::from_args();
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: the engine's tests on real sandboxes are skipped, and counted as ignored");
    }
    let trial = |(name, runnable, test): (&'static str, bool, fn(&tokio::runtime::Runtime))| {
        Trial::test(name, move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            test(&runtime);
            Ok(())
        })
        .with_ignored_flag(!root || !runnable)
    };
    let (has_python, has_node) = (python().is_some(), nodejs().is_some());
    let pythons = functions::TESTS
        .iter()
        .chain(copies::TESTS)
        .map(|(name, needs, test)| trial((name, !needs || has_python, *test)));
    let mut trials: Vec<Trial> = pythons.collect();
    trials.extend(nodejs::TESTS.iter().chain(cells::TESTS).map(|(name, test)| trial((name, has_node, *test))));
    if std::env::var_os("WADI_TEST_NETWORK").is_some() {
        let test = |tokio: &tokio::runtime::Runtime| tokio.block_on(functions::boto3_is_there_when_it_is_needed());
        trials.push(trial(("boto3_is_there_when_it_is_needed", has_python, test)));
        let test = |tokio: &tokio::runtime::Runtime| tokio.block_on(nodejs::the_sdk_is_there_when_it_is_needed());
        trials.push(trial(("nodejs_the_sdk_is_there_when_it_is_needed", has_node, test)));
    }
    libtest_mimic::run(&arguments, trials).exit()
}
