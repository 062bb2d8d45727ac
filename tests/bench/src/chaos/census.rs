//! What a node has on the machine beside itself, before and after.

use crate::node::Node;
use crate::processes::Process;
use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Taken of a node that has run nothing yet.
pub struct Census {
    /// Below `sandboxes/`.
    files: BTreeSet<PathBuf>,
    /// Control groups of launchers that were there already: others' nodes.
    groups: BTreeSet<PathBuf>,
    ours: BTreeSet<Process>,
}

impl Census {
    pub fn take(node: &Node) -> Result<Self> {
        let pid = node.pid()?;
        let ours = crate::processes::descendants(pid).into_iter().chain(Process::of(pid)).collect::<BTreeSet<_>>();
        let of_ours = |group: &PathBuf| ours.iter().any(|p| names(group, p.pid));
        let groups = groups().into_iter().filter(|group| !of_ours(group)).collect();
        Ok(Self { files: files(node), groups, ours })
    }

    /// Fails if the node, stopped by now, left more behind than it began with. `seen`: every process that was its.
    pub fn compare(&self, node: &Node, seen: &BTreeSet<Process>) -> Result<()> {
        let alive: Vec<_> = self.ours.union(seen).filter(|process| process.lives()).collect();
        ensure!(alive.is_empty(), "processes outlive the node: {alive:?}");
        let launchers = self.ours.union(seen).map(|process| process.pid).collect::<BTreeSet<_>>();
        let groups: Vec<_> = groups()
            .into_iter()
            .filter(|g| !self.groups.contains(g) && launchers.iter().any(|pid| names(g, *pid)))
            .collect();
        ensure!(groups.is_empty(), "control groups outlive the node: {groups:?}");
        let data_dir = node.data_dir.display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mounts: Vec<_> = mounts.lines().filter(|line| line.contains(&data_dir)).collect();
        ensure!(mounts.is_empty(), "mounts outlive the node: {mounts:?}");
        let files = files(node);
        let more: Vec<_> = files.difference(&self.files).take(10).collect();
        ensure!(more.is_empty(), "files outlive the node: {more:?}");
        Ok(())
    }
}

/// The groups of launchers, named `wadi-<pid>-<start time>`, in every hierarchy.
fn groups() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    walk(Path::new("/sys/fs/cgroup"), &mut |path| {
        let launcher =
            path.is_dir() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wadi-"));
        if launcher {
            found.insert(path.to_owned());
        }
        !launcher
    });
    found
}

fn names(group: &Path, pid: u32) -> bool {
    group.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("wadi-{pid}-")))
}

fn files(node: &Node) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    walk(&node.data_dir.join("sandboxes"), &mut |path| found.insert(path.to_owned()));
    found
}

/// Visits all below a directory, and below those directories for which `visit` says so.
fn walk(dir: &Path, visit: &mut dyn FnMut(&Path) -> bool) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if visit(&path) && is_dir {
            walk(&path, visit);
        }
    }
}
