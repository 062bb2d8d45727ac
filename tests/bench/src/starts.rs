//! What is timed one at a time: calls with no instance alive, calls of living ones in turns, and programs from start to end.

use crate::functions::{Function, invoke};
use crate::line::Starts;
use crate::load::{self, Connection, Figures};
use crate::node::Node;
use crate::table;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// From a call's end until its instance has gone, with the idle time of a second.
const GONE_MAX: Duration = Duration::from_secs(30);
/// Between one function's call and the next one's: what a node does behind an answer is not the next one's to wait for.
const BEHIND: Duration = Duration::from_millis(100);
/// How often warm functions take turns.
const TURNS: usize = 5;

/// A function of a node that keeps idle instances for a second.
pub struct Subject<'a> {
    pub node: &'a Node,
    pub name: String,
}

impl Subject<'_> {
    async fn call(&self) -> Result<Duration> {
        let mut connection = Connection::open(self.node.address).await?;
        let began = Instant::now();
        let (head, body) = connection.exchange(&invoke(&self.name, "{}")).await?;
        let took = began.elapsed();
        right(&head, &body)?;
        Ok(took)
    }
}

/// Calls with no instance alive, one after the other: the last one's has gone each time.
pub async fn cold_starts(node: &Node, function: &Function, samples: usize) -> Result<(Figures, Starts)> {
    let subject = Subject { node, name: function.name.clone() };
    let mut all = cold_in_turns(&[subject], samples).await?;
    all.pop().context("one function has one line")
}

/// The same of several functions, in turns.
pub async fn cold_in_turns(subjects: &[Subject<'_>], samples: usize) -> Result<Vec<(Figures, Starts)>> {
    let (mut begin, mut since) = (Instant::now(), table::now_ms());
    let mut latencies = vec![Vec::new(); subjects.len()];
    for round in 0..=samples {
        for (subject, latencies) in subjects.iter().zip(&mut latencies) {
            latencies.push(subject.call().await?);
            if subjects.len() > 1 {
                tokio::time::sleep(BEHIND).await;
            }
        }
        for subject in subjects {
            gone(subject.node).await?;
        }
        // What is done once per version (templates, caches) is not what this measures.
        if round == 0 {
            latencies.iter_mut().for_each(Vec::clear);
            (begin, since) = (Instant::now(), table::now_ms());
        }
    }
    let mut all = Vec::new();
    for (subject, latencies) in subjects.iter().zip(latencies) {
        all.push((Figures::of(latencies, begin.elapsed()), Starts::of(subject.node, &subject.name, since).await?));
    }
    Ok(all)
}

/// Calls of living instances over one connection, for so many seconds of each function, in turns.
pub async fn warm_in_turns(subjects: &[Subject<'_>], seconds: f64) -> Result<Vec<(Figures, Starts)>> {
    for subject in subjects {
        subject.call().await?;
    }
    let since = table::now_ms();
    let mut turns: Vec<Vec<Figures>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for (subject, turns) in subjects.iter().zip(&mut turns) {
            // Its instance may have gone meanwhile.
            subject.call().await?;
            let name = subject.name.clone();
            let call = move |_, _| invoke(&name, "{\"hello\":\"wadi\"}");
            turns.push(load::run(subject.node.address, 1, seconds / TURNS as f64, call).await?);
        }
    }
    let mut all = Vec::new();
    for (subject, turns) in subjects.iter().zip(turns) {
        all.push((Figures::sum(turns), Starts::of(subject.node, &subject.name, since).await?));
    }
    Ok(all)
}

/// Waits until no instance is idle, busy or being made. Parked ones and templates stay.
pub async fn gone(node: &Node) -> Result<()> {
    let begin = Instant::now();
    while node.instances().await? > 0 {
        if begin.elapsed() > GONE_MAX {
            bail!("instances are left {} s after the last call", GONE_MAX.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A call that failed is no figure.
pub fn right(head: &http::response::Parts, body: &[u8]) -> Result<()> {
    let text = || String::from_utf8_lossy(body).into_owned();
    if !head.status.is_success() || head.headers.contains_key("x-amz-function-error") {
        bail!("the call failed: {} {}", head.status, text());
    }
    Ok(())
}

/// Durations of `times` runs of a program to its end.
pub fn timed(times: usize, mut command: impl FnMut() -> std::process::Command) -> Result<Figures> {
    let (begin, mut latencies) = (Instant::now(), Vec::new());
    for _ in 0..times {
        let mut command = command();
        let started = Instant::now();
        let done = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
        latencies.push(started.elapsed());
        if !done.status.success() {
            bail!("{:?} failed: {}", command.get_program(), String::from_utf8_lossy(&done.stderr).trim());
        }
    }
    Ok(Figures::of(latencies, begin.elapsed()))
}
