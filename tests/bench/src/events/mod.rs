//! `bench events`: queues, topics, the bus and schedules under load, durable, beside the SQLite floor of the same run and local
//! servers of the same APIs, which keep everything in memory.

mod bus;
pub mod client;
mod functions;
mod queues;
mod schedules;
mod topics;

use crate::floor;
use crate::line::{self, Against, Line, Starts};
use crate::load::Figures;
use crate::node::Node;
use crate::references::{References, Which};
use crate::scenarios;
use crate::server::Server;
use crate::table;
use anyhow::Result;
use clap::ValueEnum;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What can be measured, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Sends, and cycles of receive and delete, on an empty queue and on one with a backlog
    Queues,
    /// Publishing to one queue and to ten
    Topics,
    /// PutEvents with one rule, a hundred, and many
    Bus,
    /// From a queue to a function: how soon it starts, and how much goes through
    Functions,
    /// How late schedules are
    Schedules,
}

#[derive(clap::Args)]
pub struct Options {
    /// Some of the scenarios, in a list with commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Some of the references, in a list with commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    refs: Vec<Which>,
    /// Where references are installed
    #[arg(long, default_value = "target/bench-refs")]
    refs_dir: PathBuf,
    /// Seconds that each line runs
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Messages that lie in the queue of the second half of `queues`
    #[arg(long, default_value_t = 100_000)]
    backlog: u64,
    /// Rules in the largest bus
    #[arg(long, default_value_t = 10_000)]
    rules: usize,
    /// Schedules that fire once a minute
    #[arg(long, default_value_t = 10_000)]
    schedules: usize,
}

const CONNECTIONS: [usize; 3] = [1, 8, 32];
/// Where others are measured as well, and goals stand.
const COMPARED: usize = 8;

type Peer = (&'static str, Result<Server>);

struct Bench {
    wadi: PathBuf,
    options: Options,
    /// Others, or why they are not there.
    peers: Vec<Peer>,
    /// Not in /tmp, which may be memory: durable writes must meet a disk.
    scratch: tempfile::TempDir,
}

pub async fn run(wadi: &Path, options: Options) -> Result<()> {
    let scratch = tempfile::tempdir_in(wadi.parent().unwrap_or(Path::new(".")))?;
    let references = References::new(&options.refs_dir, &options.refs, Path::new(""))?;
    println!("machine: {}", table::machine());
    let peers = vec![("ministack", references.ministack().await), ("moto", references.moto().await)];
    let bench = Bench { wadi: wadi.to_owned(), options, peers, scratch };
    line::head();
    scenarios::each(&bench.options.only, async |scenario| bench.scenario(scenario).await).await
}

impl Bench {
    async fn scenario(&self, scenario: Scenario) -> Result<()> {
        match scenario {
            Scenario::Queues => queues::run(self).await,
            Scenario::Topics => topics::run(self).await,
            Scenario::Bus => bus::run(self).await,
            Scenario::Functions => functions::run(self).await,
            Scenario::Schedules => schedules::run(self).await,
        }
    }

    /// A node on a data directory of its own.
    async fn node(&self, name: &str) -> Result<Node> {
        let mut node = Node::below(&self.wadi, self.scratch.path(), name)?;
        node.start().await?;
        Ok(node)
    }

    /// Prints what `measure` finds at so many connections: ours, beside a floor of as many callers, and at
    /// [`COMPARED`] connections beside the others.
    async fn line(&self, what: Line, to: SocketAddr, measure: impl Measure) -> Result<()> {
        let others = if what.connections == COMPARED { self.peers.as_slice() } else { &[] };
        self.beside(others, what, to, measure).await
    }

    /// The same without the others.
    async fn alone(&self, what: Line, to: SocketAddr, measure: impl Measure) -> Result<()> {
        self.beside(&[], what, to, measure).await
    }

    async fn beside(&self, others: &[Peer], mut line: Line, to: SocketAddr, measure: impl Measure) -> Result<()> {
        let (connections, seconds) = (line.connections, self.options.seconds);
        let floor = floor::group_commit(self.scratch.path(), connections, seconds / 2.0, queues::BODY_BYTES).await?;
        line.figures = measure.at(to, connections, seconds).await?;
        line.against.push(Against::rate("SQLite group commit", &line.figures, &floor));
        for (name, server) in others {
            let theirs = match server {
                Ok(server) => measure.at(server.address, connections, seconds).await,
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            line.against.push(match theirs {
                Ok(theirs) => Against::rate(name, &line.figures, &theirs),
                Err(error) => Against::absent(name, &error),
            });
        }
        line::print(&line);
        Ok(())
    }
}

/// A line whose figures are yet to come.
fn line(what: impl Into<String>, connections: usize, goal: &'static str) -> Line {
    let figures = Figures::of(Vec::new(), Duration::from_secs(1));
    Line { what: what.into(), starts: Starts::none(), connections, figures, against: Vec::new(), goal }
}

/// Something that can be measured of any server with AWS's APIs.
trait Measure {
    async fn at(&self, to: SocketAddr, connections: usize, seconds: f64) -> Result<Figures>;
}
