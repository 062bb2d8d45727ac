//! The lines that are printed: what, by which kind of start, against what, towards which goal.

use crate::load::Figures;
use crate::node::Node;
use crate::table;
use anyhow::Result;
use std::collections::BTreeMap;
use std::time::Duration;

/// How the calls of a line started, as the usage API says: `cold 20`, `warm 1000`, and whatever kinds the node knows.
pub struct Starts(BTreeMap<String, usize>);

/// Usage is written a moment behind the answers.
const BEHIND: Duration = Duration::from_millis(500);
/// A page of invocations; of a long line the last ones stand for all.
const PAGE: usize = 1000;

impl Starts {
    /// Of lines that are no calls of functions.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Of a function's calls since a time.
    pub async fn of(node: &Node, function: &str, since_ms: u64) -> Result<Self> {
        tokio::time::sleep(BEHIND).await;
        let path = format!("/_wadi/api/invocations?function={function}&start={since_ms}&limit={PAGE}");
        let reply = node.ask(&path).await?;
        let mut kinds = BTreeMap::new();
        for run in reply["Invocations"].as_array().into_iter().flatten() {
            *kinds.entry(run["Start"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        Ok(Self(kinds))
    }

    pub fn sum(all: &[Self]) -> Self {
        let mut kinds = BTreeMap::new();
        for (kind, count) in all.iter().flat_map(|starts| &starts.0) {
            *kinds.entry(kind.clone()).or_default() += count;
        }
        Self(kinds)
    }

    pub fn text(&self) -> String {
        let told: Vec<_> = self.0.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let last =
            if self.0.values().sum::<usize>() == PAGE { format!(" (of the last {PAGE})") } else { String::new() };
        told.join(", ") + &last
    }
}

/// A reference, and how the line compares with it.
pub struct Against {
    name: String,
    figure: String,
    ratio: String,
}

impl Against {
    /// Medians of durations.
    pub fn p50(name: &str, ours: &Figures, theirs: &Figures) -> Self {
        let times = theirs.ms(0.5) / ours.ms(0.5);
        let ratio =
            if times >= 1.0 { format!("{times:.1} × faster") } else { format!("{:.1} × slower", 1.0 / times) };
        Self { name: name.into(), figure: format!("{:.2} ms", theirs.ms(0.5)), ratio }
    }

    /// Medians again, where ours cannot be but longer.
    pub fn over(name: &str, ours: &Figures, theirs: &Figures) -> Self {
        let ratio = format!("{:.1} × as long", ours.ms(0.5) / theirs.ms(0.5));
        Self { name: name.into(), figure: format!("{:.3} ms", theirs.ms(0.5)), ratio }
    }

    /// What ours takes more, in milliseconds.
    pub fn more(name: &str, ours: &Figures, theirs: &Figures) -> Self {
        let ratio = format!("{:+.2} ms", ours.ms(0.5) - theirs.ms(0.5));
        Self { name: name.into(), figure: format!("{} ms", ms(theirs, 0.5)), ratio }
    }

    /// Where the comparison is said in words of its own.
    pub fn said(name: &str, theirs: &Figures, ratio: String) -> Self {
        Self { name: name.into(), figure: format!("{} ms", ms(theirs, 0.5)), ratio }
    }

    /// Rates.
    pub fn rate(name: &str, ours: &Figures, theirs: &Figures) -> Self {
        let ratio = format!("{:.2} ×", ours.per_second / theirs.per_second);
        Self { name: name.into(), figure: format!("{:.0}/s", theirs.per_second), ratio }
    }

    /// One that could not be measured, and why.
    pub fn absent(name: &str, why: &anyhow::Error) -> Self {
        let why = format!("{why:#}").replace(['\n', '|'], " ");
        Self {
            name: name.into(),
            figure: format!("absent: {}", why.chars().take(120).collect::<String>()),
            ratio: "–".into(),
        }
    }
}

pub struct Line {
    pub what: String,
    pub starts: Starts,
    pub connections: usize,
    pub figures: Figures,
    pub against: Vec<Against>,
    pub goal: &'static str,
}

pub fn head() {
    println!("| what | starts | conns | n | per s | p50 ms | p90 ms | p99 ms | reference | it | ratio | goal | load |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|---|--:|--:|---|--:|");
}

/// Two digits behind the point, three where the first would be nought.
fn ms(figures: &Figures, quantile: f64) -> String {
    let ms = figures.ms(quantile);
    if ms < 0.1 { format!("{ms:.3}") } else { format!("{ms:.2}") }
}

/// The first reference stands in the line, the others in lines of their own below.
pub fn print(line: &Line) {
    let f = &line.figures;
    let cells = |against: Option<&Against>| match against {
        Some(a) => format!("{} | {} | {}", a.name, a.figure, a.ratio),
        None => "– | – | –".into(),
    };
    println!(
        "| {} | {} | {} | {} | {:.0} | {} | {} | {} | {} | {} | {} |",
        line.what,
        line.starts.text(),
        line.connections,
        f.count(),
        f.per_second,
        ms(f, 0.5),
        ms(f, 0.9),
        ms(f, 0.99),
        cells(line.against.first()),
        line.goal,
        table::load()
    );
    for against in line.against.iter().skip(1) {
        println!("| | | | | | | | | {} | | |", cells(Some(against)));
    }
}

/// A row that says something else than percentiles.
pub fn say(what: &str, starts: &str, said: &str, goal: &str) {
    println!("| {what} | {starts} | | | | | | | {said} | | | {goal} | {} |", table::load());
}

/// A row that says why something is not there.
pub fn note(text: &str) {
    println!("| {} | | | | | | | | | | | | |", text.replace(['\n', '|'], " "));
}
