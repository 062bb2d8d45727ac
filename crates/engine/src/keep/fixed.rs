//! The fixed policy: everything is kept for the same time after its last use, whatever the function.

use super::{Costs, History, KeepAlive, Plan, Window};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Fixed(pub Duration);

impl KeepAlive for Fixed {
    fn plan(&self, _: &History, _: &Costs) -> Plan {
        Plan { instances: self.0, spares: Window::first(self.0), template: Window::first(self.0) }
    }
}
