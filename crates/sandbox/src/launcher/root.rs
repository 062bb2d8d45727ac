//! What a sandbox sees of the file system: a small root made anew, with the host's programs and libraries read-only.

use super::{network, sys};
use crate::{IMAGE_DIRECTORIES, Mount};
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A step of making the root that failed: what was being done, and the system's reason.
pub type Failure = (String, io::Error);

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const WRITABLE: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
const PROC: MountFlags =
    MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC).union(MountFlags::RDONLY);
const DEVICE: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;

/// Programs and libraries: bound where the host has a directory, linked where it has a link (merged /usr).
const SYSTEM: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix/store"];
/// What of the host's /etc a program may need and anyone may read. Keys and secrets are in none of these.
const ETC: [&str; 12] = [
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "alternatives",
    "localtime",
    "protocols",
    "services",
];
/// Files made anew; the user is named and numbered as on AWS.
const MADE: [(&str, &str); 5] = [
    ("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nsbx_user1051:x:993:993::/home/sbx_user1051:/sbin/nologin\n"),
    ("etc/group", "root:x:0:\nsbx_user1051:x:993:\n"),
    ("etc/hosts", "127.0.0.1 localhost wadi\n::1 localhost\n"),
    ("etc/resolv.conf", ""),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"),
];
const MADE_DIRS: [&str; 8] = ["etc", "dev", "proc", "tmp", "opt", "var/task", "var/runtime", "var/empty"];
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "dev/fd"),
    ("/proc/self/fd/0", "dev/stdin"),
    ("/proc/self/fd/1", "dev/stdout"),
    ("/proc/self/fd/2", "dev/stderr"),
];
/// Of /proc: what tells of the host or its kernel and no program needs.
const MASKED: [&str; 20] = [
    "acpi",
    "asound",
    "bus",
    "cmdline",
    "config.gz",
    "diskstats",
    "fs",
    "interrupts",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "modules",
    "partitions",
    "scsi",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
];

/// What a root has beyond what all have.
#[derive(Clone, Copy)]
pub struct Furniture<'a> {
    /// The unpacked image that is the root, where it is not made of what the host has.
    pub image: Option<&'a Path>,
    /// There is a [`Shell`] where the root is to be.
    pub in_shell: bool,
    pub resolver: Resolver,
    /// A /proc with nothing masked, where none but the host's root can reach it: the kernel lets a /proc be mounted in a
    /// sandbox nested in this one only where such a one is.
    pub whole_proc: bool,
}

/// Who resolves names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    None,
    /// Whom the host asks.
    Hosts,
    /// The router that leads it out.
    Router,
}

/// What lies over masked directories.
const EMPTY: &str = "var/empty";
/// The same in an image.
const EMPTY_OF_IMAGES: &str = "dev/.empty";
/// What lies over `/etc/resolv.conf` where the router resolves names.
const RESOLVER: &str = "dev/.resolv.conf";
/// The directory of the whole /proc, which only its owner, the host's root, can enter.
const HIDDEN: &str = "run/wadi";

/// What all roots that are made of the host's files have alike, made once. The launcher keeps it in a mount namespace of its
/// own, and each sandbox begins with a copy of that.
pub struct Shell {
    at: PathBuf,
    /// What it was made of.
    made_of: Vec<Option<Seen>>,
}

/// A file of the host's, and when a link was made: what is mounted keeps its number, a link may hand it on.
#[derive(PartialEq)]
struct Seen(u64, u64, Option<(i64, i64)>);

impl Shell {
    /// Makes it on `at`, an empty directory. This process has its own mounts from then on; what the host mounts later is
    /// among them where its mounts are shared.
    pub fn new(at: &Path) -> Result<Self, Failure> {
        let step = |what: &'static str| move |error: io::Error| (what.to_owned(), error);
        sys::unshare(libc::CLONE_NEWNS).map_err(step("make a mount namespace"))?;
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave).map_err(|error| ("part the mounts".to_owned(), error.into()))?;
        let mut shell = Self { at: at.to_owned(), made_of: Vec::new() };
        shell.renew()?;
        Ok(shell)
    }

    /// Makes it anew if the host has replaced something since: an upgrade of its programs does.
    pub fn renew(&mut self) -> Result<(), Failure> {
        let system = SYSTEM.iter().map(|name| Path::new("/").join(name));
        let seen: Vec<_> = system.chain(ETC.iter().map(|name| Path::new("/etc").join(name))).map(see).collect();
        if seen == self.made_of {
            return Ok(());
        }
        if !std::mem::take(&mut self.made_of).is_empty() {
            self.take_down().map_err(|error| ("take the old root down".to_owned(), error.into()))?;
        }
        small_tmpfs(&self.at).map_err(|error| ("mount a root".to_owned(), error.into()))?;
        Root(self.at.clone()).furnish().inspect_err(|_| {
            let _ = self.take_down();
        })?;
        self.made_of = seen;
        Ok(())
    }

    fn take_down(&self) -> rustix::io::Result<()> {
        rustix::mount::unmount(&self.at, UnmountFlags::DETACH)
    }
}

fn see(path: PathBuf) -> Option<Seen> {
    let found = fs::symlink_metadata(path).ok()?;
    Some(Seen(found.dev(), found.ino(), found.is_symlink().then(|| (found.mtime(), found.mtime_nsec()))))
}

/// Makes the root on `at` (any empty directory of the host) and moves into it; the host's root is gone afterwards. In
/// a mount namespace of our own.
pub fn enter(at: &Path, tmp: &Path, mounts: &[Mount], furniture: Furniture<'_>) -> Result<(), Failure> {
    build(at, tmp, mounts, furniture)?;
    Root(at.to_owned()).seal().map_err(|error| ("seal the root".to_owned(), error))
}

/// Makes the root on `at`, for somebody to move into it.
pub fn build(at: &Path, tmp: &Path, mounts: &[Mount], furniture: Furniture<'_>) -> Result<(), Failure> {
    let step = |what: &'static str| move |error: rustix::io::Errno| (what.to_owned(), error.into());
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(step("make the mounts private"))?;
    let root = Root(at.to_owned());
    match furniture.image {
        Some(image) => root.show(image, furniture)?,
        None => {
            if !furniture.in_shell {
                small_tmpfs(at).map_err(step("mount a root"))?;
                root.furnish()?;
            }
            root.complete(furniture)?;
        }
    }
    root.bind(tmp, Path::new("tmp"), WRITABLE)?;
    for mount in mounts {
        let target = mount.target.strip_prefix("/").unwrap_or(&mount.target);
        let inside =
            root.holds(target).and_then(|holds| holds.then_some(()).ok_or(io::ErrorKind::NotADirectory.into()));
        inside.map_err(|error| (format!("mount at /{}: it leads out of the sandbox", target.display()), error))?;
        root.bind(&mount.source, target, READ_ONLY)?;
    }
    Ok(())
}

/// For a few files and many mount points.
pub fn small_tmpfs(at: &Path) -> rustix::io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", at, "tmpfs", flags, c"mode=0755,size=1m,nr_inodes=4k")
}

/// What was built at `at`, with all its mounts, once more and nowhere yet.
pub fn detached_root(at: &Path) -> io::Result<OwnedFd> {
    clone(at, libc::MOUNT_ATTR_NOSUID)
}

/// A bind of a sandbox's /tmp, to be attached by its init.
pub fn detached_tmp(tmp: &Path) -> io::Result<OwnedFd> {
    clone(tmp, WRITABLE)
}

/// A bind of what `mount` shows, to be attached by the init of a sandbox that lives already.
pub fn detached(mount: &Mount) -> Result<OwnedFd, Failure> {
    let tree = clone(&mount.source, READ_ONLY);
    tree.map_err(|error| (format!("clone {}", mount.source.display()), error))
}

/// What is at `source` with all that is mounted below it, once more and nowhere yet.
fn clone(source: &Path, attributes: u64) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    sys::mount_setattr(&tree, attributes, true)?;
    Ok(tree)
}

/// Where an OCI runtime is to mask, as we do.
pub fn masked() -> Vec<String> {
    MASKED.iter().map(|name| format!("/proc/{name}")).collect()
}

/// Attaches what was detached at a place that is there.
pub fn attach(tree: &OwnedFd, place: &Path) -> io::Result<()> {
    Ok(rustix::mount::move_mount(tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Makes the root of the sandbox that this one is nested in, of which we have a copy, our own: another /tmp, and the
/// /proc of our own processes.
pub fn nest(tmp: &OwnedFd) -> Result<(), Failure> {
    let step = |what: &'static str| move |error: io::Error| (what.to_owned(), error);
    attach(tmp, Path::new("/tmp")).map_err(step("mount /tmp"))?;
    Root("/".into()).proc(EMPTY).map_err(step("mount /proc"))
}

struct Root(PathBuf);

impl Root {
    /// The image, read-only, with devices and a /proc over its own.
    fn show(&self, image: &Path, furniture: Furniture<'_>) -> Result<(), Failure> {
        let tree = clone(image, READ_ONLY).and_then(|tree| attach(&tree, &self.0));
        tree.map_err(|error| (format!("mount {}", image.display()), error))?;
        for name in IMAGE_DIRECTORIES {
            // Of the image's making, like everything in it: what is mounted here must not end up elsewhere.
            match fs::symlink_metadata(self.0.join(name)) {
                Ok(found) if found.is_dir() => {}
                _ => return Err((format!("the image's /{name}"), io::ErrorKind::NotADirectory.into())),
            }
        }
        let dev = self.0.join("dev");
        small_tmpfs(&dev).map_err(|error| ("mount /dev".to_owned(), error.into()))?;
        self.devices()?;
        self.empty(EMPTY_OF_IMAGES)?;
        self.resolver()?;
        self.proc(EMPTY_OF_IMAGES).map_err(|error| ("mount /proc".to_owned(), error))?;
        let inside = Path::new("etc/resolv.conf");
        if self.holds(inside).is_ok_and(|holds| holds) && self.0.join(inside).is_file() {
            match furniture.resolver {
                Resolver::Hosts => self.bind(Path::new("/etc/resolv.conf"), inside, READ_ONLY)?,
                Resolver::Router => self.bind(&self.0.join(RESOLVER), inside, READ_ONLY)?,
                Resolver::None => {}
            }
        }
        let sealed = rustix::fs::open(&dev, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, 0.into());
        let sealed = sealed.map_err(io::Error::from).and_then(|dev| sys::mount_setattr(&dev, READ_ONLY, false));
        sealed.map_err(|error| ("seal /dev".to_owned(), error))
    }

    fn devices(&self) -> Result<(), Failure> {
        for name in DEVICES {
            self.bind(&Path::new("/dev").join(name), &Path::new("dev").join(name), DEVICE)?;
        }
        for (to, link) in LINKS {
            symlink(to, self.0.join(link)).map_err(|error| (link.to_owned(), error))?;
        }
        Ok(())
    }

    /// What all have alike.
    fn furnish(&self) -> Result<(), Failure> {
        let step = |what: &'static str| move |error: io::Error| (what.to_owned(), error);
        for dir in MADE_DIRS {
            self.directory(Path::new(dir)).map_err(step(dir))?;
        }
        for (path, text) in MADE {
            fs::write(self.0.join(path), text).map_err(step(path))?;
        }
        SYSTEM.iter().try_for_each(|name| self.mirror(Path::new(name)))?;
        ETC.iter().try_for_each(|name| self.mirror(&Path::new("etc").join(name)))?;
        self.empty(EMPTY)?;
        self.resolver()?;
        self.devices()
    }

    /// What is one sandbox's own.
    fn complete(&self, furniture: Furniture<'_>) -> Result<(), Failure> {
        let step = |what: &'static str| move |error: io::Error| (what.to_owned(), error);
        // Often a link to where nothing else of it is seen inside, so not mirrored as such.
        let (hosts, inside) = (Path::new("/etc/resolv.conf"), Path::new("etc/resolv.conf"));
        match furniture.resolver {
            Resolver::Hosts if hosts.exists() => self.bind(hosts, inside, READ_ONLY)?,
            Resolver::Router => self.bind(&self.0.join(RESOLVER), inside, READ_ONLY)?,
            Resolver::Hosts | Resolver::None => {}
        }
        if furniture.whole_proc {
            self.whole_proc().map_err(step("mount a whole /proc"))?;
        }
        self.proc(EMPTY).map_err(step("mount /proc"))
    }

    fn resolver(&self) -> Result<(), Failure> {
        let text = format!("nameserver {}\n", network::GATEWAY);
        fs::write(self.0.join(RESOLVER), text).map_err(|error| (RESOLVER.to_owned(), error))
    }

    /// An empty directory to lie over others.
    fn empty(&self, name: &str) -> Result<(), Failure> {
        self.directory(Path::new(name)).map_err(|error| (name.to_owned(), error))?;
        self.bind(&self.0.join(name), Path::new(name), DEVICE)
    }

    fn whole_proc(&self) -> io::Result<()> {
        let (hidden, proc) = (self.0.join(HIDDEN), self.0.join(HIDDEN).join("proc"));
        self.directory(&Path::new(HIDDEN).join("proc"))?;
        rustix::mount::mount("proc", &proc, "proc", PROC, None)?;
        fs::set_permissions(hidden, fs::Permissions::from_mode(0o700))
    }

    /// The same thing as on the host, read-only; nothing where the host has nothing.
    fn mirror(&self, path: &Path) -> Result<(), Failure> {
        let host = Path::new("/").join(path);
        match fs::symlink_metadata(&host) {
            Err(_) => Ok(()),
            Ok(found) if found.is_symlink() => fs::read_link(&host)
                .and_then(|to| {
                    self.directory(path.parent().unwrap_or(Path::new("")))?;
                    symlink(to, self.0.join(path))
                })
                .map_err(|error| (format!("link /{}", path.display()), error)),
            Ok(_) => self.bind(&host, path, READ_ONLY),
        }
    }

    fn directory(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(self.0.join(path))
    }

    /// Makes `target` (relative to the root) show `source` with all that is mounted below it.
    fn bind(&self, source: &Path, target: &Path, attributes: u64) -> Result<(), Failure> {
        let bound = (|| {
            let is_dir = fs::metadata(source)?.is_dir();
            let place = self.0.join(target);
            if fs::metadata(&place).is_err() {
                if is_dir {
                    self.directory(target)?;
                } else {
                    self.directory(target.parent().unwrap_or(Path::new("")))?;
                    fs::write(&place, "")?;
                }
            }
            attach(&clone(source, attributes)?, &place)
        })();
        bound.map_err(|error| (format!("mount {} at /{}", source.display(), target.display()), error))
    }

    /// Whether a place is within the root, as far as it is there: what is mounted already may hold links of a package's
    /// making, which lead elsewhere as long as the host's root is ours.
    fn holds(&self, target: &Path) -> io::Result<bool> {
        let mut there = self.0.join(target);
        while fs::symlink_metadata(&there).is_err() && there.pop() {}
        Ok(fs::canonicalize(there)?.starts_with(&self.0))
    }

    /// `empty` is a directory made by [`Root::empty`]: it and `/dev/null` are mounted as what they lie over is to be.
    fn proc(&self, empty: &str) -> io::Result<()> {
        rustix::mount::mount("proc", self.0.join("proc"), "proc", PROC, None)?;
        for name in MASKED {
            let target = self.0.join("proc").join(name);
            let over = match fs::metadata(&target) {
                Err(_) => continue,
                Ok(found) if found.is_dir() => self.0.join(empty),
                Ok(_) => self.0.join("dev/null"),
            };
            rustix::mount::mount_bind(&over, &target)?;
        }
        Ok(())
    }

    fn seal(&self) -> io::Result<()> {
        let root = rustix::fs::open(&self.0, rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC, 0.into())?;
        sys::mount_setattr(&root, READ_ONLY, false)?;
        rustix::process::chdir(&self.0)?;
        // The new root over the old one at the same place, then the old one goes: nothing needs to be made for it.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        Ok(())
    }
}
