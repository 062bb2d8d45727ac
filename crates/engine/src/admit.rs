//! May a call run now? Concurrency limits, held by a [`Ticket`] for as long as the run lasts.

use crate::Routed;
use base::InvokeError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Counts what is in flight, by account and region and, for functions with reserved concurrency, by function.
pub(crate) struct Admission {
    account_max: u32,
    in_flight: Arc<Mutex<HashMap<String, u32>>>,
}

/// The right to run once; dropping it gives the place back.
pub(crate) struct Ticket {
    of: String,
    in_flight: Arc<Mutex<HashMap<String, u32>>>,
}

impl Admission {
    pub(crate) fn new(account_max: u32) -> Self {
        Self { account_max, in_flight: Arc::default() }
    }

    /// As on AWS a function with reserved concurrency draws on that alone, the others share the account's.
    pub(crate) fn admit(&self, routed: &Routed) -> Result<Ticket, InvokeError> {
        let version = &routed.version;
        let (of, max, reason) = match routed.reserved {
            Some(max) => (version.arn.to_string(), max, "ReservedFunctionConcurrentInvocationLimitExceeded"),
            None => {
                let scope = format!("{}/{}", version.scope.account, version.scope.region);
                (scope, self.account_max, "ConcurrentInvocationLimitExceeded")
            }
        };
        let mut in_flight = self.in_flight.lock();
        let count = in_flight.get(&of).copied().unwrap_or(0);
        if count >= max {
            return Err(InvokeError::Throttled { reason });
        }
        in_flight.insert(of.clone(), count + 1);
        Ok(Ticket { of, in_flight: self.in_flight.clone() })
    }
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
}
