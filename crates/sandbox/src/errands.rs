//! Errands: what strangers made is taken apart by a process of our own binary that does this one thing, and can do nothing else.
//!
//! Such a process is told its order on standard input, opens what the order names, [`confine`]s itself, works, and tells its
//! answer on standard output. Whatever its input makes the libraries do that read it, they do it there: without
//! capabilities, network, other programs or processes, within bounds of memory and time, and with no file but those it was
//! given.

use crate::launcher::apply_to_errand;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope, path_beneath_rules,
};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// The machine's other work comes first.
const NICE: i32 = 10;
/// And where memory is short, an errand is what ends: the kernel's figure for that.
const ENDS_FIRST: &str = "1000";

/// What came of an errand.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer<T> {
    Done(T),
    /// Its input is not what it may be; the text says what is wrong.
    Refused(String),
    /// Ours: the disk is full, or the like.
    Failed(String),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("the process cannot be asked: {0}")]
    Unasked(#[from] io::Error),
    /// It was not done in its time, on the clock or of the processor.
    #[error("it takes more time than there is for it")]
    Late,
    /// It gave up over an allocation.
    #[error("it takes more memory than there is for it")]
    OutOfMemory,
    /// Somebody ended it: the kernel where the machine is out of memory, or an operator.
    #[error("its process was killed")]
    Killed,
    #[error("its process failed: {0}")]
    Broken(ExitStatus),
}

impl Unanswered {
    fn of(status: ExitStatus) -> Self {
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::XCPU) => Self::Late,
            Some(Signal::ABORT) => Self::OutOfMemory,
            Some(Signal::KILL) => Self::Killed,
            _ => Self::Broken(status),
        }
    }
}

/// Sends the process that `program` is with `verb` as its first argument, and waits for its answer. Whoever does not wait any
/// longer ends it.
///
/// # Errors
/// There is no answer, or none `within` that time.
pub async fn send<T: DeserializeOwned>(
    program: &Path,
    verb: &str,
    order: &impl Serialize,
    within: Duration,
) -> Result<Answer<T>, Unanswered> {
    let order = serde_json::to_vec(order).map_err(io::Error::from)?;
    let answered = tokio::time::timeout(within, ask(program, verb, &order)).await;
    let (answer, status) = answered.map_err(|_| Unanswered::Late)??;
    serde_json::from_slice(&answer).map_err(|_| Unanswered::of(status))
}

async fn ask(program: &Path, verb: &str, order: &[u8]) -> io::Result<(Vec<u8>, ExitStatus)> {
    let mut child = tokio::process::Command::new(program)
        .arg(verb)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("it has no input or output"));
    };
    // One that has ended reads nothing; how it ended says more.
    let _ = input.write_all(order).await;
    drop(input);
    let mut answer = Vec::new();
    output.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok((answer, child.wait().await?))
}

/// The process's side: takes the order, answers with what `work` makes of it, and exits. To be called before any thread exists.
/// An error of the kind [`io::ErrorKind::InvalidData`] refuses the input.
pub fn carry_out<O: DeserializeOwned, T: Serialize>(work: impl FnOnce(O) -> io::Result<T>) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let done = serde_json::from_reader(io::stdin()).map_err(io::Error::from).and_then(work);
    let answer = match done {
        Ok(done) => Answer::Done(done),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Answer::Refused(error.to_string()),
        Err(error) => Answer::Failed(error.to_string()),
    };
    let told = serde_json::to_writer(io::stdout(), &answer);
    std::process::exit(i32::from(told.is_err()))
}

/// What an errand may have.
pub struct Bounds<'a> {
    /// Of what it writes to in memory.
    pub memory_bytes: u64,
    /// Of addresses, which memory that is only reserved takes as well.
    pub address_bytes: u64,
    /// Of each file.
    pub file_bytes: u64,
    /// Of all its threads together.
    pub processor: Duration,
    /// Files that it may open yet.
    pub reads: &'a [&'a Path],
    /// Directories below which it may do anything with files but execute them.
    pub writes: &'a [PathBuf],
    /// The user that it becomes if it is root, where the machine has that one; without, it stays who it is.
    pub user: Option<u32>,
}

/// From here on this process, and all threads that it starts, has what the bounds say and nothing else: as much of that as the
/// kernel has.
///
/// # Errors
/// The kernel refuses what every kernel has that sandboxes can be made on.
pub fn confine(bounds: &Bounds<'_>) -> io::Result<()> {
    let _ = std::fs::write("/proc/self/oom_score_adj", ENDS_FIRST);
    let _ = rustix::process::nice(NICE);
    let seconds = bounds.processor.as_secs();
    for (resource, current, maximum) in [
        (Resource::Data, bounds.memory_bytes, bounds.memory_bytes),
        (Resource::As, bounds.address_bytes, bounds.address_bytes),
        (Resource::Fsize, bounds.file_bytes, bounds.file_bytes),
        // The first is a signal that says what it is about.
        (Resource::Cpu, seconds, seconds + 1),
        (Resource::Core, 0, 0),
    ] {
        rustix::process::setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?;
    }
    rustix::process::umask(rustix::fs::Mode::empty());
    if let Some(user) = bounds.user.filter(|_| rustix::process::geteuid().is_root()) {
        become_user(user)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    // What is written may be something that its owner is not to read, and has to be gone through all the same.
    let useful = if bounds.writes.is_empty() { CapabilitySet::empty() } else { CapabilitySet::DAC_OVERRIDE };
    let kept = rustix::thread::capabilities(None)?.permitted & useful;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    fence(bounds).map_err(io::Error::other)?;
    apply_to_errand().map_err(io::Error::other)
}

fn become_user(user: u32) -> io::Result<()> {
    let (user, group) = (rustix::process::Uid::from_raw(user), rustix::process::Gid::from_raw(user));
    let became = rustix::thread::set_thread_groups(&[])
        .and_then(|()| rustix::thread::set_thread_res_gid(group, group, group))
        .and_then(|()| rustix::thread::set_thread_res_uid(user, user, user));
    match became {
        // A user namespace may know fewer users, and root be without the right.
        Ok(()) | Err(Errno::INVAL | Errno::PERM) => {}
        Err(other) => return Err(other.into()),
    }
    // Who becomes another forgets it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn fence(bounds: &Bounds<'_>) -> Result<(), landlock::RulesetError> {
    let abi = ABI::V6;
    let writing: BitFlags<AccessFs> = AccessFs::from_all(abi) & !AccessFs::Execute;
    Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .add_rules(path_beneath_rules(bounds.reads, AccessFs::ReadFile))?
        .add_rules(path_beneath_rules(bounds.writes, writing))?
        .restrict_self()?;
    Ok(())
}
