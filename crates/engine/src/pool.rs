//! Pools of instances: idle ones last-in-first-out, callers first-come-first-served, a bounded number on the machine.
//!
//! A caller that finds none idle waits for whichever comes first, an instance that is freed or the new one that is made
//! on its behalf. When the machine is full, the instance that has been idle longest, of whatever function, goes.

use crate::Version;
use base::InvokeError;
use base::port::Clock;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;

/// How long a call waits for a place on a machine that is full of running instances, before it is throttled. Long enough
/// for a burst of short calls to pass, short enough for a client whose retries are its own affair.
pub(crate) const PLACE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long it waits for an instance at all: a place, a package to unpack, a runtime to fetch, a sandbox, the
/// initialisation.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// What pools hold.
pub(crate) trait Member: Send + 'static {
    /// Whether another call may be given to it: alive, sound, not too old.
    fn usable(&self) -> bool;
}

/// Makes members. The place on the machine belongs to the member and is given back when all of it is gone.
pub(crate) trait Maker: Send + Sync + 'static {
    type Made: Member;
    fn make(
        &self,
        version: Arc<Version>,
        place: OwnedSemaphorePermit,
    ) -> impl Future<Output = Result<Self::Made, InvokeError>> + Send;
}

type Offer<T> = Result<T, InvokeError>;
/// A place in the queue for an instance.
type Place<T> = oneshot::Receiver<Offer<T>>;

/// An instance, lent. Dropping the lease ends the instance; [`Lease::give_back`] keeps it for the next call.
pub(crate) struct Lease<M: Maker> {
    member: Option<M::Made>,
    key: Key,
    pools: Arc<Pools<M>>,
}

impl<M: Maker> Lease<M> {
    pub(crate) fn give_back(mut self) {
        if let Some(member) = self.member.take() {
            self.pools.give_back(&self.key, member);
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
            self.pools.lost(&self.key);
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

pub(crate) struct Pools<M: Maker> {
    maker: M,
    state: Mutex<State<M::Made>>,
    places: Arc<Semaphore>,
    /// How many are waiting for a place on the machine.
    wanting: AtomicUsize,
    tasks: TaskTracker,
    clock: Arc<dyn Clock>,
    idle_ttl: Duration,
}

struct State<T> {
    pools: HashMap<Key, Pool<T>>,
    closed: bool,
}

struct Pool<T> {
    idle: Vec<Idle<T>>,
    waiting: VecDeque<oneshot::Sender<Offer<T>>>,
    /// Instances being made, and instances that run.
    making: usize,
    out: usize,
    /// Another revision has taken over: nothing goes back in.
    retired: bool,
}

struct Idle<T> {
    member: T,
    since: Duration,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { idle: Vec::new(), waiting: VecDeque::new(), making: 0, out: 0, retired: false }
    }
}

impl<T> Pool<T> {
    fn is_unused(&self) -> bool {
        self.idle.is_empty() && self.waiting.is_empty() && self.making == 0 && self.out == 0
    }
}

impl<M: Maker> Pools<M> {
    pub(crate) fn new(maker: M, places_max: usize, idle_ttl: Duration, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            maker,
            state: Mutex::new(State { pools: HashMap::new(), closed: false }),
            places: Arc::new(Semaphore::new(places_max.max(1))),
            wanting: AtomicUsize::new(0),
            tasks: TaskTracker::new(),
            clock,
            idle_ttl,
        })
    }

    /// An instance of this version, the caller's alone until the lease ends.
    pub(crate) async fn acquire(self: &Arc<Self>, version: &Arc<Version>) -> Result<Lease<M>, InvokeError> {
        let key = Key::of(version);
        let member = match self.take_idle(&key)? {
            Ok(member) => member,
            Err(freed) => {
                self.tasks.spawn(self.clone().make(key.clone(), version.clone()));
                self.wait(freed).await?
            }
        };
        Ok(Lease { member: Some(member), key, pools: self.clone() })
    }

    async fn wait(&self, mut freed: Place<M::Made>) -> Offer<M::Made> {
        tokio::select! {
            biased;
            offer = &mut freed => offer.unwrap_or_else(|_| Err(stopping())),
            () = self.clock.sleep(WAIT_MAX) => {
                freed.close();
                let text = format!("no instance was ready within {} seconds", WAIT_MAX.as_secs());
                freed.try_recv().unwrap_or(Err(InvokeError::Unavailable(text)))
            }
        }
    }

    /// The instance used last, or a place in the queue for one.
    fn take_idle(&self, key: &Key) -> Offer<Result<M::Made, Place<M::Made>>> {
        let mut unusable = Vec::new();
        let mut state = self.state.lock();
        if state.closed {
            return Err(stopping());
        }
        let pool = state.pools.entry(key.clone()).or_default();
        while let Some(idle) = pool.idle.pop() {
            if idle.member.usable() {
                pool.out += 1;
                return Ok(Ok(idle.member));
            }
            unusable.push(idle);
        }
        let (sender, receiver) = oneshot::channel();
        pool.waiting.push_back(sender);
        pool.making += 1;
        Ok(Err(receiver))
    }

    /// Makes one instance and offers it to whoever waits longest, who may no longer be the caller it was started for.
    async fn make(self: Arc<Self>, key: Key, version: Arc<Version>) {
        let place = self.place().await;
        if !self.still_wanted(&key) {
            return;
        }
        let made = match place {
            Ok(place) => self.maker.make(version, place).await,
            Err(error) => Err(error),
        };
        let mut state = self.state.lock();
        let Some(pool) = state.pools.get_mut(&key) else { return };
        pool.making -= 1;
        match made {
            Ok(member) => {
                pool.out += 1;
                drop(state);
                self.hand_on(&key, member);
            }
            Err(error) => {
                let waiter = pool.waiting.pop_front();
                state.forget_if_unused(&key);
                drop(state);
                if let Some(waiter) = waiter {
                    let _ = waiter.send(Err(error));
                }
            }
        }
    }

    /// Whether fewer are being made than wait; if not, this one is not needed any more.
    fn still_wanted(&self, key: &Key) -> bool {
        let mut state = self.state.lock();
        let Some(pool) = state.pools.get_mut(key) else { return false };
        pool.waiting.retain(|waiter| !waiter.is_closed());
        let wanted = pool.waiting.len() >= pool.making;
        if !wanted {
            pool.making -= 1;
            state.forget_if_unused(key);
        }
        wanted
    }

    /// A place on the machine: a free one, that of the instance idle longest, or the first to be given back.
    async fn place(&self) -> Result<OwnedSemaphorePermit, InvokeError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        self.wanting.fetch_add(1, Ordering::SeqCst);
        drop(self.take_longest_idle());
        let place = tokio::select! {
            biased;
            place = self.places.clone().acquire_owned() => place.map_err(|_| stopping()),
            // As on AWS when more would run at once than may.
            () = self.clock.sleep(PLACE_WAIT_MAX) => {
                Err(InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" })
            }
        };
        self.wanting.fetch_sub(1, Ordering::SeqCst);
        place
    }

    fn take_longest_idle(&self) -> Option<M::Made> {
        let mut state = self.state.lock();
        // The one idle longest of a pool is its first.
        let longest = state.pools.iter().filter_map(|(key, pool)| Some((pool.idle.first()?.since, key)));
        let key = longest.min_by_key(|(since, _)| *since)?.1.clone();
        let member = state.pools.get_mut(&key)?.idle.remove(0).member;
        state.forget_if_unused(&key);
        Some(member)
    }

    /// Takes an instance back. One that may not run again is dropped.
    fn give_back(&self, key: &Key, member: M::Made) {
        if member.usable() {
            self.hand_on(key, member);
        } else {
            drop(member);
            self.lost(key);
        }
    }

    /// Gives an instance to whoever waits longest, else to the idle ones. A new one goes to a caller whatever its state:
    /// a function that cannot start has to tell somebody.
    fn hand_on(&self, key: &Key, member: M::Made) {
        let mut member = member;
        let mut state = self.state.lock();
        let closed = state.closed;
        let Some(pool) = state.pools.get_mut(key) else { return };
        pool.out -= 1;
        while let Some(waiter) = pool.waiting.pop_front() {
            match waiter.send(Ok(member)) {
                Ok(()) => {
                    pool.out += 1;
                    return;
                }
                Err(Ok(back)) => member = back,
                Err(Err(_)) => return,
            }
        }
        if closed || pool.retired || self.wanting.load(Ordering::SeqCst) > 0 || !member.usable() {
            state.forget_if_unused(key);
            drop(state);
            drop(member);
            return;
        }
        let since = self.clock.elapsed();
        pool.idle.push(Idle { member, since });
    }

    /// An instance was used up: it will not come back.
    fn lost(&self, key: &Key) {
        let mut state = self.state.lock();
        if let Some(pool) = state.pools.get_mut(key) {
            pool.out -= 1;
        }
        state.forget_if_unused(key);
    }

    /// Ends the idle instances of a version's other revisions, and of those that run when they come back.
    pub(crate) fn retire(&self, arn: &str, version: &str, keep_revision: Option<&str>) {
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        for (key, pool) in &mut state.pools {
            if key.arn == arn && key.version == version && Some(key.revision.as_str()) != keep_revision {
                pool.retired = true;
                gone.append(&mut pool.idle);
            }
        }
        state.pools.retain(|_, pool| !pool.is_unused());
        drop(state);
    }

    /// Ends what has been idle too long or has died.
    pub(crate) fn reap(&self) {
        let now = self.clock.elapsed();
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        for pool in state.pools.values_mut() {
            let over = |idle: &Idle<M::Made>| now.saturating_sub(idle.since) >= self.idle_ttl || !idle.member.usable();
            let (over, kept) = std::mem::take(&mut pool.idle).into_iter().partition(over);
            pool.idle = kept;
            gone.extend::<Vec<_>>(over);
        }
        state.pools.retain(|_, pool| !pool.is_unused());
        drop(state);
    }

    /// No more instances: idle ones end, waiting callers are told, running ones end when they come back.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let mut gone = Vec::new();
        for pool in state.pools.values_mut() {
            gone.append(&mut pool.idle);
            pool.waiting.clear();
        }
        drop(state);
        self.places.close();
        self.tasks.close();
    }

    /// Instances alive: idle, running and being made.
    pub(crate) fn live(&self) -> usize {
        let state = self.state.lock();
        state.pools.values().map(|pool| pool.idle.len() + pool.out + pool.making).sum()
    }

    /// How each pool stands, for `wadi top`.
    pub(crate) fn snapshot(&self) -> Vec<Pooled> {
        let state = self.state.lock();
        let figures = |(key, pool): (&Key, &Pool<M::Made>)| Pooled {
            arn: key.arn.clone(),
            idle: pool.idle.len(),
            busy: pool.out,
            making: pool.making,
            waiting: pool.waiting.iter().filter(|waiter| !waiter.is_closed()).count(),
        };
        state.pools.iter().map(figures).collect()
    }
}

/// Instances of one revision of one version, and calls that wait for one.
pub(crate) struct Pooled {
    pub arn: String,
    pub idle: usize,
    pub busy: usize,
    pub making: usize,
    pub waiting: usize,
}

fn stopping() -> InvokeError {
    InvokeError::Unavailable("the node is stopping".into())
}

impl<T> State<T> {
    fn forget_if_unused(&mut self, key: &Key) {
        if self.pools.get(key).is_some_and(Pool::is_unused) {
            self.pools.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
