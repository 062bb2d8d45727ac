//! Resolving and pulling: an image's layers become blobs named by their digests, whichever image they are of.

use crate::layout::Layout;
use crate::manifest::{Image, Layer};
use crate::reference::{Allowed, Place};
use crate::registry::Registry;
use crate::source::Source;
use crate::{Error, Result, credentials};
use futures::StreamExt;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::{BlobId, Blobs};
use tokio::sync::Mutex as Turn;

/// The blobs' space.
pub const SPACE: &str = "images";
/// A registry has so long to say what an image is.
const RESOLVE_MAX: Duration = Duration::from_secs(60);
/// And so long to deliver a layer.
const LAYER_MAX: Duration = Duration::from_secs(1800);

/// What a node says of images.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub allowed: Allowed,
    /// Files of logins for registries, in docker's form; the first that has one for a registry counts.
    pub credentials: Vec<PathBuf>,
    /// Authorities whose certificates of registries are good, beside the machine's own ([`crate::authorities`]).
    pub authorities: Vec<reqwest::Certificate>,
    /// Our own binary, which calls [`crate::unpacker_main`] when its first argument is [`crate::UNPACKER_ARG`].
    pub unpacker: PathBuf,
}

/// Container images on this node.
pub struct Images {
    pub(crate) config: Config,
    pub(crate) blobs: Blobs,
    /// Layers being pulled: who wants one that is waits for it.
    pulling: Mutex<HashMap<String, Arc<Turn<()>>>>,
}

impl Images {
    pub fn new(config: Config, blobs: Blobs) -> Self {
        Self { config, blobs, pulling: Mutex::default() }
    }

    /// What the reference means now. Reads the image's documents, and none of its layers.
    pub async fn resolve(&self, uri: &str) -> Result<Image> {
        let place = Place::parse(uri, &self.config.allowed)?;
        let found = async { self.source(&place).await?.image(uri, &place).await };
        match tokio::time::timeout(RESOLVE_MAX, found).await {
            Ok(found) => found,
            Err(_) => {
                Err(Error::unavailable(format!("Source image {uri} was not found in {} s", RESOLVE_MAX.as_secs())))
            }
        }
    }

    /// Has all layers here. Nothing is asked of the registry for those that are.
    pub async fn pull(&self, image: &Image) -> Result<()> {
        let mut source = None;
        for layer in &image.layers {
            let turn = self.pulling.lock().entry(layer.sha256.clone()).or_default().clone();
            let held = turn.lock().await;
            let pulled = self.layer(image, layer, &mut source).await;
            drop(held);
            drop(turn);
            // The last who wanted it.
            self.pulling.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
            pulled?;
        }
        Ok(())
    }

    async fn layer(&self, image: &Image, layer: &Layer, source: &mut Option<Source>) -> Result<()> {
        let id = blob_of(layer);
        if self.blobs.size(&id).await.map_err(Error::unavailable)? == Some(layer.bytes) {
            return Ok(());
        }
        if source.is_none() {
            *source = Some(self.source(&Place::parse(&image.uri, &self.config.allowed)?).await?);
        }
        let Some(source) = source else { return Ok(()) };
        let mut writer = self.blobs.writer(&id);
        let mut digest = Sha256::new();
        let copied = async {
            let mut stream = source.blob(&format!("sha256:{}", layer.sha256)).await?;
            let mut bytes = 0;
            while let Some(chunk) = stream.next().await {
                let chunk = chunk?;
                bytes += chunk.len() as u64;
                if bytes > layer.bytes {
                    break;
                }
                digest.update(&chunk);
                writer.write(chunk).await.map_err(Error::unavailable)?;
            }
            Ok(bytes)
        };
        let copied = match tokio::time::timeout(LAYER_MAX, copied).await {
            Ok(copied) => copied,
            Err(_) => Err(Error::unavailable(format!("A layer was not there after {} s", LAYER_MAX.as_secs()))),
        };
        let right = match copied {
            Ok(bytes) if bytes == layer.bytes && hex::encode(digest.finalize()) == layer.sha256 => Ok(()),
            Ok(_) => {
                Err(Error::refused(format!("The layer sha256:{} is not what its digest and size say", layer.sha256)))
            }
            Err(error) => Err(error),
        };
        match right {
            Ok(()) => writer.finish().await.map(drop).map_err(Error::unavailable),
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    async fn source(&self, place: &Place) -> Result<Source> {
        Ok(match place {
            Place::Registry(reference) => {
                let login =
                    credentials::of(&self.config.credentials, reference.resolve_registry(), reference.repository());
                let (login, authorities) = (login.await?, &self.config.authorities);
                Source::Registry(Box::new(Registry::new(reference.clone(), login, authorities)?))
            }
            Place::Layout { path, tag } => Source::Layout(Layout::directory(path, tag.as_deref())),
            Place::Archive { path, tag } => Source::Layout(Layout::archive(path, tag.as_deref()).await?),
        })
    }
}

impl Image {
    /// The blobs of its layers.
    pub fn blobs(&self) -> Vec<BlobId> {
        self.layers.iter().map(blob_of).collect()
    }
}

/// Blobs have UUIDs for names: the first half of the digest is one. What is unpacked is checked against the whole.
pub(crate) fn blob_of(layer: &Layer) -> BlobId {
    let hex = &layer.sha256;
    let at = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    BlobId::new(SPACE, &format!("{}-{}-{}-{}-{}", at(0, 8), at(8, 12), at(12, 16), at(16, 20), at(20, 32)))
}
