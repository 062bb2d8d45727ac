//! Desks: where one runtime's calls lie, one at a time or several. Each has a session of its own; who asks for the next
//! call gets that of any.

use crate::log::Log;
use crate::session::{Delivery, Init, Refusal, Session};
use bytes::Bytes;
use parking_lot::Mutex;
use std::ops::Deref;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

pub(crate) struct Desk {
    /// At least one. The first hears of the initialisation as well.
    sessions: Vec<Session>,
    /// Rings when a call is offered to one of several.
    bell: Arc<Notify>,
    /// Those that have a seat.
    seated: Mutex<Vec<bool>>,
}

impl Desk {
    /// For so many calls at once, one at least. The receiver tells how the initialisation came out; it errs if the desk
    /// goes away before.
    pub(crate) fn new(log: &Arc<Log>, calling: Option<Bytes>, calls: usize) -> (Arc<Self>, oneshot::Receiver<Init>) {
        let bell = Arc::new(Notify::new());
        let shared = (calls > 1).then(|| bell.clone());
        let (first, init) = Session::new(log.clone(), calling, shared);
        let others = (1..calls).map(|_| Session::initialised(log.clone(), bell.clone()));
        let sessions: Vec<_> = std::iter::once(first).chain(others).collect();
        let seated = Mutex::new(vec![false; sessions.len()]);
        (Arc::new(Self { sessions, bell, seated }), init)
    }

    /// The one that hears of the initialisation.
    pub(crate) fn first(&self) -> &Session {
        &self.sessions[0]
    }

    /// Calls at once.
    pub(crate) fn calls(&self) -> usize {
        self.sessions.len()
    }

    /// That of this call, else any: it refuses what is not its own. A call that is tried again has its id again, while what was
    /// given up may still be at work: the one that is waited for comes first.
    pub(crate) fn of(&self, request_id: &str) -> &Session {
        let having = self.sessions.iter().filter_map(|session| Some((session.has(request_id)?, session)));
        having.max_by_key(|(has, _)| *has).map_or(&self.sessions[0], |(_, session)| session)
    }

    /// `GET next`: waits for a call. The first one ends the initialisation.
    pub(crate) async fn next(&self) -> Result<Delivery, Refusal> {
        if let [only] = self.sessions.as_slice() {
            return only.next().await;
        }
        self.first().begin_any()?;
        loop {
            if let Some(delivery) = self.sessions.iter().find_map(|session| session.take()) {
                return Ok(delivery);
            }
            self.bell.notified().await;
        }
    }

    /// A session for one call after another, if one is left. A call that the runtime has been given and not answered holds
    /// its session, also when nobody waits for the answer any more.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let mut seated = self.seated.lock();
        let at = (0..self.sessions.len()).find(|at| !seated[*at] && self.sessions[*at].is_free())?;
        seated[at] = true;
        Some(Seat { desk: self.clone(), at })
    }
}

/// A session, lent.
pub(crate) struct Seat {
    desk: Arc<Desk>,
    at: usize,
}

impl Deref for Seat {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.desk.sessions[self.at]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.seated.lock()[self.at] = false;
    }
}
