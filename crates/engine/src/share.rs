//! Shared instances: sandboxes whose runtime takes several calls at once, as Lambda Managed Instances' do.
//!
//! To the pools each of these calls has an instance, which is a seat at such a sandbox. The first that finds no seat raises
//! the sandbox; those that come meanwhile wait for it, and take seats in it. It ends with its last seat.

use crate::desk::Seat;
use crate::failure::Failure;
use crate::forge::Seed;
use crate::instance::{Instance, Stage};
use crate::live::{Live, Writer};
use base::InvokeError;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long the initialisation may take at least; a function with a longer timeout has that long, and nobody begins again.
/// Source: "Understanding the Lambda Managed Instances execution environment".
const INIT_S_MAX: u32 = 130;

/// A sandbox with seats.
pub(crate) struct Host {
    pub id: String,
    pub live: Arc<Live>,
    pub writer: Arc<Writer>,
    pub born: Duration,
}

/// A version's sandboxes that still live. Locked while one is raised: others wait for seats in it.
#[derive(Default)]
pub(crate) struct Hosts {
    all: Vec<Weak<Host>>,
    /// What came of the last that did not start, and when.
    failed: Option<(Failure, Duration)>,
}

impl Hosts {
    /// The first seat that is free, at the sandbox that was raised first, so that the others empty themselves.
    fn seat(&mut self, sound: impl Fn(&Host) -> bool) -> Option<(Arc<Host>, Seat)> {
        self.all.retain(|host| host.strong_count() > 0);
        let mut hosts = self.all.iter().filter_map(Weak::upgrade).filter(|host| sound(host));
        hosts.find_map(|host| host.live.desk.seat().map(|seat| (host, seat)))
    }

    /// Memory of the largest, initialised or at work; `None` while there is none.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.all.iter().filter_map(Weak::upgrade).map(|host| host.live.handle.memory_bytes_peak()).max()
    }
}

impl Instance {
    /// Finds a seat, or raises the sandbox that has one. Says whether it did the latter.
    ///
    /// Who waited for one that did not start hears what came of it: many would wait for as long as many initialisations take
    /// if they tried in turn.
    pub(crate) async fn share(&mut self, sandbox: &str) -> Result<bool, InvokeError> {
        let (template, asked) = (self.template.clone(), self.forge.clock.elapsed());
        let mut hosts = template.hosts.lock().await;
        if let Some((failure, at)) = &hosts.failed
            && *at > asked
        {
            self.stage = Stage::Failed(failure.clone());
            return Ok(false);
        }
        let now = self.forge.clock.elapsed();
        let sound = |host: &Host| host.live.exited().is_none() && self.forge.is_young(host.born, now);
        if let Some((host, seat)) = hosts.seat(sound) {
            self.sit_down(host, seat);
            return Ok(false);
        }
        self.announce();
        let limit_s = INIT_S_MAX.max(self.version.timeout_s);
        self.start_in(sandbox, Seed::Program, Duration::from_secs(limit_s.into())).await?;
        if matches!(self.stage, Stage::Unfinished) {
            self.stage = Stage::Failed(Failure::TimedOut { after_s: limit_s });
        }
        if let Stage::Failed(failure) = &self.stage {
            hosts.failed = Some((failure.clone(), self.forge.clock.elapsed()));
        }
        if let (Stage::Ready, Some(live)) = (&self.stage, &self.live)
            && let Some(seat) = live.desk.seat()
        {
            let (id, live, writer) = (self.id.clone(), live.clone(), self.writer.clone());
            let host = Arc::new(Host { id, live, writer, born: self.born });
            hosts.all.push(Arc::downgrade(&host));
            self.sit_down(host, seat);
        }
        Ok(true)
    }

    fn sit_down(&mut self, host: Arc<Host>, seat: Seat) {
        (self.id, self.born) = (host.id.clone(), host.born);
        (self.live, self.writer) = (Some(host.live.clone()), host.writer.clone());
        (self.stage, self.seat) = (Stage::Ready, Some((seat, host)));
    }
}
