//! `wadi doctor`: which promises this machine lets a node keep, and what to do about the others.

use crate::client::{Client, wadi::Check};
use crate::error::{Error, Result};
use crate::show;
use crate::verbs::up::Up;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  wadi doctor                    asks the node that runs; if none does, looks at this machine itself
  wadi doctor --local            looks at this machine, whatever runs
  wadi doctor --json

It exits with 1 when something that functions need is missing; a promise that is only weaker is shown and is no failure.";

/// Say what works here, what is weaker, and what to do about it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    /// Look at this machine even if a node runs
    #[arg(long)]
    local: bool,
}

pub async fn run(doctor: Doctor, client: &Client, json: bool) -> Result<()> {
    let (of, checks) = if !doctor.local && client.is_up().await {
        let reply = client.doctor().await?;
        (
            format!("the node at {} (version {}, data in {})", client.endpoint(), reply.version, reply.data_dir),
            reply.checks,
        )
    } else {
        let settings = node::Settings::load(Up::default().into())?;
        (format!("this machine (no node asked; data would be in {})", settings.data_dir.display()), local(&settings))
    };
    let missing = checks.iter().any(|c| c.status == "missing");
    if json {
        show::json(&json!({ "Of": of, "Checks": checks }))?;
    } else {
        show::line(format!("{of}\n\n{}", as_text(&checks)));
    }
    if missing { Err(Error::Shown) } else { Ok(()) }
}

/// What the machine itself offers. That no node runs is said elsewhere, and is no fault of the machine.
fn local(settings: &node::Settings) -> Vec<Check> {
    let checks = node::doctor(settings).into_iter().filter(|c| c.name != "node");
    checks.map(|c| Check { name: c.name, status: c.status.to_owned(), detail: c.detail, remedy: c.remedy }).collect()
}

/// A table of the checks, and below it what to do, so that long advice does not tear the columns.
fn as_text(checks: &[Check]) -> String {
    let rows = checks.iter().map(|c| vec![c.name.clone(), c.status.clone(), c.detail.clone()]);
    let mut text = show::table(&["check", "status", "detail"], rows);
    for check in checks {
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("\n\n{}: {remedy}", check.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_follows_the_table() {
        let check = |name: &str, status: &str, remedy: Option<&str>| Check {
            name: name.into(),
            status: status.into(),
            detail: "d".into(),
            remedy: remedy.map(str::to_owned),
        };
        let text = as_text(&[check("cgroup", "weaker", Some("mount cgroup2")), check("seccomp", "ok", None)]);
        assert!(text.starts_with("CHECK    STATUS  DETAIL\ncgroup   weaker  d\nseccomp  ok      d"), "{text}");
        assert!(text.ends_with("\n\ncgroup: mount cgroup2"), "{text}");
    }
}
