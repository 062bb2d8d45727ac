//! A template: everything about a version that can be done before a call comes: code and layers unpacked, the interpreter
//! known, the mounts and the command line ready, and where it may be a zygote, an initialised process to copy.

use crate::bases::Kind;
use crate::cache::Unpacked;
use crate::cells::Class;
use crate::interpreters::Interpreter;
use crate::share::Hosts;
use crate::zygote::Zygote;
use sandbox::Mount;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Mutex as Turn, OnceCell};

/// The file in the cache's directories of compiled code.
pub(crate) const CODE: &str = "code";

/// A version made ready.
pub(crate) struct Template {
    pub argv: Vec<String>,
    /// Beyond the interpreter's own: the SDK, the code, the layers.
    pub mounts: Vec<Mount>,
    /// The root, where it is an image's.
    pub image: Option<ImageRoot>,
    /// What runs it, where that is not our own init.
    pub runtime: Option<sandbox::Runtime>,
    pub interpreter: Option<Arc<Interpreter>>,
    /// What AWS's INIT_START line calls the runtime's version.
    pub runtime_version: String,
    /// What the function's log should say at every start: another interpreter stands in.
    pub note: Option<String>,
    /// What it is where it is a component.
    pub component: Option<Component>,
    /// There is nothing to execute: every run fails with this.
    pub broken: Option<String>,
    /// The base that its processes are copied from; `None` where each must be started.
    pub base: Option<Kind>,
    /// The version's initialised process. Held while one is made: others wait for it.
    pub zygote: Turn<Zygote>,
    /// Calls at once in one instance: a component's workers have one, whatever its version says.
    pub calls: usize,
    /// Its sandboxes that take several calls at once.
    pub hosts: Turn<Hosts>,
    /// Whether instances may be copied or made of cells, as the version says.
    pub copies: Option<bool>,
    /// What an instance holds when it is initialised, as last seen; 0 before.
    initialised_bytes: AtomicU64,
    /// The compiled code of its modules, made by one of its instances.
    pub compiled: OnceCell<Arc<Unpacked>>,
    /// An instance makes it, or has tried.
    compiling: AtomicBool,
    /// The cells that its instances can be made of; else why they cannot, where there are cells of its runtime.
    pub class: Result<Class, Option<String>>,
    /// Keeps the unpacked code in the cache.
    pub code: Vec<Arc<Unpacked>>,
}

/// Where a component runs.
#[derive(Clone)]
pub(crate) enum Component {
    /// In this process. The package lies there.
    Here(PathBuf),
    /// Its instances are workers.
    InWorkers {
        /// Whether there is more in the package than the component.
        has_more: bool,
    },
}

/// An unpacked image, and what its own configuration says.
pub(crate) struct ImageRoot {
    pub path: PathBuf,
    /// `NAME=value`
    pub env: Vec<String>,
    pub directory: String,
}

impl Template {
    /// What starts a program so; all else is as where there is nothing special about it.
    pub(crate) fn new(argv: Vec<String>, runtime_version: String) -> Self {
        Self {
            argv,
            mounts: Vec::new(),
            image: None,
            runtime: None,
            interpreter: None,
            runtime_version,
            note: None,
            component: None,
            broken: None,
            base: None,
            zygote: Turn::default(),
            calls: 1,
            hosts: Turn::default(),
            copies: None,
            initialised_bytes: AtomicU64::new(0),
            compiled: OnceCell::new(),
            compiling: AtomicBool::new(false),
            class: Err(None),
            code: Vec::new(),
        }
    }

    /// An instance has been initialised and holds so much.
    pub(crate) fn initialised(&self, bytes: u64) {
        self.initialised_bytes.store(bytes.max(1), Ordering::Relaxed);
    }

    /// What an instance holds that has been initialised and has not run; `None` while none has been seen.
    pub(crate) fn initialised_bytes(&self) -> Option<u64> {
        Some(self.initialised_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// What an instance made of a cell is to do about compiled code, and what it needs for that. The one that makes it is not
    /// the first: it is known by then that the version initialises well, and most often nobody waits for the second.
    pub(crate) fn compile(&self) -> (Option<&'static str>, Option<Mount>) {
        match self.compiled.get() {
            Some(code) => (Some("use"), Some(Mount::new(&code.path, "/var/runtime/compiled"))),
            None if self.initialised_bytes().is_some() && !self.compiling.swap(true, Ordering::Relaxed) => {
                (Some("make"), None)
            }
            None => (None, None),
        }
    }

    /// All that a sandbox shows of it.
    pub(crate) fn all_mounts(&self) -> Vec<Mount> {
        let own = self.interpreter.as_ref().map(|interpreter| interpreter.mounts()).unwrap_or_default();
        own.into_iter().chain(self.mounts.iter().cloned()).collect()
    }
}
