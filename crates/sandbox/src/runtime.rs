//! OCI runtimes: programs that make containers, and how each is asked.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An OCI runtime on this machine. All understand `--root DIR --log FILE run --bundle DIR ID`; the rest is what each needs
/// to leave control groups to us, and what it can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Absolute.
    pub program: PathBuf,
    /// Before the verb.
    pub options: Vec<String>,
    /// It goes once the container runs; the container's program is our init's child then.
    pub detaches: bool,
    /// It makes user namespaces, and hands descriptor 3 on. What does neither has a kernel of its own.
    pub shares_kernel: bool,
}

impl Runtime {
    /// The runtime at a path, known by its name: crun, runc and what is called like them, runsc; others are asked like
    /// runc and stay in the foreground.
    pub fn at(program: PathBuf) -> Self {
        let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is = |known: &str| name == known || name.starts_with(&format!("{known}-"));
        let options: &[&str] = match () {
            () if is("crun") => &["--cgroup-manager=disabled"],
            // Its control groups are read-only to it, which it takes from users only.
            () if is("runc") => &["--rootless", "true"],
            // The network is the one that it is started in, which is the sandbox's.
            () if is("runsc") => &["--ignore-cgroups", "--network=host"],
            () => &[],
        };
        let kernel = is("crun") || is("runc");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { program, options, detaches: kernel, shares_kernel: kernel }
    }
}
