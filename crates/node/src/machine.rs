//! How many instances this machine bears, by descriptors and processes, whichever is less; and how much memory it has
//! left while they run. Memory bounds no count beforehand: an instance copied from a template has 2 MB of its own, one
//! that starts by itself perhaps 60, so the engine goes by what is free and by what each function's were seen to hold.

use base::port::Headroom;
use rustix::process::{Resource, Rlimit};
use std::fs;
use std::path::Path;

/// Left for the node, its storage and the page cache.
const RESERVE_BYTES: u64 = 256 << 20;
/// In the node: pidfd, two pipes, the counts of its network, two listeners, a connection of the Runtime API, and four to the
/// platform with both their ends.
const INSTANCE_DESCRIPTORS: u64 = 15;
/// The node's own: storage, the gate's connections, clients of rooms.
const RESERVE_DESCRIPTORS: u64 = 1024;
/// The sandbox's init, the program, and a few threads or children of it.
const INSTANCE_PROCESSES: u64 = 8;
const RESERVE_PROCESSES: u64 = 256;
/// Instances being made at once for each core: while one waits for the disk or the launcher another gets on. More would
/// only make all of them later.
const RAISING_PER_CORE: usize = 2;
/// The launcher bears 4,096, ending ones included.
const INSTANCES_MAX: u64 = 4000;

/// Raises the limit on open descriptors to what this process may have; returns that. Before much runs: what is forked
/// later inherits it, and sandboxes have limits of their own.
pub fn raise_open_files() -> Option<u64> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    rustix::process::getrlimit(Resource::Nofile).current
}

/// What this machine has for instances. `None` is no bound that we can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Available at start, within the memory limit of the node's own group.
    pub memory_bytes: Option<u64>,
    pub descriptors: Option<u64>,
    pub processes: Option<u64>,
}

impl Machine {
    /// Looks at the machine as it is now.
    pub fn look() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        let rlimit = |resource| rustix::process::getrlimit(resource).current;
        // Root is not held to the limit on processes.
        let user = if rustix::process::geteuid().is_root() { None } else { rlimit(Resource::Nproc) };
        let kernel = [number("/proc/sys/kernel/threads-max"), number("/proc/sys/kernel/pid_max"), user];
        Self {
            memory_bytes: available(),
            descriptors: rlimit(Resource::Nofile),
            processes: least(&[least(&kernel), of_group("pids")]),
        }
    }

    fn bounds(&self) -> [(Option<u64>, &'static str); 2] {
        let fits = |have: Option<u64>, reserve: u64, each: u64| have.map(|have| have.saturating_sub(reserve) / each);
        [
            (fits(self.descriptors, RESERVE_DESCRIPTORS, INSTANCE_DESCRIPTORS), "open files"),
            (fits(self.processes, RESERVE_PROCESSES, INSTANCE_PROCESSES), "processes"),
        ]
    }

    /// Instances at once, idle ones included, and what bounds them.
    pub fn instances_max(&self) -> (usize, &'static str) {
        let bounds = self.bounds().into_iter().filter_map(|(bound, by)| Some((bound?, by)));
        let (most, by) = bounds.chain([(INSTANCES_MAX, "the sandbox launcher")]).min().unwrap_or((1, "nothing"));
        (usize::try_from(most).unwrap_or(usize::MAX).max(1), by)
    }

    /// Instances being made at once.
    pub fn raising_max(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from) * RAISING_PER_CORE
    }

    /// For people: each figure and what it suffices for.
    pub fn describe(&self) -> String {
        let (most, by) = self.instances_max();
        let gib = |bytes: u64| format!("{:.1} GiB of memory", bytes as f64 / (1u64 << 30) as f64);
        let had = [
            self.memory_bytes.map(gib),
            self.descriptors.map(|n| format!("{n} open files")),
            self.processes.map(|n| format!("{n} processes")),
        ];
        let had: Vec<String> = had.into_iter().flatten().collect();
        format!("{most} at once, bounded by {by} and by the memory that is free (at start: {})", had.join(", "))
    }
}

/// The memory that is left as it is now, beyond the reserve: that of the machine, or of the node's own group if that is
/// less.
pub struct Free;

impl Headroom for Free {
    fn bytes(&self) -> Option<u64> {
        available().map(|bytes| bytes.saturating_sub(RESERVE_BYTES))
    }
}

/// Memory available, within the limit of the node's own group.
fn available() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kb = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"));
    least(&[kb.and_then(|kb| kb.trim().parse::<u64>().ok()).map(|kb| kb << 10), of_group("memory")])
}

fn least(bounds: &[Option<u64>]) -> Option<u64> {
    bounds.iter().flatten().min().copied()
}

/// What the node's own control group still allows: memory in bytes, or processes. `None` without such a limit.
fn of_group(controller: &str) -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path_of = |wanted: &dyn Fn(&str) -> bool| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            wanted(names).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let v1 = path_of(&|names| names.split(',').any(|name| name == controller));
    let (root, path) = match v1 {
        Some(path) => (Path::new("/sys/fs/cgroup").join(controller), path),
        None => ("/sys/fs/cgroup".into(), path_of(&|names| names.is_empty())?),
    };
    let names: [(&str, &str); 2] = match controller {
        "memory" => [("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")],
        _ => [("pids.max", "pids.current"); 2],
    };
    let number = |dir: &Path, name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    // A group is held to its ancestors' limits too; a container sees its own group as the root.
    let own = root.join(path);
    let dirs = own.ancestors().take_while(|dir| dir.starts_with(&root));
    // Files that nobody has used for a while make room by themselves.
    let cached = |dir: &Path| {
        let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let line = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        line("total_inactive_file ").or_else(|| line("inactive_file ")).unwrap_or(0)
    };
    let free = |dir: &Path| {
        let left = |(most, used)| {
            let used = number(dir, used)?.saturating_sub(cached(dir));
            Some(number(dir, most)?.saturating_sub(used))
        };
        names.into_iter().find_map(left)
    };
    dirs.filter_map(free).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_bounds() {
        let check = |memory_mb: u64, descriptors, processes, expect| {
            let machine = Machine { memory_bytes: Some(memory_mb << 20), descriptors, processes };
            assert_eq!(machine.instances_max(), expect);
        };
        check(64, Some(2_524), None, (100, "open files"));
        check(64_000, None, Some(656), (50, "processes"));
        check(1_000_000, None, None, (4000, "the sandbox launcher"));
        check(16, Some(64), None, (1, "open files"));
        assert_eq!(Machine::default().instances_max().0, 4000);
    }

    #[test]
    fn this_machine_bears_some() {
        let most = raise_open_files().expect("a limit");
        let machine = Machine::look();
        assert_eq!(machine.descriptors, Some(most));
        assert!(machine.memory_bytes > Some(0) && machine.instances_max().0 > 0, "{machine:?}");
        assert!(machine.describe().contains("bounded by"), "{}", machine.describe());
    }
}
