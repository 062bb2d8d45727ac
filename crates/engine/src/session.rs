//! Where one runtime stands: the state machine between a run (which offers a call) and the Runtime API (which hands it
//! to the runtime and takes its answer).

use crate::failure::Failure;
use crate::log::Log;
use crate::outlet::Outlet;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// A call on its way to the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub request_id: String,
    pub payload: Bytes,
    pub invoked_arn: String,
    pub deadline_ms: u64,
    pub trace_id: String,
    pub client_context: Option<String>,
    /// Whether the caller takes the response as it is made.
    pub streams: bool,
    /// `START RequestId: …`, logged the moment the runtime takes the call, before the handler can write anything.
    pub start_line: String,
}

/// What the runtime says to a call. What it streamed is not in it: that went through the call's outlet.
pub(crate) type Answer = Result<Bytes, Failure>;

/// Where the answer to a call goes.
pub(crate) struct Reply {
    answer: oneshot::Sender<Answer>,
    /// Where the caller wants the response as it is made.
    pub outlet: Option<Arc<Outlet>>,
}

/// How the initialisation came out, as far as the runtime itself tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Init {
    Ready,
    /// It can be copied, and runs no call itself.
    Zygote,
    Failed(Failure),
}

enum State {
    /// Until the first `next` or an `init/error`.
    Starting { told: oneshot::Sender<Init> },
    /// It reported that it cannot start, or that it is there to be copied.
    Broken,
    /// It asked for the next call, or will.
    Idle,
    /// A call waits for its `next`.
    Offered { delivery: Box<Delivery>, reply: Reply },
    /// It has the call.
    Running { request_id: String, reply: Reply },
    /// It is streaming its response; who reads that has the reply.
    Responding { request_id: String },
    /// It has answered this call and not asked again. What it streamed is over only then: the handler may still be at
    /// work, and the answer is held.
    Answered { request_id: String, held: Option<(Reply, Answer)> },
}

impl State {
    /// The name AWS's supervisor has for it.
    fn name(&self) -> &'static str {
        match self {
            Self::Starting { .. } => "Started",
            Self::Broken => "InitError",
            Self::Idle | Self::Offered { .. } => "Ready",
            Self::Running { .. } => "Running",
            Self::Responding { .. } => "InvocationResponse",
            Self::Answered { .. } => "ResponseSent",
        }
    }
}

/// Why the runtime's request is refused.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// The request is not allowed now: 403.
    State { from: &'static str, to: &'static str },
    /// Not the id of the call it has, or it has none: 400. Asked before the state, as AWS's supervisor does.
    RequestId,
}

/// How a runtime has a call, what matters least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Has {
    Answered,
    /// Nobody waits for its answer any more.
    GivenUp,
    AtWork,
}

pub(crate) struct Session {
    state: Mutex<State>,
    /// Rings when a call is offered; the desk's, where it has several sessions.
    offered: Arc<Notify>,
    /// The runtime has other sessions beside this one: which of them it is done with when it asks for the next call cannot be
    /// told.
    shared: bool,
    log: Arc<Log>,
    /// Why it cannot be copied, where it was to be.
    refused: Mutex<Option<String>>,
    /// What a cell is told that it runs, until it has asked.
    calling: Mutex<Option<Bytes>>,
    /// The compiled code that it has made for later instances, if it was to.
    compiled: Mutex<Option<Bytes>>,
    /// Held while the body of a response or of an error is read.
    pub body_turn: tokio::sync::Mutex<()>,
}

impl Session {
    /// The receiver tells how the initialisation came out; it errs if the session goes away before.
    ///
    /// `bell` rings for all sessions of the desk, where there are several.
    pub(crate) fn new(
        log: Arc<Log>,
        calling: Option<Bytes>,
        bell: Option<Arc<Notify>>,
    ) -> (Self, oneshot::Receiver<Init>) {
        let (told, init) = oneshot::channel();
        (Self::of(State::Starting { told }, log, calling, bell), init)
    }

    /// One of several, for calls alone.
    pub(crate) fn initialised(log: Arc<Log>, bell: Arc<Notify>) -> Self {
        Self::of(State::Idle, log, None, Some(bell))
    }

    fn of(state: State, log: Arc<Log>, calling: Option<Bytes>, bell: Option<Arc<Notify>>) -> Self {
        Self {
            state: Mutex::new(state),
            shared: bell.is_some(),
            offered: bell.unwrap_or_default(),
            log,
            refused: Mutex::default(),
            calling: Mutex::new(calling),
            compiled: Mutex::default(),
            body_turn: Default::default(),
        }
    }

    /// Puts a call where the next `next` finds it. The receiver errs if the session goes away.
    pub(crate) fn offer(&self, delivery: Delivery, outlet: Option<Arc<Outlet>>) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        let reply = Reply { answer, outlet };
        let mut state = self.state.lock();
        debug_assert!(matches!(*state, State::Idle | State::Answered { .. }), "one call at a time");
        let ready = self.shared || matches!(*state, State::Idle);
        *state = State::Offered { delivery: Box::new(delivery), reply };
        drop(state);
        if ready {
            self.offered.notify_one();
        }
        receiver
    }

    /// Takes an offered call back; false if the runtime already has it.
    pub(crate) fn withdraw(&self) -> bool {
        let mut state = self.state.lock();
        let offered = matches!(*state, State::Offered { .. });
        if offered {
            *state = State::Idle;
        }
        offered
    }

    /// `GET next`: waits for a call. The first one ends the initialisation.
    pub(crate) async fn next(&self) -> Result<Delivery, Refusal> {
        self.ask()?;
        loop {
            if let Some(delivery) = self.take() {
                return Ok(delivery);
            }
            self.offered.notified().await;
        }
    }

    /// Whether another call may be offered: the runtime has answered the last.
    pub(crate) fn is_free(&self) -> bool {
        matches!(*self.state.lock(), State::Idle | State::Answered { .. })
    }

    /// How the runtime has this call, if it has it or had it last.
    pub(crate) fn has(&self, id: &str) -> Option<Has> {
        let (is_it, has) = match &*self.state.lock() {
            State::Running { request_id, reply } if reply.answer.is_closed() => (request_id == id, Has::GivenUp),
            State::Running { request_id, .. } | State::Responding { request_id } => (request_id == id, Has::AtWork),
            State::Answered { request_id, .. } => (request_id == id, Has::Answered),
            _ => return None,
        };
        is_it.then_some(has)
    }

    /// `GET next` of a runtime that may have several calls: the first ends the initialisation.
    pub(crate) fn begin_any(&self) -> Result<(), Refusal> {
        match &*self.state.lock() {
            State::Starting { .. } | State::Broken => {}
            _ => return Ok(()),
        }
        self.ask()
    }

    fn ask(&self) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        match &*state {
            State::Broken | State::Running { .. } | State::Responding { .. } => {
                Err(Refusal::State { from: state.name(), to: "Ready" })
            }
            State::Idle | State::Offered { .. } => Ok(()),
            State::Answered { .. } => {
                if let State::Answered { held: Some((reply, answer)), .. } = std::mem::replace(&mut *state, State::Idle)
                {
                    let _ = reply.answer.send(answer);
                }
                Ok(())
            }
            State::Starting { .. } => {
                if let State::Starting { told } = std::mem::replace(&mut *state, State::Idle) {
                    let _ = told.send(Init::Ready);
                }
                Ok(())
            }
        }
    }

    /// The call that waits, for the runtime.
    pub(crate) fn take(&self) -> Option<Delivery> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Idle) {
            State::Offered { delivery, reply } => {
                *state = State::Running { request_id: delivery.request_id.clone(), reply };
                self.log.line(delivery.start_line.clone());
                Some(*delivery)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// May the runtime answer this call now? Asked before a large body is read.
    pub(crate) fn may_answer(&self, request_id: &str, to: &'static str) -> Result<(), Refusal> {
        match &*self.state.lock() {
            State::Running { request_id: running, .. } if running == request_id => Ok(()),
            state @ (State::Answered { request_id: answered, .. } | State::Responding { request_id: answered })
                if answered == request_id =>
            {
                Err(Refusal::State { from: state.name(), to })
            }
            _ => Err(Refusal::RequestId),
        }
    }

    /// `POST response` and `POST error`.
    pub(crate) fn answer(&self, request_id: &str, to: &'static str, answer: Answer) -> Result<(), Refusal> {
        self.may_answer(request_id, to)?;
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Answered { request_id: request_id.to_owned(), held: None }) {
            State::Running { request_id: running, reply } if running == request_id => {
                let _ = reply.answer.send(answer);
                Ok(())
            }
            // Another answer, sent at the same time, was faster.
            other => {
                let from = other.name();
                *state = other;
                Err(Refusal::State { from, to })
            }
        }
    }

    /// `POST init/template`: our own runtimes say whether they can be copied. One that cannot goes on as an instance.
    pub(crate) fn can_be_copied(&self, refused: Option<String>) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if !matches!(*state, State::Starting { .. }) {
            return Err(Refusal::State { from: state.name(), to: "Template" });
        }
        match refused {
            Some(reason) => *self.refused.lock() = Some(reason),
            None => {
                if let State::Starting { told } = std::mem::replace(&mut *state, State::Broken) {
                    let _ = told.send(Init::Zygote);
                }
            }
        }
        Ok(())
    }

    /// `GET init/cell`: what a runtime that was started ahead is to run; told once.
    pub(crate) fn calling(&self) -> Option<Bytes> {
        self.calling.lock().take()
    }

    /// `POST init/compiled`: compiled code for later instances, from a runtime that has not been given a call.
    pub(crate) fn keep_compiled(&self, code: Bytes) -> Result<(), Refusal> {
        self.is_starting("Compiled")?;
        *self.compiled.lock() = Some(code);
        Ok(())
    }

    pub(crate) fn is_starting(&self, to: &'static str) -> Result<(), Refusal> {
        match &*self.state.lock() {
            State::Starting { .. } => Ok(()),
            state => Err(Refusal::State { from: state.name(), to }),
        }
    }

    /// What was kept, once.
    pub(crate) fn compiled(&self) -> Option<Bytes> {
        self.compiled.lock().take()
    }

    /// Why it cannot be copied, if it said so.
    pub(crate) fn refused(&self) -> Option<String> {
        self.refused.lock().clone()
    }

    /// `POST response` by a runtime that streams: from here on nothing else answers this call but [`Session::end`].
    pub(crate) fn begin(&self, request_id: &str, to: &'static str) -> Result<Reply, Refusal> {
        self.may_answer(request_id, to)?;
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Responding { request_id: request_id.to_owned() }) {
            State::Running { request_id: running, reply } if running == request_id => Ok(reply),
            other => {
                let from = other.name();
                *state = other;
                Err(Refusal::State { from, to })
            }
        }
    }

    /// The streamed response has ended. Well, or with an error of the handler: the run is over when the runtime asks for
    /// the next call. Otherwise at once.
    pub(crate) fn end(&self, reply: Reply, answer: Answer) {
        let mut state = self.state.lock();
        let State::Responding { request_id } = &mut *state else { return };
        let request_id = std::mem::take(request_id);
        let held = match &answer {
            Ok(_) | Err(Failure::Reported { .. }) if !self.shared => Some((reply, answer)),
            _ => {
                let _ = reply.answer.send(answer);
                None
            }
        };
        *state = State::Answered { request_id, held };
    }

    /// The error that the runtime reported before it ended without a word more.
    pub(crate) fn last_error(&self) -> Option<Failure> {
        match &*self.state.lock() {
            State::Answered { held: Some((_, Err(failure))), .. } => Some(failure.clone()),
            _ => None,
        }
    }

    /// `POST init/error`.
    pub(crate) fn init_failed(&self, failure: Failure) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut *state, State::Broken) {
            State::Starting { told } => {
                let _ = told.send(Init::Failed(failure));
                Ok(())
            }
            other => {
                let from = other.name();
                *state = other;
                Err(Refusal::State { from, to: "InitError" })
            }
        }
    }
}
