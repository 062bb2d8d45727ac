//! Receipt handles: opaque to clients, to us a queue, a place and the number that the message was received under.

use crate::error::{Error, Result};
use crate::store::Place;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    pub queue: u64,
    pub stock: u64,
    pub place: Place,
    pub receipt: u64,
}

const VERSION: u8 = 1;
const BYTES: usize = 41;

impl Handle {
    pub fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        for number in [self.queue, self.stock, self.place.due, self.place.stamp, self.receipt] {
            bytes.extend(number.to_be_bytes());
        }
        STANDARD.encode(bytes)
    }

    /// # Errors
    /// [`Error::Handle`] for what is no handle of this queue.
    pub fn parse(text: &str, queue: u64) -> Result<Self> {
        let bytes = if text.len() > 4 * BYTES { Vec::new() } else { STANDARD.decode(text).unwrap_or_default() };
        let Some((&VERSION, numbers)) = bytes.split_first().filter(|_| bytes.len() == BYTES) else {
            return Err(Error::Handle);
        };
        let number = |at: usize| u64::from_be_bytes(numbers[at * 8..][..8].try_into().expect("eight bytes"));
        let place = Place { due: number(2), stamp: number(3) };
        let handle = Self { queue: number(0), stock: number(1), place, receipt: number(4) };
        if handle.queue == queue { Ok(handle) } else { Err(Error::Handle) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let handle = Handle { queue: 7, stock: 8, place: Place { due: 1, stamp: 2 }, receipt: u64::MAX };
        assert_eq!(Handle::parse(&handle.text(), 7).expect("ours"), handle);
        assert!(Handle::parse(&handle.text(), 8).is_err());
        for bad in ["", "x", "AAAA", &"A".repeat(500)] {
            assert!(matches!(Handle::parse(bad, 7), Err(Error::Handle)), "{bad}");
        }
    }
}
