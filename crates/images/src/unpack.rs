//! Unpacking, as the node sees it: an order to a process of its own, and its answer.

use crate::manifest::Image;
use crate::pull::{Images, blob_of};
use crate::unpacker::{Answer, Order, Packed, UNPACKER_ARG};
use crate::{Error, Result};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Ten gigabytes on a slow disk.
const UNPACK_MAX: Duration = Duration::from_secs(900);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

impl Images {
    /// Unpacks a pulled image into an empty directory, absolute. Gives the bytes that it takes there.
    pub async fn unpack(&self, image: &Image, into: &Path) -> Result<u64> {
        let layers = image.layers.iter().map(|layer| {
            let path = self.blobs.local_path(&blob_of(layer));
            let path =
                path.ok_or_else(|| Error::unavailable("Images are unpacked where blobs are files of this machine"))?;
            Ok(Packed { path, packing: layer.packing, diff_sha256: layer.diff_sha256.clone() })
        });
        let order = Order { layers: layers.collect::<Result<_>>()?, into: into.to_owned() };
        let order = serde_json::to_vec(&order).map_err(Error::unavailable)?;
        match tokio::time::timeout(UNPACK_MAX, self.ask(&order)).await {
            Ok(answer) => answer?.into_result(),
            Err(_) => Err(Error::unavailable(format!("The image was not unpacked after {} s", UNPACK_MAX.as_secs()))),
        }
    }

    async fn ask(&self, order: &[u8]) -> Result<Answer> {
        let mut child = tokio::process::Command::new(&self.config.unpacker)
            .arg(UNPACKER_ARG)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Error::unavailable(format!("The unpacker cannot be started: {error}")))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::unavailable("The unpacker has no input or output"));
        };
        input.write_all(order).await.map_err(Error::unavailable)?;
        drop(input);
        let mut answer = Vec::new();
        output.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(Error::unavailable)?;
        let status = child.wait().await.map_err(Error::unavailable)?;
        // One that was killed for its memory says nothing.
        serde_json::from_slice(&answer).map_err(|_| {
            Error::refused(format!("The image cannot be unpacked: it takes more than is given to that ({status})"))
        })
    }
}
