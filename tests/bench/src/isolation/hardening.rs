//! What the sandbox adds to a start and to a call, in turns: against the same namespaces and root with nothing else, and against
//! the bare program.

use super::ways::{Ready, Starter, WAYS};
use super::{Bench, programs};
use crate::line::{Against, Line, Starts, print};
use crate::load::Figures;
use crate::processes;
use crate::starts::{Subject, warm_in_turns};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// What ends behind an instance (its network, its group) is not the next one's to wait for.
const BEHIND: Duration = Duration::from_millis(30);
const NAMES: [&str; 3] = ["sandbox", "namespaces and root alone", "bare process"];
/// Sets of fresh instances that a warm line is taken from: two of the same kind differ by some percent.
const SETS: usize = 8;
/// Turns of a set, and calls of an instance in each.
const TURNS: usize = 10;
const CALLS: usize = 100;

pub async fn cold(bench: &Bench) -> Result<()> {
    let node = bench.node("cold", &[]).await?;
    for program in programs::all(bench, &node).await? {
        let mut starter = Starter::new(bench, &program)?;
        let (began, mut times) = (Instant::now(), [const { Vec::new() }; 3]);
        for round in 0..=bench.options.samples {
            for (way, times) in WAYS.into_iter().zip(&mut times) {
                let ready = starter.ready(way)?;
                let took = start(&mut starter, ready)
                    .await
                    .with_context(|| format!("{}, {}", program.name, NAMES[way as usize]))?;
                if round > 0 {
                    times.push(took);
                }
                tokio::time::sleep(BEHIND).await;
            }
        }
        let [ours, namespaces, bare] = times.map(|times| Figures::of(times, began.elapsed()));
        let against = vec![Against::more(NAMES[1], &ours, &namespaces), Against::more(NAMES[2], &ours, &bare)];
        let what = format!("cold, {} in a sandbox, to its first call of the Runtime API", program.name);
        let goal = "≤ 1.5 ms more than namespaces";
        print(&Line { what, starts: Starts::none(), connections: 1, figures: ours, against, goal });
    }
    Ok(())
}

async fn start(starter: &mut Starter<'_>, ready: Ready) -> Result<Duration> {
    let began = Instant::now();
    let mut running = starter.start(ready).await?;
    tokio::task::block_in_place(|| running.peer.first())?;
    let took = began.elapsed();
    starter.end(running).await?;
    Ok(took)
}

/// One core for all: with two, an idle core's wake-up is most of what is measured.
pub async fn warm(bench: &Bench) -> Result<()> {
    let node = bench.node("warm", &[]).await?;
    for program in programs::all(bench, &node).await?.iter().filter(|program| program.name != "Node.js") {
        let subject = Subject { node: &node, name: program.function.name.clone() };
        let (through, _) = warm_in_turns(&[subject], bench.options.seconds).await?.remove(0);
        // What is started from here on is on that core as well.
        processes::pin(std::process::id(), Some(0));
        let measured = exchanges(bench, program).await;
        processes::pin(std::process::id(), None);
        let (figures, ratios) = measured?;
        let [ours, namespaces, bare] = figures;
        let part = (ours.ms(0.5) - bare.ms(0.5)) / through.ms(0.5) * 100.0;
        let against = vec![
            Against::said(NAMES[1], &namespaces, spread(&ratios[0])),
            Against::said(NAMES[2], &bare, spread(&ratios[1])),
            Against::said(
                "a warm call by the node's API, of which what is more than bare is",
                &through,
                format!("{part:+.1} %"),
            ),
        ];
        let what = format!("warm, {} in a sandbox, event to answer, pinned", program.name);
        print(&Line { what, starts: Starts::none(), connections: 1, figures: ours, against, goal: "≤ 3 % more" });
    }
    Ok(())
}

/// How much longer ours takes, of each set: the median, the least and the most.
fn spread(ratios: &[f64]) -> String {
    let mut sorted: Vec<_> = ratios.iter().map(|ratio| (ratio - 1.0) * 100.0).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |n: usize| sorted.get(n).copied().unwrap_or(f64::NAN);
    format!("{:+.1} % ({:+.1} to {:+.1})", at(sorted.len() / 2), at(0), at(sorted.len().saturating_sub(1)))
}

/// Figures of each way, and what ours took of the other two in each set.
async fn exchanges(bench: &Bench, program: &programs::Program) -> Result<([Figures; 3], [Vec<f64>; 2])> {
    let mut starter = Starter::new(bench, program)?;
    let (began, mut all, mut ratios) = (Instant::now(), [const { Vec::new() }; 3], [Vec::new(), Vec::new()]);
    for _ in 0..SETS {
        let mut set = Vec::new();
        for way in WAYS {
            let ready = starter.ready(way)?;
            set.push(starter.start(ready).await?);
        }
        let mut times = [const { Vec::new() }; 3];
        tokio::task::block_in_place(|| {
            for running in &mut set {
                running.peer.first()?;
                (0..CALLS).try_for_each(|_| running.peer.call().map(drop))?;
            }
            for turn in 0..TURNS * WAYS.len() {
                let which = turn % WAYS.len();
                for _ in 0..CALLS {
                    times[which].push(set[which].peer.call()?);
                }
            }
            Ok::<_, anyhow::Error>(())
        })?;
        for running in set {
            starter.end(running).await?;
        }
        let over = began.elapsed();
        let [ours, others @ ..] = [0, 1, 2].map(|way| Figures::of(times[way].clone(), over).ms(0.5));
        ratios.iter_mut().zip(others).for_each(|(ratios, other)| ratios.push(ours / other));
        all.iter_mut().zip(times).for_each(|(all, times)| all.extend(times));
    }
    Ok((all.map(|times| Figures::of(times, began.elapsed())), ratios))
}
