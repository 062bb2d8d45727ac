//! Invocation rates: who sends waits for a place, and places are spread evenly over each second.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

/// Destinations whose pace is kept; over it those that nobody waits for are forgotten.
const KEPT_MAX: usize = 1_000;

/// When each destination may be sent to next, in time since the node's start.
#[derive(Default)]
pub struct Pace(Mutex<HashMap<String, Duration>>);

impl Pace {
    /// Takes the next place of a destination that is sent to `per_minute` times a minute, and says how long it is until
    /// then. Delivery bounds how many wait.
    pub fn wait(&self, destination: &str, per_minute: u32, now: Duration) -> Duration {
        let mut next = self.0.lock();
        if next.len() >= KEPT_MAX && !next.contains_key(destination) {
            next.retain(|_, at| *at > now);
        }
        let place = next.entry(destination.to_owned()).or_insert(now);
        let mine = (*place).max(now);
        *place = mine + Duration::from_secs(60) / per_minute.max(1);
        mine - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_and_none_are_saved_up() {
        let (pace, second) = (Pace::default(), Duration::from_secs(1));
        let waits: Vec<_> = (0..4).map(|_| pace.wait("a", 120, second).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500]);
        assert_eq!(pace.wait("b", 120, second), Duration::ZERO, "each has a pace of its own");
        let later = Duration::from_secs(100);
        let waits: Vec<_> = (0..2).map(|_| pace.wait("a", 120, later).as_millis()).collect();
        assert_eq!(waits, [0, 500]);
    }
}
