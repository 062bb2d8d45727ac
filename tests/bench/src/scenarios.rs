//! A benchmark's scenarios, one after the other: one that fails or hangs is told of, and the others are still measured.

use crate::line;
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::fmt::Debug;
use std::time::Duration;

/// Longer than any scenario takes on a machine that is worth measuring on.
const SCENARIO_MAX: Duration = Duration::from_secs(1200);

/// Those of `only`, or all where that is empty, in their own order. An error names those that failed.
pub async fn each<S>(only: &[S], run: impl AsyncFn(S) -> Result<()>) -> Result<()>
where
    S: ValueEnum + Copy + Debug + PartialEq,
{
    let mut failed = Vec::new();
    for scenario in S::value_variants().iter().filter(|scenario| only.is_empty() || only.contains(scenario)) {
        let done = match tokio::time::timeout(SCENARIO_MAX, run(*scenario)).await {
            Ok(done) => done,
            Err(_) => Err(anyhow::anyhow!("not done within {} s", SCENARIO_MAX.as_secs())),
        };
        if let Err(error) = done {
            line::note(&format!("{scenario:?} failed: {error:#}"));
            failed.push(format!("{scenario:?}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}
