//! `bench isolation`: what isolation costs. Every line has its reference in the same run, taken in turns with it.
//!
//! What hardening adds is measured with the product's own launcher, which has no switch that turns hardening off, against a
//! launcher of the benchmark's own ([`launcher`]) that gives programs the same namespaces and a root, and nothing more.

mod containers;
mod forks;
mod hardening;
pub mod launcher;
mod networks;
mod peer;
mod processor;
mod programs;
mod tiers;
mod ways;

use crate::line::{self, Against, Line};
use crate::load::Figures;
use crate::node::Node;
use crate::starts::{Subject, cold_in_turns, warm_in_turns};
use crate::{scenarios, table};
use anyhow::{Result, ensure};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// What can be measured, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Starts in our sandbox, in its namespaces alone, and bare
    Cold,
    /// Calls of the same
    Warm,
    /// The same function behind each wall that this machine has
    Tiers,
    /// Starts from an unpacked image, against the runtimes by themselves and bubblewrap
    Containers,
    /// Shares of a core as weights and as quotas
    Processor,
    /// Functions that reach nothing, the node, and the internet
    Networks,
}

#[derive(clap::Args)]
pub struct Options {
    /// Some of the scenarios, in a list with commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Starts that a line of starts is taken from
    #[arg(long, default_value_t = 20)]
    samples: usize,
    /// Seconds that each line of calls runs
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// A component of the wasi:http/proxy world that answers any request at once
    #[arg(long)]
    component: Option<PathBuf>,
    /// Where the static program is compiled to
    #[arg(long, default_value = "target/bench-refs")]
    refs_dir: PathBuf,
}

struct Bench {
    /// Absolute, as all that sandboxes are made of.
    wadi: PathBuf,
    refs: PathBuf,
    options: Options,
    scratch: tempfile::TempDir,
}

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "this needs root: without, there are no limits to measure");
    std::fs::create_dir_all(&options.refs_dir)?;
    let (wadi, refs) = (wadi.canonicalize()?, options.refs_dir.canonicalize()?);
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    // The users of sandboxes look into it.
    std::fs::set_permissions(scratch.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    println!("machine: {}", table::machine());
    let bench = Bench { wadi, refs, options, scratch };
    line::head();
    scenarios::each(&bench.options.only, async |scenario| bench.scenario(scenario).await).await
}

impl Bench {
    async fn scenario(&self, scenario: Scenario) -> Result<()> {
        match scenario {
            Scenario::Cold => hardening::cold(self).await,
            Scenario::Warm => hardening::warm(self).await,
            Scenario::Tiers => tiers::run(self).await,
            Scenario::Containers => containers::run(self).await,
            Scenario::Processor => processor::run(self).await,
            Scenario::Networks => networks::run(self).await,
        }
    }

    /// A node that keeps what is idle for a second.
    async fn node(&self, name: &str, flags: &[&str]) -> Result<Node> {
        self.node_in(name, "platform", flags).await
    }

    async fn node_in(&self, name: &str, network: &'static str, flags: &[&str]) -> Result<Node> {
        let mut node = Node::below(&self.wadi, self.scratch.path(), name)?;
        node.network = network;
        node.flags = ["--idle-seconds", "1"].iter().chain(flags).map(|flag| (*flag).to_owned()).collect();
        node.start().await?;
        Ok(node)
    }

    /// Cold and warm lines of functions, each against the first.
    async fn compare(&self, subjects: Vec<(String, Subject<'_>)>, goals: [&'static str; 2]) -> Result<()> {
        let (names, subjects): (Vec<_>, Vec<_>) = subjects.into_iter().unzip();
        let cold = cold_in_turns(&subjects, self.options.samples).await?;
        let warm = warm_in_turns(&subjects, self.options.seconds).await?;
        for (kind, measured, goal) in [("cold", cold, goals[0]), ("warm", warm, goals[1])] {
            let mut first: Option<Figures> = None;
            for (name, (figures, starts)) in names.iter().zip(measured) {
                let against = first.iter().map(|first| Against::more(&names[0], &figures, first)).collect();
                let line = Line { what: format!("{kind}, {name}"), starts, connections: 1, figures, against, goal };
                line::print(&line);
                first = first.or(Some(line.figures));
            }
        }
        Ok(())
    }
}
