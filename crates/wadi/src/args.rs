//! The command line: verbs, the flags they share, and help that teaches.

use crate::client::Client;
use crate::error::Result;
use crate::verbs;
use clap::{Args, Parser, Subcommand};

const FIRST_STEPS: &str = "\
Examples:
  wadi demo                                photographs in, thumbnails out: see the whole thing work
  wadi up                                  run a node on http://127.0.0.1:4566
  wadi deploy ./thumbnails                 build, create or update, wait, print the URL
  wadi invoke thumbnails --payload '{}'    run it once
  wadi logs thumbnails --follow            watch it
  wadi events                              where events are, and why not where they should be
  wadi usage                               what each function did and cost
  wadi top                                 what each function does at this moment

Any AWS client works as well: set AWS_ENDPOINT_URL=http://127.0.0.1:4566, AWS_ACCESS_KEY_ID=test,
AWS_SECRET_ACCESS_KEY=test and AWS_DEFAULT_REGION=us-east-1.

Exit codes: 0 it worked, 1 it failed, 2 the command line is wrong.";

/// A serverless cloud in one binary: give it code, events run it, see what each run cost.
#[derive(Debug, Parser)]
#[command(name = "wadi", version, after_help = FIRST_STEPS, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub shared: Shared,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    pub async fn run(self) -> Result<()> {
        let Cli { shared, verb } = self;
        let client = || Client::new(shared.endpoint.as_deref(), shared.region.as_deref());
        match verb {
            Verb::Up(up) => verbs::up::run(*up).await,
            Verb::Deploy(deploy) => verbs::deploy::run(*deploy, &client()?, shared.json).await,
            Verb::Invoke(invoke) => verbs::invoke::run(invoke, &client()?, shared.json).await,
            Verb::Logs(logs) => verbs::logs::run(logs, &client()?, shared.json).await,
            Verb::Functions(functions) => verbs::functions::run(functions, &client()?, shared.json).await,
            Verb::List(_) => verbs::list::run(&client()?, shared.json).await,
            Verb::Events(events) => verbs::events::run(events, &client()?, shared.json).await,
            Verb::Usage(usage) => verbs::usage::run(usage, &client()?, shared.json).await,
            Verb::Top(top) => verbs::top::run(top, &client()?, shared.json).await,
            Verb::Doctor(doctor) => verbs::doctor::run(doctor, &client()?, shared.json).await,
            Verb::Demo(demo) => verbs::demo::run(demo, client()?, shared.json, shared.endpoint.is_some()).await,
        }
    }
}

/// Flags every verb takes.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// The node to talk to [default: $AWS_ENDPOINT_URL, $WADI_ENDPOINT, http://127.0.0.1:4566]
    #[arg(long, global = true, value_name = "URL", help_heading = "Every verb")]
    pub endpoint: Option<String>,
    /// The region to sign for [default: $AWS_REGION, $AWS_DEFAULT_REGION, us-east-1]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Every verb")]
    pub region: Option<String>,
    /// Print JSON for programs, not tables for people
    #[arg(long, global = true, help_heading = "Every verb")]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Up(Box<verbs::up::Up>),
    Deploy(Box<verbs::deploy::Deploy>),
    Invoke(verbs::invoke::Invoke),
    Logs(verbs::logs::Logs),
    Functions(verbs::functions::Functions),
    List(verbs::list::List),
    Events(verbs::events::Events),
    Usage(verbs::usage::Usage),
    Top(verbs::top::Top),
    Doctor(verbs::doctor::Doctor),
    Demo(verbs::demo::Demo),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> std::result::Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("wadi {}", verb.get_name())), "{}: {help}", verb.get_name());
        }
    }

    #[test]
    fn shared_flags_go_before_or_after_the_verb() {
        for line in ["wadi --endpoint http://h:1 list --json", "wadi list --json --endpoint http://h:1"] {
            let cli = parse(line).expect(line);
            assert_eq!(cli.shared.endpoint.as_deref(), Some("http://h:1"));
            assert!(cli.shared.json);
        }
    }

    #[test]
    fn wrong_lines_are_usage_errors() {
        for line in ["wadi", "wadi fly", "wadi deploy", "wadi invoke f --tail --async", "wadi up --network moon"] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
