//! Stem cells: interpreters that were started before it is known which function they run. A cell is specialised once, into
//! an instance of the version that needs one next; of each class in use one waits, and a new one is raised behind it.

use base::port::Entropy;
use parking_lot::Mutex;
use sandbox::{Driver, Mount, Raised, Spec};
use std::collections::HashMap;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Classes with a cell at once; those used last have one.
const CLASSES_MAX: usize = 4;
/// A class that nobody has used for so long has none.
const UNUSED_MAX: Duration = Duration::from_secs(300);
/// What a cell holds beside the pages of the program, which all of one Node.js share: 7 to 9 MB were seen, and our init.
pub(crate) const CELL_BYTES: u64 = 12 << 20;

/// What cannot be changed once an interpreter runs; the cells of a class are alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    /// The major version of Node.js that the function names, and the one that stands in for it.
    pub named: u8,
    pub interpreter: u8,
    /// V8's heap and the sandbox's limits follow from these.
    pub memory_mb: u32,
    pub ephemeral_mb: u32,
    /// As the function names it: a cell is in its network from the start.
    pub network: Option<String>,
}

/// An interpreter that waits to be told what it runs; dropping it ends it.
pub(crate) struct Cell {
    raised: Option<Raised>,
    /// The Runtime API's and the platform's, where they are not the sandbox's own.
    pub listeners: Option<[TcpListener; 2]>,
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Some(raised) = &self.raised {
            raised.handle.kill();
        }
    }
}

#[derive(Default)]
struct Waiting {
    cell: Option<Cell>,
    raising: bool,
    /// Somebody waits for the one that is being raised.
    promised: bool,
    raised: Arc<Notify>,
    used: Duration,
}

#[derive(Default)]
struct State {
    classes: HashMap<Class, Waiting>,
    /// This machine has no cells, or the engine stops.
    closed: bool,
}

pub(crate) struct Cells {
    driver: Arc<dyn Driver>,
    /// The engine's, so that no two engines of a driver have one name.
    tag: String,
    state: Mutex<State>,
}

/// The task of raising one cell: nobody else does meanwhile.
pub(crate) struct Turn<'a> {
    cells: &'a Cells,
    class: Class,
}

impl Cells {
    pub(crate) fn new(driver: Arc<dyn Driver>, entropy: &dyn Entropy) -> Self {
        Self { driver, tag: format!("{:016x}", entropy.u64()), state: Mutex::default() }
    }

    /// The cell of this class that waits, or that is being raised and nobody else is to have: it is ahead of whatever is
    /// started now.
    pub(crate) async fn take(&self, class: &Class, now: Duration) -> Option<Cell> {
        let raised = {
            let mut state = self.state.lock();
            let waiting = state.classes.get_mut(class)?;
            waiting.used = now;
            if let Some(cell) = waiting.cell.take().filter(Cell::is_alive) {
                return Some(cell);
            }
            if !waiting.raising || std::mem::replace(&mut waiting.promised, true) {
                return None;
            }
            waiting.raised.clone()
        };
        raised.notified().await;
        self.state.lock().classes.get_mut(class)?.cell.take().filter(Cell::is_alive)
    }

    /// Whether the class is one of those that have a cell: one waits, or will in a moment.
    pub(crate) fn has(&self, class: &Class) -> bool {
        self.state.lock().classes.contains_key(class)
    }

    /// The right to raise a cell of this class, if it has none. A class beyond the bound takes the place of the one used
    /// longest ago where it is `in_use`, and has none where it may only be used soon.
    pub(crate) fn turn(&self, class: Class, in_use: bool, now: Duration) -> Option<Turn<'_>> {
        let mut gone = None;
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        if !state.classes.contains_key(&class) && state.classes.len() >= CLASSES_MAX {
            let idle = state.classes.iter().filter(|(_, waiting)| !waiting.raising);
            let oldest =
                idle.min_by_key(|(_, waiting)| waiting.used).map(|(class, _)| class.clone()).filter(|_| in_use)?;
            gone = state.classes.remove(&oldest);
        }
        let waiting = state.classes.entry(class.clone()).or_default();
        waiting.used = now;
        let wanted = !waiting.raising && !waiting.cell.as_ref().is_some_and(Cell::is_alive);
        waiting.raising |= wanted;
        drop(state);
        drop(gone);
        wanted.then_some(Turn { cells: self, class })
    }

    /// Makes an instance's sandbox of a cell: what it wrote until now was nobody's. Its Runtime API is yet to be served.
    pub(crate) async fn specialise(&self, mut cell: Cell, mounts: Vec<Mount>) -> Result<Raised, sandbox::Error> {
        let raised = cell.raised.as_ref().ok_or_else(|| sandbox::Error::NoCell(String::new()))?;
        for pipe in [&raised.output, &raised.frames] {
            let written =
                empty(pipe).map_err(|e| sandbox::Error::Raise { step: "hear".into(), reason: e.to_string() })?;
            if !written.is_empty() {
                tracing::warn!(cell = %raised.id, "{}", String::from_utf8_lossy(&written).trim_end());
            }
        }
        self.driver.specialise(&raised.id, mounts).await?;
        cell.raised.take().ok_or_else(|| sandbox::Error::NoCell(String::new()))
    }

    /// Ends those of classes that nobody has used for long. Called every second or so.
    pub(crate) fn sweep(&self, now: Duration) {
        let unused = |waiting: &mut Waiting| !waiting.raising && now.saturating_sub(waiting.used) >= UNUSED_MAX;
        let gone: Vec<_> = self.state.lock().classes.extract_if(|_, waiting| unused(waiting)).collect();
        drop(gone);
    }

    /// Ends them all; no more are raised.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let gone = std::mem::take(&mut state.classes);
        drop(state);
        // Their turn finds nothing to tell them by any more.
        gone.values().filter(|waiting| waiting.promised).for_each(|waiting| waiting.raised.notify_one());
    }
}

impl Turn<'_> {
    /// The name of the sandbox to raise; `nonce` differs each time.
    pub(crate) fn id(&self, nonce: &str) -> String {
        format!("cell-{}-{nonce}-nodejs{}", self.cells.tag, self.class.interpreter)
    }

    /// Raises it; it takes a few hundredths of a second more to be ready, and is of use before.
    pub(crate) async fn raise(self, spec: Spec, listeners: Option<[TcpListener; 2]>) -> Result<(), sandbox::Error> {
        match self.cells.driver.raise(spec).await {
            Ok(raised) => {
                let cell = Cell { raised: Some(raised), listeners };
                let mut state = self.cells.state.lock();
                let place = state.classes.get_mut(&self.class).map(|waiting| &mut waiting.cell);
                let surplus = match place {
                    Some(place) => place.replace(cell),
                    None => Some(cell),
                };
                drop(state);
                drop(surplus);
                Ok(())
            }
            Err(error) => {
                if error == sandbox::Error::NoCopies {
                    self.cells.close();
                }
                Err(error)
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.cells.state.lock().classes.get_mut(&self.class) {
            waiting.raising = false;
            if std::mem::take(&mut waiting.promised) {
                waiting.raised.notify_one();
            }
        }
    }
}

impl Cell {
    fn is_alive(&self) -> bool {
        self.raised.as_ref().is_some_and(|raised| raised.exit.is_empty())
    }
}

/// Takes what is in a pipe now.
fn empty(pipe: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut written = Vec::new();
    rustix::io::ioctl_fionbio(pipe, true)?;
    let mut pipe = std::fs::File::from(pipe.try_clone()?).take(64 << 10);
    match pipe.read_to_end(&mut written) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(written),
    }
}
