//! Unpacking, as the node sees it: an order to a process of its own, and its answer.

use crate::manifest::Image;
use crate::pull::{Images, blob_of};
use crate::unpacker::{Order, Packed, UNPACK_MAX, UNPACKER_ARG};
use crate::{Error, Result};
use sandbox::errands::{self, Answer, Unanswered};
use std::path::Path;

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
        match errands::send(&self.config.unpacker, UNPACKER_ARG, &order, UNPACK_MAX).await {
            Ok(Answer::Done(bytes)) => Ok(bytes),
            Ok(Answer::Refused(why)) => Err(Error::refused(format!("The image cannot be unpacked: {why}"))),
            Ok(Answer::Failed(why)) => Err(Error::unavailable(format!("The image could not be unpacked: {why}"))),
            Err(Unanswered::Unasked(why)) => Err(Error::unavailable(format!("The image was not unpacked: {why}"))),
            Err(other) => Err(Error::refused(format!("The image cannot be unpacked: {other}"))),
        }
    }
}
