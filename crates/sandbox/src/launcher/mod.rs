//! The launcher: a single-threaded process that raises sandboxes for the node; all privileged work happens in it.
//!
//! One loop waits for the node's requests, for words from the sandboxes' inits, for their ends, and for memory that ran
//! out. Raising never blocks it: each sandbox makes itself in its own process (`inside`). When the node's socket ends,
//! or the thread of the node that started us does, we end with all that we raised.

mod allowed;
mod bundle;
mod cell;
mod census;
mod cgroup;
mod clock;
mod enter;
mod filter;
mod ground;
mod guard;
mod inside;
mod landlock;
mod limits;
mod nest;
mod network;
mod raise;
mod root;
mod seccomp;
mod sweep;
mod sys;

use crate::protocol::{self, PACKET_BYTES_MAX, Reply, Request};
use crate::{Egress, Error, Mount, Network, Program, Role, Spec, Status};
use census::{Census, Counted, TICK_MS};
use cgroup::Hierarchy;
use filter::Filters;
pub use filter::apply_to_errand;
use inside::Word;
use network::{Pool, Router};
pub use network::{Resolvers, Sets, naming, set};
use raise::{Sandbox, State};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{Resource, Rlimit, Signal};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use sweep::Places;

/// Sandboxes at once, ending ones included. Each costs us three descriptors.
const SANDBOXES_MAX: usize = 4096;
/// How long making a sandbox may take; a machine that swaps or a dead network disk must not hold the node's call.
const RAISE_MS_MAX: u64 = 10_000;
/// How long a cgroup without processes may refuse to be removed before its sandbox is reported regardless.
const END_MS_MAX: u64 = 5_000;
/// How often that is tried.
const END_RETRY_MS: u64 = 2;

/// Networks are made ahead so long after a sandbox was raised: making one keeps a core busy for a millisecond that the sandbox
/// at hand needs, and us from what its init asks.
const REFILL_AFTER_MS: u64 = 20;

const NODE: u64 = u64::MAX;
const REMOVER: u64 = u64::MAX - 1;
const CENSUS: u64 = u64::MAX - 2;

/// What of a sandbox became readable; in the low bits of an epoll token.
const INSIDE: u64 = 0;
const PROCESS: u64 = 1;
const MEMORY: u64 = 2;

/// What the launcher found at its start.
pub(crate) struct Ground {
    root: bool,
    hierarchy: Hierarchy,
    filters: Filters,
    /// `None` without root's rights: then each sandbox makes all of its own root.
    shell: Option<root::Shell>,
}

/// The launcher's entry. The binary calls it when its first argument is [`crate::LAUNCHER_ARG`], before any thread or
/// runtime exists. The socket to the node is descriptor 0.
pub fn launcher_main() -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let code = match guard::stand().and_then(|()| take_socket()).and_then(|node| Launcher::start(node)?.run()) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("sandbox launcher: {error}");
            1
        }
    };
    std::process::exit(code)
}

/// Moves the socket off descriptor 0, so that nothing we fork mistakes it for standard input.
fn take_socket() -> io::Result<OwnedFd> {
    let node = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    sys::place(std::fs::File::open("/dev/null")?, 0)?;
    Ok(node)
}

struct Launcher {
    node: OwnedFd,
    poll: OwnedFd,
    ground: Ground,
    pool: Pool,
    /// `None` without root, or where nothing is to be led out or can be.
    router: Option<Router>,
    places: Places,
    census: Census,
    sandboxes: BTreeMap<u64, Sandbox>,
    slots: BTreeSet<u32>,
    slot_next: u32,
    /// The node is gone: nothing new, and no one to tell.
    stopping: bool,
    /// When networks are to be made ahead, if there is nothing else to do then.
    refill_at_ms: Option<u64>,
}

impl Launcher {
    /// Hears where to work, looks around, and says what it can promise.
    fn start(node: OwnedFd) -> io::Result<Self> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let (length, _) = protocol::receive(&node, &mut buffer, RecvFlags::empty())?;
        let tell = |reply: &Reply| -> io::Result<()> {
            let packet = protocol::packet(reply).map_err(io::Error::other)?;
            Ok(protocol::send(&node, &packet, &[], SendFlags::empty())?)
        };
        let (state_dir, egress) = match serde_json::from_slice(&buffer[..length]) {
            Ok(Request::Hello { state_dir, egress }) if state_dir.is_absolute() => (state_dir, egress),
            _ => {
                tell(&Reply::Unfit("the first message is no greeting with an absolute state_dir".into()))?;
                return Err(io::ErrorKind::InvalidData.into());
            }
        };
        match Self::settle(&state_dir) {
            Ok((ground, places)) => {
                let is_asked = egress.is_some();
                let (mut router, leads_out) = match lead_out(&ground, egress, &state_dir) {
                    Ok(router) => (Some(router), Ok(())),
                    Err(reason) => (None, Err(reason)),
                };
                let promises = ground::promises(ground.root, &ground.hierarchy, is_asked.then_some(&leads_out));
                let packet = protocol::packet(&Reply::Ready { promises, leads_out }).map_err(io::Error::other)?;
                let resolvers = router.as_mut().and_then(|router| router.resolvers.take());
                let beside = resolvers.as_ref().map_or_else(Vec::new, Resolvers::descriptors);
                protocol::send(&node, &packet, &beside, SendFlags::empty())?;
                let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
                watch(&poll, &node, NODE)?;
                let (sandboxes, slots) = (BTreeMap::new(), BTreeSet::new());
                let census = Census::new(&places.tmp);
                let (pool, root) = (Pool::default(), ground.root);
                Ok(Self {
                    node,
                    poll,
                    ground,
                    pool,
                    router,
                    places,
                    census,
                    sandboxes,
                    slots,
                    slot_next: 0,
                    stopping: false,
                    refill_at_ms: root.then_some(0),
                })
            }
            Err(error) => {
                tell(&Reply::Unfit(format!("{}: {error}", state_dir.display())))?;
                Err(error)
            }
        }
    }

    fn settle(state_dir: &Path) -> io::Result<(Ground, Places)> {
        // Three descriptors for each sandbox, and what the sandboxes may have is bounded by what we may.
        let most = rustix::process::getrlimit(Resource::Nofile).maximum;
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
        let places = Places::prepare(state_dir)?;
        let filters = Filters::new().map_err(io::Error::other)?;
        let root = rustix::process::geteuid().is_root();
        let hierarchy = Hierarchy::find();
        // Where that cannot be, a sandbox's own root cannot either, and says why.
        let shell = root.then(|| root::Shell::new(&places.root).ok()).flatten();
        Ok((Ground { root, hierarchy, filters, shell }, places))
    }

    fn run(mut self) -> io::Result<()> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        self.remove_behind();
        while !(self.stopping && self.sandboxes.is_empty()) {
            let mut events = [MaybeUninit::uninit(); 64];
            let timeout = self.timeout();
            let (ready, _) = match epoll::wait(&self.poll, &mut events, timeout.as_ref()) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let is_due = self.refill_at_ms.is_some_and(|at| at <= now_ms());
            if ready.is_empty() && is_due && (self.stopping || !self.pool.refill(self.router.as_mut())) {
                self.refill_at_ms = None;
            }
            for event in ready {
                let token = event.data.u64();
                match token {
                    NODE => self.hear_node(&mut buffer)?,
                    REMOVER => self.removed(),
                    CENSUS => self.counted(),
                    _ => self.hear_sandbox(token >> 2, token & 3, &mut buffer),
                }
            }
            self.pass_deadlines();
            self.count();
        }
        self.ground.hierarchy.remove();
        if let Some(router) = &self.router {
            router.remove();
        }
        Ok(())
    }

    fn timeout(&self) -> Option<Timespec> {
        let milliseconds = |ms: u64| Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 };
        let is_ending = |sandbox: &Sandbox| matches!(sandbox.state, State::Ending { .. });
        let ends = self.sandboxes.values().any(is_ending).then_some(END_RETRY_MS);
        // Short enough for the deadlines of those that are being raised, too.
        let tick = (!self.sandboxes.is_empty()).then_some(TICK_MS);
        let refill = self.refill_at_ms.map(|at| at.saturating_sub(now_ms()));
        [ends, tick, refill].into_iter().flatten().min().map(milliseconds)
    }

    fn tell(&self, reply: &Reply, descriptors: &[BorrowedFd<'_>]) {
        if self.stopping {
            return;
        }
        if let Ok(packet) = protocol::packet(reply) {
            // A node that is gone is noticed when its socket is read.
            let _ = protocol::send(&self.node, &packet, descriptors, SendFlags::empty());
        }
    }

    fn warn(&self, text: String) {
        self.tell(&Reply::Warning(text), &[]);
    }

    fn hear_node(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match protocol::receive(&self.node, buffer, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => {}
            Err(Errno::MSGSIZE) => self.warn("a request is longer than any may be".into()),
            Ok((0, _)) | Err(_) => {
                epoll::delete(&self.poll, &self.node)?;
                self.stopping = true;
                self.sandboxes.values_mut().for_each(Sandbox::kill);
            }
            Ok((length, _)) => match serde_json::from_slice(&buffer[..length]) {
                Ok(Request::Raise { seq, spec }) => {
                    if let Err(error) = self.raise(seq, &spec) {
                        self.tell(&Reply::Failed { seq, error }, &[]);
                    }
                }
                Ok(Request::Specialise { seq, cell, mounts }) => {
                    if let Err(error) = self.specialise(seq, &cell, &mounts) {
                        self.tell(&Reply::Failed { seq, error }, &[]);
                    }
                }
                Ok(Request::Kill { seq }) => {
                    if let Some(sandbox) = self.sandboxes.get_mut(&seq) {
                        sandbox.kill();
                    }
                }
                Ok(Request::Hello { .. }) => self.warn("greeted twice".into()),
                Err(error) => self.warn(format!("a request cannot be read: {error}")),
            },
        }
        Ok(())
    }

    fn raise(&mut self, seq: u64, spec: &Spec) -> Result<(), Error> {
        spec.check()?;
        if seq >= CENSUS >> 2 || self.sandboxes.contains_key(&seq) || self.sandboxes.values().any(|s| s.id == spec.id) {
            return Err(Error::Invalid(format!("id: {} lives already", spec.id)));
        }
        if self.sandboxes.len() >= SANDBOXES_MAX {
            return Err(Error::Full(SANDBOXES_MAX));
        }
        let slot = self.free_slot();
        if let Program::Copy { of } = &spec.program {
            self.make_room(of)?;
        }
        let origin = match &spec.program {
            Program::Exec(_) => None,
            Program::Copy { of } => {
                let origin = self.sandboxes.values().find(|s| s.id == *of).and_then(Sandbox::origin);
                Some(origin.ok_or_else(|| Error::NoOrigin(of.clone()))?)
            }
        };
        if origin.as_ref().is_some_and(|o| o.role == Role::Template)
            && (spec.role, spec.mounts.len()) != (Role::Instance, 0)
        {
            return Err(Error::Invalid("role or mounts: a template's copy is an instance and has its mounts".into()));
        }
        // A copy's limits are its group's alone.
        let groups = self.ground.hierarchy.limits_memory() && self.ground.hierarchy.limits_pids();
        if spec.role != Role::Instance && !(self.ground.root && groups) {
            return Err(Error::NoCopies);
        }
        if spec.runtime.is_some() && !self.ground.root {
            return Err(Error::Invalid("runtime: containers are made by root alone".into()));
        }
        let deadline = now_ms() + RAISE_MS_MAX;
        let is_within = origin.as_ref().is_some_and(|origin| origin.role == Role::Template);
        let network = match (&spec.network, &mut self.router) {
            (Network::Out(name), Some(router)) if router.knows(name) => {
                (!is_within).then(|| self.pool.take(Some((router, name)))).transpose()
            }
            (Network::Out(name), _) => return Err(Error::NoNetwork(name.clone())),
            (Network::Own, _) if self.ground.root && !is_within => self.pool.take(None).map(Some),
            (Network::Own | Network::Host, _) => Ok(None),
        };
        let network = network.map_err(|e| Error::Raise { step: "make the network".into(), reason: e.to_string() })?;
        self.refill_at_ms = self.ground.root.then(|| now_ms() + REFILL_AFTER_MS);
        let resolves = self.router.as_ref().is_some_and(|router| router.resolves(&spec.network));
        if let Some(shell) = &mut self.ground.shell {
            shell.renew().map_err(|(step, error)| Error::Raise { step, reason: error.to_string() })?;
        }
        let prepared = raise::Given { origin, slot, deadline, network, resolves };
        let mut sandbox = Sandbox::raise(spec, prepared, &self.ground, &mut self.places)?;
        if sandbox.owns_slot {
            self.slots.insert(slot);
        }
        let watched =
            [(Some(&sandbox.inside), INSIDE), (sandbox.pidfd.as_ref(), PROCESS), (sandbox.memory.as_ref(), MEMORY)];
        let mut unwatched = None;
        for (fd, kind) in watched {
            if let Some(fd) = fd
                && let Err(error) = watch(&self.poll, fd, seq << 2 | kind)
            {
                unwatched = Some(error);
            }
        }
        if let Some(error) = unwatched {
            // Without its end being seen it could never be cleared away; the deadline would find it, too late.
            sandbox.kill();
            self.warn(format!("{}: cannot be watched: {error}", sandbox.id));
        }
        self.sandboxes.insert(seq, sandbox);
        Ok(())
    }

    /// For one more copy in the group of the template that it is made from.
    fn make_room(&mut self, template: &str) -> Result<(), Error> {
        let Some((seq, slot)) = self.sandboxes.iter().find(|(_, s)| s.id == template).map(|(seq, s)| (*seq, s.slot))
        else {
            return Ok(());
        };
        // A template's copies have its slot, as it has itself.
        let copies = self.sandboxes.values().filter(|s| s.slot == slot).count() as u64;
        let made = self.sandboxes.get_mut(&seq).map_or(Ok(()), |s| s.bear(copies));
        made.map_err(|e| Error::Raise { step: "make room in the template's group".into(), reason: e.to_string() })
    }

    fn specialise(&mut self, request: u64, id: &str, mounts: &[Mount]) -> Result<(), Error> {
        crate::spec::check_mounts(mounts)?;
        let cell = self.sandboxes.values_mut().find(|sandbox| sandbox.id == id);
        cell.ok_or_else(|| Error::NoCell(id.to_owned()))?.specialise(request, mounts)
    }

    /// Round and round, so that a user of the host is not given again at once.
    fn free_slot(&mut self) -> u32 {
        loop {
            self.slot_next = (self.slot_next + 1) % (4 * SANDBOXES_MAX as u32);
            if !self.slots.contains(&self.slot_next) {
                return self.slot_next;
            }
        }
    }

    fn hear_sandbox(&mut self, seq: u64, what: u64, buffer: &mut [u8]) {
        let Some(sandbox) = self.sandboxes.get_mut(&seq) else { return };
        match what {
            MEMORY => {
                // The kernel ends one of its processes; a sandbox that lost a part is of no use.
                sandbox.memory_ran_out = true;
                sandbox.kill();
                if let Some(memory) = sandbox.memory.take() {
                    let _ = epoll::delete(&self.poll, memory);
                }
            }
            PROCESS => {
                if let Some(pidfd) = &sandbox.pidfd {
                    let _ = epoll::delete(&self.poll, pidfd);
                }
                // What it said before it ended is still to be read.
                while self.hear_inside(seq, buffer) {}
                self.ended(seq);
            }
            _ => drop(self.hear_inside(seq, buffer)),
        }
    }

    /// Takes one word from a sandbox's init; `false` when there is none.
    fn hear_inside(&mut self, seq: u64, buffer: &mut [u8]) -> bool {
        let Some(sandbox) = self.sandboxes.get_mut(&seq) else { return false };
        let (length, mut descriptors) = match protocol::receive(&sandbox.inside, buffer, RecvFlags::DONTWAIT) {
            Ok((1.., _)) if matches!(sandbox.state, State::Ending { .. }) => return false,
            Ok((length @ 1.., descriptors)) => (length, descriptors),
            Err(Errno::AGAIN) => return false,
            Ok((0, _)) | Err(_) => {
                let _ = epoll::delete(&self.poll, &sandbox.inside);
                if sandbox.pidfd.is_none() {
                    // Its template ended before it was made: nothing will tell of its end.
                    self.ended(seq);
                }
                return false;
            }
        };
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Word::MapMe) => {
                let mapped = sandbox.map_user(self.ground.root);
                let answered =
                    mapped.and_then(|()| Ok(protocol::send(&sandbox.inside, b"{}", &[], SendFlags::DONTWAIT)?));
                if let Err(error) = answered {
                    self.give_up(seq, "map the user", &error.to_string());
                }
            }
            Ok(Word::Here) => {
                let watched = descriptors.pop().ok_or(Errno::MFILE).and_then(|pidfd| {
                    let pidfd = sandbox.is_here(pidfd);
                    epoll::add(&self.poll, pidfd, epoll::EventData::new_u64(seq << 2 | PROCESS), epoll::EventFlags::IN)
                });
                if let Err(error) = watched {
                    self.give_up(seq, "watch it", &error.to_string());
                }
            }
            Ok(Word::LeadMeOut) => {
                let is_new = matches!(sandbox.state, State::Raising { .. }) && sandbox.wire.is_none();
                let wired = match (&sandbox.network, &mut self.router, descriptors.pop()) {
                    (Network::Out(name), Some(router), Some(namespace)) if is_new => {
                        router.wire(&namespace).and_then(|wire| router.open(&wire, name).map(|()| wire))
                    }
                    _ => Err(io::ErrorKind::Unsupported.into()),
                };
                let answered = wired.and_then(|wire| {
                    sandbox.wire = Some(wire);
                    Ok(protocol::send(&sandbox.inside, b"{}", &[], SendFlags::DONTWAIT)?)
                });
                if let Err(error) = answered {
                    self.give_up(seq, "lead it out", &error.to_string());
                }
            }
            Ok(Word::Started) => self.started(seq, &descriptors),
            Ok(Word::Specialised) => {
                if let Some(request) = sandbox.specialising.take() {
                    self.tell(&Reply::Specialised { seq: request }, &[]);
                }
            }
            Ok(Word::Failed { step, reason }) => self.give_up(seq, &step, &reason),
            Ok(Word::Ended(raw)) => sandbox.status = Some(sys::status_of(raw)),
            Err(error) => self.give_up(seq, "hear of it", &error.to_string()),
        }
        true
    }

    fn started(&mut self, seq: u64, listeners: &[OwnedFd]) {
        let Some(sandbox) = self.sandboxes.get_mut(&seq) else { return };
        if sandbox.pidfd.is_none() {
            return self.give_up(seq, "start", "it did not say who it is");
        }
        let Some((output, frames)) = sandbox.pipes.take() else { return };
        sandbox.state = State::Running;
        // The counts are the node's from now on, and with them how long the network is kept.
        let wire = sandbox.wire.take();
        let sandbox = &self.sandboxes[&seq];
        let Some(pidfd) = &sandbox.pidfd else { return };
        let mut descriptors = vec![pidfd.as_fd(), output.as_fd(), frames.as_fd()];
        descriptors.extend(listeners.iter().map(AsFd::as_fd));
        descriptors.extend(wire.iter().map(|wire| wire.counts.as_fd()));
        self.tell(&Reply::Raised { seq, meter: sandbox.meter() }, &descriptors);
    }

    /// Answers the node that it will not be, unless it is already; then its end tells.
    fn give_up(&mut self, seq: u64, step: &str, reason: &str) {
        let Some(sandbox) = self.sandboxes.get_mut(&seq) else { return };
        sandbox.kill();
        let raising = sandbox.pipes.take().map(|_| seq);
        if let Some(seq) = raising.or(sandbox.specialising.take()) {
            let error = Error::Raise { step: step.to_owned(), reason: reason.to_owned() };
            self.tell(&Reply::Failed { seq, error }, &[]);
        }
    }

    /// Its init, and so every process of it, is gone.
    fn ended(&mut self, seq: u64) {
        let Some(sandbox) = self.sandboxes.get_mut(&seq) else { return };
        let exit = sandbox.sum_up();
        // Never handed over: the node waits for an answer, or has one, but no exit.
        let early = !matches!(sandbox.state, State::Running);
        sandbox.state = State::Ending { deadline: now_ms() + END_MS_MAX, exit, reported: early };
        if early || sandbox.specialising.is_some() {
            let reason = match (exit.out_of_memory, exit.status) {
                (true, _) => "its memory is too little to start in".to_owned(),
                (false, Status::Signalled(signal)) => format!("it was ended by signal {signal}"),
                (false, Status::Exited(code)) => format!("it ended with {code}"),
            };
            self.give_up(seq, "start", &reason);
        }
        self.clear(seq);
    }

    /// Tries to clear the ended sandbox away; reports it once its cgroup is gone.
    fn clear(&mut self, seq: u64) {
        let Some(sandbox) = self.sandboxes.get(&seq) else { return };
        let State::Ending { deadline, exit, reported } = sandbox.state else { return };
        match sandbox.group.remove() {
            Err(error) if now_ms() >= deadline => self.warn(format!("{}: its cgroup stays: {error}", sandbox.id)),
            Err(_) => return,
            Ok(()) => {}
        }
        if let Err(error) = sandbox.drop_tmp(&mut self.places) {
            self.warn(format!("{}: its /tmp stays: {error}", sandbox.id));
        }
        if sandbox.owns_slot {
            self.slots.remove(&sandbox.slot);
        }
        self.sandboxes.remove(&seq);
        if !reported {
            self.tell(&Reply::Exited { seq, exit }, &[]);
        }
        self.remove_behind();
    }

    fn pass_deadlines(&mut self) {
        let now = now_ms();
        let due = |sandbox: &Sandbox| match sandbox.state {
            State::Raising { deadline } => now >= deadline,
            State::Ending { .. } => true,
            State::Running => false,
        };
        let due: Vec<u64> = self.sandboxes.iter().filter(|(_, s)| due(s)).map(|(seq, _)| *seq).collect();
        for seq in due {
            match self.sandboxes[&seq].state {
                State::Ending { .. } => self.clear(seq),
                _ => self.give_up(seq, "start", &format!("not done after {RAISE_MS_MAX} ms")),
            }
        }
    }

    /// Has somebody count what the sandboxes have in /tmp, if the disk has filled.
    fn count(&mut self) {
        if self.stopping || self.sandboxes.is_empty() || !self.census.is_due(now_ms()) {
            return;
        }
        let counted: Vec<Counted> = self.sandboxes.iter().filter_map(|(seq, s)| s.counted(*seq)).collect();
        let watched = self.census.begin(&counted).and_then(|counting| watch(&self.poll, counting, CENSUS));
        if let Err(error) = watched {
            self.warn(format!("what is in /tmp cannot be counted: {error}"));
        }
    }

    fn counted(&mut self) {
        for seq in self.census.end() {
            if let Some(sandbox) = self.sandboxes.get_mut(&seq) {
                sandbox.kill();
                let text = format!("{}: ended, for more in its /tmp than its EphemeralStorage", sandbox.id);
                self.warn(text);
            }
        }
    }

    fn remove_behind(&mut self) {
        let watched = match self.places.remove_behind() {
            Ok(Some(remover)) => watch(&self.poll, remover, REMOVER),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = watched {
            self.warn(format!("what is left of /tmp cannot be removed now: {error}"));
        }
    }

    fn removed(&mut self) {
        if self.places.is_removing() && !self.places.removed() {
            // Not again at once: it would fail again. The next sandbox's end tries anew.
            return self.warn("what is left of /tmp could not all be removed".into());
        }
        self.remove_behind();
    }
}

/// The router, where something is to be led out and this machine can.
fn lead_out(ground: &Ground, egress: Option<Egress>, state_dir: &Path) -> Result<Router, String> {
    let egress = egress.ok_or("no network of this node leads out")?;
    let nft = egress.nft.ok_or("there is no program `nft`: install nftables")?;
    if !ground.root {
        return Err("only root can lead a network out: run the node as root".into());
    }
    Router::raise(&nft, state_dir, &egress.networks)
}

fn watch(poll: &OwnedFd, fd: impl AsFd, token: u64) -> io::Result<()> {
    Ok(epoll::add(poll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
}

/// Milliseconds that never go back. The launcher is outside of any simulated time: it deals with the kernel alone.
pub(crate) fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}
