//! `wadi invoke`: runs a function once.

use crate::client::{Client, lambda::Invoked};
use crate::error::{Error, Result};
use crate::show;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Read;

/// AWS's limit on a synchronous payload.
const PAYLOAD_BYTES_MAX: u64 = 6 << 20;

const EXAMPLES: &str = "\
Examples:
  wadi invoke thumbnails --payload '{\"key\": \"value\"}'
  wadi invoke thumbnails --payload @event.json --tail    with the end of its log and its REPORT line
  echo '{}' | wadi invoke thumbnails --payload -
  wadi invoke thumbnails:prod --async                    accepted and run later, at least once";

/// Run a function once and print what it returns
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Invoke {
    /// The function, with a version or alias if you like: NAME or NAME:QUALIFIER
    name: String,
    /// JSON, @FILE, or - for standard input
    #[arg(long, default_value = "{}", value_name = "JSON|@FILE|-")]
    payload: String,
    /// Do not wait: the event is kept, run, and retried if it fails
    #[arg(long = "async", conflicts_with = "tail")]
    later: bool,
    /// Show the last 4 KB of the log, on standard error
    #[arg(long)]
    tail: bool,
}

pub async fn run(invoke: Invoke, client: &Client, json: bool) -> Result<()> {
    let payload = payload(&invoke.payload, &mut std::io::stdin())?;
    let kind = if invoke.later { "Event" } else { "RequestResponse" };
    let invoked = client.invoke(&invoke.name, kind, invoke.tail, payload).await?;
    if json {
        show::json(&as_json(&invoked))?;
    } else if invoke.later {
        eprintln!("wadi: accepted; `wadi logs {}` shows the run", invoke.name);
    } else {
        if let Some(log) = &invoked.log {
            eprint!("{log}");
        }
        show::line(String::from_utf8_lossy(&invoked.payload));
    }
    match invoked.function_error {
        None => Ok(()),
        Some(_) if json => Err(Error::Shown),
        Some(kind) => Err(Error::told(
            format!("{} failed ({kind})", invoke.name),
            format!("its log has more: `wadi logs {} --since 5m`", invoke.name.split(':').next().unwrap_or_default()),
        )),
    }
}

/// The payload that the flag means; it must be JSON.
fn payload(flag: &str, stdin: &mut dyn Read) -> Result<Bytes> {
    let mut text = Vec::new();
    let read = match flag.strip_prefix('@') {
        Some(path) => std::fs::File::open(path)
            .and_then(|f| f.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut text))
            .map_err(|e| Error::usage(format!("{path}: {e}"), "--payload @FILE reads the payload from a file"))?,
        None if flag == "-" => stdin
            .take(PAYLOAD_BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|e| Error::bare(format!("standard input: {e}")))?,
        None => {
            text.extend_from_slice(flag.as_bytes());
            flag.len()
        }
    };
    if read as u64 > PAYLOAD_BYTES_MAX {
        return Err(Error::usage("the payload is larger than 6 MB", "put large data in a bucket and send its key"));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&text).map_err(|e| {
        Error::usage(format!("the payload is not JSON: {e}"), "a text is JSON in quotes: --payload '\"hello\"'")
    })?;
    Ok(text.into())
}

fn as_json(invoked: &Invoked) -> Value {
    let text = String::from_utf8_lossy(&invoked.payload);
    json!({
        "StatusCode": invoked.status,
        "FunctionError": invoked.function_error,
        "ExecutedVersion": invoked.executed_version,
        "LogTail": invoked.log,
        "Payload": serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_from_three_places_and_must_be_json() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("e.json");
        std::fs::write(&file, "[1]").expect("write");
        let none = &mut std::io::empty();
        assert_eq!(payload(" {} ", none).expect("inline"), " {} ");
        assert_eq!(payload(&format!("@{}", file.display()), none).expect("file"), "[1]");
        assert_eq!(payload("-", &mut &b"\"x\""[..]).expect("stdin"), "\"x\"");
        for bad in ["hello", "", "@/nowhere", "{} {}"] {
            assert_eq!(payload(bad, none).expect_err(bad).exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn json_output_keeps_what_is_not_json_as_text() {
        let mut invoked = Invoked {
            status: 200,
            function_error: Some("Unhandled".into()),
            executed_version: Some("$LATEST".into()),
            payload: Bytes::from_static(b"{\"a\":1}"),
            log: None,
        };
        assert_eq!(as_json(&invoked)["Payload"]["a"], 1);
        invoked.payload = Bytes::from_static(b"plain");
        assert_eq!(as_json(&invoked)["Payload"], "plain");
    }
}
