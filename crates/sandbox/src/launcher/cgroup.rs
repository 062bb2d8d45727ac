//! Limits and accounts of a whole sandbox: cgroup v2 where memory and pids are delegated to us, else v1, else neither.
//!
//! Groups are nested under the node's own: `<own>/wadi-<launcher pid>-<its start time>/<sandbox id>`, so that whatever
//! limits the node limits its functions with it, and a later launcher can tell which groups nobody owns any more.

mod delegated;

use crate::Limits;
use crate::protocol::Meter;
use rustix::event::EventfdFlags;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

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
        let Some(places) = delegated::Places::look() else { return Self::default() };
        if let Some(unified) = places.unified() {
            return Self { unified: Some(unified), ..Self::default() };
        }
        let [memory, pids, cpu, cpuacct] = V1_CONTROLLERS.map(|controller| places.v1(controller));
        Self { unified: None, memory, pids, cpu, cpuacct }
    }

    pub fn limits_memory(&self) -> bool {
        self.unified.is_some() || self.memory.is_some()
    }

    pub fn limits_pids(&self) -> bool {
        self.unified.is_some() || self.pids.is_some()
    }

    pub fn shares_cpu(&self) -> bool {
        // In v2 it is delegated apart from the others.
        let controls = self.unified.as_ref().map(|dir| delegated::words(&dir.join("cgroup.subtree_control")));
        controls.map_or(self.cpu.is_some(), |words| words.iter().any(|word| word == "cpu"))
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
        self.directories().for_each(|dir| delegated::remove_all(dir));
    }
}

/// What is charged to a template of each of its copies, which begin in its group: 1.3 MB were seen, 0.9 of them pages that the copy
/// wrote before it had a group of its own.
const COPY_BYTES: u64 = 2 << 20;

/// Whether a file that a limit is written to has to be there and take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

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
        for (file, text, need) in self.orders(limits) {
            match need {
                Need::Must => fs::write(file, text)?,
                // Refused as well where v1's own group has less of the processor than what is asked for here.
                Need::May if file.exists() => drop(fs::write(file, text)),
                Need::May => {}
            }
        }
        Ok(())
    }

    /// What is written to which of its files, in this order.
    fn orders(&self, limits: &Limits) -> Vec<(PathBuf, String, Need)> {
        use Need::{May, Must};
        let memory = limits.memory_bytes.to_string();
        // Our init counts as one, which the spec does not know of.
        let pids = limits.pids.saturating_add(1).to_string();
        let period = cpu_period_us(limits);
        let quota = cpu_us_max(limits.cpu_weight, period);
        let shares = limits.cpu_weight.clamp(2, 262_144).to_string();
        let unified = [
            ("memory.max", memory.clone(), Must),
            ("memory.oom.group", "1".into(), Must),
            ("pids.max", pids.clone(), Must),
            // Where swap is not even accounted, the first alone keeps the promise.
            ("memory.swap.max", "0".into(), May),
            // Where cpu is delegated.
            ("cpu.weight", weight(limits.cpu_weight).to_string(), May),
            // Where the kernel has bandwidth control as well.
            ("cpu.max", format!("{quota} {period}"), May),
        ];
        let v1_memory = [
            ("memory.limit_in_bytes", memory.clone(), Must),
            ("memory.swappiness", "0".into(), May),
            ("memory.memsw.limit_in_bytes", memory, May),
        ];
        let v1_cpu = [
            ("cpu.shares", shares, Must),
            ("cpu.cfs_period_us", period.to_string(), May),
            ("cpu.cfs_quota_us", quota.to_string(), May),
        ];
        let of = |dir: &Option<PathBuf>, files: Vec<(&str, String, Need)>| {
            let there = dir
                .iter()
                .flat_map(|dir| files.iter().map(move |(name, text, need)| (dir.join(name), text.clone(), *need)));
            there.collect::<Vec<_>>()
        };
        [
            of(&self.unified, unified.into()),
            of(&self.memory, v1_memory.into()),
            of(&self.pids, vec![("pids.max", pids, Must)]),
            of(&self.cpu, v1_cpu.into()),
        ]
        .concat()
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

    /// Its processes now, where there is a group that tells.
    pub fn pids(&self) -> Option<Vec<i32>> {
        let text = fs::read_to_string(self.directories().next()?.join("cgroup.procs")).unwrap_or_default();
        Some(text.lines().filter_map(|line| line.parse().ok()).collect())
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
        // An older kernel tells no peak in v2.
        let file =
            |dir: &Option<PathBuf>, name: &str| dir.as_ref().map(|dir| dir.join(name)).filter(|file| file.exists());
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
        unified.chain(v1).next().filter(|(file, _)| limits.cpu_quota && file.exists())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(cpu_quota: bool) -> Limits {
        Limits { memory_bytes: 128 << 20, pids: 1024, open_files: 1, cpu_weight: 74, cpu_quota, file_bytes: 1 }
    }

    fn group(dir: &std::path::Path, unified: bool) -> Group {
        let own = |is: bool, name: &str| is.then(|| dir.join(name));
        let [memory, pids, cpu, cpuacct] = V1_CONTROLLERS.map(|controller| own(!unified, controller));
        Group { unified: own(unified, "unified"), memory, pids, cpu, cpuacct }
    }

    /// A directory that plays a control group: what is there, and what it says.
    fn play(dir: &std::path::Path, files: &[&str]) {
        fs::create_dir_all(dir).expect("a directory");
        files.iter().for_each(|name| fs::write(dir.join(name), "").expect("a file"));
    }

    #[test]
    fn limits_are_written_to_the_files_of_each_version() {
        let say = |group: &Group, limits: &Limits| {
            let orders = group.orders(limits).into_iter();
            let orders = orders.map(|(file, text, need)| format!("{} {text} {need:?}", file.display()));
            orders.collect::<Vec<_>>().join("\n")
        };
        let top = std::path::Path::new("/g");
        assert_eq!(
            say(&group(top, true), &limits(true)),
            "/g/unified/memory.max 134217728 Must\n/g/unified/memory.oom.group 1 Must\n/g/unified/pids.max 1025 Must\n\
             /g/unified/memory.swap.max 0 May\n/g/unified/cpu.weight 7 May\n/g/unified/cpu.max 20000 20000 May"
        );
        assert_eq!(
            say(&group(top, false), &limits(false)),
            "/g/memory/memory.limit_in_bytes 134217728 Must\n/g/memory/memory.swappiness 0 May\n\
             /g/memory/memory.memsw.limit_in_bytes 134217728 May\n/g/pids/pids.max 1025 Must\n/g/cpu/cpu.shares 74 Must\n\
             /g/cpu/cpu.cfs_period_us 100000 May\n/g/cpu/cpu.cfs_quota_us 100000 May"
        );
    }

    #[test]
    fn what_a_v2_group_lacks_is_neither_written_nor_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let (group, own) = (group(dir.path(), true), dir.path().join("unified"));
        let read = |name: &str| fs::read_to_string(own.join(name)).ok();
        // As of Linux 5.10, without cpu delegated and without swap: everything but what must be there is missing.
        group.make(&limits(true)).expect("made");
        assert_eq!(fs::read_dir(&own).expect("there").count(), 3, "what may be absent was not written");
        assert_eq!(read("memory.max").as_deref(), Some("134217728"));
        let meter = group.meter(&limits(true));
        assert_eq!((meter.memory_peak, meter.cpu, meter.hold), (None, None, None));

        play(&own, &["memory.swap.max", "cpu.weight", "cpu.max", "memory.peak", "cgroup.procs"]);
        fs::write(own.join("cpu.stat"), "usage_usec 1234\nuser_usec 1000\n").expect("a file");
        fs::remove_file(own.join("memory.max")).expect("gone");
        let orders = group.orders(&limits(true));
        orders
            .into_iter()
            .filter(|(file, ..)| file.exists())
            .for_each(|(file, text, _)| fs::write(file, text).expect("written"));
        assert_eq!((read("memory.swap.max").as_deref(), read("cpu.weight").as_deref()), (Some("0"), Some("7")));
        assert_eq!(read("cpu.max").as_deref(), Some("20000 20000"), "while it initialises");
        let meter = group.meter(&limits(true));
        meter.hold_cpu();
        assert_eq!(read("cpu.max").as_deref(), Some("1445 20000"));
        assert_eq!((meter.cpu_us(), meter.memory_peak), (Some(1234), Some(own.join("memory.peak"))));
        assert_eq!(group.meter(&limits(false)).hold, None);

        group.bear(&limits(true), 16).expect("written");
        assert_eq!((read("memory.max").as_deref(), read("pids.max").as_deref()), (Some("167772160"), Some("1057")));
        group.join().expect("written");
        assert_eq!(read("cgroup.procs").as_deref(), Some("0"), "v2 moves the whole process");
        fs::write(own.join("cgroup.procs"), "12\n34\n").expect("a file");
        assert_eq!(group.pids(), Some(vec![12, 34]));
    }

    #[test]
    fn a_kill_for_memory_is_told_by_each_version() {
        let dir = tempfile::tempdir().expect("a directory");
        for (unified, file, none, some) in [
            (
                true,
                "unified/memory.events",
                "low 0\nhigh 0\nmax 9\noom 0\noom_kill 0\noom_group_kill 0\n",
                "max 9\noom 1\noom_kill 4\n",
            ),
            (
                false,
                "memory/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
                "under_oom 1\noom_kill 1\n",
            ),
        ] {
            let group = group(dir.path(), unified);
            play(dir.path().join(file).parent().expect("a directory"), &[]);
            let killed = |text: &str| {
                fs::write(dir.path().join(file), text).expect("a file");
                group.was_killed_for_memory()
            };
            assert!(!killed(none) && killed(some) && !killed(""), "{file}");
            // v2 ends the whole group by itself.
            assert_eq!(unified, group.watch_memory().is_ok_and(|watched| watched.is_none()));
        }
    }

    #[test]
    fn shares_of_the_processor() {
        assert_eq!((weight(1024), weight(1), weight(u64::MAX)), (100, 1, 10_000));
        let of = |shares| (cpu_us_max(shares, CPU_PERIOD_US), cpu_us_held(shares));
        assert_eq!((of(1), of(1024), of(1025)), ((100_000, 1_000), (100_000, 20_000), (200_000, 20_019)));
        assert_eq!(of(74), (100_000, 1_445), "128 MB: 7 % of a core");
        let dir = tempfile::tempdir().expect("a directory");
        let shares = |words: &str| {
            fs::write(dir.path().join("cgroup.subtree_control"), words).expect("a file");
            Hierarchy { unified: Some(dir.path().into()), ..Hierarchy::default() }.shares_cpu()
        };
        assert!(shares("cpu memory pids\n") && !shares("cpuset memory pids\n"));
    }
}
