//! Hashing beside receiving and writing: MD5 of a megabyte takes as long as syncing it, so they run at the same time.

use crate::digest::{Algorithm, Digest, Digester};
use crate::error::{Error, Result};
use bytes::Bytes;
use tokio::task::JoinHandle;

/// Bytes are hashed in batches of this many: enough that handing them over costs little. Two batches at most, one being
/// hashed and one being gathered, and they share their memory with what is being written.
const BATCH_BYTES: usize = 256 << 10;

/// A digester on threads of its own. Dropped, it ends with the batch it is at.
pub struct Hashing {
    state: State,
    batch: Vec<Bytes>,
    batch_bytes: usize,
}

enum State {
    Idle(Box<Digester>),
    Running(JoinHandle<Box<Digester>>),
}

impl Hashing {
    pub fn new(algorithms: &[Algorithm]) -> Self {
        Self { state: State::Idle(Box::new(Digester::new(algorithms))), batch: Vec::new(), batch_bytes: 0 }
    }

    /// Takes the next bytes; waits for the hashes when they are behind.
    pub async fn update(mut self, bytes: Bytes) -> Result<Self> {
        self.batch_bytes += bytes.len();
        self.batch.push(bytes);
        if self.batch_bytes < BATCH_BYTES { Ok(self) } else { self.hash().await }
    }

    pub async fn finish(self) -> Result<Digest> {
        let last = self.hash().await?;
        Ok(last.state.digester().await?.finish())
    }

    async fn hash(self) -> Result<Self> {
        let (mut digester, batch) = (self.state.digester().await?, self.batch);
        let running = tokio::task::spawn_blocking(move || {
            batch.iter().for_each(|bytes| digester.update(bytes));
            digester
        });
        Ok(Self { state: State::Running(running), batch: Vec::new(), batch_bytes: 0 })
    }
}

impl State {
    async fn digester(self) -> Result<Box<Digester>> {
        match self {
            State::Idle(digester) => Ok(digester),
            State::Running(task) => task.await.map_err(|e| Error::Internal(format!("hashing broke off: {e}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_comes_to_the_same() {
        let whole: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
        let mut plain = Digester::new(&Algorithm::ALL);
        plain.update(&whole);
        let mut beside = Hashing::new(&Algorithm::ALL);
        for piece in whole.chunks(70_001) {
            beside = beside.update(Bytes::copy_from_slice(piece)).await.expect("hashes");
        }
        let (plain, beside) = (plain.finish(), beside.finish().await.expect("hashes"));
        assert_eq!((plain.md5, plain.sums), (beside.md5, beside.sums));
    }
}
