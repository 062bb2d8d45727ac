//! `cargo xtask tidy`: the rules of this repository that a machine can check. Also runs as a test.

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Calls that bypass a port, with the port to use instead.
const BANNED: &[(&str, &str)] = &[
    ("SystemTime::now", "base::port::Clock::now"),
    ("Instant::now", "base::port::Clock::elapsed"),
    ("env::var(", "settings from node"),
    ("env::var_os(", "settings from node"),
    ("getrandom::", "base::port::Entropy"),
    ("rand::", "base::port::Entropy"),
    ("tokio::time::sleep", "base::port::Clock::sleep"),
];
/// Where banned calls are at home: the wiring, the binary, tools and tests.
const FREE: &[&str] = &["crates/node/", "crates/wadi/", "crates/kit/", "xtask/", "tests/", "fuzz/"];
/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];
/// Lines after which a file is asked which second thing is in it. Generated files are exempt.
const FILE_LINES_MAX: usize = 800;
const LINE_CHARS_MAX: usize = 140;

/// Checks the whole tree; the error lists every finding.
pub fn run(root: &Path) -> Result<()> {
    let mut findings = Vec::new();
    let sources = rust_files(root)?;
    for path in &sources {
        check_source(root, path, &mut findings)?;
    }
    check_imports(root, &mut findings)?;
    check_links(root, &mut findings)?;
    if findings.is_empty() {
        println!("tidy: {} files keep the rules", sources.len());
        return Ok(());
    }
    bail!("tidy found {} things:\n{}", findings.len(), findings.join("\n"))
}

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let mut stack: Vec<PathBuf> =
        ["crates", "services", "xtask", "tests", "fuzz"].iter().map(|d| root.join(d)).filter(|d| d.exists()).collect();
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "corpus", "artifacts", "node_modules"].contains(&name.as_str()) {
                stack.push(path);
            } else if name.ends_with(".rs") {
                out.push(path);
            }
        }
    }
    out.sort();
    Ok(out)
}

fn check_source(root: &Path, path: &Path, findings: &mut Vec<String>) -> Result<()> {
    let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let text = std::fs::read_to_string(path)?;
    let mut say = |line: usize, what: String| findings.push(format!("  {shown}:{line}: {what}"));
    if !text.starts_with("//!") {
        say(1, "opens without a `//!` line that says what the file is for".into());
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if EMPTY_NAMES.contains(&stem.as_ref()) {
        say(1, format!("the name {stem:?} says nothing: name it for what it does"));
    }
    let generated = stem == "shapes";
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX && !generated {
        say(lines, format!("{lines} lines: which second thing is in here?"));
    }
    if generated {
        return Ok(());
    }
    let free = FREE.iter().any(|f| shown.starts_with(f)) || shown.contains("/tests/") || shown.contains("/examples/");
    for (number, line) in text.lines().enumerate() {
        // Unit tests stand at the end of a file, so the rules of product code end where they begin.
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        if without_text(line).chars().count() > LINE_CHARS_MAX {
            say(number + 1, format!("longer than {LINE_CHARS_MAX} characters"));
        }
        let code = line.split("//").next().unwrap_or_default();
        let whole_test_file = stem == "tests" || stem.ends_with("_test") || stem.ends_with("_tests");
        for (call, instead) in BANNED {
            if !free && !whole_test_file && code.contains(call) {
                say(number + 1, format!("{call} is banned here: use {instead}"));
            }
        }
    }
    Ok(())
}

/// The line without what stands between its first and last quote: a message is not broken for its length.
fn without_text(line: &str) -> String {
    match (line.find('"'), line.rfind('"')) {
        (Some(first), Some(last)) => format!("{}{}", &line[..first], &line[last..]),
        _ => line.to_owned(),
    }
}

/// The import table of ARCHITECTURE.md against every Cargo.toml.
fn check_imports(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let allowed = import_table(&std::fs::read_to_string(root.join("ARCHITECTURE.md"))?)?;
    for group in ["crates", "services", "tests", "examples", "."] {
        for entry in std::fs::read_dir(root.join(group))? {
            let dir = entry?.path();
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let manifest = dir.join("Cargo.toml");
            if !manifest.exists() || name == "fuzz" {
                continue;
            }
            let Some(may) = allowed.get(name.as_str()) else {
                findings.push(format!("  {}: not in the import table of ARCHITECTURE.md", manifest.display()));
                continue;
            };
            let toml: toml::Table = toml::from_str(&std::fs::read_to_string(&manifest)?)?;
            let dependencies = toml.get("dependencies").and_then(|d| d.as_table()).cloned().unwrap_or_default();
            for dependency in dependencies.keys().filter(|d| allowed.contains_key(d.as_str())) {
                if !may.contains(dependency.as_str()) {
                    findings.push(format!("  {name} imports {dependency}, which ARCHITECTURE.md does not allow"));
                }
            }
        }
    }
    Ok(())
}

fn import_table(text: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let rows = text.lines().skip_while(|l| !l.starts_with("| crate | may import |")).skip(2);
    let table: BTreeMap<String, BTreeSet<String>> = rows
        .take_while(|l| l.starts_with('|'))
        .filter_map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let name = cells.next()?.to_owned();
            let may = cells.next()?.split(',').map(str::trim).filter(|c| *c != "–").map(str::to_owned).collect();
            Some((name, may))
        })
        .collect();
    if table.len() < 5 {
        bail!("ARCHITECTURE.md has no import table");
    }
    Ok(table)
}

/// Relative links of the documents resolve.
fn check_links(root: &Path, findings: &mut Vec<String>) -> Result<()> {
    let mut documents = vec![root.join("ARCHITECTURE.md"), root.join("README.md")];
    for dir in ["docs", "docs/services", "docs/decisions"] {
        if let Ok(entries) = std::fs::read_dir(root.join(dir)) {
            documents.extend(
                entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.extension().is_some_and(|x| x == "md")),
            );
        }
    }
    for document in documents {
        let text = std::fs::read_to_string(&document).with_context(|| document.display().to_string())?;
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !document.parent().unwrap_or(root).join(target).exists() {
                findings.push(format!("  {}: the link {link} leads nowhere", document.display()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the root");
        if let Err(findings) = run(root) {
            panic!("{findings:#}");
        }
    }

    #[test]
    fn reads_the_table() {
        let table = import_table("x\n| crate | may import |\n|---|---|\n| a | – |\n| b | a |\n| c | a, b |\n| d | a |\n| e | a |\n\n| z | y |")
            .expect("a table");
        assert_eq!(table["c"], BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert!(table["a"].is_empty() && !table.contains_key("z"));
    }
}
