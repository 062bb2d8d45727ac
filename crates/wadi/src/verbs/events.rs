//! `wadi events`: where events are, which way they went, and dead ones sent again.

use crate::client::{Client, wadi::EventWay};
use crate::error::Result;
use crate::show;
use crate::values::{duration, now_ms, since_ms};
use base::Timestamp;
use std::collections::HashSet;
use std::time::Duration;

/// How often it is asked what is new.
const POLL: Duration = Duration::from_millis(700);
/// Each poll looks back so far: events end while the last answer is on its way.
const LOOK_BACK_MS: u64 = 5_000;
/// What was shown already, remembered while following.
const SHOWN_MAX: usize = 100_000;

const EXAMPLES: &str = "\
Examples:
  wadi events                          the last hundred: what waits, what arrived, what died
  wadi events --follow                 and whatever comes, until Ctrl-C
  wadi events --id 5f1c…               the whole way of one event, each attempt with its time
  wadi events redrive --id 5f1c…       send a dead event again
  wadi events redrive --target ARN     all dead ones for a target
  wadi events redrive --all

An id is that of a delivery or of the event it passes on, as PutEvents gave it. What is over is kept for a day, the last
100,000; what is dead is kept until it is sent again.";

/// Show where events are, and send dead ones again
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Events {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Only this event, with every attempt
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Go on showing what happens
    #[arg(long, short)]
    follow: bool,
    /// From how long ago: 30s, 10m, 2h, 1d [default: whatever is kept]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    since: Option<Duration>,
    /// How many at most
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Send dead events again
    Redrive(Redrive),
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Redrive {
    /// The event with this id
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Those for this target
    #[arg(long, value_name = "ARN")]
    target: Option<String>,
    /// All
    #[arg(long)]
    all: bool,
}

pub async fn run(events: Events, client: &Client, json: bool) -> Result<()> {
    if let Some(Verb::Redrive(redrive)) = events.verb {
        return again(redrive, client, json).await;
    }
    let mut ways = client.events(events.id.as_deref(), since_ms(events.since), events.limit).await?;
    ways.reverse();
    if !events.follow {
        if json {
            return show::json(&ways);
        }
        if ways.is_empty() {
            eprintln!("wadi: no event is known here; `wadi events --help` says what is kept");
        }
        match events.id {
            Some(_) => ways.iter().for_each(|way| show::line(whole(way))),
            None => show::line(table(&ways)),
        }
        return Ok(());
    }
    follow(&events, client, ways, json).await
}

async fn follow(events: &Events, client: &Client, mut ways: Vec<EventWay>, json: bool) -> Result<()> {
    let mut shown = HashSet::new();
    loop {
        for way in &ways {
            if shown.insert((way.id.clone(), way.state.clone(), way.attempts)) {
                show::line(if json { serde_json::json!(way).to_string() } else { line(way) });
            }
        }
        if shown.len() > SHOWN_MAX {
            shown.clear();
        }
        let since = now_ms().saturating_sub(LOOK_BACK_MS);
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
        ways = client.events(events.id.as_deref(), since, 1_000).await?;
        ways.reverse();
    }
}

async fn again(redrive: Redrive, client: &Client, json: bool) -> Result<()> {
    let mut sent = 0;
    loop {
        let reply = client.redrive(redrive.id.as_deref(), redrive.target.as_deref()).await?;
        sent += reply.redriven;
        if !reply.more || reply.redriven == 0 {
            break;
        }
    }
    if json {
        return show::json(&serde_json::json!({ "Redriven": sent }));
    }
    show::line(match sent {
        0 => "no dead event is meant by that".to_owned(),
        1 => "1 event is on its way again".to_owned(),
        n => format!("{n} events are on their way again"),
    });
    Ok(())
}

/// The last part of an ARN that names something: `function:f`, `rule/r`.
fn short(arn: &str) -> &str {
    arn.splitn(6, ':').nth(5).unwrap_or(arn)
}

fn service(arn: &str) -> &str {
    arn.split(':').nth(2).unwrap_or("-")
}

fn cells(way: &EventWay) -> Vec<String> {
    let by = way.rule.as_deref().unwrap_or(&way.source);
    vec![
        Timestamp(way.changed).iso8601(),
        way.id.clone(),
        way.state.clone(),
        format!("{} {}", service(&way.target), short(&way.target)),
        short(by).to_owned(),
        way.attempts.to_string(),
        way.reason.clone().or_else(|| way.tried.last().map(|t| t.reason.clone())).unwrap_or_default(),
    ]
}

fn table(ways: &[EventWay]) -> String {
    show::table(&["changed", "id", "state", "target", "by", ">attempts", "reason"], ways.iter().map(cells))
}

fn line(way: &EventWay) -> String {
    cells(way).join("  ").trim_end().to_owned()
}

/// One event's way, a line a step.
fn whole(way: &EventWay) -> String {
    let at = |ms: u64| Timestamp(ms).iso8601();
    let mut lines = vec![format!("{}  {}", way.id, way.state), format!("  from      {}", way.source)];
    lines.extend(way.rule.as_ref().map(|rule| format!("  by        {rule}")));
    lines.extend(way.origin.as_ref().map(|origin| format!("  passes on {origin}")));
    lines.push(format!("  to        {}", way.target));
    lines.push(format!("  {}  made", at(way.created)));
    lines.extend(way.tried.iter().map(|t| format!("  {}  not delivered: {}", at(t.at), t.reason)));
    match (way.state.as_str(), way.due) {
        ("waiting", Some(due)) => lines.push(format!("  {}  due ({} attempts so far)", at(due), way.attempts)),
        ("delivered", _) => lines.push(format!("  {}  delivered, attempt {}", at(way.changed), way.attempts)),
        ("dead", _) => lines.push("  it lies here; `wadi events redrive --id ID` sends it again".to_owned()),
        _ => {}
    }
    lines.extend(way.then.iter().map(|to| format!("  went on to {to}")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_told_step_by_step() {
        let way: EventWay = serde_json::from_str(
            r#"{"Id":"e","Origin":"o","State":"failed","Target":"arn:aws:lambda:us-east-1:000000000000:function:f",
                "Source":"arn:aws:events:us-east-1:000000000000:rule/r","Rule":"arn:aws:events:us-east-1:000000000000:rule/r",
                "Created":0,"Changed":61000,"Attempts":2,"Tried":[{"At":1000,"Reason":"busy"},{"At":61000,"Reason":"no"}],
                "Reason":"no","Then":["arn:aws:sqs:us-east-1:000000000000:letters"]}"#,
        )
        .expect("a way");
        let text = whole(&way);
        assert!(
            text.starts_with("e  failed\n") && text.contains("1970-01-01T00:00:01.000Z  not delivered: busy"),
            "{text}"
        );
        assert!(text.ends_with("went on to arn:aws:sqs:us-east-1:000000000000:letters"), "{text}");
        assert_eq!(line(&way), "1970-01-01T00:01:01.000Z  e  failed  lambda function:f  rule/r  2  no");
    }
}
