//! The thread that owns the launcher: starts it, carries packets both ways, and starts another when it dies.

use super::names::Names;
use super::{ProcessConfig, READY_MAX};
use crate::launcher::{Resolvers, now_ms};
use crate::protocol::{self, Meter, PACKET_BYTES_MAX, Reply, Request};
use crate::{Control, Error, Exit, Handle, LAUNCHER_ARG, Promise, Raised, Status};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::oneshot;

/// Calls that wait for a reply at once.
const WAITING_MAX: usize = 1024;
/// Between starts of a launcher that keeps dying; doubled up to the second figure.
const BACK_OFF_MS: (u64, u64) = (50, 2_000);
/// For a launcher that was told to stop, and for all sandboxes to be gone after their launcher.
const STOP_MS_MAX: u64 = 6_000;

type Answer = Result<Raised, Error>;

/// What the callers and the thread share.
pub struct Shared {
    state: Mutex<State>,
    /// Wakes the thread.
    wake: OwnedFd,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    waiting: HashMap<u64, Waiting>,
    /// Who waits for a cell to be an instance.
    specialising: HashMap<u64, oneshot::Sender<Result<(), Error>>>,
    seq: u64,
    promises: Vec<Promise>,
    /// `None` before the first launcher is ready.
    leads_out: Option<Result<(), String>>,
    stopping: bool,
}

struct Waiting {
    id: String,
    listeners: usize,
    answer: oneshot::Sender<Answer>,
}

impl Shared {
    pub fn new() -> io::Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: Mutex::default(), wake })
    }

    /// Queues a request that `make` writes for the number given to it.
    pub fn ask(
        &self,
        id: &str,
        listeners: usize,
        make: impl FnOnce(u64) -> Result<Vec<u8>, Error>,
    ) -> Result<oneshot::Receiver<Answer>, Error> {
        let (answer, reply) = oneshot::channel();
        self.queue(make, |state, seq| {
            state.waiting.insert(seq, Waiting { id: id.to_owned(), listeners, answer });
        })?;
        Ok(reply)
    }

    /// Queues the request that makes an instance of a cell.
    pub fn specialise(
        &self,
        make: impl FnOnce(u64) -> Result<Vec<u8>, Error>,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (answer, reply) = oneshot::channel();
        self.queue(make, |state, seq| drop(state.specialising.insert(seq, answer)))?;
        Ok(reply)
    }

    /// Queues one request, and has who waits for its answer noted in the same moment.
    fn queue(
        &self,
        make: impl FnOnce(u64) -> Result<Vec<u8>, Error>,
        note: impl FnOnce(&mut State, u64),
    ) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.waiting.len() + state.specialising.len() >= WAITING_MAX {
            return Err(Error::Full(WAITING_MAX));
        }
        state.seq += 1;
        let seq = state.seq;
        let packet = make(seq)?;
        state.queue.push_back(packet);
        note(&mut state, seq);
        drop(state);
        self.wake();
        Ok(())
    }

    pub fn promises(&self) -> Vec<Promise> {
        self.state.lock().promises.clone()
    }

    pub fn leads_out(&self) -> Result<(), String> {
        self.state.lock().leads_out.clone().unwrap_or(Err("the launcher is not ready".into()))
    }

    pub fn stop(&self) {
        self.state.lock().stopping = true;
        self.wake();
    }

    /// Has the launcher end a sandbox that we do not hold.
    fn kill(&self, seq: u64) {
        if let Ok(packet) = protocol::packet(&Request::Kill { seq }) {
            self.state.lock().queue.push_back(packet);
        }
    }

    fn wake(&self) {
        // Fails only when it is woken 2^64 times over already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    pub fn is_stopping(&self) -> bool {
        self.state.lock().stopping
    }

    /// Waits until there is a call to serve; `false` when we stop.
    fn is_wanted(&self) -> bool {
        loop {
            {
                let state = self.state.lock();
                if state.stopping || !state.queue.is_empty() {
                    return !state.stopping;
                }
            }
            let _ = rustix::event::poll(&mut [PollFd::new(&self.wake, PollFlags::IN)], None);
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
    }

    fn specialised(&self, seq: u64, came: Result<(), Error>) {
        if let Some(answer) = self.state.lock().specialising.remove(&seq) {
            let _ = answer.send(came);
        }
    }

    fn fail_all(&self, error: &Error) {
        let (waiting, specialising) = {
            let mut state = self.state.lock();
            state.queue.clear();
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.specialising))
        };
        for (_, answer) in specialising {
            let _ = answer.send(Err(error.clone()));
        }
        for (_, waiting) in waiting {
            let _ = waiting.answer.send(Err(error.clone()));
        }
    }
}

/// The thread's life: launcher after launcher, until we stop. `ready` hears of the first.
pub fn run(shared: &Shared, config: &ProcessConfig, ready: &SyncSender<Result<(), Error>>) {
    let mut failures = 0_u32;
    let mut is_first = true;
    loop {
        match Link::start(config) {
            Ok((mut link, greeting)) => {
                {
                    let mut state = shared.state.lock();
                    (state.promises, state.leads_out) = (greeting.promises, Some(greeting.leads_out));
                }
                let _ = ready.try_send(Ok(()));
                is_first = false;
                link.serve(shared);
                failures = if link.raised_any { 0 } else { failures + 1 };
                link.end(shared.is_stopping());
                shared.fail_all(&Error::LauncherGone);
            }
            Err(error) if is_first => return drop(ready.try_send(Err(error))),
            Err(error) => {
                failures += 1;
                shared.fail_all(&error);
            }
        }
        if !shared.is_wanted() {
            return shared.fail_all(&Error::LauncherGone);
        }
        if failures > 0 {
            let pause = BACK_OFF_MS.0 << failures.min(6);
            std::thread::sleep(Duration::from_millis(pause.min(BACK_OFF_MS.1)));
        }
    }
}

/// One launcher and the sandboxes it raised.
struct Link {
    child: Child,
    socket: OwnedFd,
    living: HashMap<u64, (oneshot::Sender<Exit>, Arc<Hold>)>,
    raised_any: bool,
    /// Resolves names for those that this launcher led out, as long as it is there.
    _names: Option<Names>,
}

/// What a launcher says of itself.
struct Greeting {
    promises: Vec<Promise>,
    leads_out: Result<(), String>,
}

impl Link {
    fn start(config: &ProcessConfig) -> Result<(Self, Greeting), Error> {
        let failed = |what: &str, error: &dyn std::fmt::Display| Error::Start(format!("{what}: {error}"));
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|error| failed("a socket", &error))?;
        let child = Command::new(&config.program)
            .arg(LAUNCHER_ARG)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            // A group of its own: an interrupt typed at the node's terminal is the node's to act on.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&config.program.display().to_string(), &error))?;
        let mut link = Self { child, socket: ours, living: HashMap::new(), raised_any: false, _names: None };
        match link.greet(config) {
            Ok(greeting) => Ok((link, greeting)),
            Err(reason) => {
                let _ = link.child.kill();
                let _ = link.child.wait();
                Err(Error::Start(reason))
            }
        }
    }

    fn greet(&mut self, config: &ProcessConfig) -> Result<Greeting, String> {
        let hello = Request::Hello {
            state_dir: config.state_dir.clone(),
            egress: config.egress.as_ref().map(|(egress, _)| egress.clone()),
        };
        let packet = protocol::packet(&hello)?;
        let text = |error: Errno| error.to_string();
        protocol::send(&self.socket, &packet, &[], SendFlags::empty()).map_err(text)?;
        let within = milliseconds(READY_MAX.as_millis() as u64);
        if rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&within)).map_err(text)? == 0 {
            return Err("it does not answer".into());
        }
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        let (length, sockets) = protocol::receive(&self.socket, &mut buffer, RecvFlags::empty()).map_err(text)?;
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Reply::Ready { promises, leads_out }) => {
                if let (Ok(()), Some((egress, entropy))) = (&leads_out, &config.egress) {
                    let names = Resolvers::received(sockets)
                        .and_then(|resolvers| Names::serve(resolvers, &egress.networks, entropy.clone()));
                    self._names = Some(names.map_err(|error| format!("resolve names: {error}"))?);
                }
                Ok(Greeting { promises, leads_out })
            }
            Ok(Reply::Unfit(reason)) => Err(reason),
            _ => Err(format!("{} does not answer as a launcher", config.program.display())),
        }
    }

    /// Carries packets until the launcher is gone or we stop.
    fn serve(&mut self, shared: &Shared) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !shared.is_stopping() {
            let full = !self.send_queued(shared);
            let events = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut polled = [PollFd::new(&self.socket, events), PollFd::new(&shared.wake, PollFlags::IN)];
            match rustix::event::poll(&mut polled, None) {
                Err(Errno::INTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            let _ = rustix::io::read(&shared.wake, &mut [0; 8]);
            loop {
                match protocol::receive(&self.socket, &mut buffer, RecvFlags::DONTWAIT) {
                    Err(Errno::AGAIN) => break,
                    Ok((0, _)) => return,
                    Ok((length, descriptors)) => match serde_json::from_slice(&buffer[..length]) {
                        Ok(reply) => self.hear(shared, reply, descriptors),
                        Err(error) => tracing::error!(%error, "a launcher's reply cannot be read"),
                    },
                    Err(error) => {
                        tracing::error!(%error, "the launcher cannot be heard");
                        return;
                    }
                }
            }
        }
    }

    /// Sends what is queued; `false` when the socket takes no more for now.
    fn send_queued(&self, shared: &Shared) -> bool {
        loop {
            let Some(packet) = shared.state.lock().queue.pop_front() else { return true };
            if protocol::send(&self.socket, &packet, &[], SendFlags::DONTWAIT) == Err(Errno::AGAIN) {
                shared.state.lock().queue.push_front(packet);
                return false;
            }
            // Any other failure is the launcher's end, which reading tells.
        }
    }

    fn hear(&mut self, shared: &Shared, reply: Reply, descriptors: Vec<OwnedFd>) {
        match reply {
            Reply::Raised { seq, meter } => {
                self.raised_any = true;
                let waiting = shared.state.lock().waiting.remove(&seq);
                if waiting.is_none_or(|waiting| !self.raised(seq, waiting, meter, descriptors)) {
                    shared.kill(seq);
                }
            }
            Reply::Specialised { seq } => shared.specialised(seq, Ok(())),
            Reply::Failed { seq, error } => {
                let waiting = shared.state.lock().waiting.remove(&seq);
                match waiting {
                    Some(waiting) => drop(waiting.answer.send(Err(error))),
                    None => shared.specialised(seq, Err(error)),
                }
            }
            Reply::Exited { seq, exit } => {
                if let Some((tell, hold)) = self.living.remove(&seq) {
                    hold.end(exit.memory_bytes_peak, exit.cpu_us);
                    let _ = tell.send(exit);
                }
            }
            Reply::Warning(text) => tracing::warn!("sandbox launcher: {text}"),
            Reply::Ready { .. } | Reply::Unfit(_) => tracing::warn!("the launcher answers a greeting twice"),
        }
    }

    /// Hands a sandbox over; `false` when that cannot be done.
    fn raised(&mut self, seq: u64, waiting: Waiting, meter: Meter, descriptors: Vec<OwnedFd>) -> bool {
        let counted = descriptors.len() == 4 + waiting.listeners;
        let all = counted || descriptors.len() == 3 + waiting.listeners;
        let mut descriptors = descriptors.into_iter();
        let (true, Some(pidfd), Some(output), Some(frames)) =
            (all, descriptors.next(), descriptors.next(), descriptors.next())
        else {
            let reason = "the node has no room for its descriptors (ulimit -n)".into();
            let _ = waiting.answer.send(Err(Error::Raise { step: "receive it".into(), reason }));
            return false;
        };
        let mut listeners: Vec<_> = descriptors.collect();
        let counts = if counted { listeners.pop().map(Into::into) } else { None };
        let listeners = listeners.into_iter().map(Into::into).collect();
        let hold = Arc::new(Hold::new(pidfd, meter, counts));
        let (tell, exit) = oneshot::channel();
        self.living.insert(seq, (tell, hold.clone()));
        let handle = Handle::new(hold.clone());
        let raised = Raised { id: waiting.id, output, frames, listeners, exit, handle };
        if waiting.answer.send(Ok(raised)).is_err() {
            // Nobody waits any more.
            hold.kill();
        }
        true
    }

    /// Ends what is left: a launcher that we stop by closing its socket, or sandboxes whose launcher died.
    fn end(mut self, stopping: bool) {
        let Self { child, socket, living, .. } = &mut self;
        if !stopping {
            tracing::error!(sandboxes = living.len(), "the sandbox launcher is gone");
        }
        let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
        let mut patience = STOP_MS_MAX;
        while child.try_wait().is_ok_and(|status| status.is_none()) && patience > 0 {
            std::thread::sleep(Duration::from_millis(2));
            patience -= 2;
        }
        let _ = child.kill();
        let _ = child.wait();
        living.values().for_each(|(_, hold)| hold.kill());
        let deadline = now_ms() + STOP_MS_MAX;
        for (_, (tell, hold)) in living.drain() {
            // The kernel ended them with the launcher; only once that is done are they reported.
            hold.wait(deadline.saturating_sub(now_ms()));
            let (memory_bytes_peak, cpu_us) = (hold.memory_bytes_peak(), hold.cpu_us());
            hold.end(memory_bytes_peak, cpu_us);
            let status = Status::Signalled(rustix::process::Signal::KILL.as_raw());
            let _ = tell.send(Exit { status, out_of_memory: false, memory_bytes_peak, cpu_us });
        }
    }
}

/// The node's hold on one sandbox: its pidfd and where its use can be read.
struct Hold {
    pidfd: OwnedFd,
    meter: Meter,
    /// Of the devices in its network, while it lives.
    counts: Mutex<Option<File>>,
    ended: AtomicBool,
    memory_bytes_peak: AtomicU64,
    cpu_us: AtomicU64,
    network_bytes: AtomicU64,
}

impl Hold {
    fn new(pidfd: OwnedFd, meter: Meter, counts: Option<File>) -> Self {
        let (memory_bytes_peak, cpu_us, network_bytes) = Default::default();
        let counts = Mutex::new(counts);
        Self { pidfd, meter, counts, ended: false.into(), memory_bytes_peak, cpu_us, network_bytes }
    }

    /// Fixes the final figures; the files are gone.
    fn end(&self, memory_bytes_peak: u64, cpu_us: u64) {
        self.memory_bytes_peak.store(memory_bytes_peak, Ordering::Relaxed);
        self.cpu_us.store(cpu_us, Ordering::Relaxed);
        self.network_bytes();
        // Its network goes with this.
        *self.counts.lock() = None;
        self.ended.store(true, Ordering::Release);
    }

    fn wait(&self, most_ms: u64) {
        let _ = rustix::event::poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&milliseconds(most_ms)));
    }

    /// The figure as it is now, or the last known once the sandbox has ended.
    fn figure(&self, last: &AtomicU64, now: impl FnOnce(&Meter) -> Option<u64>) -> u64 {
        if !self.ended.load(Ordering::Acquire)
            && let Some(now) = now(&self.meter)
        {
            return now;
        }
        last.load(Ordering::Relaxed)
    }
}

impl Control for Hold {
    fn kill(&self) {
        // The init of a pid namespace: the kernel ends everyone in it. ESRCH once it has ended.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }

    fn hold_cpu(&self) {
        self.meter.hold_cpu();
    }

    fn memory_bytes_peak(&self) -> u64 {
        self.figure(&self.memory_bytes_peak, Meter::memory_bytes_peak)
    }

    fn cpu_us(&self) -> u64 {
        self.figure(&self.cpu_us, Meter::cpu_us)
    }

    fn network_bytes(&self) -> u64 {
        if let Some(bytes) = self.counts.lock().as_ref().and_then(carried) {
            self.network_bytes.store(bytes, Ordering::Relaxed);
        }
        self.network_bytes.load(Ordering::Relaxed)
    }
}

/// Bytes received and sent by all devices but the loopback, of a `/proc/net/dev`: two lines of names, then a device a line,
/// its name, eight figures of what it received, and eight of what it sent, bytes first.
fn carried(counts: &File) -> Option<u64> {
    let mut buffer = [0; 4096];
    let length = counts.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    let devices = text.lines().skip(2).filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    let of_device = |(_, figures): (&str, &str)| {
        let figures: Vec<u64> = figures.split_whitespace().map_while(|figure| figure.parse().ok()).collect();
        Some(figures.first()? + figures.get(8)?)
    };
    Some(devices.filter_map(of_device).sum())
}

fn milliseconds(ms: u64) -> Timespec {
    Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 }
}
