//! Shared instances: sandboxes whose runtime takes several calls at once, as Lambda Managed Instances' do.
//!
//! To the pools each of these calls has an instance, which is a seat at such a sandbox. The first that finds no seat raises
//! the sandbox; those that come meanwhile wait for it, and take seats in it. It ends with its last seat.

use crate::desk::Seat;
use crate::failure::Failure;
use crate::live::{Live, Writer};
use std::sync::{Arc, Weak};
use std::time::Duration;

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
    pub all: Vec<Weak<Host>>,
    /// What came of the last that did not start, and when.
    pub failed: Option<(Failure, Duration)>,
}

impl Hosts {
    /// The first seat that is free, at the sandbox that was raised first, so that the others empty themselves.
    pub(crate) fn seat(&mut self, sound: impl Fn(&Host) -> bool) -> Option<(Arc<Host>, Seat)> {
        self.all.retain(|host| host.strong_count() > 0);
        let mut hosts = self.all.iter().filter_map(Weak::upgrade).filter(|host| sound(host));
        hosts.find_map(|host| host.live.desk.seat().map(|seat| (host, seat)))
    }

    /// Memory of the largest, initialised or at work; `None` while there is none.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.all.iter().filter_map(Weak::upgrade).map(|host| host.live.handle.memory_bytes_peak()).max()
    }
}
