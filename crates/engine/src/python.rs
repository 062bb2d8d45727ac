//! The Python runtimes: which interpreters there are, what each one is, and the boto3 that AWS's runtime brings.

use crate::{PrepareError, RuntimeReport};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// Our side of the Runtime API, run by the interpreter inside the sandbox.
const BOOTSTRAP: &str = include_str!("../runtimes/python/bootstrap.py");
const PROBE_MAX: Duration = Duration::from_secs(20);
const INSTALL_MAX: Duration = Duration::from_secs(300);

/// What an interpreter says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interpreter {
    pub minor: u8,
    /// The executable with all links followed, and the directory tree it needs.
    pub program: PathBuf,
    pub prefix: PathBuf,
    /// `3.11.7`
    pub version: String,
    /// `bootstrap.py` and, once installed, `site-packages`: /var/runtime inside.
    pub home: PathBuf,
}

pub(crate) struct Pythons {
    configured: BTreeMap<u8, PathBuf>,
    fallback_nearest: bool,
    /// `<data_dir>/runtimes`
    root: PathBuf,
    known: Mutex<BTreeMap<u8, Arc<OnceCell<Arc<Interpreter>>>>>,
    /// One installation at a time.
    installing: tokio::sync::Mutex<()>,
}

/// The minor versions for which another may stand in: those that AWS offers.
const STAND_INS: std::ops::RangeInclusive<u8> = 9..=15;

impl Pythons {
    pub(crate) fn new(configured: BTreeMap<u8, PathBuf>, fallback_nearest: bool, data_dir: &Path) -> Self {
        let root = data_dir.join("runtimes");
        let (known, installing) = Default::default();
        Self { configured, fallback_nearest, root, known, installing }
    }

    /// Which version runs in place of `minor`: itself, or with the fallback the nearest there is (the newer of two).
    pub(crate) fn choose(&self, minor: u8) -> Result<u8, PrepareError> {
        if self.configured.contains_key(&minor) {
            return Ok(minor);
        }
        let nearest = self.nearest(minor);
        match nearest.filter(|_| self.fallback_nearest) {
            Some(nearest) => Ok(nearest),
            None => Err(PrepareError { code: "InvalidRuntime", message: self.missing(minor) }),
        }
    }

    fn missing(&self, minor: u8) -> String {
        let names: Vec<String> = self.configured.keys().map(|m| format!("python3.{m}")).collect();
        let there = if names.is_empty() { "no Python at all".to_owned() } else { names.join(", ") };
        format!(
            "python3.{minor} is not on this machine, which has {there}. Install it, name it in the settings, or start \
             the node with --runtime-fallback nearest."
        )
    }

    /// The interpreter, asked once what it is, and its home written.
    pub(crate) async fn interpreter(&self, minor: u8) -> Result<Arc<Interpreter>, PrepareError> {
        let Some(program) = self.configured.get(&minor) else {
            return Err(PrepareError { code: "InvalidRuntime", message: self.missing(minor) });
        };
        let cell = self.known.lock().entry(minor).or_default().clone();
        let probe = || async {
            let home = self.root.join(format!("python3.{minor}"));
            write_bootstrap(&home)
                .map_err(|e| PrepareError::internal(format!("cannot write {}: {e}", home.display())))?;
            let interpreter = ask(program, minor, home).await?;
            compile(&interpreter).await?;
            Ok(Arc::new(interpreter))
        };
        cell.get_or_try_init(probe).await.cloned()
    }

    pub(crate) fn has_boto3(&self, interpreter: &Interpreter) -> bool {
        interpreter.home.join("site-packages").is_dir()
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
        let name = format!("python3.{}", interpreter.minor);
        tracing::info!(runtime = %name, "installing boto3 from the Python package index; this happens once");
        let work = interpreter.home.join(".installing");
        let _ = fs::remove_dir_all(&work);
        self.pip(interpreter, &work).await.map_err(|reason| no_boto3(&name, &reason))?;
        // Unlike unpacked code it is kept over a restart of the machine, so it must be whole on disk.
        let synced = fs::File::open(&work).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        synced.and_then(|()| fs::rename(&work, &done)).map_err(|e| no_boto3(&name, &e.to_string()))?;
        tracing::info!(runtime = %name, "boto3 is installed");
        Ok(())
    }

    /// With the interpreter's own pip, or that of another one where it has none.
    async fn pip(&self, interpreter: &Interpreter, target: &Path) -> Result<(), String> {
        let wanted = format!("3.{}", interpreter.minor);
        let mut reason = String::new();
        let others = self.configured.iter().filter(|(minor, _)| **minor != interpreter.minor).map(|(_, path)| path);
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

    /// The closest version there is; of two, the newer.
    fn nearest(&self, minor: u8) -> Option<u8> {
        self.configured.keys().copied().min_by_key(|m| (m.abs_diff(minor), u8::MAX - m))
    }

    pub(crate) fn reports(&self) -> Vec<RuntimeReport> {
        let here = self.configured.iter().map(|(minor, program)| {
            let installed = self.root.join(format!("python3.{minor}/site-packages")).is_dir();
            let note = (!installed).then(|| "boto3 is installed when a function first needs it".to_owned());
            RuntimeReport { name: format!("python3.{minor}"), program: Some(program.clone()), note }
        });
        let mut reports: Vec<_> = here.collect();
        for minor in STAND_INS.filter(|minor| self.fallback_nearest && !self.configured.contains_key(minor)) {
            let Some(nearest) = self.nearest(minor) else { break };
            let note = format!("is not here: python3.{nearest}, the nearest, stands in (--runtime-fallback nearest)");
            let program = self.configured.get(&nearest).cloned();
            reports.push(RuntimeReport { name: format!("python3.{minor}"), program, note: Some(note) });
        }
        reports
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
            minor,
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

/// Makes `bootstrap.pyc` with the interpreter that will run it. Each time it is first asked for: an interpreter may have
/// been replaced since the last start.
async fn compile(interpreter: &Interpreter) -> Result<(), PrepareError> {
    const COMPILE: &str = "import os, py_compile, sys\n\
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH\n\
        py_compile.compile(sys.argv[1], sys.argv[2], '/var/runtime/bootstrap.py', True, invalidation_mode=mode)\n\
        os.chmod(sys.argv[2], 0o644)";
    let [source, compiled] = ["bootstrap.py", "bootstrap.pyc"].map(|name| interpreter.home.join(name));
    let mut command = Command::new(&interpreter.program);
    command.args(["-I", "-S", "-c", COMPILE]).args([source, compiled]);
    let failed = |reason: String| PrepareError::internal(format!("the bootstrap cannot be compiled: {reason}"));
    let output = run(command, PROBE_MAX).await.map_err(|e| failed(e.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(last_lines(&output.stderr))) }
}

async fn run(mut command: Command, limit: Duration) -> io::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => output,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))),
    }
}

fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ").chars().take(600).collect()
}

/// Written whole beside and renamed, so that a starting interpreter never reads half of it.
fn write_bootstrap(home: &Path) -> io::Result<()> {
    let path = home.join("bootstrap.py");
    if fs::read_to_string(&path).is_ok_and(|text| text == BOOTSTRAP) {
        return Ok(());
    }
    fs::create_dir_all(home)?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
    let work = home.join(".bootstrap.py");
    fs::write(&work, BOOTSTRAP)?;
    fs::set_permissions(&work, fs::Permissions::from_mode(0o644))?;
    fs::rename(work, path)
}

fn make_readable(root: &Path) -> io::Result<()> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    for item in fs::read_dir(root)? {
        let item = item?;
        match item.file_type()? {
            kind if kind.is_dir() => make_readable(&item.path())?,
            kind if kind.is_file() => fs::set_permissions(item.path(), fs::Permissions::from_mode(0o644))?,
            _ => {}
        }
    }
    Ok(())
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
    fn the_nearest_version_stands_in_only_when_asked() {
        let there = BTreeMap::from([(9, PathBuf::from("/p9")), (11, "/p11".into()), (13, "/p13".into())]);
        let strict = Pythons::new(there.clone(), false, Path::new("/nowhere"));
        assert_eq!(strict.choose(11), Ok(11));
        let error = strict.choose(12).expect_err("not there");
        assert_eq!(error.code, "InvalidRuntime");
        assert!(error.message.contains("python3.9, python3.11, python3.13"), "{error}");
        let lenient = Pythons::new(there, true, Path::new("/nowhere"));
        assert_eq!((lenient.choose(12), lenient.choose(8), lenient.choose(14)), (Ok(13), Ok(9), Ok(13)));
    }

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
