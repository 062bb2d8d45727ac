//! The CloudWatch Logs operations that the verbs use.

use super::Client;
use crate::error::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// One log event as FilterLogEvents gives it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogEvent {
    pub event_id: String,
    pub log_stream_name: String,
    /// Milliseconds since the epoch.
    pub timestamp: u64,
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogPage {
    #[serde(default)]
    pub events: Vec<LogEvent>,
    pub next_token: Option<String>,
}

impl Client {
    /// One page of a group's events from `start_ms` on, over all its streams.
    pub async fn log_page(&self, group: &str, start_ms: u64, token: Option<&str>) -> Result<LogPage> {
        let mut input = json!({ "logGroupName": group, "startTime": start_ms });
        if let Some(token) = token {
            input["nextToken"] = token.into();
        }
        self.json11("logs", "Logs_20140328", "FilterLogEvents", &input).await
    }

    /// All of a group's events from `start_ms` on, at most `pages_max` pages; none if there is no such group yet.
    pub async fn log_events(&self, group: &str, start_ms: u64, pages_max: usize) -> Result<Vec<LogEvent>> {
        let (mut events, mut token) = (Vec::new(), None);
        for _ in 0..pages_max {
            let page = match self.log_page(group, start_ms, token.as_deref()).await {
                Err(e) if e.code() == Some("ResourceNotFoundException") => break,
                page => page?,
            };
            events.extend(page.events);
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(events)
    }
}
