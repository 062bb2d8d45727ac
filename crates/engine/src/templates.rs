//! The versions' templates, each made by the first who asks for it.

mod make;

use crate::cache::{Cache, Unpacked};
use crate::cells::Class;
use crate::nodejs::Nodejs;
use crate::package::{self, PackageError};
use crate::pool::Key;
use crate::python::Pythons;
use crate::template::{CODE, Template};
use crate::tiers::Tiers;
use crate::zygote::Zygote;
use crate::{Package, PrepareError, RuntimeReport, Version};
use base::{Arn, Scope};
use bytes::{Buf, Bytes};
use images::Images;
use parking_lot::Mutex;
use sandbox::Components;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use store::Blobs;
use tokio::sync::OnceCell;

/// Templates kept at most. Beyond, or when the cache is over its size, those without an instance are forgotten, so that
/// their code may leave the cache.
const TEMPLATES_MAX: usize = 4096;

pub(crate) struct Templates {
    blobs: Blobs,
    images: Arc<Images>,
    pub tiers: Tiers,
    /// Compiles components; without it a package needs a `bootstrap`.
    components: Option<Arc<dyn Components>>,
    cache: Cache,
    pythons: Pythons,
    nodejs: Nodejs,
    made: Mutex<HashMap<Key, Arc<OnceCell<Arc<Template>>>>>,
}

impl Templates {
    pub(crate) fn new(
        blobs: Blobs,
        images: Arc<Images>,
        tiers: Tiers,
        components: Option<Arc<dyn Components>>,
        cache: Cache,
        pythons: Pythons,
        nodejs: Nodejs,
    ) -> Self {
        Self { blobs, images, tiers, components, cache, pythons, nodejs, made: Mutex::default() }
    }

    /// The runtimes with an interpreter.
    pub(crate) fn interpreters(&self) -> Vec<RuntimeReport> {
        [self.pythons.reports(), self.nodejs.reports()].concat()
    }

    /// The version's template, made by the first who asks.
    pub(crate) async fn get(&self, version: &Version) -> Result<Arc<Template>, PrepareError> {
        let cell = {
            let mut made = self.made.lock();
            if made.len() >= TEMPLATES_MAX || self.cache.is_over() {
                made.retain(|_, cell| {
                    Arc::strong_count(cell) > 1 || cell.get().is_some_and(|t| Arc::strong_count(t) > 1)
                });
            }
            made.entry(Key::of(version)).or_default().clone()
        };
        cell.get_or_try_init(|| async { self.make(version).await.map(Arc::new) }).await.cloned()
    }

    /// The functions of this scope that have a zygote, or a cell as `has_cell` says, and why others of them cannot have one;
    /// once for each version. `plain` says why this machine makes nothing ahead.
    pub(crate) fn made_ahead(
        &self,
        scope: &Scope,
        has_cell: impl Fn(&Class, Option<bool>) -> bool,
        plain: impl Fn(Option<bool>) -> Option<String>,
    ) -> Vec<(String, Result<(), String>)> {
        let made = self.made.lock();
        let told = made.iter().filter_map(|(key, cell)| {
            let arn: Arn = key.arn.parse().ok()?;
            let ours = arn.account == scope.account.as_str() && arn.region == scope.region.as_str();
            let name = arn.resource.strip_prefix("function:").filter(|_| ours)?;
            let template = cell.get()?;
            // One that is being made is not there yet.
            let ahead = match (&*template.zygote.try_lock().ok()?, &template.class) {
                (Zygote::Living(_), _) => Ok(()),
                (Zygote::Refused(reason), _) | (_, Err(Some(reason))) => Err(reason.clone()),
                (_, Ok(class)) if has_cell(class, template.copies) => Ok(()),
                (Zygote::Absent, class) if template.base.is_some() || class.is_ok() => Err(plain(template.copies)?),
                (Zygote::Absent, _) => return None,
            };
            Some((name.to_owned(), ahead))
        });
        told.collect()
    }

    /// The version's template, if it is there.
    pub(crate) fn known(&self, version: &Version) -> Option<Arc<Template>> {
        self.made.lock().get(&Key::of(version))?.get().cloned()
    }

    /// Forgets the version's other revisions.
    pub(crate) fn retire(&self, arn: &str, version: &str, keep_revision: Option<&str>) {
        self.made
            .lock()
            .retain(|key, _| key.arn != arn || key.version != version || Some(key.revision.as_str()) == keep_revision);
    }

    /// Forgets them all, and so ends their zygotes once no instance is left.
    pub(crate) fn close(&self) {
        self.made.lock().clear();
    }

    /// Keeps compiled code that an instance of this version has made, beside the version's unpacked packages.
    pub(crate) async fn keep_compiled(&self, version: &Version, template: &Template, code: Bytes) {
        let Key { arn, version, revision } = Key::of(version);
        let interpreter = &template.runtime_version;
        let name = hex::encode(Sha256::digest(format!("compiled\n{arn}\n{version}\n{revision}\n{interpreter}")));
        match self.cache.get(&name, |into| fill_with_code(into, code.reader())).await {
            Ok(kept) => drop(template.compiled.set(kept)),
            Err(error) => tracing::warn!(%error, "compiled code could not be kept"),
        }
    }

    /// One directory with the packages laid over each other in order.
    async fn unpack(&self, packages: &[Package]) -> Result<Arc<Unpacked>, PrepareError> {
        let name = match packages {
            [one] => one.sha256.clone(),
            several => {
                let mut hash = Sha256::new();
                several.iter().for_each(|package| hash.update(format!("{}\n", package.sha256)));
                hex::encode(hash.finalize())
            }
        };
        if name.len() != 64 || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(PrepareError::internal("the package's record has no proper hash"));
        }
        let fill = |into: PathBuf| async move {
            let mut bytes = 0;
            for package in packages {
                let zip = self.blobs.get(&package.blob).await;
                let zip = zip.map_err(|e| PrepareError::internal(format!("the package cannot be read: {e}")))?;
                let into = into.clone();
                let found =
                    blocking(move || package::unpack(Cursor::new(zip), &package::Limits::default(), &into)).await?;
                bytes += found.map_err(refused)?.unpacked_bytes;
            }
            Ok(bytes)
        };
        self.cache.get(&name, fill).await
    }
}

/// Puts compiled code into a directory of the cache.
async fn fill_with_code(into: PathBuf, mut code: impl Read + Send + 'static) -> Result<u64, PrepareError> {
    let written = blocking(move || {
        let path = into.join(CODE);
        let bytes = std::io::copy(&mut code, &mut File::create(&path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644))?;
        Ok::<u64, std::io::Error>(bytes)
    });
    written.await?.map_err(|e| PrepareError::internal(e.to_string()))
}

fn refused(error: PackageError) -> PrepareError {
    match error {
        PackageError::Io(_) => PrepareError::internal(error.to_string()),
        refused => PrepareError { code: "InvalidZipFileException", message: refused.to_string() },
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| PrepareError::internal(e.to_string()))
}
