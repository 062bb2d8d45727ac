//! Compiled components on disk, so that a node that starts again does not compile again.
//!
//! A file is named by the hash of the component and that of everything machine code depends on: the engine's version,
//! its settings, the processor's features. Beside it lies the hash of its contents. What does not agree with that, or
//! does not load, is compiled again and replaced.

use crate::verdict;
use sandbox::ComponentError;
use sha2::{Digest, Sha256};
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use wasmtime::Engine;
use wasmtime::component::Component;

pub struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    /// The part of names that stands for the engine on this machine.
    machine: String,
    counter: AtomicU64,
}

impl Cache {
    /// Opens or makes the cache. What another engine left is removed, for it is of no use any more.
    pub fn open(dir: &Path, bytes_max: u64, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut hasher = Stable(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let machine = hex::encode(&hasher.0.finalize()[..16]);
        for item in fs::read_dir(dir)?.flatten() {
            let name = item.file_name().to_string_lossy().into_owned();
            if !name.contains(&machine) || name.ends_with(".part") {
                let _ = fs::remove_file(item.path());
            }
        }
        Ok(Self { dir: dir.to_owned(), bytes_max, machine, counter: AtomicU64::new(0) })
    }

    /// The component, from here or compiled.
    pub fn component(&self, engine: &Engine, bytes: &[u8]) -> Result<Component, ComponentError> {
        let name = self.name(bytes);
        if let Some(component) = self.load(engine, &name) {
            return Ok(component);
        }
        let compiled = engine.precompile_component(bytes).map_err(|e| verdict::uncompilable(&e))?;
        if let Err(error) = self.keep(&name, &compiled) {
            return Err(ComponentError::Internal(format!("the compiled component cannot be kept: {error}")));
        }
        self.evict(&name);
        let lost = || ComponentError::Internal("the compiled component cannot be loaded".into());
        self.load(engine, &name).ok_or_else(lost)
    }

    /// The machine code of a component that is here.
    pub fn compiled(&self, bytes: &[u8]) -> Result<Vec<u8>, ComponentError> {
        let gone = || ComponentError::Internal("the compiled component is not there any more".into());
        self.verified(&self.name(bytes)).map(|(code, _)| code).ok_or_else(gone)
    }

    fn name(&self, bytes: &[u8]) -> String {
        format!("{}-{}", hex::encode(Sha256::digest(bytes)), self.machine)
    }

    fn paths(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("{name}.cwasm")), self.dir.join(format!("{name}.sha256")))
    }

    /// What is in the file of this name and its hash, if it is what was written.
    fn verified(&self, name: &str) -> Option<(Vec<u8>, String)> {
        let (code, sum) = self.paths(name);
        let expected = fs::read_to_string(&sum).ok()?;
        let bytes = fs::read(&code).ok()?;
        let found = hex::encode(Sha256::digest(&bytes));
        if found != expected {
            tracing::warn!(file = %code.display(), "a compiled component is damaged; it is compiled again");
            return None;
        }
        Some((bytes, found))
    }

    fn load(&self, engine: &Engine, name: &str) -> Option<Component> {
        let (code, sum) = self.paths(name);
        let (_, found) = self.verified(name)?;
        // When it was used last, for `evict`.
        let _ = self.put(&sum, found.as_bytes());
        // The file is mapped, so that its pages are shared and need no memory of their own.
        // SAFETY: `deserialize_file` runs what is in the file as machine code, so the file must be the work of this
        // engine and stay as it is. Files in this directory are written by `keep` alone, whole, under a name that holds
        // the hash of the engine's version, settings and processor features; their contents have just been found to be
        // what `keep` wrote. The directory is the node's own (mode 0700, in the data directory, which one node locks),
        // no sandbox has it among its mounts, and a file is never written again: it is replaced by rename or unlinked,
        // which leaves what is mapped as it is.
        #[allow(unsafe_code, reason = "compiled components cannot be loaded otherwise")]
        let loaded = unsafe { Component::deserialize_file(engine, &code) };
        loaded
            .inspect_err(
                |error| tracing::warn!(file = %code.display(), "a compiled component does not load: {error:#}"),
            )
            .ok()
    }

    /// Whole or not at all: code first, then the hash without which it counts for nothing.
    fn keep(&self, name: &str, compiled: &[u8]) -> io::Result<()> {
        let (code, sum) = self.paths(name);
        self.put(&code, compiled)?;
        self.put(&sum, hex::encode(Sha256::digest(compiled)).as_bytes())
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let part = path.with_extension(format!("{}.part", self.counter.fetch_add(1, Ordering::Relaxed)));
        fs::write(&part, bytes).and_then(|()| fs::rename(&part, path)).inspect_err(|_| drop(fs::remove_file(&part)))
    }

    /// Removes what was used longest ago, but not `newest`, until the rest is within bounds.
    fn evict(&self, newest: &str) {
        let Ok(items) = fs::read_dir(&self.dir) else { return };
        let mut kept: Vec<(SystemTime, u64, PathBuf, PathBuf)> = Vec::new();
        for name in items.flatten().filter_map(|item| item.file_name().into_string().ok()) {
            let Some(name) = name.strip_suffix(".sha256") else { continue };
            let (code, sum) = self.paths(name);
            let used = fs::metadata(&sum).and_then(|meta| meta.modified());
            let bytes = fs::metadata(&code).map_or(0, |meta| meta.len());
            kept.push((used.unwrap_or(SystemTime::UNIX_EPOCH), bytes, code, sum));
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, bytes, ..)| bytes).sum();
        let newest = self.paths(newest).0;
        for (_, bytes, code, sum) in kept.iter().filter(|(_, _, code, _)| *code != newest) {
            if total <= self.bytes_max {
                return;
            }
            let _ = fs::remove_file(sum);
            let _ = fs::remove_file(code);
            total -= bytes;
        }
    }
}

/// Loads machine code that the node has handed to this worker.
pub fn of_worker(engine: &Engine, code: &Path) -> Result<Component, ComponentError> {
    // SAFETY: `deserialize_file` runs what is in the file as machine code, so the file must be the work of this engine and stay
    // as it is. The node's engine made it, with the same settings but for the pool's size, which code does not depend on (the
    // version, the settings and the processor's features are in the file and compared); the node checked its hash, and
    // it is mounted read-only. Whatever it does, this process is in a sandbox that is made for any code.
    #[allow(unsafe_code, reason = "compiled components cannot be loaded otherwise")]
    let loaded = unsafe { Component::deserialize_file(engine, code) };
    loaded.map_err(|error| ComponentError::Internal(format!("the compiled component does not load: {error:#}")))
}

/// A hasher whose result is the same in every process.
struct Stable(Sha256);

impl Hasher for Stable {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        u64::from_le_bytes(*digest.first_chunk().expect("a digest has 32 bytes"))
    }
}
