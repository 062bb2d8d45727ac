//! `wadi logs`: what functions print, with their START, END and REPORT lines.

use crate::client::{Client, logs::LogEvent};
use crate::error::{Error, Result};
use crate::show;
use crate::values::{duration, since_ms};
use base::Timestamp;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// How often the log is asked for more.
const POLL: Duration = Duration::from_millis(700);
/// Lines may arrive a little out of order between streams: each poll looks back so far.
const LOOK_BACK_MS: u64 = 10_000;
/// Of one poll or one listing: a page is at most 10,000 events or 1 MB.
const PAGES_MAX: usize = 10_000;
/// Ids of events already shown, remembered while following.
const SHOWN_MAX: usize = 200_000;

const EXAMPLES: &str = "\
Examples:
  wadi logs thumbnails                      the last hour
  wadi logs thumbnails --follow             and whatever comes, until Ctrl-C
  wadi logs thumbnails --since 2d --json    one JSON object a line
  wadi logs /my/own/group                   any log group, by its full name";

/// Show what a function has logged
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Logs {
    /// The function, or a log group's full name (with its leading /)
    name: String,
    /// Go on showing new lines
    #[arg(long, short)]
    follow: bool,
    /// From how long ago: 30s, 10m, 2h, 7d
    #[arg(long, default_value = "1h", value_parser = duration, value_name = "TIME")]
    since: Duration,
}

pub async fn run(logs: Logs, client: &Client, json: bool) -> Result<()> {
    let group = if logs.name.starts_with('/') { logs.name.clone() } else { format!("/aws/lambda/{}", logs.name) };
    let mut start = since_ms(Some(logs.since));
    let mut shown = Shown::default();
    let mut first = true;
    loop {
        let seen = poll(client, &group, start, &mut shown, json).await;
        match seen {
            Err(e) if e.code() == Some("ResourceNotFoundException") => missing(client, &logs, first, e).await?,
            Err(e) => return Err(e),
            Ok(Some(latest)) => start = start.max(latest.saturating_sub(LOOK_BACK_MS)),
            Ok(None) if first && !logs.follow => {
                eprintln!("wadi: nothing in {group} in that time; `--since 7d` looks further back");
            }
            Ok(None) => {}
        }
        if !logs.follow {
            return Ok(());
        }
        first = false;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Prints what is new since `start`, page by page, and returns the latest time seen.
async fn poll(client: &Client, group: &str, start: u64, shown: &mut Shown, json: bool) -> Result<Option<u64>> {
    let (mut latest, mut token) = (None, None);
    for _ in 0..PAGES_MAX {
        let page = client.log_page(group, start, token.as_deref()).await?;
        for event in &page.events {
            latest = latest.max(Some(event.timestamp));
            if shown.is_new(&event.event_id) {
                show::line(if json { serde_json::json!(event).to_string() } else { text(event) });
            }
        }
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(latest)
}

/// There is no such group: a function that has not run yet is waited for, one that is not there is an error.
async fn missing(client: &Client, logs: &Logs, first: bool, error: Error) -> Result<()> {
    if logs.name.starts_with('/') {
        return Err(error.advise("ResourceNotFoundException", "a function's group is /aws/lambda/<name>"));
    }
    if !first {
        return Ok(());
    }
    if client.function(&logs.name).await?.is_none() {
        return Err(Error::told(
            format!("there is no function {:?} and no log of one", logs.name),
            "`wadi list` shows the functions there are",
        ));
    }
    eprintln!("wadi: {0} has not run yet; `wadi invoke {0}` runs it", logs.name);
    Ok(())
}

/// `time  stream's short id  message`
fn text(event: &LogEvent) -> String {
    format!(
        "{}  {}  {}",
        Timestamp(event.timestamp).iso8601(),
        instance(&event.log_stream_name),
        event.message.trim_end()
    )
}

/// The first eight digits of the instance's id in a stream name `2026/11/23/[$LATEST]<32 hex>`.
pub fn instance(stream: &str) -> &str {
    let id = stream.rsplit(']').next().unwrap_or(stream);
    id.get(..8).unwrap_or(id)
}

/// Which events have been shown, the last `SHOWN_MAX` of them.
#[derive(Default)]
struct Shown {
    ids: HashSet<String>,
    order: VecDeque<String>,
}

impl Shown {
    fn is_new(&mut self, id: &str) -> bool {
        if !self.ids.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > SHOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_where_what() {
        let event = LogEvent {
            event_id: "1".into(),
            log_stream_name: "2026/11/23/[$LATEST]0123456789abcdef0123456789abcdef".into(),
            timestamp: 1_795_449_064_123,
            message: "hello\n".into(),
        };
        assert_eq!(text(&event), "2026-11-23T15:51:04.123Z  01234567  hello");
        assert_eq!(instance("odd"), "odd");
    }

    #[test]
    fn an_event_is_shown_once_and_memory_is_bounded() {
        let mut shown = Shown::default();
        assert!(shown.is_new("a") && !shown.is_new("a"));
        for n in 0..SHOWN_MAX {
            shown.is_new(&n.to_string());
        }
        assert_eq!((shown.ids.len(), shown.order.len()), (SHOWN_MAX, SHOWN_MAX));
        assert!(shown.is_new("a"));
    }
}
