//! The Python runtimes: which interpreters there are, what each one is, and the boto3 that AWS's runtime brings.

use crate::interpreters::{
    INSTALL_MAX, Interpreter, Interpreters, Language, PROBE_MAX, keep, last_lines, make_readable, run, write,
};
use crate::{PrepareError, RuntimeReport};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use tokio::process::Command;

/// Our side of the Runtime API, run by the interpreter inside the sandbox; what processes have that are copied, and those
/// that take several calls at once; and the hooks of SnapStart, for functions that import them.
const FILES: [(&str, &str); 4] = [
    ("bootstrap.py", include_str!("../runtimes/python/bootstrap.py")),
    ("template.py", include_str!("../runtimes/python/template.py")),
    ("workers.py", include_str!("../runtimes/python/workers.py")),
    ("snapshot_restore_py.py", include_str!("../runtimes/python/snapshot_restore_py.py")),
];

pub(crate) struct Pythons {
    pub here: Interpreters,
    /// `<data_dir>/runtimes`
    root: PathBuf,
    /// One installation at a time.
    installing: tokio::sync::Mutex<()>,
}

const PYTHON: Language =
    Language { name: "Python", prefix: "python3.", suffix: "", stand_ins: &[9, 10, 11, 12, 13, 14, 15] };

impl Pythons {
    pub(crate) fn new(configured: BTreeMap<u8, PathBuf>, fallback_nearest: bool, data_dir: &Path) -> Self {
        let here = Interpreters::new(PYTHON, configured, fallback_nearest);
        Self { here, root: data_dir.join("runtimes"), installing: Default::default() }
    }

    /// The interpreter, asked once what it is, and its home written.
    pub(crate) async fn interpreter(&self, minor: u8) -> Result<Arc<Interpreter>, PrepareError> {
        let probe = async |program: &Path| {
            let home = self.root.join(format!("python3.{minor}"));
            for (name, text) in FILES {
                write(&home, name, text)?;
            }
            let interpreter = ask(program, minor, home).await?;
            compile(&interpreter).await?;
            Ok(interpreter)
        };
        self.here.get(minor, probe).await
    }

    /// Installs boto3 for this interpreter from the package index, unless it is there.
    pub(crate) async fn install_boto3(&self, interpreter: &Interpreter) -> Result<(), PrepareError> {
        let done = interpreter.home.join("site-packages");
        if done.is_dir() {
            return Ok(());
        }
        let _one = self.installing.lock().await;
        if done.is_dir() {
            return Ok(());
        }
        let name = format!("python3.{}", interpreter.number);
        tracing::info!(runtime = %name, "installing boto3 from the Python package index; this happens once");
        let work = interpreter.home.join(".installing");
        let _ = fs::remove_dir_all(&work);
        self.pip(interpreter, &work).await.map_err(|reason| no_boto3(&name, &reason))?;
        keep(&work, &done).map_err(|e| no_boto3(&name, &e.to_string()))?;
        tracing::info!(runtime = %name, "boto3 is installed");
        Ok(())
    }

    /// With the interpreter's own pip, or that of another one where it has none.
    async fn pip(&self, interpreter: &Interpreter, target: &Path) -> Result<(), String> {
        let wanted = format!("3.{}", interpreter.number);
        let mut reason = String::new();
        let others = self.here.programs.iter().filter(|(minor, _)| **minor != interpreter.number).map(|(_, path)| path);
        for (program, own) in std::iter::once((&interpreter.program, true)).chain(others.map(|path| (path, false))) {
            let mut command = Command::new(program);
            command.args(["-m", "pip", "install", "--target"]).arg(target);
            command.args(["--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"]);
            if !own {
                command.args(["--python-version", &wanted, "--only-binary=:all:"]);
            }
            command.arg("boto3").env("PIP_ROOT_USER_ACTION", "ignore");
            let output = run(command, INSTALL_MAX).await.map_err(|e| format!("pip: {e}"))?;
            if output.status.success() {
                compile_all(interpreter, target).await;
                return make_readable(target).map_err(|e| e.to_string());
            }
            reason = last_lines(&output.stderr);
            if !reason.contains("No module named pip") {
                break;
            }
        }
        Err(reason)
    }

    pub(crate) fn reports(&self) -> Vec<RuntimeReport> {
        self.here.reports(|minor| {
            let installed = self.root.join(format!("python3.{minor}/site-packages")).is_dir();
            (!installed).then(|| "boto3 is installed when a function first needs it".to_owned())
        })
    }
}

fn no_boto3(runtime: &str, reason: &str) -> PrepareError {
    PrepareError::internal(format!(
        "the function uses boto3, which could not be installed for {runtime} from the Python package index (is this \
         machine offline?): {reason}. Put boto3 into the package, or try again when the index can be reached."
    ))
}

async fn ask(program: &Path, minor: u8, home: PathBuf) -> Result<Interpreter, PrepareError> {
    const QUESTION: &str = "import os, sys\n\
        print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))\n\
        print(os.path.realpath(sys.base_prefix))\n\
        print('%d.%d.%d' % sys.version_info[:3])";
    let bad = |reason: String| PrepareError {
        code: "InvalidRuntime",
        message: format!("python3.{minor} at {} does not work: {reason}", program.display()),
    };
    let mut command = Command::new(program);
    command.args(["-I", "-S", "-c", QUESTION]);
    let output = run(command, PROBE_MAX).await.map_err(|e| bad(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().collect::<Vec<_>>().as_slice() {
        [executable, prefix, version] if version.starts_with(&format!("3.{minor}.")) => Ok(Interpreter {
            number: minor,
            program: executable.into(),
            prefix: prefix.into(),
            version: (*version).to_owned(),
            home,
        }),
        [_, _, version] => Err(bad(format!("it is Python {version}"))),
        _ => Err(bad(last_lines(&output.stderr))),
    }
}

/// Byte code beside the sources, by the interpreter that will load it: functions cannot write there. A file that does
/// not compile is left as it is.
async fn compile_all(interpreter: &Interpreter, dir: &Path) {
    let mut command = Command::new(&interpreter.program);
    command.args(["-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]);
    command.args(["-d", "/var/runtime/site-packages"]).arg(dir).stdout(Stdio::null());
    if let Err(error) = run(command, INSTALL_MAX).await {
        tracing::warn!(%error, "the runtime's packages are not compiled");
    }
}

/// Compiles our files with the interpreter that will run them. Each time it is first asked for: an interpreter may have
/// been replaced since the last start.
async fn compile(interpreter: &Interpreter) -> Result<(), PrepareError> {
    const COMPILE: &str = "import os, py_compile, sys\n\
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH\n\
        for source in sys.argv[1:]:\n    \
            name, compiled = '/var/runtime/' + os.path.basename(source), source + 'c'\n    \
            py_compile.compile(source, compiled, name, True, invalidation_mode=mode)\n    \
            os.chmod(compiled, 0o644)";
    let mut command = Command::new(&interpreter.program);
    command.args(["-I", "-S", "-c", COMPILE]).args(FILES.map(|(name, _)| interpreter.home.join(name)));
    let failed = |reason: String| PrepareError::internal(format!("the bootstrap cannot be compiled: {reason}"));
    let output = run(command, PROBE_MAX).await.map_err(|e| failed(e.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(last_lines(&output.stderr))) }
}

/// The command line of a base: as an instance's, with a word more.
pub(crate) fn command(interpreter: &Interpreter, base: bool) -> Vec<String> {
    let program = interpreter.program.display().to_string();
    // No site: as on AWS only the runtime's own packages, the layers' and the function's are importable.
    let plain = [&program, "-u", "-S", "-s", "/var/runtime/bootstrap.pyc"].map(str::to_owned);
    plain.into_iter().chain(base.then(|| "base".to_owned())).collect()
}

/// Whether the function's environment changes how an interpreter starts, so that a copy of one would not do.
pub(crate) fn needs_own_start(environment: &BTreeMap<String, String>) -> bool {
    const STARTS: [&str; 5] = ["PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_"];
    environment.keys().any(|name| name == "LANG" || STARTS.iter().any(|start| name.starts_with(start)))
}

/// Whether Python code in a package needs the runtime's boto3: it names boto3 or botocore and does not bring them.
/// Blocks; reads every `.py` file until it finds one that does.
pub(crate) fn needs_boto3(task: &Path, opt: Option<&Path>, minor: u8) -> io::Result<bool> {
    let mut places = vec![task.to_owned()];
    if let Some(opt) = opt {
        places.push(opt.join("python"));
        places.push(opt.join(format!("python/lib/python3.{minor}/site-packages")));
    }
    if places.iter().any(|place| place.join("boto3/__init__.py").is_file()) {
        return Ok(false);
    }
    let mut left: Vec<PathBuf> = places.into_iter().take(2).filter(|place| place.is_dir()).collect();
    while let Some(dir) = left.pop() {
        for item in fs::read_dir(dir)? {
            let item = item?;
            let kind = item.file_type()?;
            if kind.is_dir() {
                left.push(item.path());
            } else if kind.is_file() && item.path().extension().is_some_and(|e| e == "py") {
                let text = fs::read(item.path())?;
                if text.windows(8).any(|w| w == b"botocore") || text.windows(5).any(|w| w == b"boto3") {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boto3_is_needed_where_it_is_named_and_not_brought() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes");
            fs::write(path, text).expect("writes");
        };
        write("app.py", "import json");
        assert!(!needs_boto3(dir.path(), None, 11).expect("reads"));
        write("lib/deep/s3.py", "import boto3");
        assert!(needs_boto3(dir.path(), None, 11).expect("reads"));
        write("boto3/__init__.py", "");
        assert!(!needs_boto3(dir.path(), None, 11).expect("reads"));
    }
}
