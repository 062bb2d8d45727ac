//! The command line: verbs, the flags they share, and help that teaches.

use crate::verbs;
use clap::{Args, Parser, Subcommand};

const FIRST_STEPS: &str = "\
Examples:
  wadi demo                                photographs in, thumbnails out: see the whole thing work
  wadi up                                  run a node on http://127.0.0.1:4566
  wadi deploy ./thumbnails                 build, create or update, wait, print the URL
  wadi invoke thumbnails --payload '{}'    run it once
  wadi logs thumbnails --follow            watch it
  wadi usage                               what each function did and cost

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
    List(verbs::list::List),
    Usage(verbs::usage::Usage),
    Doctor(verbs::doctor::Doctor),
    Demo(verbs::demo::Demo),
}

/// `30s`, `10m`, `2h`, `7d` (or a bare number of seconds) as a duration.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a length of time as 30s, 10m, 2h or 7d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write a length of time as 30s, 10m, 2h or 7d".to_owned())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(|| "that is too long".into())
}

/// `KEY=VALUE`
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
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

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("10m").map(|d| d.as_secs()), Ok(600));
        assert_eq!(duration("45").map(|d| d.as_secs()), Ok(45));
        assert_eq!(duration("7d").map(|d| d.as_secs()), Ok(604_800));
        for bad in ["", "m", "10y", "-1s", "99999999999999999999s", "999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(pair("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(pair("A").is_err() && pair("=b").is_err());
    }
}
