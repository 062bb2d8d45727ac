//! Pools of instances: idle ones last-in-first-out, callers of a function first-come-first-served, functions in turn.
//!
//! A caller that finds none idle waits for whichever comes first, an instance that is freed or a new one. `raise` makes
//! new ones, a bounded number at once, and shares the machine between functions; `upkeep` ends what need not be kept and
//! keeps ready what should be, `provision` what has to be; `state` holds what there is.

mod gauge;
mod provision;
mod raise;
mod state;
mod track;
mod upkeep;

use crate::Version;
use crate::keep::KeepAlive;
use base::InvokeError;
use base::port::{Clock, Headroom};
use gauge::Gauge;
use parking_lot::Mutex;
use state::{Offered, Pool, State};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use track::Busy;

/// How long a call waits for a place on a machine that is full of running instances, before it is throttled. Long enough
/// for a burst of short calls to pass, short enough for a client whose retries are its own affair.
pub(crate) const PLACE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long it waits for an instance at all: a place, a package to unpack, a runtime to fetch, a sandbox, the
/// initialisation.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// A call that was given an instance has the processor to itself first; then a spare is made.
const SPARE_LATER: Duration = Duration::from_millis(40);
/// What an instance is reckoned to hold before it has been measured: a Python interpreter with boto3 has 45 to 60 MB.
const INSTANCE_BYTES: u64 = 64 << 20;

/// What pools hold.
pub(crate) trait Member: Send + 'static {
    /// Whether another call may be given to it: alive, sound, not too old.
    fn usable(&self) -> bool;

    /// Memory that is its own, as last seen; `None` if that is not known.
    fn bytes(&self) -> Option<u64> {
        None
    }

    /// It is kept ready and has not run: its first call will not have waited for it.
    fn set_aside(&mut self) {}
}

/// What an instance is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Calls that wait.
    Call,
    /// To be ready for a call to come.
    Spare,
    /// To be ready always: provisioned concurrency.
    Provisioned,
}

/// What keeping a version ready takes, as its maker knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// Instances to keep ready, never used, of a version that is in use: 0 where they are dear.
    pub spares: usize,
    pub spare_bytes: u64,
    /// Memory that the version's live template holds by itself; `None` while there is none.
    pub template_bytes: Option<u64>,
    /// Each instance that is made of the template runs the function's initialisation.
    pub initialises: bool,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { spares: 0, spare_bytes: INSTANCE_BYTES, template_bytes: None, initialises: true }
    }
}

/// Makes members. The place on the machine belongs to the member and is given back when all of it is gone.
pub(crate) trait Maker: Send + Sync + 'static {
    type Made: Member;
    fn make(
        &self,
        version: Arc<Version>,
        place: OwnedSemaphorePermit,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Self::Made, InvokeError>> + Send;

    /// Asked under the pools' lock: answers from memory, at once.
    fn upkeep(&self, _version: &Version) -> Upkeep {
        Upkeep::default()
    }

    /// The version's live template need not be kept any longer. Asked under the pools' lock.
    fn let_go(&self, _version: &Version) {}
}

/// Whether an instance belongs to the provisioned ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    OnDemand,
    Provisioned,
}

type Offer<T> = Result<Offered<T>, InvokeError>;

/// An instance, lent. Dropping the lease ends the instance; [`Lease::give_back`] keeps it for the next call.
pub(crate) struct Lease<M: Maker> {
    member: Option<M::Made>,
    kind: Kind,
    key: Key,
    pools: Arc<Pools<M>>,
    _busy: Busy,
}

impl<M: Maker> Lease<M> {
    pub(crate) fn give_back(mut self) {
        if let Some(member) = self.member.take() {
            self.pools.give_back(&self.key, member, self.kind);
        }
    }
}

impl<M: Maker> Deref for Lease<M> {
    type Target = M::Made;

    fn deref(&self) -> &M::Made {
        self.member.as_ref().expect("only give_back and drop take it out")
    }
}

impl<M: Maker> DerefMut for Lease<M> {
    fn deref_mut(&mut self) -> &mut M::Made {
        self.member.as_mut().expect("only give_back and drop take it out")
    }
}

impl<M: Maker> Drop for Lease<M> {
    fn drop(&mut self) {
        if self.member.take().is_some() {
            self.pools.lost(&self.key, self.kind);
        }
    }
}

/// Instances of one revision of one version are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub arn: String,
    pub version: String,
    pub revision: String,
}

impl Key {
    pub(crate) fn of(version: &Version) -> Self {
        let Version { arn, version, revision, .. } = version;
        Self { arn: arn.to_string(), version: version.clone(), revision: revision.clone() }
    }
}

/// How pools behave.
pub(crate) struct Bounds {
    /// Instances alive at once on this machine, idle ones included.
    pub places_max: usize,
    /// Instances being made at once.
    pub raising_max: usize,
}

pub(crate) struct Pools<M: Maker> {
    maker: M,
    state: Mutex<State<M::Made>>,
    places: Arc<Semaphore>,
    bounds: Bounds,
    gauge: Gauge,
    tasks: TaskTracker,
    clock: Arc<dyn Clock>,
    policy: Arc<dyn KeepAlive>,
}

impl<M: Maker> Pools<M> {
    pub(crate) fn new(
        maker: M,
        bounds: Bounds,
        policy: Arc<dyn KeepAlive>,
        headroom: Arc<dyn Headroom>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let bounds = Bounds { places_max: bounds.places_max.max(1), raising_max: bounds.raising_max.max(1) };
        Arc::new(Self {
            maker,
            state: Mutex::new(State::default()),
            places: Arc::new(Semaphore::new(bounds.places_max)),
            bounds,
            gauge: Gauge::new(headroom),
            tasks: TaskTracker::new(),
            clock,
            policy,
        })
    }

    /// An instance of this version, the caller's alone until the lease ends.
    pub(crate) async fn acquire(self: &Arc<Self>, version: &Arc<Version>) -> Result<Lease<M>, InvokeError> {
        let key = Key::of(version);
        let (found, busy) = self.take(&key, version)?;
        let Offered { member, kind } = match found {
            Ok(offered) => offered,
            Err((number, freed)) => {
                self.raise();
                self.wait(&key, number, freed).await?
            }
        };
        Ok(Lease { member: Some(member), kind, key, pools: self.clone(), _busy: busy })
    }

    /// An instance that is ready (the one used last, else one never used), or a numbered place in the queue for one.
    #[allow(clippy::type_complexity)] // Two outcomes of one step under one lock.
    fn take(
        self: &Arc<Self>,
        key: &Key,
        version: &Arc<Version>,
    ) -> Result<(Result<Offered<M::Made>, (u64, Waiting<M::Made>)>, Busy), InvokeError> {
        let mut unusable = Vec::new();
        let now = self.clock.elapsed();
        let mut state = self.state.lock();
        if state.closed {
            return Err(stopping());
        }
        let track = state.track(key, version, now);
        {
            let mut known = track.lock();
            if !known.is_planned() {
                known.replan(&*self.policy, self.maker.upkeep(version));
            }
        }
        let pool = state.pools.entry(key.clone()).or_insert_with(|| Pool::new(version.clone(), track.clone()));
        let (ready, was_spare) = pool.take_ready(&mut unusable);
        let busy = Busy::new(track, self.clock.clone());
        let ended = unusable.len();
        if was_spare || ended > 0 {
            pool.spare_not_before = pool.spare_not_before.max(now + SPARE_LATER);
            state.wishes.insert(key.clone());
        }
        let taken = match ready {
            Some(offered) => Ok(offered),
            None => Err(state.queue(key, now)),
        };
        state.held -= ended;
        let refill = was_spare || ended > 0;
        drop(state);
        drop(unusable);
        if refill {
            self.raise_later();
        }
        Ok((taken, busy))
    }

    async fn wait(self: &Arc<Self>, key: &Key, number: u64, mut freed: Waiting<M::Made>) -> Offer<M::Made> {
        tokio::select! {
            biased;
            offer = &mut freed => return offer.unwrap_or_else(|_| Err(stopping())),
            () = self.clock.sleep(PLACE_WAIT_MAX) => {}
        }
        // As on AWS when more would run at once than may; unless one is being made for it.
        let mut refusal = InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" };
        if self.state.lock().is_served(key, number) {
            tokio::select! {
                biased;
                offer = &mut freed => return offer.unwrap_or_else(|_| Err(stopping())),
                () = self.clock.sleep(WAIT_MAX - PLACE_WAIT_MAX) => {}
            }
            let text = format!("no instance was ready within {} seconds", WAIT_MAX.as_secs());
            refusal = InvokeError::Unavailable(text);
        }
        freed.close();
        self.state.lock().leave_queue(key, number);
        freed.try_recv().unwrap_or(Err(refusal))
    }

    /// Takes an instance back. One that may not run again is dropped.
    fn give_back(self: &Arc<Self>, key: &Key, member: M::Made, kind: Kind) {
        if member.usable() {
            self.hand_on(key, member, kind, false);
        } else {
            drop(member);
            self.lost(key, kind);
        }
    }

    /// Gives an instance to whoever waits longest, else to the idle ones; or ends it where another function needs its
    /// place more. A new one goes to a caller whatever its state: a function that cannot start has to tell somebody.
    fn hand_on(self: &Arc<Self>, key: &Key, member: M::Made, kind: Kind, new: bool) {
        let now = self.clock.elapsed();
        let mut state = self.state.lock();
        let gives_way = kind == Kind::OnDemand && !new && self.gives_way(&state, key, now);
        let gone = state.hand_on(key, Offered { member, kind }, gives_way, new, now);
        let more = !state.hungry.is_empty() || gone.is_some();
        drop(state);
        drop(gone);
        if more {
            self.raise();
        }
    }

    /// An instance was used up: it will not come back.
    fn lost(self: &Arc<Self>, key: &Key, kind: Kind) {
        self.state.lock().lost(key, kind);
        self.raise();
    }

    /// Ends the idle instances of a version's other revisions, and of those that run when they come back.
    pub(crate) fn retire(self: &Arc<Self>, arn: &str, version: &str, keep_revision: Option<&str>) {
        let gone = self.state.lock().retire(arn, version, keep_revision);
        drop(gone);
        self.raise();
    }

    /// No more instances: idle ones end, waiting callers are told, running ones end when they come back.
    pub(crate) fn close(&self) {
        let gone = self.state.lock().close();
        drop(gone);
        self.places.close();
        self.tasks.close();
    }

    /// Instances alive: idle, running and being made.
    pub(crate) fn live(&self) -> usize {
        self.state.lock().held
    }

    /// How each pool stands, for `wadi top`.
    pub(crate) fn snapshot(&self) -> Vec<Pooled> {
        let state = self.state.lock();
        let figures = |(key, pool): (&Key, &Pool<M::Made>)| Pooled {
            arn: key.arn.clone(),
            idle: pool.idle.len(),
            busy: pool.out,
            parked: pool.spares.len(),
            making: pool.making,
            waiting: pool.waiting.iter().filter(|waiter| !waiter.sender.is_closed()).count(),
        };
        state.pools.iter().map(figures).collect()
    }
}

/// Instances of one revision of one version, and calls that wait for one.
pub(crate) struct Pooled {
    pub arn: String,
    pub idle: usize,
    pub busy: usize,
    pub parked: usize,
    pub making: usize,
    pub waiting: usize,
}

/// A place in the queue for an instance.
type Waiting<T> = oneshot::Receiver<Offer<T>>;

fn stopping() -> InvokeError {
    InvokeError::Unavailable("the node is stopping".into())
}

#[cfg(test)]
mod tests;
