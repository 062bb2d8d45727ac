//! The node's own API under `/_wadi/api` (models/wadi/service-2.json).

use super::{Client, encoded};
use crate::error::Result;
use http::Method;
use serde::{Deserialize, Serialize};

/// A page has at most a thousand records.
const PAGE: usize = 1_000;

/// What a function did over a span of time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FunctionUsage {
    pub function_name: String,
    pub invocations: u64,
    pub errors: u64,
    pub cold_starts: u64,
    pub duration_ms: f64,
    pub init_ms: f64,
    pub billed_ms: u64,
    pub gb_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub network_bytes: u64,
    pub max_memory_mb: u32,
}

/// One invocation's usage record.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InvocationRecord {
    pub request_id: String,
    pub at: u64,
    /// `cold` or `warm`.
    pub start: String,
    pub duration_us: u64,
    pub init_us: u64,
    pub billed_ms: u64,
    pub max_memory_mb: u32,
    /// The `errorType`, when the run failed.
    pub error: Option<String>,
}

/// One promise of the node, and whether this machine lets it keep it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    pub name: String,
    /// `ok`, `weaker` or `missing`.
    pub status: String,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What a function does at the moment; counts and percentiles are those of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FunctionActivity {
    pub function_name: String,
    pub idle: u64,
    pub busy: u64,
    pub starting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<u64>,
    /// Why instances are not copied from a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_copied: Option<String>,
    pub waiting: u64,
    pub calls_per_second: f64,
    pub calls: u64,
    pub cold_starts: u64,
    pub errors: u64,
    pub throttles: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ActivityReply {
    functions: Vec<FunctionActivity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UsageReply {
    functions: Vec<FunctionUsage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InvocationsReply {
    invocations: Vec<InvocationRecord>,
    next_token: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DoctorReply {
    pub checks: Vec<Check>,
    pub version: String,
    pub listen: String,
    pub data_dir: String,
}

impl Client {
    /// Usage by function since `start_ms`.
    pub async fn usage(&self, start_ms: u64) -> Result<Vec<FunctionUsage>> {
        const OPERATION: &str = "GetUsage";
        let path = format!("/_wadi/api/usage?start={start_ms}");
        let reply: UsageReply = self.rest("wadi", OPERATION, Method::GET, path, None).await?.json(OPERATION)?;
        Ok(reply.functions)
    }

    /// A function's invocations since `start_ms`, at most `pages_max` thousand.
    pub async fn invocations(&self, function: &str, start_ms: u64, pages_max: usize) -> Result<Vec<InvocationRecord>> {
        const OPERATION: &str = "ListInvocations";
        let (mut all, mut token) = (Vec::new(), String::new());
        for _ in 0..pages_max {
            let path =
                format!("/_wadi/api/invocations?function={}&limit={PAGE}{token}&start={start_ms}", encoded(function));
            let reply: InvocationsReply =
                self.rest("wadi", OPERATION, Method::GET, path, None).await?.json(OPERATION)?;
            all.extend(reply.invocations);
            match reply.next_token {
                Some(next) => token = format!("&nextToken={}", encoded(&next)),
                None => break,
            }
        }
        Ok(all)
    }

    /// The functions that do something, or did within the last minute.
    pub async fn activity(&self) -> Result<Vec<FunctionActivity>> {
        const OPERATION: &str = "GetActivity";
        let path = "/_wadi/api/activity".into();
        let reply: ActivityReply = self.rest("wadi", OPERATION, Method::GET, path, None).await?.json(OPERATION)?;
        Ok(reply.functions)
    }

    pub async fn doctor(&self) -> Result<DoctorReply> {
        const OPERATION: &str = "GetDoctor";
        self.rest("wadi", OPERATION, Method::GET, "/_wadi/api/doctor".into(), None).await?.json(OPERATION)
    }
}
