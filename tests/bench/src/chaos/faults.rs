//! What goes wrong, and when: drawn from the seed by the number of the request that it comes with.

use super::targets::Target;
use crate::processes::{self, Process};
use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A launcher is killed in one cycle of so many, code is replaced in one of so many.
const LAUNCHER_EVERY: u64 = 8;
const DEPLOY_EVERY: u64 = 2;
/// How long a fault waits at most after its request was sent.
const DELAY_MS: u64 = 40;
/// The end of an instance may be noticed so long after its kill, on a busy machine: a call sent to it meanwhile was there when
/// it died.
const NOTICE_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Kind {
    Instance,
    Launcher,
    Deploy(usize),
}

pub struct Fault {
    kind: Kind,
    delay: Duration,
    draw: u64,
    targets: Arc<Vec<Target>>,
}

/// Draws the faults of each cycle.
pub struct Plan {
    state: u64,
    kills: u64,
}

/// Those of one cycle: workers send what their request brings along, one task does it.
pub struct Cycle {
    pub sender: Sender,
    pub receiver: mpsc::UnboundedReceiver<Fault>,
}

/// Bounded by what was drawn: each fault is sent once.
#[derive(Clone)]
pub struct Sender {
    faults: Arc<Mutex<BTreeMap<u64, Vec<Fault>>>>,
    to: mpsc::UnboundedSender<Fault>,
}

impl Sender {
    /// A request is being sent.
    pub fn at(&self, nonce: u64) {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner).remove(&nonce);
        for fault in faults.into_iter().flatten() {
            let _ = self.to.send(fault);
        }
    }
}

/// A number that looks as if drawn (SplitMix64's last step).
pub fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Plan {
    pub fn new(seed: u64, kills: u64) -> Self {
        Self { state: mixed(seed), kills }
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.state)
    }

    pub fn cycle(&mut self, cycle: u64, requests: Range<u64>, targets: &Arc<Vec<Target>>) -> Cycle {
        let mut kinds = vec![Kind::Instance; self.kills as usize];
        if cycle % LAUNCHER_EVERY == LAUNCHER_EVERY - 1 {
            kinds.push(Kind::Launcher);
        }
        if cycle % DEPLOY_EVERY == DEPLOY_EVERY - 1 {
            kinds.push(Kind::Deploy((self.draw() % targets.len() as u64) as usize));
        }
        let mut faults = BTreeMap::<u64, Vec<Fault>>::new();
        for kind in kinds {
            let at = requests.start + self.draw() % (requests.end - requests.start).max(1);
            let delay = Duration::from_millis(self.draw() % DELAY_MS);
            let fault = Fault { kind, delay, draw: self.draw(), targets: targets.clone() };
            faults.entry(at).or_default().push(fault);
        }
        let (to, receiver) = mpsc::unbounded_channel();
        Cycle { sender: Sender { faults: Arc::new(Mutex::new(faults)), to }, receiver }
    }
}

/// Does the faults and remembers them.
pub struct Faults {
    node: u32,
    address: SocketAddr,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    instances: Vec<Instant>,
    launchers: Vec<Instant>,
    deploys: u64,
    /// Every process ever seen below the node.
    seen: BTreeSet<Process>,
}

impl Faults {
    pub fn new(node: u32, address: SocketAddr) -> Self {
        Self { node, address, done: Mutex::default() }
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what comes until no more can.
    pub async fn strike(self: Arc<Self>, mut faults: mpsc::UnboundedReceiver<Fault>) -> Result<()> {
        let mut deploys = Vec::new();
        while let Some(fault) = faults.recv().await {
            tokio::time::sleep(fault.delay).await;
            match fault.kind {
                Kind::Instance => self.kill_instance(fault.draw),
                Kind::Launcher => self.kill_launcher(),
                Kind::Deploy(which) => {
                    let address = self.address;
                    self.done().deploys += 1;
                    deploys.push(tokio::spawn(async move { fault.targets[which].deploy(address).await }));
                }
            }
        }
        for deploy in deploys {
            deploy.await??;
        }
        Ok(())
    }

    /// Kills one of the processes below the launcher: an instance's init, its runtime, or whatever else there is.
    fn kill_instance(&self, draw: u64) {
        let Some(launcher) = processes::launcher(self.node) else { return };
        let below = processes::descendants(launcher);
        let mut done = self.done();
        done.seen.extend(&below);
        if below.is_empty() {
            return;
        }
        // Noted before: an answer may be faster than this task.
        done.instances.push(Instant::now());
        drop(done);
        if !below[(draw % below.len() as u64) as usize].kill() {
            self.done().instances.pop();
        }
    }

    fn kill_launcher(&self) {
        let Some(launcher) = processes::launcher(self.node).and_then(Process::of) else { return };
        let mut done = self.done();
        done.seen.extend(processes::descendants(launcher.pid));
        done.seen.insert(launcher);
        done.launchers.push(Instant::now());
        drop(done);
        launcher.kill();
    }

    /// How long ago the last kill was that may have cut off a call sent then; `None` if there was none.
    pub fn explain(&self, sent: Instant) -> Option<Duration> {
        let since = sent.checked_sub(NOTICE_MAX).unwrap_or(sent);
        let done = self.done();
        let last = done.instances.iter().chain(&done.launchers).filter(|at| **at >= since).max()?;
        Some(last.elapsed())
    }

    /// The most calls that kills can have cut off, given how many can run at once.
    pub fn errors_max(&self, at_once: u64) -> u64 {
        let done = self.done();
        done.instances.len() as u64 + done.launchers.len() as u64 * at_once
    }

    pub fn seen(&self) -> BTreeSet<Process> {
        self.done().seen.clone()
    }

    pub fn told(&self) -> String {
        let done = self.done();
        let (instances, launchers) = (done.instances.len(), done.launchers.len());
        format!("{instances} kills of instances, {launchers} of the launcher, {} deploys", done.deploys)
    }
}
