//! One run of a component: what it says in the log, how it ended, what it cost.

use crate::failure::{Failure, document};
use crate::log::{Log, Tail};
use crate::pipes::Lines;
use crate::run::{Clocked, Run};
use crate::session::Answer;
use crate::wasm::loaded::{Face, Loaded};
use base::log::LogLine;
use base::port::Clock;
use base::{Invocation, Start, Timestamp};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use sandbox::{ComponentRun, Exit, Fault, Output, Status};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) struct Running {
    pub loaded: Arc<Loaded>,
    face: Arc<Face>,
    log: Arc<RunLog>,
    memory_peak: Arc<AtomicUsize>,
    network_bytes: Arc<AtomicU64>,
    start: Start,
    init: Duration,
    began: Duration,
    started: Timestamp,
}

impl Running {
    /// Starts a run as far as log and clock are concerned. Waits while the log is behind.
    pub(crate) async fn begin(loaded: Arc<Loaded>, request_id: &str) -> Self {
        let face = loaded.face();
        if !face.writer.0.has_room() {
            face.writer.0.room().await;
        }
        let init = loaded.take_init();
        let start = if init.is_some() { Start::Cold } else { Start::Warm };
        let clock = loaded.forge.clock.clone();
        let (began, started) = (clock.elapsed(), clock.now());
        let line = format!("START RequestId: {request_id} Version: {}\n", loaded.version.version);
        let log = Arc::new(RunLog::new(face.writer.0.clone(), clock, LogLine { at: started, message: line }));
        let (memory_peak, network_bytes, init) = (Arc::default(), Arc::default(), init.unwrap_or_default());
        Self { loaded, face, log, memory_peak, network_bytes, start, init, began, started }
    }

    pub(crate) fn component_run(&self) -> ComponentRun {
        let run = self.loaded.run_with(&self.face, self.log.clone());
        let (memory_peak, network_bytes) = (self.memory_peak.clone(), self.network_bytes.clone());
        ComponentRun { memory_peak, network_bytes, ..run }
    }

    /// The function's timeout.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.loaded.version.timeout_s.into())
    }

    pub(crate) fn timed_out(&self) -> Failure {
        Failure::TimedOut { after_s: self.loaded.version.timeout_s }
    }

    /// Ends it: `ended` says when the guest was done. What it wrote, END and REPORT go to the log.
    pub(crate) fn finish(self, call: &Invocation, answer: Answer, ended: Duration) -> Run {
        let Self { loaded, face, log, memory_peak, network_bytes, start, init, began, started } = self;
        let clocked = Clocked { start, started, init, duration: ended.saturating_sub(began) };
        let peak_mb = memory_peak.load(Ordering::Relaxed).div_ceil(1 << 20);
        let peak_mb = u32::try_from(peak_mb).unwrap_or(u32::MAX);
        let run = Run::new(&loaded.version, &face.id, call, answer, 0, clocked, peak_mb);
        let run = run.with_network(network_bytes.load(Ordering::Relaxed));
        let now = loaded.forge.clock.now();
        let tail = log.finish(run.last_lines(now).into_iter().map(|message| LogLine { at: now, message }));
        run.with_tail(tail)
    }
}

/// How a guest's fault is called among the failures of functions.
pub(crate) fn failure(fault: Fault) -> Failure {
    let exited =
        |status, out_of_memory| Failure::Exited(Exit { status, out_of_memory, memory_bytes_peak: 0, cpu_us: 0 });
    match fault {
        Fault::Trap(what) => Failure::Trapped(what),
        Fault::OutOfMemory => exited(Status::Signalled(9), true),
        Fault::Exit(status) => exited(Status::Exited(status), false),
        Fault::Declined(code) => {
            let error_type = "Runtime.ResponseError".to_owned();
            let body =
                document(&format!("The component answered with an error instead of a response: {code}"), &error_type);
            Failure::Reported { error_type, body }
        }
        Fault::OutputTooLarge => Failure::TooLarge,
        Fault::Full => Failure::Trapped("too many instances run at once".into()),
    }
}

/// The log of one run. Runs of a component go on at once and share a stream; each keeps the tail of its own lines.
struct RunLog {
    log: Arc<Log>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Goes out with the first line that follows it.
    start: Option<LogLine>,
    lines: Lines,
    tail: Tail,
}

impl RunLog {
    fn new(log: Arc<Log>, clock: Arc<dyn Clock>, start: LogLine) -> Self {
        let state = State { start: Some(start), lines: Lines::default(), tail: Tail::default() };
        Self { log, clock, state: Mutex::new(state) }
    }

    /// The guest's last words and the platform's.
    fn finish(&self, more: impl Iterator<Item = LogLine>) -> Bytes {
        let mut state = self.state.lock();
        let State { start, lines, tail } = &mut *state;
        let mut out: Vec<LogLine> = start.take().into_iter().collect();
        lines.flush(&mut |message| out.push(LogLine { at: self.clock.now(), message }));
        out.extend(more);
        out.iter().for_each(|line| tail.extend(&line.message));
        self.log.lines(out);
        tail.last()
    }
}

impl Output for RunLog {
    fn write(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        let State { start, lines, tail } = &mut *state;
        let (now, mut out) = (self.clock.now(), Vec::new());
        lines.feed(bytes, &mut |message| out.push(LogLine { at: now, message }));
        if out.is_empty() {
            return;
        }
        if let Some(start) = start.take() {
            out.insert(0, start);
        }
        out.iter().for_each(|line| tail.extend(&line.message));
        self.log.lines(out);
    }

    fn has_room(&self) -> bool {
        self.log.has_room()
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.log.room())
    }
}
