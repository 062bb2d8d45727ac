//! What runs inside: the launcher's forked child makes its own sandbox, step by step, and becomes its init.
//!
//! The order matters. While it still has root's rights it joins its cgroups, makes the network and the mounts; then it
//! enters a user namespace in which only uid 993 exists, and gives up every right it has there; then the filters; then
//! the program. Without root the user namespace comes first and its rights serve for the mounts. A cell's init gives its
//! rights up later ([`cell`]).

use super::enter::{self, Copied, Namespaces};
use super::filter::Filters;
use super::root::Resolver;
use super::{bundle, cell, cgroup::Group, clock, landlock, limits, nest, network, root, sys};
use crate::protocol;
use crate::{Network, Role, Spec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The user and group inside, as on AWS.
pub const USER: u32 = 993;
pub const HOSTNAME: &str = "wadi";
/// The descriptor of a program that can be copied on which it is asked to.
const SEED: i32 = 4;
/// What a base may still do, of root's rights: enter namespaces, and become the users there.
const BASE_KEEPS: [CapabilitySet; 5] = [
    CapabilitySet::SYS_ADMIN,
    CapabilitySet::SYS_CHROOT,
    CapabilitySet::SETUID,
    CapabilitySet::SETGID,
    CapabilitySet::SETPCAP,
];

/// What the inside tells the launcher, as JSON packets.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// It is in its user namespace: write its maps and answer with any packet.
    MapMe,
    /// A template's init has forked this one, whose pidfd comes with this.
    Here,
    /// Its network, which comes with this, is to be led out: answer with any packet.
    LeadMeOut,
    /// The program runs; the listeners come with this.
    Started,
    /// The cell is an instance now.
    Specialised,
    /// A step failed; it ends.
    Failed { step: String, reason: String },
    /// The program ended with this raw wait status; the sandbox ends.
    Ended(i32),
}

/// What the child needs of what the launcher prepared.
pub struct Plan<'a> {
    pub spec: &'a Spec,
    pub filters: &'a Filters,
    /// `None` where its doors were given instead.
    pub group: Option<&'a Group>,
    /// An empty directory of the host to make the root on.
    pub root_at: &'a Path,
    /// The host's side of /tmp.
    pub tmp: &'a Path,
    /// Whether the launcher is root, and then the user of the host that the sandbox has.
    pub root: bool,
    pub user: u32,
    /// The socket to the launcher, and the write ends of the pipes.
    pub launcher: BorrowedFd<'a>,
    pub output: BorrowedFd<'a>,
    pub frames: BorrowedFd<'a>,
    /// The socket to the program that is copied, where one is.
    pub origin: Option<BorrowedFd<'a>>,
    /// This program's own such socket, if it is to be copied.
    pub seed: Option<BorrowedFd<'a>>,
    /// The network that was made for it, if it is not in it already.
    pub network: Option<BorrowedFd<'a>>,
    /// Whether what all roots have alike is where its root is to be.
    pub in_shell: bool,
    /// Whether there is somebody to resolve names for it.
    pub resolves: bool,
}

pub type Step<T> = Result<T, root::Failure>;

pub fn step<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> root::Failure {
    move |error| (what.to_owned(), error.into())
}

/// What runs inside: a child of this init, or a copy.
pub enum Program {
    Child(i32),
    Copied(Copied),
}

/// The forked child's whole life.
pub fn live(plan: &Plan<'_>) -> ! {
    let kept = [plan.launcher, plan.output, plan.frames].into_iter().chain(plan.origin).chain(plan.seed);
    let kept = kept.chain(plan.network);
    let mut kept: Vec<_> = kept.map(|fd| fd.as_raw_fd()).collect();
    kept.sort_unstable();
    sys::close_all_but(&kept);
    go_on(plan, prepare(plan))
}

/// Tells how making it came out; then the init's work, until the end.
pub fn go_on(plan: &Plan<'_>, made: Step<(Vec<TcpListener>, Program)>) -> ! {
    match made {
        Ok((listeners, program)) => {
            let listeners: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
            tell(plan.launcher, &Word::Started, &listeners);
            let kept = match &program {
                Program::Child(_) => vec![plan.launcher],
                Program::Copied(copied) => vec![plan.launcher, copied.pidfd.as_fd(), copied.leash.as_fd()],
            };
            let mut kept: Vec<_> = kept.into_iter().map(|fd| fd.as_raw_fd()).collect();
            kept.sort_unstable();
            sys::close_all_but(&kept);
            match program {
                Program::Child(pid) => {
                    if plan.spec.role == Role::Cell {
                        cell::wait(plan, pid);
                    }
                    reap(plan, pid)
                }
                // Orphans bury themselves: this init waits for descriptors, not for children.
                Program::Copied(copied) => {
                    sys::ignore_children();
                    nest::serve(plan, &copied)
                }
            }
        }
        Err((step, error)) => {
            tell(plan.launcher, &Word::Failed { step, reason: error.to_string() }, &[]);
            sys::end(1)
        }
    }
}

/// Without the launcher there is nobody to live for.
pub fn tell(launcher: BorrowedFd<'_>, word: &Word, descriptors: &[BorrowedFd<'_>]) {
    let packet = protocol::packet(word).unwrap_or_default();
    if protocol::send(launcher, &packet, descriptors, SendFlags::empty()).is_err() {
        sys::end(1);
    }
}

fn prepare(plan: &Plan<'_>) -> Step<(Vec<TcpListener>, Program)> {
    let spec = plan.spec;
    plan.group.map_or(Ok(()), Group::join).map_err(step("join the cgroups"))?;
    plan.network.map_or(Ok(()), network::enter).map_err(step("enter the network"))?;
    if !plan.root {
        map_user(plan)?;
    }
    // Fails only where the kernel has no cgroup namespaces; then /proc/self/cgroup tells the cgroup's name, no more.
    let _ = sys::unshare(libc::CLONE_NEWCGROUP);
    // When the machine itself runs out, functions go before the node does.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    // A base has the host's: what it knows of the time is its copies' too, whichever they enter.
    let has_clock = spec.role != Role::Base && clock::start().is_ok();
    rustix::system::sethostname(HOSTNAME.as_bytes()).map_err(step("set the host name"))?;
    if !plan.root && spec.network != Network::Host {
        sys::loopback_up().map_err(step("start the loopback"))?;
    }
    let listeners = listen(spec).map_err(step("listen"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let doors = match plan.origin {
        Some(_) => plan.group.map_or(Ok(Vec::new()), Group::doors).map_err(step("open the cgroups"))?,
        None => Vec::new(),
    };
    let furniture = root::Furniture {
        image: spec.image.as_deref(),
        in_shell: plan.in_shell,
        resolver: resolver(plan),
        whole_proc: spec.role == Role::Template,
    };
    if let Some(runtime) = &spec.runtime {
        let pid = bundle::run(plan, runtime, furniture)?;
        return Ok((listeners, Program::Child(pid)));
    }
    root::enter(plan.root_at, plan.tmp, &spec.mounts, furniture)?;
    if plan.root && spec.role != Role::Base {
        sys::unshare(libc::CLONE_NEWUSER).map_err(step("make a user namespace"))?;
        map_user(plan)?;
    }
    if spec.role == Role::Cell {
        // The mounts so far, in a namespace in which this init may attach more.
        sys::unshare(libc::CLONE_NEWNS).map_err(step("make the mounts its own"))?;
    }
    limits::set(plan).map_err(step("set the resource limits"))?;
    let program = match plan.origin {
        None => {
            match spec.role {
                Role::Base => keep_little(),
                // Its program renounces by itself.
                Role::Cell => be_the_user(plan).and_then(|()| be_alone()),
                _ => renounce(plan),
            }?;
            Program::Child(start(plan)?)
        }
        Some(base) => {
            let namespaces = Namespaces::open(&spec.network, true, has_clock).map_err(step("open the namespaces"))?;
            match spec.role {
                // It makes the sandboxes of the copies: nothing of the function's runs in it.
                Role::Template => be_the_user(plan).and_then(|()| be_alone()),
                _ => renounce(plan),
            }?;
            Program::Copied(enter::enter(plan, base, &namespaces, &doors)?)
        }
    };
    Ok((listeners, program))
}

fn map_user(plan: &Plan<'_>) -> Step<()> {
    tell(plan.launcher, &Word::MapMe, &[]);
    answer(plan, "wait for the user's map")
}

/// Waits until the launcher has done what it was asked for.
pub fn answer(plan: &Plan<'_>, what: &'static str) -> Step<()> {
    match protocol::receive(plan.launcher, &mut [0; 16], RecvFlags::empty()) {
        Ok((1.., _)) => Ok(()),
        Ok((0, _)) => sys::end(1),
        Err(error) => Err((what.to_owned(), error.into())),
    }
}

fn resolver(plan: &Plan<'_>) -> Resolver {
    match plan.spec.network {
        Network::Host => Resolver::Hosts,
        Network::Out(_) if plan.resolves => Resolver::Router,
        Network::Own | Network::Out(_) => Resolver::None,
    }
}

pub fn listen(spec: &Spec) -> io::Result<Vec<TcpListener>> {
    let port_of = |port: &u16| if spec.network == Network::Host { 0 } else { *port };
    let listen_on = |port| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port_of(port)))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    spec.listen.iter().map(listen_on).collect()
}

/// Gives up every right, for good, and lets the filters watch what is left.
pub fn renounce(plan: &Plan<'_>) -> Step<()> {
    use rustix::thread as own;
    sys::empty_bounding_set(&[]).map_err(step("empty the bounding set"))?;
    sys::lock_secure_bits().map_err(step("lock the secure bits"))?;
    be_the_user(plan)?;
    own::clear_ambient_capability_set().map_err(step("clear the ambient set"))?;
    let none = own::CapabilitySet::empty();
    own::set_capabilities(None, own::CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(step("drop the capabilities"))?;
    own::set_no_new_privs(true).map_err(step("set no_new_privs"))?;
    be_alone()?;
    if let Some(domain) = landlock::domain() {
        sys::landlock_enter(domain).map_err(step("enter the landlock domain"))?;
    }
    plan.filters.apply(Role::Instance).map_err(|reason| ("install the filters".to_owned(), io::Error::other(reason)))
}

fn be_the_user(plan: &Plan<'_>) -> Step<()> {
    use rustix::thread as own;
    if plan.root && plan.group.is_some() {
        own::set_thread_groups(&[]).map_err(step("leave the groups"))?;
    }
    let (user, group) = (rustix::fs::Uid::from_raw(USER), rustix::fs::Gid::from_raw(USER));
    own::set_thread_res_gid(group, group, group).map_err(step("change the group"))?;
    own::set_thread_res_uid(user, user, user).map_err(step("change the user"))
}

/// After the change of user, which clears both. This process is a copy of the launcher: the program, of the same user,
/// must not look into it. And it ends with whoever made it.
pub fn be_alone() -> Step<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(step("become undumpable"))?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("set the death signal"))
}

/// A base is root still, but root that can do no more than have copies enter sandboxes and become their users.
fn keep_little() -> Step<()> {
    sys::empty_bounding_set(&BASE_KEEPS).map_err(step("reduce the bounding set"))?;
    be_alone()
}

/// Forks and executes the program; returns its pid inside once exec has succeeded.
fn start(plan: &Plan<'_>) -> Step<i32> {
    let argv = match &plan.spec.program {
        crate::Program::Exec(argv) => argv.as_slice(),
        crate::Program::Copy { .. } => &[],
    };
    execute_forked(plan, &Executed { argv, env: &plan.spec.env, cwd: &plan.spec.cwd, stdin: None })
}

/// What is executed: the spec's own program, or one that runs it.
pub struct Executed<'a> {
    pub argv: &'a [String],
    pub env: &'a BTreeMap<String, String>,
    pub cwd: &'a str,
    /// `None` is /dev/null.
    pub stdin: Option<BorrowedFd<'a>>,
}

/// Forks and executes; returns the pid once exec has succeeded.
pub fn execute_forked(plan: &Plan<'_>, what: &Executed<'_>) -> Step<i32> {
    let (told, low) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(step("make a pipe"))?;
    // Out of the way of the descriptors 0 to 3 that the program gets.
    let tells = rustix::io::fcntl_dupfd_cloexec(&low, 10).map_err(step("move a pipe"))?;
    drop(low);
    match sys::fork_plain().map_err(step("fork the program"))? {
        None => {
            let renounced = if plan.spec.role == Role::Cell { renounce(plan) } else { Ok(()) };
            let error = renounced.map_or_else(|(_, error)| error, |()| execute(plan, what, &tells));
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            let _ = rustix::io::write(&tells, &errno.to_ne_bytes());
            sys::end(127)
        }
        Some(pid) => {
            drop(tells);
            let mut errno = [0; 4];
            match rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut errno)) {
                Ok(0) => Ok(pid),
                Ok(_) => {
                    let error = Errno::from_raw_os_error(i32::from_ne_bytes(errno));
                    let name = what.argv.first().map_or("a copy", String::as_str);
                    Err((format!("execute {name}"), error.into()))
                }
                Err(error) => Err(("hear of the program".to_owned(), error.into())),
            }
        }
    }
}

/// Becomes the program, which leaves nothing open but 0 to 3; returns only the reason why not.
fn execute(plan: &Plan<'_>, what: &Executed<'_>, tells: &OwnedFd) -> io::Error {
    let become_it = || {
        rustix::process::setsid()?;
        {
            // Out of the way first: any of these may sit where another is to go, and none may be closed there later.
            let high = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 10);
            let null = match what.stdin {
                Some(stdin) => high(stdin)?,
                None => high(std::fs::File::open("/dev/null")?.as_fd())?,
            };
            let (output, frames) = (high(plan.output)?, high(plan.frames)?);
            let seed = plan.seed.map(high).transpose()?;
            for (fd, target) in [(&null, 0), (&output, 1), (&output, 2), (&frames, 3)] {
                sys::place(fd, target)?;
            }
            // Closed again below, where there is none.
            sys::place(seed.as_ref().unwrap_or(&null), SEED)?;
        }
        match plan.seed {
            Some(_) => sys::close_all_but(&[0, 1, 2, 3, SEED, tells.as_raw_fd()]),
            None => sys::close_all_but(&[0, 1, 2, 3, tells.as_raw_fd()]),
        }
        sys::reset_signals();
        if plan.spec.role == Role::Base {
            // It has the host's processes around it, so nothing else ends it with its init.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        rustix::process::chdir(what.cwd)?;
        let (program, arguments) = what.argv.split_first().ok_or(Errno::INVAL)?;
        Ok(Command::new(program).args(arguments).env_clear().envs(what.env).exec())
    };
    become_it().unwrap_or_else(|error| error)
}

/// Init's work: bury orphans until the program ends, tell how, and end with everyone else in here.
fn reap(plan: &Plan<'_>, program: i32) -> ! {
    loop {
        match sys::wait(-1) {
            Ok(ended) if ended.pid == program => {
                tell(plan.launcher, &Word::Ended(ended.status), &[]);
                sys::end(0)
            }
            Ok(_) => {}
            Err(_) => sys::end(1),
        }
    }
}
