//! The functions that chaos calls: the same one in each runtime that the node has, each with its number of the code.

use super::faults;
use crate::functions::{self, Function};
use crate::load::Call;
use crate::node::Node;
use anyhow::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub struct Target {
    function: Function,
    file: &'static str,
    source: &'static str,
    /// The number of the code that is in use for certain.
    in_use: AtomicU64,
    /// The number of the code that may be in use already.
    deployed: AtomicU64,
}

/// What was known when a request was sent.
pub struct Sent {
    pub nonce: u64,
    pub at: Instant,
    code: u64,
}

pub async fn create(node: &Node) -> Result<Arc<Vec<Target>>> {
    let python = node.newest_python().await?;
    let mut all = vec![
        Target::new("python", &python, "app.py", PYTHON)?,
        Target::new("python-too", &python, "app.py", PYTHON)?,
        Target::new("provided", "provided.al2023", "bootstrap", PROVIDED)?,
    ];
    if let Some(nodejs) = node.newest_nodejs().await? {
        all.push(Target::new("nodejs", &nodejs, "app.js", NODEJS)?);
    }
    for target in &all {
        target.function.create(node.address).await?;
    }
    Ok(Arc::new(all))
}

impl Target {
    fn new(name: &str, runtime: &str, file: &'static str, source: &'static str) -> Result<Self> {
        let function = Function::new(name, runtime, functions::package(&[(file, &numbered(source, 1))])?);
        Ok(Self { function, file, source, in_use: AtomicU64::new(1), deployed: AtomicU64::new(1) })
    }

    pub fn sent(&self, nonce: u64) -> Sent {
        Sent { nonce, at: Instant::now(), code: self.in_use.load(Ordering::SeqCst) }
    }

    /// Some calls are short, some take a while, so that kills meet both.
    pub fn call(&self, nonce: u64) -> Call {
        let ms = faults::mixed(nonce) % 4 * 10;
        functions::invoke(&self.function.name, format!("{{\"nonce\":{nonce},\"ms\":{ms}}}"))
    }

    /// Replaces the code under load.
    pub async fn deploy(&self, node: SocketAddr) -> Result<()> {
        let code = self.deployed.fetch_add(1, Ordering::SeqCst) + 1;
        let zip = functions::package(&[(self.file, &numbered(self.source, code))])?;
        self.function.update(node, &zip).await?;
        self.in_use.store(code, Ordering::SeqCst);
        Ok(())
    }

    /// Whether a code with this number may have answered the request.
    pub fn may_be(&self, sent: &Sent, code: u64) -> bool {
        (sent.code..=self.deployed.load(Ordering::SeqCst)).contains(&code)
    }
}

/// What every runtime computes from a nonce.
pub fn value(nonce: u64) -> u64 {
    nonce * 7919 % 1_000_003
}

fn numbered(source: &str, code: u64) -> String {
    source.replace("CODE_NUMBER", &code.to_string())
}

const PYTHON: &str = r#"
import time
def handler(event, context):
    time.sleep(event["ms"] / 1000)
    n = event["nonce"]
    return {"nonce": n, "value": n * 7919 % 1000003, "code": CODE_NUMBER, "id": context.aws_request_id}
"#;

const NODEJS: &str = r#"
exports.handler = async (event, context) => {
  await new Promise((r) => setTimeout(r, event.ms));
  return { nonce: event.nonce, value: event.nonce * 7919 % 1000003, code: CODE_NUMBER, id: context.awsRequestId };
};
"#;

const PROVIDED: &str = r#"#!/usr/bin/python3 -SE
import http.client, json, os, time
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    call = api.getresponse()
    id, event = call.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(call.read())
    time.sleep(event["ms"] / 1000)
    n = event["nonce"]
    answer = json.dumps({"nonce": n, "value": n * 7919 % 1000003, "code": CODE_NUMBER, "id": id})
    api.request("POST", f"/2018-06-01/runtime/invocation/{id}/response", answer)
    api.getresponse().read()
"#;
