//! The programs that are started on every way: a static one, and what the node runs Python and Node.js functions with.

use super::Bench;
use crate::functions::{self, Function};
use crate::node::Node;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const PYTHON: &str = "def handler(event, context):\n    return event\n";
const NODEJS: &str = "exports.handler = async (event) => event;\n";
const STATIC: &str = include_str!("echo.rs");

pub struct Program {
    pub name: &'static str,
    /// A directory of its own.
    pub dir: PathBuf,
    pub argv: Vec<String>,
    /// But for the Runtime API's address.
    pub env: BTreeMap<String, String>,
    /// Source and target.
    pub mounts: Vec<(PathBuf, PathBuf)>,
    /// The same as a function of a node.
    pub function: Function,
}

/// The static program, compiled on first use.
pub fn compiled(bench: &Bench) -> Result<PathBuf> {
    let (source, program) = (bench.refs.join("echo.rs"), bench.refs.join("echo"));
    if program.exists() && fs::read_to_string(&source).is_ok_and(|there| there == STATIC) {
        return Ok(program);
    }
    fs::create_dir_all(&bench.refs)?;
    fs::write(&source, STATIC)?;
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-C", "panic=abort", "-o"]);
    let done = rustc.arg(&program).arg(&source).output().context("cannot run rustc")?;
    ensure!(done.status.success(), "rustc failed: {}", String::from_utf8_lossy(&done.stderr));
    Ok(program)
}

/// The static program as a function of a node.
pub fn static_function(bench: &Bench, name: impl Into<String>) -> Result<Function> {
    let bytes = fs::read(compiled(bench)?)?;
    Ok(Function::new(name, "provided.al2023", functions::package_bytes(&[("bootstrap", &bytes)])?))
}

/// A Python function of a node.
pub fn python_function(name: impl Into<String>, runtime: &str, memory_mb: u32) -> Result<Function> {
    let mut function = Function::new(name, runtime, functions::package(&[("app.py", PYTHON)])?);
    function.memory_mb = memory_mb;
    Ok(function)
}

/// All that this machine can run, made into functions of the node, which so writes what it runs them with.
pub async fn all(bench: &Bench, node: &Node) -> Result<Vec<Program>> {
    let mut all = vec![of_static(bench, node)?];
    let python = node.newest_python().await?;
    let function = python_function("python", &python, 256)?;
    function.create(node.address).await?;
    let script = "import os, sys\nprint(os.path.realpath(sys.executable))\nprint(os.path.realpath(sys.base_prefix))";
    let (program, prefix) = asked(node, &python, &["-I", "-S", "-c", script]).await?;
    let command = [&program, "-u", "-S", "-s", "/var/runtime/bootstrap.pyc"].map(str::to_owned);
    let mut made = interpreted(node, function, "app.py", PYTHON, &prefix)?;
    (made.name, made.argv) = ("Python", command.into());
    all.push(made);
    if let Some(nodejs) = node.newest_nodejs().await? {
        let mut function = Function::new("nodejs", &nodejs, functions::package(&[("app.js", NODEJS)])?);
        function.memory_mb = 256;
        function.create(node.address).await?;
        let script = "console.log(process.execPath); console.log(require('path').resolve(process.execPath, '../..'))";
        let (program, prefix) = asked(node, &nodejs, &["-e", script]).await?;
        let command = [&program, "--max-old-space-size=230", "--max-semi-space-size=12", "/var/runtime/index.mjs"];
        let mut made = interpreted(node, function, "app.js", NODEJS, &prefix)?;
        (made.name, made.argv) = ("Node.js", command.map(str::to_owned).into());
        all.push(made);
    }
    for program in &mut all {
        program.env = env(&program.function);
    }
    all[0].function.create(node.address).await?;
    Ok(all)
}

fn of_static(bench: &Bench, node: &Node) -> Result<Program> {
    let dir = node.data_dir.with_extension("static");
    let task = dir.join("task");
    fs::create_dir_all(&task)?;
    fs::copy(compiled(bench)?, task.join("bootstrap"))?;
    let function = static_function(bench, "static")?;
    let (argv, mounts) = (vec!["/var/task/bootstrap".into()], vec![(task, "/var/task".into())]);
    Ok(Program { name: "static program", dir, argv, env: BTreeMap::new(), mounts, function })
}

fn interpreted(node: &Node, function: Function, file: &str, source: &str, prefix: &str) -> Result<Program> {
    let dir = node.data_dir.with_extension(&function.name);
    let task = dir.join("task");
    fs::create_dir_all(&task)?;
    fs::write(task.join(file), source)?;
    let home = node.data_dir.join("runtimes").join(&function.runtime);
    ensure!(home.is_dir(), "the node has not made {}", home.display());
    let mut mounts = vec![(task, "/var/task".into()), (home, "/var/runtime".into())];
    if !["/usr", "/bin", "/lib"].iter().any(|system| Path::new(prefix).starts_with(system)) {
        mounts.push((prefix.into(), prefix.into()));
    }
    Ok(Program { name: "", dir, argv: Vec::new(), env: BTreeMap::new(), mounts, function })
}

/// The interpreter that the node's doctor names, asked where it is and what belongs to it.
async fn asked(node: &Node, runtime: &str, arguments: &[&str]) -> Result<(String, String)> {
    let program = node.interpreter(runtime).await?;
    let done = Command::new(&program).args(arguments).output().with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut lines = text.lines().map(str::to_owned);
    Ok((lines.next().context("its path")?, lines.next().context("its prefix")?))
}

/// What AWS documents, as the node gives it.
fn env(function: &Function) -> BTreeMap<String, String> {
    let memory = function.memory_mb.to_string();
    let execution = format!("AWS_Lambda_{}", function.runtime);
    let all = [
        ("_HANDLER", "app.handler"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("AWS_EXECUTION_ENV", &execution),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("LANG", "C.UTF-8"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        ("PYTHONPATH", "/var/runtime"),
        ("TZ", ":UTC"),
    ];
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
