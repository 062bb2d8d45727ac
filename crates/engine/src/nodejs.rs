//! The Node.js runtimes: which versions there are, what each one is, and the AWS SDK that AWS's runtime brings.

use crate::interpreters::{
    INSTALL_MAX, Interpreter, Interpreters, Language, PROBE_MAX, keep, last_lines, make_readable, run, write,
};
use crate::{PrepareError, RuntimeReport};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::Command;

/// Our side of the Runtime API, what streaming handlers and several calls at once add to it, what cells rehearse and
/// compile with, and the hooks by which ES modules find packages through NODE_PATH.
const FILES: [(&str, &str); 6] = [
    ("index.mjs", include_str!("../runtimes/node/bootstrap.mjs")),
    ("streaming.mjs", include_str!("../runtimes/node/streaming.mjs")),
    ("concurrent.mjs", include_str!("../runtimes/node/concurrent.mjs")),
    ("compiled.cjs", include_str!("../runtimes/node/compiled.cjs")),
    ("rehearsal.cjs", include_str!("../runtimes/node/rehearsal.cjs")),
    ("resolve.mjs", include_str!("../runtimes/node/resolve.mjs")),
];
const NODEJS: Language = Language { name: "Node.js", prefix: "nodejs", suffix: ".x", stand_ins: &[20, 22, 24, 26] };
/// npm scopes of the AWS SDK for JavaScript, version 3.
const SCOPES: [&str; 2] = ["@aws-sdk/", "@smithy/"];
/// Packages of the SDK that one function may name.
const PACKAGES_MAX: usize = 64;

pub(crate) struct Nodejs {
    pub here: Interpreters,
    /// `<data_dir>/runtimes`
    root: PathBuf,
    /// One installation at a time.
    installing: tokio::sync::Mutex<()>,
}

impl Nodejs {
    pub(crate) fn new(configured: BTreeMap<u8, PathBuf>, fallback_nearest: bool, data_dir: &Path) -> Self {
        let here = Interpreters::new(NODEJS, configured, fallback_nearest);
        Self { here, root: data_dir.join("runtimes"), installing: Default::default() }
    }

    /// The interpreter, asked once what it is, and its home written.
    pub(crate) async fn interpreter(&self, major: u8) -> Result<Arc<Interpreter>, PrepareError> {
        let probe = async |program: &Path| {
            let home = self.root.join(self.here.runtime(major));
            for (name, text) in FILES {
                write(&home, name, text)?;
            }
            // Where the SDK is mounted, for the functions that use it, and compiled code.
            for place in ["node_modules", "compiled"] {
                fs::create_dir_all(home.join(place))
                    .map_err(|e| PrepareError::internal(format!("cannot write {}: {e}", home.display())))?;
            }
            ask(program, major, home).await
        };
        self.here.get(major, probe).await
    }

    /// A `node_modules` that holds these packages of the SDK: one that is there, else installed from npm's registry. What
    /// is there is never changed: instances have it mounted.
    pub(crate) async fn sdk(
        &self,
        interpreter: &Interpreter,
        packages: &BTreeSet<String>,
    ) -> Result<PathBuf, PrepareError> {
        let _one = self.installing.lock().await;
        let root = self.root.join("nodejs");
        if let Some(there) = installed(&root, packages) {
            return Ok(there);
        }
        let names = packages.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        tracing::info!(packages = %names, "installing the AWS SDK from npm's registry; this happens once");
        let done = root.join(hex::encode(&Sha256::digest(&names)[..16]));
        let work = root.join(".installing");
        let failed = |reason: String| no_sdk(&names, &reason);
        let _ = fs::remove_dir_all(&work);
        fs::create_dir_all(&work).map_err(|e| failed(e.to_string()))?;
        self.npm(interpreter, &work, packages).await.map_err(failed)?;
        let kept = make_readable(&work).and_then(|()| {
            let _ = fs::remove_dir_all(&done);
            keep(&work, &done)
        });
        kept.map_err(|e| failed(e.to_string()))?;
        tracing::info!(packages = %names, "the AWS SDK is installed");
        Ok(done.join("node_modules"))
    }

    /// With the interpreter's own npm, else the one on PATH.
    async fn npm(&self, interpreter: &Interpreter, work: &Path, packages: &BTreeSet<String>) -> Result<(), String> {
        let configured = self.here.programs.get(&interpreter.number).map(PathBuf::as_path);
        let beside = [configured, Some(interpreter.program.as_path())];
        let own = beside.iter().flatten().map(|program| program.with_file_name("npm")).find(|npm| npm.is_file());
        let mut command = match own {
            Some(npm) => {
                let mut command = Command::new(&interpreter.program);
                command.arg(npm);
                command
            }
            None => Command::new("npm"),
        };
        command.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--save"]);
        command.args(["--no-update-notifier", "--loglevel=error", "--fetch-retries=1", "--prefix"]).arg(work);
        command.args(packages).current_dir(work);
        let output = run(command, INSTALL_MAX).await.map_err(|e| format!("npm: {e}"))?;
        if output.status.success() { Ok(()) } else { Err(last_lines(&output.stderr)) }
    }

    pub(crate) fn reports(&self) -> Vec<RuntimeReport> {
        self.here.reports(|_| None)
    }
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    dependencies: BTreeMap<String, String>,
}

/// An installation below `root` that has all these packages.
fn installed(root: &Path, packages: &BTreeSet<String>) -> Option<PathBuf> {
    let has_all = |dir: &PathBuf| {
        let manifest = fs::read(dir.join("package.json")).ok();
        let manifest = manifest.and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
        manifest.is_some_and(|m| packages.iter().all(|name| m.dependencies.contains_key(name)))
    };
    let dirs = fs::read_dir(root).ok()?.flatten().map(|item| item.path());
    let whole = dirs.filter(|dir| dir.file_name().is_some_and(|name| name != ".installing"));
    whole.into_iter().find(has_all).map(|dir| dir.join("node_modules"))
}

fn no_sdk(packages: &str, reason: &str) -> PrepareError {
    PrepareError::internal(format!(
        "the function uses {packages}, which could not be installed from npm's registry (is this machine offline?): \
         {reason}. Put them into the package, or try again when the registry can be reached."
    ))
}

async fn ask(program: &Path, major: u8, home: PathBuf) -> Result<Interpreter, PrepareError> {
    const QUESTION: &str =
        "console.log(require('fs').realpathSync(process.execPath)); console.log(process.versions.node)";
    let bad = |reason: String| PrepareError {
        code: "InvalidRuntime",
        message: format!("nodejs{major}.x at {} does not work: {reason}", program.display()),
    };
    let mut command = Command::new(program);
    command.args(["-e", QUESTION]).env_remove("NODE_OPTIONS");
    let output = run(command, PROBE_MAX).await.map_err(|e| bad(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().collect::<Vec<_>>().as_slice() {
        [executable, version] if version.starts_with(&format!("{major}.")) => {
            let program = PathBuf::from(executable);
            let dir = program.parent().unwrap_or(Path::new("/"));
            let prefix = dir.parent().filter(|_| dir.ends_with("bin")).unwrap_or(dir).to_owned();
            Ok(Interpreter { number: major, program, prefix, version: (*version).to_owned(), home })
        }
        [_, version] => Err(bad(format!("it is Node.js {version}"))),
        _ => Err(bad(last_lines(&output.stderr))),
    }
}

/// The variable of the function's environment that Node.js, V8 or the C library reads when a process starts, so that one
/// that was started ahead would not do.
pub(crate) fn read_at_start(environment: &BTreeMap<String, String>) -> Option<&str> {
    const STARTS: [&str; 9] = ["NODE_", "UV_", "LD_", "LC_", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_", "ICU_"];
    const NAMES: [&str; 5] = ["LANG", "LANGUAGE", "LOCALDOMAIN", "RES_OPTIONS", "HOSTALIASES"];
    // Libraries alone look at this one, when they are loaded.
    let is_read = |name: &&String| name.as_str() != "NODE_ENV" && STARTS.iter().any(|start| name.starts_with(start));
    environment.keys().find(|name| NAMES.contains(&name.as_str()) || is_read(name)).map(String::as_str)
}

/// V8's limits, from the function's memory as on AWS: 90 % for what lives long, 5 % for what is new.
pub(crate) fn heap(memory_mb: u32) -> [String; 2] {
    [
        format!("--max-old-space-size={}", memory_mb * 9 / 10),
        format!("--max-semi-space-size={}", (memory_mb / 20).max(1)),
    ]
}

/// The packages of the SDK that JavaScript in a package names, in quotes, and that it does not bring. Blocks; reads
/// every module.
pub(crate) fn sdk_packages(task: &Path, opt: Option<&Path>, major: u8) -> io::Result<BTreeSet<String>> {
    let layers = opt.map(|opt| opt.join("nodejs"));
    let layers_own = layers.as_ref().map(|layers| layers.join(format!("node{major}")));
    let roots: Vec<&Path> = [Some(task), layers.as_deref()].into_iter().flatten().filter(|r| r.is_dir()).collect();
    let mut needed = BTreeSet::new();
    for root in &roots {
        let mut left = vec![root.to_path_buf()];
        while let Some(dir) = left.pop() {
            for item in fs::read_dir(&dir)? {
                let item = item?;
                let (kind, path) = (item.file_type()?, item.path());
                // What the SDK's own packages need is beside them.
                if kind.is_dir() && !["@aws-sdk", "@smithy", "@aws-crypto"].iter().any(|own| path.ends_with(own)) {
                    left.push(path);
                } else if kind.is_file() && path.extension().is_some_and(|e| e == "js" || e == "mjs" || e == "cjs") {
                    let brought = |name: &str| {
                        let above = dir.ancestors().take_while(|above| above.starts_with(root));
                        above
                            .chain(layers.as_deref())
                            .chain(layers_own.as_deref())
                            .any(|above| above.join("node_modules").join(name).is_dir())
                    };
                    named(&fs::read(&path)?, &mut |name| {
                        if needed.len() < PACKAGES_MAX && !brought(&name) {
                            needed.insert(name);
                        }
                    });
                }
            }
        }
    }
    Ok(needed)
}

/// Finds `"@aws-sdk/name"` and `"@aws-sdk/name/…"`, in any of JavaScript's quotes.
fn named(source: &[u8], out: &mut dyn FnMut(String)) {
    let quote = |byte: &u8| matches!(byte, b'"' | b'\'' | b'`');
    for (at, _) in source.iter().enumerate().filter(|(_, byte)| **byte == b'@') {
        let Some(scope) = SCOPES.iter().find(|scope| source[at..].starts_with(scope.as_bytes())) else { continue };
        let rest = &source[at + scope.len()..];
        let length = rest.iter().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'-').count();
        let ends = rest.get(length).is_some_and(|byte| quote(byte) || *byte == b'/');
        if length > 0 && ends && at.checked_sub(1).is_some_and(|before| quote(&source[before])) {
            out(format!("{scope}{}", String::from_utf8_lossy(&rest[..length])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_needed_where_it_is_named_and_not_brought() {
        let dir = tempfile::tempdir().expect("a directory");
        let (task, opt) = (dir.path().join("task"), dir.path().join("opt"));
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes");
            fs::write(path, text).expect("writes");
        };
        let needed = || {
            let found = sdk_packages(&task, Some(&opt), 20).expect("reads");
            found.into_iter().collect::<Vec<_>>().join(" ")
        };
        write(
            "task/index.mjs",
            "// see @aws-sdk/client-sqs and \"@aws-sdk/\" and '@aws-sdk/Client'\nimport x from 'y'",
        );
        assert_eq!(needed(), "");
        write("task/index.mjs", "import { S3Client } from \"@aws-sdk/client-s3\";");
        write("task/lib/deep/a.cjs", "require('@aws-sdk/lib-dynamodb/x'); import(`@smithy/types`)");
        write("task/node_modules/dep/index.js", "require('@aws-sdk/client-sns')");
        write("task/node_modules/@aws-sdk/other/index.js", "require('@aws-sdk/core')");
        assert_eq!(needed(), "@aws-sdk/client-s3 @aws-sdk/client-sns @aws-sdk/lib-dynamodb @smithy/types");
        write("task/node_modules/@aws-sdk/client-s3/package.json", "{}");
        write("task/node_modules/dep/node_modules/@aws-sdk/client-sns/package.json", "{}");
        write("opt/nodejs/node20/node_modules/@smithy/types/package.json", "{}");
        assert_eq!(needed(), "@aws-sdk/lib-dynamodb");
    }

    #[test]
    fn an_installation_serves_those_that_need_less() {
        let dir = tempfile::tempdir().expect("a directory");
        let manifest = r#"{"dependencies": {"@aws-sdk/a": "^3", "@aws-sdk/b": "^3"}}"#;
        for name in ["one", ".installing"] {
            fs::create_dir(dir.path().join(name)).expect("makes");
            fs::write(dir.path().join(name).join("package.json"), manifest).expect("writes");
        }
        let find = |names: &[&str]| installed(dir.path(), &names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(find(&["@aws-sdk/b"]), Some(dir.path().join("one/node_modules")));
        assert_eq!(find(&["@aws-sdk/b", "@aws-sdk/c"]), None);
    }

    #[test]
    fn what_is_read_at_start_is_known() {
        let read = |name: &str| read_at_start(&[(name.to_owned(), "1".to_owned())].into()).is_some();
        for name in
            ["NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "UV_THREADPOOL_SIZE", "LD_PRELOAD", "LANG", "MALLOC_ARENA_MAX"]
        {
            assert!(read(name), "{name}");
        }
        for name in ["NODE_ENV", "TZ", "TABLE", "LANGCHAIN_KEY"] {
            assert!(!read(name), "{name}");
        }
    }

    #[test]
    fn the_heap_leaves_room_for_the_rest() {
        assert_eq!(heap(128), ["--max-old-space-size=115", "--max-semi-space-size=6"]);
    }
}
