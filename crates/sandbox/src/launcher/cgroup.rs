//! Limits and accounts of a whole sandbox: cgroup v2 where memory and pids are delegated to us, else v1, else neither.
//!
//! Groups are nested under the node's own: `<own>/wadi-<launcher pid>-<its start time>/<sandbox id>`, so that whatever
//! limits the node limits its functions with it, and a later launcher can tell which groups nobody owns any more.

use crate::Limits;
use crate::protocol::Meter;
use rustix::event::EventfdFlags;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

const V1_CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

/// Where this launcher's groups lie; an absent path is a controller that is not ours to use.
#[derive(Debug, Default)]
pub struct Hierarchy {
    /// v2, with memory and pids.
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
}

impl Hierarchy {
    /// Makes this launcher's group in each hierarchy it may use, and sweeps those of dead launchers.
    pub fn find() -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = launcher_name(rustix::process::getpid().as_raw_pid()).unwrap_or_default();
        if name.is_empty() {
            return Self::default();
        }
        let mut found = Self::default();
        if let Some(parent) = own_directory(&mounts, &own, None) {
            sweep(&parent);
            found.unified = unified(&parent, &name);
        }
        if found.unified.is_some() {
            return found;
        }
        let [memory, pids, cpu, cpuacct] = V1_CONTROLLERS.map(|controller| {
            let parent = own_directory(&mounts, &own, Some(controller))?;
            sweep(&parent);
            let dir = parent.join(&name);
            make(&dir).ok().map(|()| dir)
        });
        Self { unified: None, memory, pids, cpu, cpuacct }
    }

    pub fn limits_memory(&self) -> bool {
        self.unified.is_some() || self.memory.is_some()
    }

    pub fn limits_pids(&self) -> bool {
        self.unified.is_some() || self.pids.is_some()
    }

    pub fn shares_cpu(&self) -> bool {
        self.unified.is_some() || self.cpu.is_some()
    }

    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.unified, &self.memory, &self.pids, &self.cpu, &self.cpuacct].into_iter().flatten()
    }

    /// Makes the group of one sandbox with its limits. What was made of it is removed when a step fails.
    pub fn group(&self, id: &str, limits: &Limits) -> io::Result<Group> {
        let of = |parent: &Option<PathBuf>| parent.as_ref().map(|parent| parent.join(id));
        let group = Group {
            unified: of(&self.unified),
            memory: of(&self.memory),
            pids: of(&self.pids),
            cpu: of(&self.cpu),
            cpuacct: of(&self.cpuacct),
        };
        match group.make(limits) {
            Ok(()) => Ok(group),
            Err(error) => {
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// Removes this launcher's own groups with what is left in them.
    pub fn remove(&self) {
        self.directories().for_each(|dir| remove_all(dir));
    }
}

/// What the kernel holds for a copy that is charged to its template: 0.7 MB were seen.
const COPY_BYTES: u64 = 1 << 20;

/// The group of one sandbox.
#[derive(Debug)]
pub struct Group {
    unified: Option<PathBuf>,
    memory: Option<PathBuf>,
    pids: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
}

impl Group {
    fn directories(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.unified, &self.memory, &self.pids, &self.cpu, &self.cpuacct].into_iter().flatten()
    }

    fn make(&self, limits: &Limits) -> io::Result<()> {
        for dir in self.directories() {
            fs::create_dir(dir)?;
        }
        let memory = limits.memory_bytes.to_string();
        // Our init counts as one, which the spec does not know of.
        let pids = limits.pids.saturating_add(1).to_string();
        if let Some(dir) = &self.unified {
            fs::write(dir.join("memory.max"), &memory)?;
            fs::write(dir.join("memory.oom.group"), "1")?;
            fs::write(dir.join("pids.max"), &pids)?;
            // Absent where the machine has no swap or cpu is not delegated.
            let _ = fs::write(dir.join("memory.swap.max"), "0");
            let _ = fs::write(dir.join("cpu.weight"), weight(limits.cpu_weight).to_string());
            let period = cpu_period_us(limits);
            let _ = fs::write(dir.join("cpu.max"), format!("{} {period}", cpu_us_max(limits.cpu_weight, period)));
        }
        if let Some(dir) = &self.memory {
            fs::write(dir.join("memory.limit_in_bytes"), &memory)?;
            // No swapping; where swap is not even accounted, the first alone keeps the promise.
            let _ = fs::write(dir.join("memory.swappiness"), "0");
            let _ = fs::write(dir.join("memory.memsw.limit_in_bytes"), &memory);
        }
        if let Some(dir) = &self.pids {
            fs::write(dir.join("pids.max"), &pids)?;
        }
        if let Some(dir) = &self.cpu {
            fs::write(dir.join("cpu.shares"), limits.cpu_weight.clamp(2, 262_144).to_string())?;
            // Absent where the kernel has no bandwidth control.
            let period = cpu_period_us(limits);
            let _ = fs::write(dir.join("cpu.cfs_period_us"), period.to_string());
            let _ = fs::write(dir.join("cpu.cfs_quota_us"), cpu_us_max(limits.cpu_weight, period).to_string());
        }
        Ok(())
    }

    pub fn limits_memory(&self) -> bool {
        self.unified.is_some() || self.memory.is_some()
    }

    pub fn limits_pids(&self) -> bool {
        self.unified.is_some() || self.pids.is_some()
    }

    /// Gives a template room for so many copies: their processes begin in it, and what the kernel holds for them (page
    /// tables, namespaces) stays charged to it. No more than that: the function's own code may still run in a template.
    pub fn bear(&self, limits: &Limits, copies: u64) -> io::Result<()> {
        let memory = limits.memory_bytes.saturating_add(copies.saturating_mul(COPY_BYTES)).to_string();
        let pids = limits.pids.saturating_add(1 + 2 * copies).to_string();
        if let Some(dir) = &self.unified {
            fs::write(dir.join("memory.max"), &memory)?;
            fs::write(dir.join("pids.max"), &pids)?;
        }
        if let Some(dir) = &self.memory {
            // Never below the other; absent where swap is not accounted.
            let _ = fs::write(dir.join("memory.memsw.limit_in_bytes"), &memory);
            fs::write(dir.join("memory.limit_in_bytes"), &memory)?;
        }
        self.pids.iter().try_for_each(|dir| fs::write(dir.join("pids.max"), &pids))
    }

    /// Its processes now, as far as a group tells.
    pub fn pids(&self) -> Vec<i32> {
        let Some(dir) = self.directories().next() else { return Vec::new() };
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Moves the calling process, which has one thread, in.
    pub fn join(&self) -> io::Result<()> {
        self.entrances().try_for_each(|entrance| fs::write(entrance, "0"))
    }

    /// Files by which a process of one thread that has none of our rights moves itself in: it writes `0`.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |entrance| File::options().write(true).open(entrance).map(OwnedFd::from);
        self.entrances().map(open).collect()
    }

    /// In v1 by the thread: moving whole processes takes a lock over all of the machine's processes, for which the kernel
    /// waits until every processor has passed a quiescent state, some 10 ms.
    fn entrances(&self) -> impl Iterator<Item = PathBuf> {
        let v1 =
            [&self.memory, &self.pids, &self.cpu, &self.cpuacct].into_iter().flatten().map(|dir| dir.join("tasks"));
        self.unified.iter().map(|dir| dir.join("cgroup.procs")).chain(v1)
    }

    /// Becomes readable when the group passes its memory limit. v1 only, where the kernel would kill one process and
    /// leave the others; in v2 it kills all of them itself.
    pub fn watch_memory(&self) -> io::Result<Option<OwnedFd>> {
        let Some(dir) = &self.memory else { return Ok(None) };
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = File::open(dir.join("memory.oom_control"))?;
        let watch = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        fs::write(dir.join("cgroup.event_control"), watch)?;
        Ok(Some(event))
    }

    /// Whether the kernel killed a process of the group for its memory.
    pub fn was_killed_for_memory(&self) -> bool {
        let file = match (&self.unified, &self.memory) {
            (Some(dir), _) => dir.join("memory.events"),
            (None, Some(dir)) => dir.join("memory.oom_control"),
            (None, None) => return false,
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }

    pub fn meter(&self, limits: &Limits) -> Meter {
        let file = |dir: &Option<PathBuf>, name: &str| dir.as_ref().map(|dir| dir.join(name));
        Meter {
            memory_peak: file(&self.unified, "memory.peak").or(file(&self.memory, "memory.max_usage_in_bytes")),
            cpu: file(&self.unified, "cpu.stat").or(file(&self.cpuacct, "cpuacct.usage")),
            hold: self.hold(limits),
        }
    }

    fn hold(&self, limits: &Limits) -> Option<(PathBuf, String)> {
        let share = cpu_us_held(limits.cpu_weight);
        let unified = self.unified.iter().map(|dir| (dir.join("cpu.max"), format!("{share} {HELD_PERIOD_US}")));
        let v1 = self.cpu.iter().map(|dir| (dir.join("cpu.cfs_quota_us"), share.to_string()));
        unified.chain(v1).next().filter(|_| limits.cpu_quota)
    }

    /// Removes the group; fails with `ResourceBusy` for a moment after its last process ended.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for dir in self.directories() {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
                _ => {}
            }
        }
        result
    }
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// What the kernel has where nobody says otherwise.
const CPU_PERIOD_US: u64 = 100_000;

/// Of those that are held to less than a core: short, so that they stand still for short. AWS's is said to be as long.
const HELD_PERIOD_US: u64 = 20_000;
/// The kernel takes no less.
const QUOTA_US_MIN: u64 = 1_000;

fn cpu_period_us(limits: &Limits) -> u64 {
    if limits.cpu_quota { HELD_PERIOD_US } else { CPU_PERIOD_US }
}

/// Processor time in a period, at most: whole cores, and as many as the share begins. Who initialises has that, and who is
/// not held: less than one would stall what runs alone for most of each period, and among those that want it too, the share decides.
fn cpu_us_max(shares: u64, period_us: u64) -> u64 {
    shares.div_ceil(1024).saturating_mul(period_us)
}

/// The same of who is held: the share.
fn cpu_us_held(shares: u64) -> u64 {
    (shares.saturating_mul(HELD_PERIOD_US) / 1024).max(QUOTA_US_MIN)
}

/// v1's shares (1,024 is usual) in v2's weight (100 is usual).
fn weight(shares: u64) -> u64 {
    (shares.saturating_mul(100) / 1024).clamp(1, 10_000)
}

/// Our group under `parent` with the controllers that we need; `None` when they are not delegated to us.
fn unified(parent: &Path, name: &str) -> Option<PathBuf> {
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).ok()?;
    let has = |controller: &str| controllers.split_whitespace().any(|word| word == controller);
    if !has("memory") || !has("pids") {
        return None;
    }
    let enable = |dir: &Path| {
        let enable = |word: &str| fs::write(dir.join("cgroup.subtree_control"), word);
        enable("+memory +pids")?;
        if has("cpu") { enable("+cpu") } else { Ok(()) }
    };
    if let Err(error) = enable(parent) {
        // v2 wants no processes beside groups with controllers. Where the node and we are the only ones here (a unit
        // of its own, a container), we move to a leaf.
        if error.kind() != io::ErrorKind::ResourceBusy || !make_room(parent) {
            return None;
        }
        enable(parent).ok()?;
    }
    let dir = parent.join(name);
    make(&dir).and_then(|()| enable(&dir)).ok().map(|()| dir)
}

fn make_room(parent: &Path) -> bool {
    let ours = [Some(rustix::process::getpid()), rustix::process::getppid()].map(|pid| pid.map(|p| p.as_raw_pid()));
    let leaf = parent.join("wadi-node");
    let Ok(present) = fs::read_to_string(parent.join("cgroup.procs")) else { return false };
    let mut pids = present.lines().map(|line| line.trim().parse::<i32>().ok());
    pids.all(|pid| pid.is_some() && ours.contains(&pid))
        && make(&leaf).is_ok()
        && present.lines().all(|pid| fs::write(leaf.join("cgroup.procs"), pid).is_ok())
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
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Fields are counted after the command's closing bracket; the start time is the 22nd of all.
    let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
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
fn remove_all(dir: &Path) {
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
        assert_eq!((weight(1024), weight(1), weight(u64::MAX)), (100, 1, 10_000));
        let of = |shares| (cpu_us_max(shares, CPU_PERIOD_US), cpu_us_held(shares));
        assert_eq!((of(1), of(1024), of(1025)), ((100_000, 1_000), (100_000, 20_000), (200_000, 20_019)));
        assert_eq!(of(74), (100_000, 1_445), "128 MB: 7 % of a core");
    }
}
