//! Removing what functions left in /tmp, however large, deep or oddly permitted, beside the launcher's own work.

use super::sys;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::process::Signal;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The directories of one launcher under its `state_dir`.
#[derive(Debug)]
pub struct Places {
    /// An empty directory that each sandbox makes its root on, in its own mount namespace.
    pub root: PathBuf,
    /// The host's side of each living sandbox's /tmp.
    pub tmp: PathBuf,
    /// What is being removed.
    gone: PathBuf,
    /// The process that removes, while there is one.
    remover: Option<(i32, OwnedFd)>,
    moved: u64,
}

impl Places {
    /// Makes them, moves away what dead launchers left, and leaves it to be removed by [`Places::remove_behind`].
    pub fn prepare(state_dir: &Path) -> io::Result<Self> {
        let [root, tmp, gone] = ["root", "tmp", "gone"].map(|name| state_dir.join(name));
        for dir in [&root, &tmp, &gone] {
            fs::create_dir_all(dir)?;
        }
        let root = fs::canonicalize(root)?;
        // The host's other users have no business in what functions write, nor functions in each other's.
        fs::set_permissions(&tmp, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        fs::set_permissions(&gone, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        // Names that an earlier launcher's removal did not get to are still taken.
        let moved =
            fs::read_dir(&gone)?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).max().unwrap_or(0);
        let mut places = Self { root, tmp, gone, remover: None, moved };
        for entry in fs::read_dir(&places.tmp)?.flatten() {
            places.drop_tmp(&entry.path())?;
        }
        Ok(places)
    }

    /// Takes one sandbox's /tmp away at once; what was in it is removed behind.
    pub fn drop_tmp(&mut self, dir: &Path) -> io::Result<()> {
        match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => {}
        }
        self.moved += 1;
        fs::rename(dir, self.gone.join(self.moved.to_string()))
    }

    /// Forks the remover if there is something to remove and none at work; returns its pidfd to be watched.
    pub fn remove_behind(&mut self) -> io::Result<Option<&OwnedFd>> {
        if self.remover.is_some() || fs::read_dir(&self.gone)?.next().is_none() {
            return Ok(None);
        }
        match sys::fork(0)? {
            sys::Fork::Child => {
                sys::close_all_but(&[]);
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                let _ = rustix::process::nice(10);
                sys::end(i32::from(empty(&self.gone).is_err()))
            }
            sys::Fork::Parent { pid, pidfd } => Ok(Some(&self.remover.insert((pid, pidfd)).1)),
        }
    }

    /// The remover has ended: `false` if it could not do its work, which the next launcher tries again.
    pub fn removed(&mut self) -> bool {
        match self.remover.take() {
            Some((pid, _)) => sys::wait(pid).is_ok_and(|ended| ended.status == 0),
            None => true,
        }
    }

    pub fn is_removing(&self) -> bool {
        self.remover.is_some()
    }
}

/// Removes all that is in `top`. No recursion and never more than two levels deep: directories within directories are
/// moved up, so that a tree of any depth needs neither stack nor long paths nor many descriptors.
fn empty(top: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let top = rustix::fs::open(top, flags, Mode::empty())?;
    let mut raised = 0_u64;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            if !remove_file(&top, &name)? {
                continue;
            }
            // Without root, a directory whose owner took its own rights away has to be opened up first.
            let _ = rustix::fs::chmodat(&top, &name, Mode::RWXU, AtFlags::empty());
            let dir = rustix::fs::openat(&top, &name, flags, Mode::empty())?;
            for inner in self::names(&dir)? {
                if remove_file(&dir, &inner)? {
                    let _ = rustix::fs::chmodat(&dir, &inner, Mode::RWXU, AtFlags::empty());
                    raised = raise(&dir, &inner, &top, raised)?;
                }
            }
            match rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR) {
                // It held more than one round takes.
                Err(Errno::NOTEMPTY) => {}
                other => other?,
            }
        }
    }
}

/// Moves a directory up to `top` under the first free number after `last`, which an interrupted removal may have used.
fn raise(from: impl AsFd, name: &std::ffi::CStr, top: impl AsFd, mut last: u64) -> rustix::io::Result<u64> {
    loop {
        last += 1;
        match rustix::fs::renameat_with(&from, name, &top, format!("up-{last}"), RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other.map(|()| last),
        }
    }
}

/// Whether it is still there because it is a directory.
fn remove_file(dir: impl AsFd, name: &std::ffi::CStr) -> rustix::io::Result<bool> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(Errno::ISDIR | Errno::PERM) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The names in a directory; up to as many as fit in memory comfortably, the rest in the next round.
fn names(dir: impl AsFd) -> rustix::io::Result<Vec<std::ffi::CString>> {
    const ROUND: usize = 100_000;
    rustix::fs::Dir::read_from(dir)?
        .filter(|entry| !entry.as_ref().is_ok_and(|e| [c".", c".."].contains(&e.file_name())))
        .take(ROUND)
        .map(|entry| entry.map(|e| e.file_name().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_tree_of_any_depth_goes() {
        let top = tempfile::tempdir().unwrap();
        let mut at = rustix::fs::open(top.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        // Deeper than any path may be long.
        let name = "d".repeat(200);
        for depth in 0..300 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
            if depth % 100 == 0 {
                drop(rustix::fs::openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
            }
        }
        rustix::fs::symlinkat("/etc", &at, "link").unwrap();
        fs::create_dir_all(top.path().join("shut/in")).unwrap();
        fs::set_permissions(top.path().join("shut"), fs::Permissions::from_mode(0o0)).unwrap();
        for n in 0..500 {
            fs::write(top.path().join(format!("file-{n}")), "x").unwrap();
        }
        empty(top.path()).unwrap();
        assert_eq!(fs::read_dir(top.path()).unwrap().count(), 0);
        assert!(fs::metadata("/etc").is_ok());
    }
}
