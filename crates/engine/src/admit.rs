//! May a call run now? Concurrency limits, held by a [`Ticket`] for as long as the run lasts.

use crate::Routed;
use base::{InvokeError, Scope};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Counts what is in flight, by account and region, for functions with reserved concurrency by function, and for versions
/// with provisioned concurrency by version.
pub(crate) struct Admission {
    account_max: u32,
    /// What an account's functions without concurrency of their own may run, where less than all is left to them; by
    /// account and region.
    unreserved: Mutex<HashMap<String, u32>>,
    /// Provisioned concurrency by function and version.
    provisioned: Mutex<HashMap<String, Vec<(String, u32)>>>,
    in_flight: Arc<Mutex<HashMap<String, u32>>>,
}

/// The right to run once; dropping it gives the place back.
pub(crate) struct Ticket {
    of: String,
    in_flight: Arc<Mutex<HashMap<String, u32>>>,
}

impl Admission {
    pub(crate) fn new(account_max: u32) -> Self {
        Self { account_max, unreserved: Mutex::default(), provisioned: Mutex::default(), in_flight: Arc::default() }
    }

    pub(crate) fn limit(&self, scope: &Scope, unreserved: u32) {
        self.unreserved.lock().insert(place(scope), unreserved);
    }

    pub(crate) fn provision(&self, arn: &str, versions: Vec<(String, u32)>) {
        let mut provisioned = self.provisioned.lock();
        if versions.is_empty() {
            provisioned.remove(arn);
        } else {
            provisioned.insert(arn.to_owned(), versions);
        }
    }

    /// As on AWS a version draws on its provisioned concurrency first; then a function with reserved concurrency on what
    /// of that is not provisioned, the others on what the account has left for all.
    pub(crate) fn admit(&self, routed: &Routed) -> Result<Ticket, InvokeError> {
        let version = &routed.version;
        let arn = version.arn.to_string();
        let (own, others) = self.provisioned_for(&arn, &version.version);
        if own > 0
            && let Some(ticket) = self.take(format!("{arn}:{}", version.version), own)
        {
            return Ok(ticket);
        }
        let (of, max, reason) = match routed.reserved {
            Some(max) => (arn, max.saturating_sub(own + others), "ReservedFunctionConcurrentInvocationLimitExceeded"),
            None => {
                let place = place(&version.scope);
                let max = self.unreserved.lock().get(&place).copied().unwrap_or(self.account_max);
                (place, max, "ConcurrentInvocationLimitExceeded")
            }
        };
        self.take(of, max).ok_or(InvokeError::Throttled { reason })
    }

    /// What is provisioned for this version, and for the function's others.
    fn provisioned_for(&self, arn: &str, version: &str) -> (u32, u32) {
        let provisioned = self.provisioned.lock();
        let Some(versions) = provisioned.get(arn) else { return (0, 0) };
        let own = versions.iter().filter(|(name, _)| name == version).map(|(_, n)| n).sum();
        (own, versions.iter().map(|(_, n)| n).sum::<u32>() - own)
    }

    fn take(&self, of: String, max: u32) -> Option<Ticket> {
        let mut in_flight = self.in_flight.lock();
        let count = in_flight.get(&of).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        in_flight.insert(of.clone(), count + 1);
        Some(Ticket { of, in_flight: self.in_flight.clone() })
    }
}

fn place(scope: &Scope) -> String {
    format!("{}/{}", scope.account, scope.region)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock();
        if let Some(count) = in_flight.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                in_flight.remove(&self.of);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn limits_and_what_they_say() {
        let admission = Admission::new(2);
        let plain = testing::routed("plain", None);
        let reserved = testing::routed("reserved", Some(1));
        let off = testing::routed("off", Some(0));
        let reason = |routed: &Routed| match admission.admit(routed) {
            Err(InvokeError::Throttled { reason }) => reason,
            Err(other) => panic!("{other}"),
            Ok(_) => "admitted",
        };
        let first = admission.admit(&plain).expect("one");
        let _second = admission.admit(&plain).expect("two");
        assert_eq!(reason(&plain), "ConcurrentInvocationLimitExceeded");
        let _third = admission.admit(&reserved).expect("its own place");
        assert_eq!(reason(&reserved), "ReservedFunctionConcurrentInvocationLimitExceeded");
        assert_eq!(reason(&off), "ReservedFunctionConcurrentInvocationLimitExceeded");
        drop(first);
        assert_eq!(reason(&plain), "admitted");
        drop((_second, _third));
        assert!(admission.in_flight.lock().is_empty());
    }
    #[test]
    fn provisioned_concurrency_comes_first_and_counts_against_the_reserved() {
        let admission = Admission::new(100);
        let routed = testing::routed("f", Some(3));
        let arn = routed.version.arn.to_string();
        admission.provision(&arn, vec![("$LATEST".into(), 2), ("7".into(), 1)]);
        let taken: Vec<_> = (0..2).map(|_| admission.admit(&routed).expect("its own")).collect();
        assert!(admission.admit(&routed).is_err(), "all that is reserved is provisioned");
        drop(taken);
        admission.provision(&arn, vec![("$LATEST".into(), 2)]);
        let taken: Vec<_> = (0..3).map(|_| admission.admit(&routed).expect("and one beyond")).collect();
        assert!(admission.admit(&routed).is_err());
        drop(taken);
        admission.provision(&arn, Vec::new());
        let plain = testing::routed("g", None);
        admission.limit(&plain.version.scope, 1);
        let _one = admission.admit(&plain).expect("one is left");
        let reason = "ConcurrentInvocationLimitExceeded";
        assert_eq!(admission.admit(&plain).err(), Some(InvokeError::Throttled { reason }));
    }
}
