//! Functions of the node under test: their packages and their life, through the Lambda API.

use crate::load::{Call, Connection};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// The first function of a runtime waits for the packages that the runtime brings.
const ACTIVE_MAX: Duration = Duration::from_secs(300);

/// A function to be made. [`Function::new`] has the defaults.
#[derive(Clone)]
pub struct Function {
    pub name: String,
    pub runtime: String,
    pub handler: &'static str,
    pub memory_mb: u32,
    pub timeout_s: u32,
    /// The package, zipped and in base64.
    pub zip: String,
    /// What else its creation says: `Tags`, `SnapStart`.
    pub also: Value,
}

impl Function {
    pub fn new(name: impl Into<String>, runtime: &str, zip: String) -> Self {
        Self {
            name: name.into(),
            runtime: runtime.into(),
            handler: "app.handler",
            memory_mb: 128,
            timeout_s: 30,
            zip,
            also: json!({}),
        }
    }

    pub fn creation(&self) -> Call {
        let mut body = json!({
            "FunctionName": self.name, "Runtime": self.runtime, "Handler": self.handler, "Timeout": self.timeout_s,
            "MemorySize": self.memory_mb, "Role": "arn:aws:iam::000000000000:role/bench",
            "Code": { "ZipFile": self.zip },
        });
        for (name, value) in self.also.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        json_call(Method::POST, "/2015-03-31/functions".into(), &body)
    }

    /// Creates it and waits until it can be invoked.
    pub async fn create(&self, node: SocketAddr) -> Result<()> {
        let mut connection = Connection::open(node).await?;
        connection.send(&self.creation()).await?;
        settled(&mut connection, &self.name).await
    }

    /// Gives it a URL that anyone may call; the host of that.
    pub async fn url(&self, node: SocketAddr) -> Result<String> {
        let mut connection = Connection::open(node).await?;
        let permission = json!({
            "StatementId": "anyone", "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE",
        });
        let path = format!("/2015-03-31/functions/{}/policy", self.name);
        connection.send(&json_call(Method::POST, path, &permission)).await?;
        let path = format!("/2021-10-31/functions/{}/url", self.name);
        let made = connection.send(&json_call(Method::POST, path, &json!({ "AuthType": "NONE" }))).await?;
        let made: Value = serde_json::from_slice(&made)?;
        let url = made["FunctionUrl"].as_str().context("a URL")?;
        Ok(url.trim_start_matches("http://").trim_end_matches('/').to_owned())
    }

    /// Gives it other code and waits until that is in use.
    pub async fn update(&self, node: SocketAddr, zip: &str) -> Result<()> {
        let mut connection = Connection::open(node).await?;
        let path = format!("/2015-03-31/functions/{}/code", self.name);
        connection.send(&json_call(Method::PUT, path, &json!({ "ZipFile": zip }))).await?;
        settled(&mut connection, &self.name).await
    }
}

/// Changes a function's configuration.
pub fn configure(name: &str, body: &Value) -> Call {
    json_call(Method::PUT, format!("/2015-03-31/functions/{name}/configuration"), body)
}

fn json_call(method: Method, path: String, body: &Value) -> Call {
    let mut call = Call::new(method, path, "lambda", body.to_string());
    call.headers.push(("content-type", "application/json".into()));
    call
}

/// Waits until a function is active and its last update is done.
pub async fn settled(connection: &mut Connection, name: &str) -> Result<()> {
    let get = Call::get(format!("/2015-03-31/functions/{name}/configuration"), "lambda");
    let pause = Duration::from_millis(50);
    for _ in 0..ACTIVE_MAX.as_millis() / pause.as_millis() {
        let configuration: Value = serde_json::from_slice(&connection.send(&get).await?)?;
        match (configuration["State"].as_str(), configuration["LastUpdateStatus"].as_str()) {
            (Some("Active"), Some("Successful") | None) => return Ok(()),
            (Some("Failed"), _) => bail!("{name} failed: {}", configuration["StateReason"]),
            (_, Some("Failed")) => bail!("{name} failed: {}", configuration["LastUpdateStatusReason"]),
            _ => tokio::time::sleep(pause).await,
        }
    }
    bail!("{name} did not become active within {} s", ACTIVE_MAX.as_secs())
}

/// A call that waits for its answer.
pub fn invoke(name: &str, payload: impl Into<Bytes>) -> Call {
    Call::new(Method::POST, format!("/2015-03-31/functions/{name}/invocations"), "lambda", payload)
}

/// A zip of texts in base64; `bootstrap` is executable.
pub fn package(files: &[(&str, &str)]) -> Result<String> {
    package_bytes(&files.iter().map(|(name, text)| (*name, text.as_bytes())).collect::<Vec<_>>())
}

pub fn package_bytes(files: &[(&str, &[u8])]) -> Result<String> {
    zipped(files.iter().map(|(name, bytes)| Ok(((*name).to_owned(), bytes.to_vec()))))
}

/// Texts, and a directory `below` another with all that is in it.
pub fn package_with(files: &[(&str, &str)], root: &Path, below: &str) -> Result<String> {
    let texts = files.iter().map(|(name, text)| Ok(((*name).to_owned(), text.as_bytes().to_vec())));
    let mut paths = Vec::new();
    walk(&root.join(below), &mut paths)?;
    let files = paths.iter().map(|path| {
        let name = path.strip_prefix(root)?.to_str().context("a name in UTF-8")?.to_owned();
        Ok((name, std::fs::read(path)?))
    });
    zipped(texts.chain(files))
}

/// Regular files, links left out.
fn walk(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => walk(&entry.path(), paths)?,
            kind if kind.is_file() => paths.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn zipped(files: impl Iterator<Item = Result<(String, Vec<u8>)>>) -> Result<String> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        let (name, bytes) = file?;
        let mode = if name == "bootstrap" { 0o755 } else { 0o644 };
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).unix_permissions(mode);
        writer.start_file(name, options)?;
        writer.write_all(&bytes)?;
    }
    Ok(STANDARD.encode(writer.finish().context("a zip in memory")?.into_inner()))
}
