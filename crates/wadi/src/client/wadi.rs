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

/// Where an event is, and how it got there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EventWay {
    pub id: String,
    /// The event that it passes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// `waiting`, `delivered`, `failed` or `dead`.
    pub state: String,
    pub target: String,
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    pub created: u64,
    pub changed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<u64>,
    pub attempts: u32,
    pub tried: Vec<EventAttempt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<String>,
}

/// An attempt that did not deliver.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventAttempt {
    pub at: u64,
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventsReply {
    events: Vec<EventWay>,
}

/// How many dead events were sent again, and whether there may be more.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RedriveReply {
    pub redriven: u32,
    pub more: bool,
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

    /// Events that changed since then, or one, the latest first.
    pub async fn events(&self, id: Option<&str>, since_ms: u64, limit: u32) -> Result<Vec<EventWay>> {
        const OPERATION: &str = "ListEvents";
        let id = id.map_or_else(String::new, |id| format!("id={}&", encoded(id)));
        let path = format!("/_wadi/api/events?{id}limit={limit}&since={since_ms}");
        let reply: EventsReply = self.rest("wadi", OPERATION, Method::GET, path, None).await?.json(OPERATION)?;
        Ok(reply.events)
    }

    /// Sends dead events again: one, those for a target, or all.
    pub async fn redrive(&self, id: Option<&str>, target: Option<&str>) -> Result<RedriveReply> {
        const OPERATION: &str = "RedriveDeadEvents";
        let mut body = serde_json::Map::new();
        body.extend(id.map(|id| ("Id".to_owned(), id.into())));
        body.extend(target.map(|target| ("Target".to_owned(), target.into())));
        let body = serde_json::Value::Object(body);
        self.rest("wadi", OPERATION, Method::POST, "/_wadi/api/events/redrive".into(), Some(&body))
            .await?
            .json(OPERATION)
    }

    pub async fn doctor(&self) -> Result<DoctorReply> {
        const OPERATION: &str = "GetDoctor";
        self.rest("wadi", OPERATION, Method::GET, "/_wadi/api/doctor".into(), None).await?.json(OPERATION)
    }
}
