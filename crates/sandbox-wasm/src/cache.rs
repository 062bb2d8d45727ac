//! Compiled components on disk, so that a node that starts again does not have them compiled again.
//!
//! A file is named by the hash of the component and that of everything machine code depends on: the engine's version,
//! its settings, the processor's features. Beside it lies the hash of its contents. What does not agree with that, or
//! does not load, is compiled again and replaced.

use sandbox::{ComponentError, MachineCode};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Seek};
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

    /// What the compiled code of the component in this file is called here.
    pub fn name(&self, component: &mut File) -> io::Result<String> {
        Ok(format!("{}-{}", sha256(component)?, self.machine))
    }

    /// A place for code that is being made. What is not kept is removed with it.
    pub fn part(&self, name: &str) -> Part {
        Part(self.dir.join(format!("{name}.{}.part", self.counter.fetch_add(1, Ordering::Relaxed))))
    }

    fn paths(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.dir.join(format!("{name}.cwasm")), self.dir.join(format!("{name}.sha256")))
    }

    /// The code of this name, if it is here and what was kept.
    pub fn verified(&self, name: &str) -> Option<MachineCode> {
        let (code, sum) = self.paths(name);
        let sha256 = fs::read_to_string(&sum).ok()?;
        let mut file = File::open(&code).ok()?;
        if self::sha256(&mut file).ok()? != sha256 {
            tracing::warn!(file = %code.display(), "a compiled component is damaged; it is compiled again");
            return None;
        }
        // When it was used last, for `evict`.
        let _ = self.note(&sum, &sha256);
        Some(MachineCode { file, sha256 })
    }

    /// Loads the code of this name, which has just been verified.
    pub fn load(&self, engine: &Engine, name: &str) -> Result<Component, ComponentError> {
        let (code, sum) = self.paths(name);
        // The file is mapped, so that its pages are shared and need no memory of their own.
        // SAFETY: `deserialize_file` runs what is in the file as machine code, so the file must be the work of this
        // engine and stay as it is. Files in this directory are made by the compiler's process alone, with this engine's
        // settings, and kept whole under a name that holds the hash of the engine's version, settings and processor
        // features; their contents have just been found to be what was kept. The directory is the node's own (mode 0700, in
        // the data directory, which one node locks), no sandbox has it among its mounts, and a file is never written
        // again: it is replaced by rename or unlinked, which leaves what is mapped as it is. A compiler that its component
        // has taken over makes code as it likes: what cannot be borne in this process is for a worker's.
        #[allow(unsafe_code, reason = "compiled components cannot be loaded otherwise")]
        let loaded = unsafe { Component::deserialize_file(engine, &code) };
        loaded.map_err(|error| {
            tracing::warn!(file = %code.display(), "a compiled component does not load: {error:#}");
            let _ = fs::remove_file(sum);
            ComponentError::Internal("the compiled component cannot be loaded".into())
        })
    }

    /// Whole or not at all: code first, then the hash without which it counts for nothing.
    pub fn keep(&self, name: &str, part: &Part) -> io::Result<()> {
        let (code, sum) = self.paths(name);
        let sha256 = sha256(&mut File::open(&part.0)?)?;
        fs::rename(&part.0, &code)?;
        self.note(&sum, &sha256)?;
        self.evict(name);
        Ok(())
    }

    fn note(&self, sum: &Path, sha256: &str) -> io::Result<()> {
        let part = self.part(&sum.file_name().unwrap_or_default().to_string_lossy());
        fs::write(&part.0, sha256)?;
        fs::rename(&part.0, sum)
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
    // as it is. The compiler's process made it, with the same settings but for the pool's size, which code does not depend on (the
    // version, the settings and the processor's features are in the file and compared); the node checked its hash, and
    // it is mounted read-only. Whatever it does, this process is in a sandbox that is made for any code.
    #[allow(unsafe_code, reason = "compiled components cannot be loaded otherwise")]
    let loaded = unsafe { Component::deserialize_file(engine, code) };
    loaded.map_err(|error| ComponentError::Internal(format!("the compiled component does not load: {error:#}")))
}

/// A file that is being written.
pub struct Part(pub PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sha256(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(file, &mut hasher)?;
    file.rewind()?;
    Ok(hex::encode(hasher.finalize()))
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
