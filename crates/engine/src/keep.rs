//! Keep-alive: how long what is idle is kept, as a policy behind a trait. Pure: what happened and what time it is come in.
//!
//! Three things can be kept when a function is not called: instances that have run, spares (made ready, never used), and
//! the template that instances are made from. A [`History`] knows when a function was called, [`Costs`] what holding and
//! missing cost, and a policy makes a [`Plan`] of them: [`Fixed`], [`Hybrid`] (the histogram of "Serverless in the
//! Wild", ATC'20) or [`Cost`]. The pools follow the plan; the simulator of `cargo xtask bench keep-alive` follows the
//! same one.

mod cost;
mod fixed;
mod history;
mod hybrid;

pub use cost::Cost;
pub use fixed::Fixed;
pub use history::{EDGES, History};
pub use hybrid::Hybrid;

use std::time::Duration;

/// Decides what is kept for a function that is not being called.
pub trait KeepAlive: Send + Sync {
    fn plan(&self, history: &History, costs: &Costs) -> Plan;
}

/// Which policy a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Fixed,
    Hybrid,
    Cost,
}

impl Policy {
    /// `fixed` is what [`Policy::Fixed`] keeps everything for, and the most that the others keep a used instance for.
    pub fn build(self, fixed: Duration) -> Box<dyn KeepAlive> {
        match self {
            Policy::Fixed => Box::new(Fixed(fixed)),
            Policy::Hybrid => Box::new(Hybrid { fallback: fixed }),
            Policy::Cost => Box::new(Cost { most: fixed, ..Cost::default() }),
        }
    }
}

/// What holding and missing cost for one version, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Memory of an instance that has run, and of one set aside.
    pub instance_bytes: u64,
    pub spare_bytes: u64,
    /// What a call waits for when nothing is there.
    pub start: Duration,
    /// `None` for what has no template that is alive.
    pub template: Option<TemplateCosts>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TemplateCosts {
    pub bytes: u64,
    /// What a call waits for when only the template is there.
    pub start: Duration,
}

/// What is kept, counted from the end of the function's last call (of an instance's last run, for instances).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Plan {
    /// A used instance is kept so long.
    pub instances: Duration,
    pub spares: Window,
    pub template: Window,
}

/// From when until when something is kept ready. One that begins late lets go of it at once and has it made again.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Window {
    pub from: Duration,
    pub until: Duration,
}

impl Window {
    pub const NEVER: Self = Self { from: Duration::ZERO, until: Duration::ZERO };

    pub const fn first(until: Duration) -> Self {
        Self { from: Duration::ZERO, until }
    }

    pub fn contains(self, idle: Duration) -> bool {
        self.from <= idle && idle < self.until
    }

    pub fn is_late(self) -> bool {
        !self.from.is_zero() && self.from < self.until
    }
}

#[cfg(test)]
mod tests;
