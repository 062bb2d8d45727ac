//! How things look: tables for people, JSON for programs, progress on long work.

use crate::error::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// A table of columns; those whose heading starts with `>` are aligned to the right.
pub fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|h| h.trim_start_matches('>').to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (at, heading) in headings.iter().enumerate() {
        let column = table.column_mut(at).expect("the header made a column for each heading");
        column.set_padding((0, 2));
        if heading.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Prints a line of output. A reader that has gone away (`| head`) is no failure of ours.
pub fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a value as indented JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| crate::Error::bare(format!("not JSON: {e}")))?;
    line(text);
    Ok(())
}

/// Long work, told on standard error: a spinner on a terminal, plain lines elsewhere.
pub struct Work {
    bar: Option<ProgressBar>,
}

impl Work {
    /// Work of unknown length.
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        if !std::io::stderr().is_terminal() {
            eprintln!("wadi: {what}");
            return Self { bar: None };
        }
        let bar = ProgressBar::new_spinner().with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar: Some(bar) }
    }

    /// Work of so many bytes.
    pub fn bytes(what: impl Into<String>, total: u64) -> Self {
        let what = what.into();
        if !std::io::stderr().is_terminal() {
            eprintln!("wadi: {what} ({})", size(total));
            return Self { bar: None };
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
            .expect("the template is a constant and valid");
        let bar = ProgressBar::new(total).with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar: Some(bar) }
    }

    /// What it is at now; on plain output only the end is told.
    pub fn now(&self, what: impl Into<String>) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.into());
        }
    }

    /// Something that counts the bytes of this work.
    pub fn counter(&self) -> ProgressBar {
        self.bar.clone().unwrap_or_else(ProgressBar::hidden)
    }

    /// Ends it with a line that stays.
    pub fn done(self, what: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("wadi: {}", what.as_ref());
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Bytes for people: `812 B`, `4.2 MB` (powers of ten, as storage is sold).
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Diagnostics of the program itself, on standard error; `RUST_LOG` overrides the level. s3s writes a refused request
/// (a wrong key, a missing right) as an error of the server, which it is not.
pub fn log_to_stderr(node: bool) {
    let level = if node { "info" } else { "warn" };
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| format!("{level},s3s=off").into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_have_no_trailing_space() {
        let text = table(&["name", ">runs"], [vec!["thumbnails".into(), "7".into()], vec!["a".into(), "1200".into()]]);
        assert_eq!(text, "NAME        RUNS\nthumbnails     7\na           1200");
    }

    #[test]
    fn sizes() {
        assert_eq!([size(0), size(999), size(1_000), size(24_300_000)], ["0 B", "999 B", "1.0 kB", "24.3 MB"]);
    }
}
