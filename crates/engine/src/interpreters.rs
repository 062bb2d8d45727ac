//! The interpreters of a language on this machine: which versions there are, which one stands in for another, what each
//! says of itself, and the files that we lay beside it.

use crate::{PrepareError, RuntimeReport};
use parking_lot::Mutex;
use sandbox::Mount;
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

pub(crate) const PROBE_MAX: Duration = Duration::from_secs(20);
pub(crate) const INSTALL_MAX: Duration = Duration::from_secs(300);

/// What an interpreter says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interpreter {
    /// The number that its runtime is known by: 11 of `python3.11`, 20 of `nodejs20.x`.
    pub number: u8,
    /// The executable with all links followed, and the directory tree it needs.
    pub program: PathBuf,
    pub prefix: PathBuf,
    /// `3.11.7`
    pub version: String,
    /// Our bootstrap and, for Python, once installed, `site-packages`: /var/runtime inside.
    pub home: PathBuf,
}

impl Interpreter {
    /// What a sandbox sees of it: its home, and the interpreter's own tree where that is not the system's.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let mut mounts = vec![Mount::new(&self.home, "/var/runtime")];
        if !["/usr", "/bin", "/lib"].iter().any(|system| self.prefix.starts_with(system)) {
            mounts.push(Mount::new(&self.prefix, &self.prefix));
        }
        mounts
    }
}

/// How a language's runtimes are named.
pub(crate) struct Language {
    pub name: &'static str,
    /// What comes before and after the number in a runtime's name.
    pub prefix: &'static str,
    pub suffix: &'static str,
    /// The versions for which another may stand in: those that AWS offers.
    pub stand_ins: &'static [u8],
}

pub(crate) struct Interpreters {
    language: Language,
    pub programs: BTreeMap<u8, PathBuf>,
    fallback_nearest: bool,
    known: Mutex<BTreeMap<u8, Arc<OnceCell<Arc<Interpreter>>>>>,
}

impl Interpreters {
    pub(crate) fn new(language: Language, programs: BTreeMap<u8, PathBuf>, fallback_nearest: bool) -> Self {
        Self { language, programs, fallback_nearest, known: Mutex::default() }
    }

    /// The runtime's name, as AWS has it.
    pub(crate) fn runtime(&self, number: u8) -> String {
        let Language { prefix, suffix, .. } = self.language;
        format!("{prefix}{number}{suffix}")
    }

    /// Which version runs in place of `number`: itself, or with the fallback the nearest there is (the newer of two).
    pub(crate) fn choose(&self, number: u8) -> Result<u8, PrepareError> {
        if self.programs.contains_key(&number) {
            return Ok(number);
        }
        self.nearest(number).filter(|_| self.fallback_nearest).ok_or_else(|| self.missing(number))
    }

    fn missing(&self, number: u8) -> PrepareError {
        let names: Vec<String> = self.programs.keys().map(|n| self.runtime(*n)).collect();
        let there = if names.is_empty() { format!("no {} at all", self.language.name) } else { names.join(", ") };
        let wanted = self.runtime(number);
        let message = format!(
            "{wanted} is not on this machine, which has {there}. Install it, name it in the settings, or start the node \
             with --runtime-fallback nearest."
        );
        PrepareError { code: "InvalidRuntime", message }
    }

    /// The closest version there is; of two, the newer.
    fn nearest(&self, number: u8) -> Option<u8> {
        self.programs.keys().copied().min_by_key(|n| (n.abs_diff(number), u8::MAX - n))
    }

    /// The interpreter, asked by `probe` once what it is.
    pub(crate) async fn get(
        &self,
        number: u8,
        probe: impl AsyncFnOnce(&Path) -> Result<Interpreter, PrepareError>,
    ) -> Result<Arc<Interpreter>, PrepareError> {
        let Some(program) = self.programs.get(&number) else { return Err(self.missing(number)) };
        let cell = self.known.lock().entry(number).or_default().clone();
        cell.get_or_try_init(|| async { probe(program).await.map(Arc::new) }).await.cloned()
    }

    /// What a function's log should say at every start when another version stands in for the one it names.
    pub(crate) fn stand_in_note(&self, wanted: u8, interpreter: &Interpreter) -> Option<String> {
        (interpreter.number != wanted).then(|| {
            let (wanted, language, version) = (self.runtime(wanted), self.language.name, &interpreter.version);
            format!(
                "[WADI] {wanted} is not on this machine; this function runs on {language} {version} \
                 (--runtime-fallback nearest)\n"
            )
        })
    }

    /// Those that are here, each with its note, and those that another stands in for.
    pub(crate) fn reports(&self, note: impl Fn(u8) -> Option<String>) -> Vec<RuntimeReport> {
        let here = self.programs.iter().map(|(number, program)| RuntimeReport {
            name: self.runtime(*number),
            program: Some(program.clone()),
            note: note(*number),
        });
        let mut reports: Vec<_> = here.collect();
        let missing = self.language.stand_ins.iter().filter(|n| !self.programs.contains_key(n));
        for number in missing.filter(|_| self.fallback_nearest) {
            let Some(nearest) = self.nearest(*number) else { break };
            let runtime = self.runtime(nearest);
            let note = format!("is not here: {runtime}, the nearest, stands in (--runtime-fallback nearest)");
            let program = self.programs.get(&nearest).cloned();
            reports.push(RuntimeReport { name: self.runtime(*number), program, note: Some(note) });
        }
        reports
    }
}

pub(crate) async fn run(mut command: Command, limit: Duration) -> io::Result<Output> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(limit, command.output()).await {
        Ok(output) => output,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))),
    }
}

pub(crate) fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ").chars().take(600).collect()
}

/// Writes a file that sandboxes read: whole beside and renamed, so that a starting interpreter never reads half of it.
pub(crate) fn write(home: &Path, name: &str, text: &str) -> Result<(), PrepareError> {
    let path = home.join(name);
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let written = (|| {
        fs::create_dir_all(home)?;
        fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
        let work = home.join(format!(".{name}"));
        fs::write(&work, text)?;
        fs::set_permissions(&work, fs::Permissions::from_mode(0o644))?;
        fs::rename(work, path)
    })();
    written.map_err(|e: io::Error| PrepareError::internal(format!("cannot write {}: {e}", home.display())))
}

/// Puts what was installed in `work` at its place. Unlike unpacked code it is kept over a restart of the machine, so it
/// must be whole on disk.
pub(crate) fn keep(work: &Path, done: &Path) -> io::Result<()> {
    rustix::fs::syncfs(fs::File::open(work)?)?;
    fs::rename(work, done)
}

pub(crate) fn make_readable(root: &Path) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_version_stands_in_only_when_asked() {
        let there = BTreeMap::from([(9, PathBuf::from("/p9")), (11, "/p11".into()), (13, "/p13".into())]);
        let python = || Language { name: "Python", prefix: "python3.", suffix: "", stand_ins: &[11, 12] };
        let strict = Interpreters::new(python(), there.clone(), false);
        assert_eq!((strict.choose(11), strict.reports(|_| None).len()), (Ok(11), 3));
        let error = strict.choose(12).expect_err("not there");
        assert_eq!(error.code, "InvalidRuntime");
        assert!(error.message.contains("python3.9, python3.11, python3.13"), "{error}");
        let lenient = Interpreters::new(python(), there, true);
        assert_eq!((lenient.choose(12), lenient.choose(8), lenient.choose(14)), (Ok(13), Ok(9), Ok(13)));
        assert_eq!(lenient.reports(|_| None)[3].name, "python3.12");
    }
}
