//! `wadi functions show`: one function, what it is and how its instances start.

use crate::client::{Client, lambda::Configuration, wadi::FunctionActivity};
use crate::error::{Error, Result};
use crate::show;
use serde::Serialize;

const EXAMPLES: &str = "\
Examples:
  wadi functions show resize
  wadi functions show resize --json

Instances of a Python function are copied from a process that has run the function's initialisation, its template. Where
that cannot be, because the initialisation started threads, say, each instance is started by itself, and this says why.";

/// Look at a function
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Functions {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show what a function is and how its instances start
    #[command(after_help = EXAMPLES)]
    Show {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    #[serde(flatten)]
    function: Configuration,
    /// The wall that it asks for; absent where the node's own holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    isolation: Option<String>,
    /// What it does now; absent while it has no instance and had no call for a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<FunctionActivity>,
}

pub async fn run(functions: Functions, client: &Client, json: bool) -> Result<()> {
    let Verb::Show { name } = functions.verb;
    let Some(function) = client.function(&name).await? else {
        return Err(Error::told(format!("there is no function {name} in {}", client.region), "`wadi list` shows them"));
    };
    let activity = client.activity().await?.into_iter().find(|activity| activity.function_name == name);
    let isolation = client.tag(&function.function_arn, "wadi:isolation").await?;
    let shown = Shown { function, isolation, activity };
    if json {
        return show::json(&shown);
    }
    show::line(as_text(&shown));
    Ok(())
}

fn as_text(shown: &Shown) -> String {
    let f = &shown.function;
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let mut lines = vec![
        ("name", f.function_name.clone()),
        ("arn", f.function_arn.clone()),
        ("runtime", or_none(&f.runtime)),
        ("handler", or_none(&f.handler)),
        ("memory", format!("{} MB", f.memory_size)),
        ("timeout", format!("{} s", f.timeout)),
        ("isolation", shown.isolation.clone().unwrap_or_else(|| "the node's (`wadi doctor` says which)".into())),
        ("state", or_none(&f.state)),
    ];
    if let Some(reason) = &f.state_reason {
        lines.push(("reason", reason.clone()));
    }
    if let Some(a) = &shown.activity {
        let parked = a.parked.unwrap_or(0);
        lines
            .push(("instances", format!("{} idle, {} busy, {} starting, {parked} parked", a.idle, a.busy, a.starting)));
        let template = match (&a.not_copied, a.templates) {
            (Some(reason), _) => format!("none: {reason}; each instance is started by itself"),
            (None, Some(1..)) if f.runtime.as_deref().is_some_and(|runtime| runtime.starts_with("nodejs")) => {
                "yes: a started interpreter waits for the next instance".to_owned()
            }
            (None, Some(1..)) => "yes: instances are copied from it".to_owned(),
            _ => "none now".to_owned(),
        };
        lines.push(("template", template));
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines.iter().map(|(name, text)| format!("{name:width$}  {text}\n")).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_cannot_be_copied_says_why() {
        let function = Configuration { function_name: "f".into(), ..Configuration::default() };
        let activity =
            FunctionActivity { not_copied: Some("it started threads".into()), ..FunctionActivity::default() };
        let text = as_text(&Shown { function, isolation: Some("wasm-process".into()), activity: Some(activity) });
        assert!(text.contains("isolation  wasm-process\n"), "{text}");
        assert!(text.ends_with("template   none: it started threads; each instance is started by itself"), "{text}");
        let function = Configuration { runtime: Some("nodejs20.x".into()), ..Configuration::default() };
        let activity = FunctionActivity { templates: Some(1), ..FunctionActivity::default() };
        let text = as_text(&Shown { function, isolation: None, activity: Some(activity) });
        assert!(text.contains("isolation  the node's"), "{text}");
        assert!(text.ends_with("template   yes: a started interpreter waits for the next instance"), "{text}");
    }
}
