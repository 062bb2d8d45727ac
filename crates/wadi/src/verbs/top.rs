//! `wadi top`: what each function does at this moment, refreshed on a terminal.

use crate::client::{Client, wadi::FunctionActivity};
use crate::error::Result;
use crate::show;
use crate::values::duration;
use console::Term;
use serde_json::json;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  wadi top                      the busiest first, every second, until Ctrl-C
  wadi top --interval 5s
  wadi top --once               one look, as plain text
  wadi top --json               one look, for programs

What the columns say:
  IDLE BUSY STARTING   instances that wait for a call, that run one, that are being made
  PARKED TEMPLATES     made beforehand, so that a start costs next to nothing (shown where the node has them)
  WAITING              calls that wait for an instance; more than a moment of it means that the machine is full
  CALLS/S              over the last five to ten seconds
  COLD                 of the last minute's calls, those that had an instance made for them
  P50 P90 P99          of the last minute, in milliseconds, from a call's arrival to its answer, within an eighth
  ERRORS THROTTLED     of the last minute: runs that failed; calls refused for a limit on concurrency

A function is shown while it has an instance, and for a minute after its last call.";

/// Show what functions do at this moment
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Top {
    /// One look, and not again
    #[arg(long)]
    once: bool,
    /// From one look to the next: 1s, 5s, 1m
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    interval: Duration,
}

pub async fn run(top: Top, client: &Client, json: bool) -> Result<()> {
    let terminal = Term::stdout();
    if json {
        return show::json(&json!({ "Functions": busiest(client.activity().await?) }));
    }
    if top.once || !terminal.is_term() {
        show::line(as_text(&busiest(client.activity().await?), &client.region, usize::MAX));
        return Ok(());
    }
    let screen = Screen::open(terminal);
    loop {
        // One line is left for the cursor.
        let lines = usize::from(screen.0.size().0).saturating_sub(1);
        screen.show(&as_text(&busiest(client.activity().await?), &client.region, lines), lines);
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(top.interval.max(Duration::from_millis(100))) => {}
        }
    }
}

fn busiest(mut functions: Vec<FunctionActivity>) -> Vec<FunctionActivity> {
    let busy = |f: &FunctionActivity| (f.calls_per_second, f.busy + f.waiting);
    functions.sort_by(|a, b| busy(b).partial_cmp(&busy(a)).unwrap_or(std::cmp::Ordering::Equal));
    functions
}

/// A line that sums up, and as much of the table as fits in so many lines.
fn as_text(functions: &[FunctionActivity], region: &str, lines_max: usize) -> String {
    let sum = |of: fn(&FunctionActivity) -> u64| functions.iter().map(of).sum::<u64>();
    let (instances, busy) = (sum(|f| f.idle + f.busy + f.starting), sum(|f| f.busy));
    let rate: f64 = functions.iter().map(|f| f.calls_per_second).sum();
    let head = format!(
        "{region}: {rate:.1} calls/s, {} waiting; {} functions, {instances} instances, {busy} busy",
        sum(|f| f.waiting),
        functions.len()
    );
    if functions.is_empty() {
        return format!("{head}\n\nnothing runs, and nothing was called within the last minute");
    }
    // The head, a line between, the headings, and a line that says how many are not shown.
    let rows_max = lines_max.saturating_sub(4).max(1);
    let rows = if functions.len() <= rows_max + 1 { functions.len() } else { rows_max };
    let rest = match functions.len() - rows {
        0 => String::new(),
        more => format!("\n… and {more} more"),
    };
    format!("{head}\n\n{}{rest}", table(&functions[..rows], functions))
}

fn table(rows: &[FunctionActivity], all: &[FunctionActivity]) -> String {
    let (parked, templates) = (all.iter().any(|f| f.parked.is_some()), all.iter().any(|f| f.templates.is_some()));
    let mut headings = vec!["function", ">idle", ">busy", ">starting"];
    headings.extend(parked.then_some(">parked"));
    headings.extend(templates.then_some(">templates"));
    headings.extend([">waiting", ">calls/s", ">cold", ">p50", ">p90", ">p99", ">errors", ">throttled"]);
    let row = |f: &FunctionActivity| {
        let known = |n: Option<u64>| n.map_or("–".into(), |n| n.to_string());
        let mut cells = vec![f.function_name.clone(), f.idle.to_string(), f.busy.to_string(), f.starting.to_string()];
        cells.extend(parked.then(|| known(f.parked)));
        cells.extend(templates.then(|| known(f.templates)));
        cells.extend([f.waiting.to_string(), format!("{:.1}", f.calls_per_second), share(f.cold_starts, f.calls)]);
        cells.extend([f.p50_ms, f.p90_ms, f.p99_ms].map(milliseconds));
        cells.extend([f.errors.to_string(), f.throttles.to_string()]);
        cells
    };
    show::table(&headings, rows.iter().map(row))
}

fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "–".into(),
        _ => format!("{:.1} %", part as f64 / whole as f64 * 100.0),
    }
}

/// Two or three digits that mean something.
fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "–".into(),
        Some(ms) if ms < 10.0 => format!("{ms:.2}"),
        Some(ms) if ms < 100.0 => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.0}"),
    }
}

/// The terminal's other screen, given back when this is dropped.
struct Screen(Term);

impl Screen {
    fn open(terminal: Term) -> Self {
        let _ = terminal.write_str("\x1b[?1049h\x1b[?25l");
        Self(terminal)
    }

    /// Overwrites what is there line by line, so that nothing flickers.
    fn show(&self, text: &str, lines_max: usize) {
        let width = usize::from(self.0.size().1);
        let mut frame = String::from("\x1b[H");
        for line in text.lines().take(lines_max) {
            frame.extend(line.chars().take(width));
            frame.push_str("\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        let _ = self.0.write_str(&frame);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.write_str("\x1b[?25h\x1b[?1049l");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, calls_per_second: f64) -> FunctionActivity {
        FunctionActivity { function_name: name.into(), calls_per_second, idle: 2, ..Default::default() }
    }

    #[test]
    fn the_busiest_comes_first_and_unknown_columns_are_left_out() {
        let busy = FunctionActivity {
            busy: 3,
            calls: 200,
            cold_starts: 5,
            p50_ms: Some(0.42),
            p90_ms: Some(12.34),
            p99_ms: Some(1234.5),
            ..function("resize", 12.25)
        };
        let text = as_text(&busiest(vec![function("rests", 0.0), busy.clone()]), "us-east-1", 24);
        let lines: Vec<_> = text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[0], "us-east-1: 12.2 calls/s, 0 waiting; 2 functions, 7 instances, 3 busy");
        assert_eq!(lines[2], "FUNCTION IDLE BUSY STARTING WAITING CALLS/S COLD P50 P90 P99 ERRORS THROTTLED");
        assert_eq!(lines[3], "resize 2 3 0 0 12.2 2.5 % 0.42 12.3 1234 0 0");
        assert_eq!(lines[4], "rests 2 0 0 0 0.0 – – – – 0 0");
        let parked = FunctionActivity { parked: Some(1), ..busy };
        assert!(as_text(&[parked], "us-east-1", 24).contains("PARKED"));
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let many: Vec<_> = (0..50).map(|n| function(&format!("f{n}"), 0.0)).collect();
        let text = as_text(&many, "us-east-1", 10);
        assert_eq!(text.lines().count(), 10);
        assert!(text.ends_with("… and 44 more"), "{text}");
        assert_eq!(as_text(&many, "us-east-1", usize::MAX).lines().count(), 53);
    }
}
