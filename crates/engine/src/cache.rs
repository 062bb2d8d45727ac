//! Unpacked packages on disk: made once, shared by all that use them, the least used removed when there are too many.

use crate::PrepareError;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OnceCell;

/// Directories under one root, each whole or not there.
///
/// Nothing here is synced to disk, so what a machine's restart left behind is not trusted: it is made again.
pub(crate) struct Cache {
    root: PathBuf,
    bytes_max: u64,
    entries: Mutex<HashMap<String, Entry>>,
    counter: AtomicU64,
}

#[derive(Default)]
struct Entry {
    cell: Arc<OnceCell<Arc<Unpacked>>>,
    /// The counter when it was last asked for.
    used: u64,
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.cell.get().map_or(0, |unpacked| unpacked.bytes)
    }
}

/// A directory that stays as long as this is held.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub path: PathBuf,
    pub bytes: u64,
}

impl Cache {
    /// Opens or makes the cache at `root`.
    pub(crate) fn open(root: &Path, bytes_max: u64) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mark = root.join("boot");
        if fs::read_to_string(&mark).ok().as_deref() != Some(&boot) && root.exists() {
            fs::remove_dir_all(root)?;
        }
        fs::create_dir_all(root)?;
        fs::write(mark, boot)?;
        let mut entries = HashMap::new();
        for item in fs::read_dir(root)? {
            let item = item?;
            let name = item.file_name().to_string_lossy().into_owned();
            if !item.file_type()?.is_dir() {
                continue;
            }
            match fs::read_to_string(size_file(root, &name)).ok().and_then(|text| text.parse().ok()) {
                Some(bytes) => {
                    let unpacked = Arc::new(Unpacked { path: item.path(), bytes });
                    entries.insert(name, Entry { cell: Arc::new(OnceCell::new_with(Some(unpacked))), used: 0 });
                }
                None => fs::remove_dir_all(item.path())?,
            }
        }
        Ok(Self { root: root.to_owned(), bytes_max, entries: Mutex::new(entries), counter: AtomicU64::new(1) })
    }

    /// The directory of this name. `fill` puts its contents into the empty directory it is given and says how many
    /// bytes they are; of several callers one fills and the others wait.
    pub(crate) async fn get<F, Filled>(&self, name: &str, fill: F) -> Result<Arc<Unpacked>, PrepareError>
    where
        F: FnOnce(PathBuf) -> Filled,
        Filled: Future<Output = Result<u64, PrepareError>>,
    {
        let tick = self.counter.fetch_add(1, Ordering::Relaxed);
        let cell = {
            let mut entries = self.entries.lock();
            let entry = entries.entry(name.to_owned()).or_default();
            entry.used = tick;
            entry.cell.clone()
        };
        let make = || async {
            let work = Work::new(self.root.join(format!(".making-{tick}")))?;
            let bytes = fill(work.0.clone()).await?;
            self.settle(name, &work, bytes).map_err(|e| PrepareError::internal(format!("cannot keep the package: {e}")))
        };
        let unpacked = cell.get_or_try_init(make).await?.clone();
        self.evict();
        Ok(unpacked)
    }

    fn settle(&self, name: &str, work: &Work, bytes: u64) -> io::Result<Arc<Unpacked>> {
        let path = self.root.join(name);
        fs::write(size_file(&self.root, name), bytes.to_string())?;
        fs::rename(&work.0, &path)?;
        Ok(Arc::new(Unpacked { path, bytes }))
    }

    /// Whether what is held keeps the cache over its size.
    pub(crate) fn is_over(&self) -> bool {
        self.total(&self.entries.lock()) > self.bytes_max
    }

    fn total(&self, entries: &HashMap<String, Entry>) -> u64 {
        entries.values().map(Entry::bytes).sum()
    }

    /// Removes least used directories that nobody holds until the rest is within bounds.
    fn evict(&self) {
        let mut entries = self.entries.lock();
        let mut total = self.total(&entries);
        while total > self.bytes_max {
            let free = entries.iter().filter(|(_, entry)| {
                Arc::strong_count(&entry.cell) == 1 && entry.cell.get().is_some_and(|u| Arc::strong_count(u) == 1)
            });
            let Some(name) = free.min_by_key(|(_, entry)| entry.used).map(|(name, _)| name.clone()) else { return };
            let Some(entry) = entries.remove(&name) else { return };
            total -= entry.bytes();
            let gone = self.root.join(format!(".gone-{}", self.counter.fetch_add(1, Ordering::Relaxed)));
            let _ = fs::remove_file(size_file(&self.root, &name));
            if fs::rename(self.root.join(&name), &gone).is_ok() {
                // Large trees take long to remove; nothing waits for it, and what is left goes at the next start.
                let _ = std::thread::Builder::new().name("cache-sweep".into()).spawn(|| fs::remove_dir_all(gone));
            }
        }
    }
}

fn size_file(root: &Path, name: &str) -> PathBuf {
    root.join(format!("{name}.bytes"))
}

/// A directory to work in that goes away unless it is renamed.
struct Work(PathBuf);

impl Work {
    fn new(path: PathBuf) -> Result<Self, PrepareError> {
        let made = fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)));
        made.map_err(|e| PrepareError::internal(format!("cannot unpack: {e}")))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(cache: &Cache, name: &str, bytes: u64) -> Arc<Unpacked> {
        let fill = |dir: PathBuf| async move {
            fs::write(dir.join("file"), "x").expect("writes");
            Ok(bytes)
        };
        cache.get(name, fill).await.expect("fills")
    }

    #[tokio::test]
    async fn filled_once_kept_over_restarts_and_evicted_when_unused() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("cache");
        let cache = Cache::open(&root, 100).expect("opens");
        drop(put(&cache, "a", 60).await);
        let held = put(&cache, "b", 30).await;
        drop(cache);

        let cache = Cache::open(&root, 100).expect("opens again");
        let refuse = |_| async { Err(PrepareError::internal("must not be filled again")) };
        drop(cache.get("a", refuse).await.expect("still there"));
        let b = cache.get("b", refuse).await.expect("still there");
        assert_eq!(b.path, held.path);
        let c = put(&cache, "c", 50).await;
        assert!(!root.join("a").exists(), "nobody holds it");
        assert!(b.path.join("file").exists() && c.path.join("file").exists());
    }

    #[tokio::test]
    async fn a_failed_fill_leaves_nothing_and_is_tried_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let cache = Cache::open(dir.path(), 100).expect("opens");
        let fail = |_| async { Err(PrepareError::internal("no")) };
        assert!(cache.get("a", fail).await.is_err());
        let names = || fs::read_dir(dir.path()).expect("reads").count();
        assert_eq!(names(), 1, "only the boot mark");
        assert!(put(&cache, "a", 1).await.path.exists());
    }
}
