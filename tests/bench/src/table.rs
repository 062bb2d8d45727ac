//! The printed table.

use crate::load::Figures;
use std::time::{SystemTime, UNIX_EPOCH};

/// One line: what, at how many connections, against which floor.
pub struct Row {
    pub what: String,
    pub connections: usize,
    pub figures: Figures,
    /// Name and rate of the floor measured in this run.
    pub floor: Option<(&'static str, f64)>,
}

pub fn head() {
    println!("| what | conns | per s | p50 ms | p90 ms | p99 ms | floor | floor per s | of floor |");
    println!("|---|--:|--:|--:|--:|--:|---|--:|--:|");
}

pub fn print(row: &Row) {
    let f = &row.figures;
    let (name, rate, ratio) = match row.floor {
        Some((name, rate)) => (name, format!("{rate:.0}"), format!("{:.0} %", f.per_second / rate * 100.0)),
        None => ("–", "–".into(), "–".into()),
    };
    println!(
        "| {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {name} | {rate} | {ratio} |",
        row.what,
        row.connections,
        f.per_second,
        f.ms(0.5),
        f.ms(0.9),
        f.ms(0.99)
    );
}

/// The machine, its load and its kernel, in a line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .unwrap_or(": unknown")
        .trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    format!("{cores} × {model}, Linux {}, load average {load}", read("/proc/sys/kernel/osrelease").trim())
}

/// The load average of the last minute.
pub fn load() -> String {
    let all = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    all.split_whitespace().next().unwrap_or("?").to_owned()
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
