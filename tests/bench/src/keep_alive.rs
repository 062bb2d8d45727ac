//! `cargo xtask bench keep-alive`: what the keep-alive policies hold and what they make calls wait, on a load like that of
//! a public cloud (`load`), replayed from a seed through the engine's own policy code (`replay`).

mod load;
mod replay;

use engine::keep::{Cost, Fixed, Hybrid, KeepAlive};
use load::{Draw, Function};
use replay::{Tally, replay};
use std::time::Duration;

/// What starts cost, and what lies idle for them. Measured on two cores of an AMD EPYC, Linux 6.18; `docs/performance.md`
/// says how.
#[derive(Clone, Copy)]
pub struct Starts {
    /// Instances are forked from a live template; without, each is a process of its own that initialises itself.
    pub templates: bool,
    /// Handing a call to a spare, and forking one from a template, isolation included.
    pub parked_ms: f64,
    pub fork_ms: f64,
    /// Proportional memory of a spare, and of a forked instance that has run.
    pub spare_mb: f64,
    pub instance_mb: f64,
    /// One interpreter a node that has imported what handlers import most; templates are forked from it and share its
    /// pages. A template holds by itself what the function brings beyond, and what it dirtied of the rest.
    pub base_mb: f64,
    pub dirtied_mb: f64,
    /// The share of a plain initialisation that is left for a template forked from the base.
    pub init_share: f64,
    /// A plain process, and its initialisation: medians over functions.
    pub process_mb: f64,
    pub init_s: f64,
    /// How late upkeep notices, on average.
    pub sweep_s: f64,
}

/// A plain Python process with boto3: 41 MB, 500 ms, of which the base saves all but some 60 ms; a smaller one 9 MB, 50 ms.
const MEASURED: Starts = Starts {
    templates: true,
    parked_ms: 2.0,
    fork_ms: 8.0,
    spare_mb: 1.7,
    instance_mb: 3.0,
    base_mb: 41.0,
    dirtied_mb: 4.0,
    init_share: 0.3,
    process_mb: 41.0,
    init_s: 0.3,
    sweep_s: 0.5,
};

impl Starts {
    pub fn template_mb(&self, process_mb: f64) -> f64 {
        (process_mb - self.base_mb).max(0.0) + self.dirtied_mb
    }
}

#[derive(clap::Args)]
pub struct Args {
    /// Functions drawn.
    #[arg(long, default_value_t = 1000)]
    functions: usize,
    /// Days replayed.
    #[arg(long, default_value_t = 2.0)]
    days: f64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Functions called more often than this a day are left out.
    #[arg(long, default_value_t = 3_000_000.0)]
    per_day_max: f64,
    /// Milliseconds of waiting for a gigabyte-second, in the cost policy: several are tried, comma-separated.
    #[arg(long, value_delimiter = ',')]
    rates: Vec<f64>,
}

pub fn run(args: &Args) {
    let plain = Starts { templates: false, ..MEASURED };
    let fixed = Duration::from_secs(600);
    let cost = Cost::default();
    let mut lines: Vec<(String, Box<dyn KeepAlive>, Starts)> = vec![
        ("fixed 10 min, plain starts".into(), Box::new(Fixed(fixed)), plain),
        ("fixed 20 min, plain starts".into(), Box::new(Fixed(fixed * 2)), plain),
        ("hybrid histogram, plain starts".into(), Box::new(Hybrid { fallback: fixed }), plain),
        ("cost, plain starts".into(), Box::new(cost), plain),
        ("fixed 10 min, templates".into(), Box::new(Fixed(fixed)), MEASURED),
        ("hybrid histogram, templates".into(), Box::new(Hybrid { fallback: fixed }), MEASURED),
        ("cost, templates".into(), Box::new(cost), MEASURED),
    ];
    for &rate in &args.rates {
        let name = format!("cost at {rate} ms per GB·s, templates");
        lines.push((name, Box::new(Cost { ms_per_gb_s: rate, ..cost }), MEASURED));
    }
    let tallies = replay_all(args, &lines);
    print(args, &lines, &tallies);
}

fn replay_all(args: &Args, lines: &[(String, Box<dyn KeepAlive>, Starts)]) -> Vec<Tally> {
    let mut tallies: Vec<Tally> = lines.iter().map(|_| Tally::default()).collect();
    let end = args.days * 86_400.0;
    let mut draw = Draw::new(args.seed);
    let mut drawn = 0;
    while drawn < args.functions {
        let function = Function::draw(&mut draw, MEASURED.process_mb, MEASURED.init_s);
        if function.per_day > args.per_day_max {
            continue;
        }
        drawn += 1;
        let calls = function.calls(&mut draw, args.days);
        for (tally, (_, policy, starts)) in tallies.iter_mut().zip(lines) {
            replay(&function, &calls, &**policy, starts, tally, end);
        }
    }
    for (tally, (_, _, starts)) in tallies.iter_mut().zip(lines) {
        if starts.templates {
            let base = starts.base_mb / 1e3 * end;
            tally.idle_gb_s += base;
            tally.template_gb_s += base;
        }
    }
    tallies
}

fn print(args: &Args, lines: &[(String, Box<dyn KeepAlive>, Starts)], tallies: &[Tally]) {
    let calls = tallies.first().map_or(0, |t| t.calls);
    println!(
        "{} functions called at most {} times a day, {} days, {calls} calls, seed {}\n",
        args.functions, args.per_day_max, args.days, args.seed
    );
    println!(
        "| policy | idle GB·s | templates | spares | less than fixed | from nothing | forked | parked | vain | p50 ms | p99 ms |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let reference = tallies.first().map_or(1.0, |t| t.idle_gb_s);
    for ((name, ..), t) in lines.iter().zip(tallies) {
        println!(
            "| {name} | {:.0} | {:.0} | {:.0} | {:.1} % | {} ({:.2} %) | {} | {} | {} | {:.1} | {:.1} |",
            t.idle_gb_s,
            t.template_gb_s,
            t.spare_gb_s,
            100.0 * (1.0 - t.idle_gb_s / reference),
            t.cold,
            100.0 * t.cold as f64 / t.calls as f64,
            t.forked,
            t.parked,
            t.vain,
            t.ms(0.5),
            t.ms(0.99)
        );
    }
}
