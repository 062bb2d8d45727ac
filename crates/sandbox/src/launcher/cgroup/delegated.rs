//! Where this launcher's control groups may lie: what of the machine's hierarchies is delegated to us, and what dead
//! launchers left there.

use rustix::process::getpid;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Ancestors of ours that are looked at, in a container.
const ANCESTORS_MAX: usize = 16;
/// The node, the guard and this launcher.
const OURS: usize = 3;
/// Where the node's own processes are when they may not be beside its groups.
const LEAF: &str = "wadi-node";

/// What this process is told of its groups, and the name of its own.
pub struct Places {
    mounts: String,
    own: String,
    name: String,
}

impl Places {
    pub fn look() -> Option<Self> {
        let name = launcher_name(getpid().as_raw_pid())?;
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        Some(Self { mounts: read("/proc/self/mountinfo"), own: read("/proc/self/cgroup"), name })
    }

    /// Our group of v2, with memory and pids: below our own group, or where that holds others, below the next above it that
    /// may be ours to part. Above what is delegated to us nothing is.
    pub fn unified(&self) -> Option<PathBuf> {
        let own = own_directory(&self.mounts, &self.own, None)?;
        // Who is in a leaf that was made for a node's processes, as after a restart, belongs above: what a dead node left is there.
        let own = if own.ends_with(LEAF) { own.parent()? } else { own.as_path() };
        let is_group = |dir: &&Path| dir.join("cgroup.procs").exists();
        own.ancestors().take_while(is_group).find_map(|parent| {
            sweep(parent);
            let is_top = !parent.parent().is_some_and(|above| is_group(&above));
            let ours = if parent == own {
                ancestry(getpid().as_raw_pid(), if is_top { ANCESTORS_MAX } else { OURS })
            } else {
                Vec::new()
            };
            unified(parent, &self.name, &ours)
        })
    }

    /// Our group of a controller of v1.
    pub fn v1(&self, controller: &str) -> Option<PathBuf> {
        let parent = own_directory(&self.mounts, &self.own, Some(controller))?;
        sweep(&parent);
        let dir = parent.join(&self.name);
        make(&dir).ok().map(|()| dir)
    }
}

/// What a file of one line lists.
pub fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Our group under `parent` with the controllers that we need; `None` when they are not delegated to us. `ours` are the
/// processes that may be moved out of their way.
fn unified(parent: &Path, name: &str, ours: &[i32]) -> Option<PathBuf> {
    let controllers = words(&parent.join("cgroup.controllers"));
    let has = |controller: &str| controllers.iter().any(|word| word == controller);
    if !has("memory") || !has("pids") {
        return None;
    }
    let enable = |dir: &Path| {
        let enable = |word: &str| fs::write(dir.join("cgroup.subtree_control"), word);
        enable("+memory +pids")?;
        // What is delegated without it shares by nobody's weight; `wadi doctor` says so.
        if has("cpu") { enable("+cpu") } else { Ok(()) }
    };
    if let Err(error) = enable(parent) {
        // v2 wants no processes beside groups with controllers. Where only ours are here (a unit of the node's own, a
        // container), they move to a leaf.
        if error.kind() != io::ErrorKind::ResourceBusy || !make_room(parent, ours) {
            return None;
        }
        enable(parent).ok()?;
    }
    let dir = parent.join(name);
    make(&dir).and_then(|()| enable(&dir)).ok().map(|()| dir)
}

/// Moves what is in `parent` to a leaf below it, if all of it is ours.
fn make_room(parent: &Path, ours: &[i32]) -> bool {
    let leaf = parent.join(LEAF);
    let present = words(&parent.join("cgroup.procs"));
    let is_ours = |pid: &String| pid.parse().is_ok_and(|pid| ours.contains(&pid));
    !present.is_empty()
        && present.iter().all(is_ours)
        && make(&leaf).is_ok()
        && present.iter().all(|pid| fs::write(leaf.join("cgroup.procs"), pid).is_ok())
}

/// The process and those above it, `most` in all. In a container the first of all is the node's too: nobody else starts there.
fn ancestry(pid: i32, most: usize) -> Vec<i32> {
    let parent = |pid: &i32| stat_field(*pid, 1).filter(|parent: &i32| *parent > 0);
    std::iter::successors(Some(pid), parent).take(most).collect()
}

/// A number of a process's `stat`, by its place after the command's name.
fn stat_field<T: std::str::FromStr>(pid: i32, nth: usize) -> Option<T> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(nth)?.parse().ok()
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The directory of the group this process is in: of a v1 controller, or of v2.
fn own_directory(mountinfo: &str, own: &str, controller: Option<&str>) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let ours = controller.map_or(names.is_empty(), |wanted| names.split(',').any(|name| name == wanted));
        ours.then_some(path)
    })?;
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        let ours = match controller {
            Some(wanted) => kind == "cgroup" && options.split(',').any(|option| option == wanted),
            None => kind == "cgroup2",
        };
        let mut before = before.split(' ').skip(3);
        let (root, at) = (before.next()?, before.next()?);
        // A container sees its own group as the root of the mount.
        let below = Path::new(path).strip_prefix(root).ok()?;
        (ours && !path.contains("..")).then(|| Path::new(at).join(below))
    })
}

/// `wadi-<pid>-<start time>` of a living process: unlike the pid alone, never another's later.
fn launcher_name(pid: i32) -> Option<String> {
    // The start time is the 22nd field of all.
    let start: u64 = stat_field(pid, 19)?;
    Some(format!("wadi-{pid}-{start}"))
}

/// Ends and removes what dead launchers left under `parent`.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("wadi-").and_then(|rest| rest.split_once('-')?.0.parse().ok()) else {
            continue;
        };
        if launcher_name(pid).as_deref() == Some(&name) {
            continue;
        }
        for group in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            if group.path().is_dir() {
                kill_all(&group.path());
            }
        }
        remove_all(&entry.path());
    }
}

/// Removes a launcher's group and the sandboxes' groups in it. Each is busy for a moment after its last process has ended:
/// waits for that, two seconds at most in all.
pub fn remove_all(dir: &Path) {
    for _ in 0..200 {
        let below = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for group in below.filter(|path| path.is_dir()) {
            let _ = fs::remove_dir(group);
        }
        match fs::remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            _ => return,
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The dead launcher's processes got a signal from the kernel already; this is for one that was frozen or is slow.
fn kill_all(group: &Path) {
    // v2's own way, which no process that forks can run away from.
    let kill = group.join("cgroup.kill");
    if kill.exists() {
        let _ = fs::write(kill, "1");
    }
    for _ in 0..50 {
        let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let mut pids =
            pids.lines().filter_map(|line| rustix::process::Pid::from_raw(line.trim().parse().ok()?)).peekable();
        if pids.peek().is_none() {
            return;
        }
        for pid in pids {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        31 20 0:27 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
        32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        33 20 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct";
    const OWN: &str = "5:memory:/user/x\n4:pids:/docker/abc\n3:cpu,cpuacct:/\n2:name=systemd:/\n0::/unit";

    #[test]
    fn finds_the_own_group_in_each_hierarchy() {
        let check = |controller, expect: Option<&str>| {
            assert_eq!(own_directory(MOUNTS, OWN, controller).as_deref(), expect.map(Path::new), "{controller:?}");
        };
        check(Some("memory"), Some("/sys/fs/cgroup/memory/user/x"));
        check(Some("pids"), Some("/sys/fs/cgroup/pids"));
        check(Some("cpuacct"), Some("/sys/fs/cgroup/cpu,cpuacct"));
        check(Some("freezer"), None);
        check(None, Some("/sys/fs/cgroup/unified/unit"));
    }

    #[test]
    fn a_living_process_has_a_name_of_its_own() {
        let own = launcher_name(std::process::id() as i32).expect("we live");
        assert!(own.starts_with(&format!("wadi-{}-", std::process::id())));
        assert_eq!(launcher_name(-1), None);
    }

    #[test]
    fn our_ancestors_are_ours() {
        let own = std::process::id() as i32;
        let parent = rustix::process::getppid().expect("has one").as_raw_nonzero().get();
        assert_eq!(ancestry(own, 2), [own, parent]);
        assert_eq!(ancestry(own, 1), [own]);
        assert!(ancestry(own, ANCESTORS_MAX).len() <= ANCESTORS_MAX && ancestry(-1, 3) == [-1]);
    }

    #[test]
    fn v2_is_ours_with_what_is_delegated() {
        let dir = tempfile::tempdir().expect("a directory");
        let parent = dir.path();
        let play = |controllers: &str| fs::write(parent.join("cgroup.controllers"), controllers).expect("a file");
        let enabled = |dir: &Path| fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        assert_eq!(unified(parent, "wadi-1-1", &[]), None, "no such group");
        play("cpu io pids");
        assert_eq!(unified(parent, "wadi-1-1", &[]), None, "memory is not delegated");
        play("memory pids\n");
        let own = unified(parent, "wadi-1-1", &[]).expect("ours");
        assert_eq!(own, parent.join("wadi-1-1"));
        assert_eq!((enabled(parent).as_str(), enabled(&own).as_str()), ("+memory +pids", "+memory +pids"));
        play("cpuset cpu io memory pids\n");
        let own = unified(parent, "wadi-1-2", &[]).expect("ours");
        // A plain file keeps the last word only.
        assert_eq!((enabled(parent).as_str(), enabled(&own).as_str()), ("+cpu", "+cpu"));
    }

    #[test]
    fn a_leaf_is_not_parted_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let unit = dir.path().join("unit");
        for group in [dir.path().to_owned(), unit.clone(), unit.join(LEAF)] {
            fs::create_dir_all(&group).expect("a directory");
            fs::write(group.join("cgroup.procs"), "").expect("a file");
            fs::write(group.join("cgroup.controllers"), "memory pids").expect("a file");
        }
        let mounts = format!("32 20 0:28 / {} rw - cgroup2 cgroup2 rw", dir.path().display());
        for own in ["0::/unit", "0::/unit/wadi-node"] {
            let places = Places { mounts: mounts.clone(), own: own.into(), name: "wadi-1-1".into() };
            assert_eq!(places.unified(), Some(unit.join("wadi-1-1")), "{own}");
        }
    }

    #[test]
    fn only_ours_make_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let parent = dir.path();
        let moved = || fs::read_to_string(parent.join("wadi-node/cgroup.procs")).ok();
        for present in ["", "12\n13\n99\n", "nonsense\n"] {
            fs::write(parent.join("cgroup.procs"), present).expect("a file");
            assert!(!make_room(parent, &[12, 13, 14]) && moved().is_none(), "{present:?}");
        }
        fs::write(parent.join("cgroup.procs"), "12\n14\n").expect("a file");
        assert!(make_room(parent, &[12, 13, 14]));
        assert_eq!(moved().as_deref(), Some("14"), "one by one, and this is the last");
    }
}
