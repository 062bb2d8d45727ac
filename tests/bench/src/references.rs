//! What Wadi is measured against: found on PATH, or installed from PyPI and npm on first use.

use crate::server::{self, Server};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Which {
    Wasmtime,
    Workerd,
    FunctionsFrameworkPython,
    FunctionsFrameworkNodejs,
    ServerlessOffline,
    Plain,
    Crun,
    Ministack,
    Moto,
}

pub struct References {
    /// Absolute.
    dir: PathBuf,
    chosen: Vec<Which>,
    wasmtime: PathBuf,
}

impl References {
    pub fn new(dir: &Path, chosen: &[Which], wasmtime: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let (dir, wasmtime) = (dir.canonicalize()?, wasmtime.to_owned());
        Ok(Self { dir, chosen: chosen.to_vec(), wasmtime })
    }

    /// Fails for one that was not chosen.
    pub fn wanted(&self, which: Which) -> Result<()> {
        ensure!(self.chosen.is_empty() || self.chosen.contains(&which), "not chosen with --refs");
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// A directory with npm packages, installed once.
    pub fn npm(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.join("installed").exists() {
            return Ok(dir);
        }
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("package.json"), "{\"private\": true}\n")?;
        let mut command = Command::new("npm");
        command.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).args(packages).current_dir(&dir);
        quiet(command)?;
        fs::write(dir.join("installed"), packages.join(" "))?;
        Ok(dir)
    }

    /// A virtual environment with packages from PyPI, installed once.
    fn pip(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.join("installed").exists() {
            return Ok(dir);
        }
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(&dir);
        quiet(venv)?;
        let mut install = Command::new(dir.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
        quiet(install)?;
        fs::write(dir.join("installed"), packages.join(" "))?;
        Ok(dir)
    }

    /// `wasmtime serve`, with a component.
    pub async fn wasmtime(&self, component: &Path) -> Result<Server> {
        self.wanted(Which::Wasmtime)?;
        let address = server::free()?;
        let mut command = Command::new(&self.wasmtime);
        command.args(["serve", "-S", "cli", "--addr", &address.to_string()]).arg(component);
        Server::start(command, address, "/", &self.log("wasmtime")).await
    }

    /// workerd with a worker that echoes: one isolate, warm.
    pub async fn workerd(&self) -> Result<Server> {
        self.wanted(Which::Workerd)?;
        let dir = self.npm("workerd", &["workerd"])?;
        let address = server::free()?;
        fs::write(
            dir.join("worker.js"),
            "export default { async fetch(r) { return new Response(await r.text()); } };\n",
        )?;
        let config = format!(
            "using Workerd = import \"/workerd/workerd.capnp\";\n\
             const config :Workerd.Config = (services = [(name = \"main\", worker = .echo)],\n\
             sockets = [(name = \"http\", address = \"{address}\", http = (), service = \"main\")]);\n\
             const echo :Workerd.Worker = (modules = [(name = \"worker\", esModule = embed \"worker.js\")],\n\
             compatibilityDate = \"2024-09-01\");\n"
        );
        fs::write(dir.join("config.capnp"), config)?;
        let mut command = Command::new(dir.join("node_modules/.bin/workerd"));
        command.args(["serve", "config.capnp"]).current_dir(&dir);
        Server::start(command, address, "/", &self.log("workerd")).await
    }

    /// functions-framework for Python: the same echo behind plain HTTP, as its command serves it.
    pub async fn framework_python(&self) -> Result<Server> {
        self.wanted(Which::FunctionsFrameworkPython)?;
        let dir = self.pip("functions-framework-python", &["functions-framework"])?;
        fs::write(dir.join("main.py"), "def handler(request):\n    return request.get_json()\n")?;
        let address = server::free()?;
        let mut command = Command::new(dir.join("bin/functions-framework"));
        command.args(["--source", "main.py", "--target", "handler", "--host", "127.0.0.1", "--port"]);
        command.arg(address.port().to_string()).current_dir(&dir);
        Server::start(command, address, "/", &self.log("functions-framework-python")).await
    }

    pub async fn framework_nodejs(&self) -> Result<Server> {
        self.wanted(Which::FunctionsFrameworkNodejs)?;
        let dir = self.npm("functions-framework-nodejs", &["@google-cloud/functions-framework"])?;
        fs::write(dir.join("index.js"), "exports.handler = (req, res) => res.json(req.body);\n")?;
        let address = server::free()?;
        let mut command = Command::new("node");
        command.arg("node_modules/@google-cloud/functions-framework/build/src/main.js");
        command.args(["--target=handler", &format!("--port={}", address.port())]).current_dir(&dir);
        Server::start(command, address, "/", &self.log("functions-framework-nodejs")).await
    }

    pub async fn serverless_offline(&self) -> Result<Server> {
        self.wanted(Which::ServerlessOffline)?;
        let dir = self.npm("serverless-offline", &["serverless@3", "serverless-offline@13"])?;
        let handler = "exports.handler = async (event) => ({ statusCode: 200, body: event.body });\n";
        fs::write(dir.join("handler.js"), handler)?;
        let config = "service: echo\nframeworkVersion: '3'\nplugins: [serverless-offline]\n\
                      provider: { name: aws, runtime: nodejs20.x }\n\
                      functions: { echo: { handler: handler.handler, events: [{ httpApi: 'POST /echo' }] } }\n";
        fs::write(dir.join("serverless.yml"), config)?;
        let (address, inner) = (server::free()?, server::free()?);
        let mut command = Command::new("node");
        command.args(["node_modules/serverless/bin/serverless.js", "offline", "start", "--host", "127.0.0.1"]);
        command.args(["--httpPort", &address.port().to_string(), "--lambdaPort", &inner.port().to_string()]);
        command.env("SLS_TELEMETRY_DISABLED", "1").env("SLS_NOTIFICATIONS_MODE", "off").current_dir(&dir);
        Server::start(command, address, "/echo", &self.log("serverless-offline")).await
    }

    /// A local server of AWS's APIs.
    pub async fn ministack(&self) -> Result<Server> {
        self.wanted(Which::Ministack)?;
        let (dir, address) = (self.pip("ministack", &["ministack"])?, server::free()?);
        let mut command = Command::new(dir.join("bin/ministack"));
        command.env("GATEWAY_PORT", address.port().to_string()).env("BIND_HOST", "127.0.0.1");
        command.env("IOT_MTLS_ENABLED", "0").current_dir(&dir);
        Server::start_api(command, address, &self.log("ministack")).await
    }

    /// Another, made for tests.
    pub async fn moto(&self) -> Result<Server> {
        self.wanted(Which::Moto)?;
        let (dir, address) = (self.pip("moto", &["moto[server]"])?, server::free()?);
        let mut command = Command::new(dir.join("bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]).current_dir(&dir);
        Server::start_api(command, address, &self.log("moto")).await
    }

    /// A bundle whose container is `true` on the machine's own root, read-only: `crun run` does all its work and no more.
    pub fn crun(&self) -> Result<PathBuf> {
        self.wanted(Which::Crun)?;
        let dir = self.dir.join("crun");
        fs::create_dir_all(&dir)?;
        let _ = fs::remove_file(dir.join("config.json"));
        let mut spec = Command::new("crun");
        spec.arg("spec").current_dir(&dir);
        quiet(spec).context("crun")?;
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        config["root"] = serde_json::json!({ "path": "/", "readonly": true });
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        config["process"]["terminal"] = false.into();
        fs::write(dir.join("config.json"), config.to_string())?;
        Ok(dir)
    }
}

/// Runs it to its end; its words only if it fails.
fn quiet(mut command: Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.output().with_context(|| format!("cannot run {program}"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("{program} failed: {}", said.lines().last().unwrap_or_default());
    }
    Ok(())
}
