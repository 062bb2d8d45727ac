//! The Lambda operations that the verbs use.

use super::{Call, Client, Payload, Reply, encoded};
use crate::error::{Error, Result};
use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const FUNCTIONS: &str = "/2015-03-31/functions";
/// A first use of a runtime may have to fetch its SDK.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(600);
const SETTLE_POLL: Duration = Duration::from_millis(150);
/// No account has more functions than pages of fifty times this.
const PAGES_MAX: usize = 2_000;

/// The members of `FunctionConfiguration` that people look at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Configuration {
    pub function_name: String,
    pub function_arn: String,
    pub version: String,
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub memory_size: u32,
    pub timeout: u32,
    pub code_size: u64,
    pub code_sha256: String,
    pub last_modified: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_status_reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    functions: Vec<Configuration>,
    next_marker: Option<String>,
}

/// What an invocation came to.
pub struct Invoked {
    pub status: u16,
    pub function_error: Option<String>,
    pub executed_version: Option<String>,
    pub payload: Bytes,
    /// The last 4 KB of the log, when asked for.
    pub log: Option<String>,
}

fn function_path(name: &str, rest: &str) -> String {
    format!("{FUNCTIONS}/{}{rest}", encoded(name))
}

/// `None` for a thing that is not there.
fn absent<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.code() == Some("ResourceNotFoundException") => Ok(None),
        Err(e) => Err(e),
    }
}

/// Fine if it was there already.
fn unless_there<T>(result: Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if e.code() == Some("ResourceConflictException") => Ok(()),
        Err(e) => Err(e),
    }
}

impl Client {
    async fn lambda(
        &self,
        operation: &'static str,
        method: Method,
        path: String,
        input: Option<&Value>,
    ) -> Result<Reply> {
        self.rest("lambda", operation, method, path, input).await
    }

    pub async fn function(&self, name: &str) -> Result<Option<Configuration>> {
        const OPERATION: &str = "GetFunctionConfiguration";
        let reply = self.lambda(OPERATION, Method::GET, function_path(name, "/configuration"), None).await;
        absent(reply)?.map(|r| r.json(OPERATION)).transpose()
    }

    /// What a function's tags say of this.
    pub async fn tag(&self, arn: &str, name: &str) -> Result<Option<String>> {
        const OPERATION: &str = "ListTags";
        let path = format!("/2017-03-31/tags/{}", encoded(arn));
        let reply: Value = self.lambda(OPERATION, Method::GET, path, None).await?.json(OPERATION)?;
        Ok(reply["Tags"][name].as_str().map(str::to_owned))
    }

    pub async fn functions(&self) -> Result<Vec<Configuration>> {
        const OPERATION: &str = "ListFunctions";
        let (mut all, mut marker) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let marked = marker.as_deref().map(|m| format!("&Marker={}", encoded(m))).unwrap_or_default();
            let path = format!("{FUNCTIONS}?MaxItems=50{marked}");
            let page: Page = self.lambda(OPERATION, Method::GET, path, None).await?.json(OPERATION)?;
            all.extend(page.functions);
            marker = page.next_marker.filter(|m| !m.is_empty());
            if marker.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// Creates a function; `input` is a CreateFunction request.
    pub async fn create_function(&self, input: &Value) -> Result<Configuration> {
        const OPERATION: &str = "CreateFunction";
        self.lambda(OPERATION, Method::POST, FUNCTIONS.into(), Some(input)).await?.json(OPERATION)
    }

    /// `input` says where the code is, as UpdateFunctionCode does.
    pub async fn update_code(&self, name: &str, input: &Value) -> Result<Configuration> {
        const OPERATION: &str = "UpdateFunctionCode";
        self.lambda(OPERATION, Method::PUT, function_path(name, "/code"), Some(input)).await?.json(OPERATION)
    }

    pub async fn update_configuration(&self, name: &str, input: &Value) -> Result<Configuration> {
        const OPERATION: &str = "UpdateFunctionConfiguration";
        self.lambda(OPERATION, Method::PUT, function_path(name, "/configuration"), Some(input)).await?.json(OPERATION)
    }

    /// Waits until the function is active and its last update is through, or says why it is not.
    pub async fn settled(&self, name: &str) -> Result<Configuration> {
        let began = Instant::now();
        while began.elapsed() < SETTLE_TIMEOUT {
            let now = self.function(name).await?.ok_or_else(|| Error::bare(format!("{name} has been deleted")))?;
            let failed = |reason: &Option<String>| {
                Error::told(
                    format!("{name} did not become active: {}", reason.as_deref().unwrap_or("no reason given")),
                    "`wadi doctor` shows which runtimes the node has and what stands in the way",
                )
            };
            match (now.state.as_deref(), now.last_update_status.as_deref()) {
                (Some("Failed"), _) => return Err(failed(&now.state_reason)),
                (_, Some("Failed")) => return Err(failed(&now.last_update_status_reason)),
                (Some("Pending"), _) | (_, Some("InProgress")) => tokio::time::sleep(SETTLE_POLL).await,
                _ => return Ok(now),
            }
        }
        Err(Error::told(
            format!("{name} was not active after {} s", SETTLE_TIMEOUT.as_secs()),
            "`wadi list` shows its state; the node's own output may say what it waits for",
        ))
    }

    pub async fn function_url(&self, name: &str) -> Result<Option<String>> {
        const OPERATION: &str = "GetFunctionUrlConfig";
        let path = format!("/2021-10-31/functions/{}/url", encoded(name));
        let reply = absent(self.lambda(OPERATION, Method::GET, path, None).await)?;
        let config: Option<Value> = reply.map(|r| r.json(OPERATION)).transpose()?;
        Ok(config.and_then(|c| c["FunctionUrl"].as_str().map(str::to_owned)))
    }

    /// The function's public URL, made if there is none, open to everybody.
    pub async fn open_url(&self, name: &str) -> Result<String> {
        if let Some(url) = self.function_url(name).await? {
            return Ok(url);
        }
        const OPERATION: &str = "CreateFunctionUrlConfig";
        let path = format!("/2021-10-31/functions/{}/url", encoded(name));
        let reply = self.lambda(OPERATION, Method::POST, path, Some(&json!({ "AuthType": "NONE" }))).await?;
        let config: Value = reply.json(OPERATION)?;
        let permission = json!({
            "StatementId": "FunctionURLAllowPublicAccess", "Action": "lambda:InvokeFunctionUrl",
            "Principal": "*", "FunctionUrlAuthType": "NONE",
        });
        self.allow(name, &permission).await?;
        Ok(config["FunctionUrl"].as_str().unwrap_or_default().to_owned())
    }

    /// Lets the function's URL answer while the function still writes.
    pub async fn stream_url(&self, name: &str) -> Result<()> {
        let path = format!("/2021-10-31/functions/{}/url", encoded(name));
        let input = json!({ "InvokeMode": "RESPONSE_STREAM" });
        self.lambda("UpdateFunctionUrlConfig", Method::PUT, path, Some(&input)).await.map(drop)
    }

    /// Adds a statement to the function's policy, unless one of that id is there.
    pub async fn allow(&self, name: &str, permission: &Value) -> Result<()> {
        let path = function_path(name, "/policy");
        unless_there(self.lambda("AddPermission", Method::POST, path, Some(permission)).await)
    }

    pub async fn invoke(&self, name: &str, kind: &str, tail: bool, payload: Bytes) -> Result<Invoked> {
        let mut headers =
            vec![("content-type", "application/json".to_owned()), ("x-amz-invocation-type", kind.to_owned())];
        if tail {
            headers.push(("x-amz-log-type", "Tail".into()));
        }
        let call = Call {
            operation: "Invoke",
            service: "lambda",
            method: Method::POST,
            path: function_path(name, "/invocations"),
            headers,
            body: Payload::Bytes(payload),
        };
        let reply = self
            .send(call)
            .await
            .map_err(|e| e.advise("ResourceNotFoundException", "`wadi list` shows the functions there are"))?;
        let log = reply.header("x-amz-log-result").and_then(|text| {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.decode(text).ok()
        });
        Ok(Invoked {
            status: reply.status,
            function_error: reply.header("x-amz-function-error").map(str::to_owned),
            executed_version: reply.header("x-amz-executed-version").map(str::to_owned),
            log: log.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            payload: reply.body,
        })
    }
}
