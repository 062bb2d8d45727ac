//! What a sandbox sees and may.

use crate::bench::{Bench, PATIENCE, block, python, read, sh, within};
use sandbox::{Driver, Kept, Mount, Network, Process, ProcessConfig, Spec, Status};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

pub fn sees_only_its_own_root() {
    block(async {
        let bench = Bench::new();
        let text = bench.sh("ls -A /; echo; ls -A /home /root /sys /work /etc/shadow /etc/ssh 2>&1; true").await;
        let (root, rest) = text.split_once("\n\n").unwrap();
        for name in root.lines() {
            let known = ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "opt", "proc", "sbin", "tmp"];
            assert!(known.contains(&name) || ["usr", "var"].contains(&name), "{name} is in the root");
        }
        assert_eq!(rest.lines().filter(|line| line.contains("No such file")).count(), 6, "{rest}");
        let dir = bench.dir.path().display().to_string();
        let state = bench.sh(&format!("ls -d {dir} 2>&1; true")).await;
        assert!(state.contains("No such file"), "{state}");

        let etc = bench.sh("cat /etc/passwd; getent passwd 993; ls /dev; ls /tmp; cat /proc/keys").await;
        assert!(etc.contains("sbx_user1051:x:993:993"), "{etc}");
        assert!(!etc.contains("daemon") && !etc.contains("tty"), "{etc}");

        let writes = "for p in / /usr /etc /dev /var/task /opt /proc/sys/kernel; do
            touch $p/x 2>/dev/null && echo $p; done
            [ ! -c /proc/sysrq-trigger ] && (echo 1 > /proc/sysrq-trigger) 2>/dev/null && echo sysrq; echo fine > /tmp/x && cat /tmp/x
            echo into > /dev/null";
        assert_eq!(bench.sh(writes).await, "fine\n");
        assert_eq!(bench.sh("cat /tmp/x 2>&1; true").await.matches("No such file").count(), 1, "/tmp is not shared");
    });
}

pub fn has_no_rights() {
    block(async {
        let bench = Bench::new();
        let text =
            bench.sh("id -u; id -g; id -G; cat /proc/self/status; hostname; pwd; umask; env; ls /proc/self/fd").await;
        assert!(text.starts_with("993\n993\n993\n"), "{text}");
        for line in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert!(text.contains(&format!("{line}:\t0000000000000000\n")), "{line} in {text}");
        }
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000"] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.contains("\nwadi\n/tmp\n0022\n"), "{text}");
        let environment = text.rsplit_once("\n0022\n").unwrap().1;
        assert!(environment.contains("GIVEN=yes") && !environment.contains("CARGO"), "{environment}");

        let own = "import os, sys
print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()) == [1, os.getpid()], os.getsid(0) == os.getpid())
print([os.path.exists(f'/proc/self/fd/{n}') for n in range(6)], os.readlink('/proc/self/fd/0'))
for secret in ('environ', 'mem', 'maps', 'fd'):
    try: os.listdir('/proc/1/fd') if secret == 'fd' else open('/proc/1/' + secret).read(1)
    except OSError as e: print(secret, e.errno)
try: os.kill(1, 9); print('init survives')
except OSError as e: print(e)
sys.stdout.flush()
open('/dev/stdout', 'w').write('by name\\n')";
        let (text, exit) = bench.run(python(own)).await;
        // Descriptor 4 is the directory that Python itself is not reading any more.
        let expect = "True True\n[True, True, True, True, False, False] /dev/null\n\
            environ 13\nmem 13\nmaps 13\nfd 13\ninit survives\nby name\n";
        assert_eq!((text.as_str(), exit.status), (expect, Status::Exited(0)));
    });
}

pub fn is_refused_what_changes_its_confinement() {
    block(async {
        let bench = Bench::new();
        let calls = "import ctypes, socket, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    got = libc.syscall(*args)
    print(name, got, ctypes.get_errno(), flush=True)
x86 = platform.machine() == 'x86_64'
N = dict(mount=165, unshare=272, ptrace=101, setns=308, bpf=321, keyctl=250, chroot=161, io_uring_setup=425,
    userfaultfd=323, init_module=175, open_tree=428, perf_event_open=298) if x86 else dict(mount=40, unshare=97)
for name, number in N.items(): call(name, number, 0, 0, 0, 0, 0)
if x86:
    call('clone', 56, 0x10000000 | 17, 0, 0, 0, 0)
    call('personality', 135, 0x0040000)
call('clone3', 435, 0, 0)
for family in (40, 38, 17):
    try: socket.socket(family, socket.SOCK_DGRAM); print('made', family)
    except OSError as e: print('socket', -1, e.errno)
import subprocess, threading
subprocess.run(['/bin/true'], check=True); t = threading.Thread(target=print, args=('fine',)); t.start(); t.join()";
        let (text, exit) = bench.run(python(calls)).await;
        assert_eq!(exit.status, Status::Exited(0), "{text}");
        for line in text.lines().filter(|line| *line != "fine") {
            let refused = if line.starts_with("clone3") { " -1 38" } else { " -1 1" };
            assert!(line.ends_with(refused), "{text}");
        }
        assert!(text.ends_with("fine\n"), "processes and threads still work: {text}");
        if cfg!(target_arch = "x86_64") {
            let x32 = "import ctypes; ctypes.CDLL(None).syscall(0x40000000 + 39); print('survived')";
            assert_eq!(bench.run(python(x32)).await.1.status, Status::Signalled(libc_sigsys()));
        }
    });
}

fn libc_sigsys() -> i32 {
    rustix::process::Signal::SYS.as_raw()
}

pub fn reaches_nothing_but_the_listener() {
    block(async {
        let bench = Bench::new();
        let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let script = format!(
            "import socket, os
print(os.listdir('/proc/self/net') != [], [n for _, n in socket.if_nameindex()])
for address in (('127.0.0.1', {port}), ('1.1.1.1', 53), ('169.254.169.254', 80)):
    try: socket.create_connection(address, 2); print('reached', address)
    except OSError as e: print(e.errno)
s = socket.create_connection(('127.0.0.1', 9001), 5); s.sendall(b'hello'); s.shutdown(1); print(s.recv(100))"
        );
        let raised = bench.raise(python(&script)).await;
        let [listener] = <[_; 1]>::try_from(raised.listeners).unwrap();
        assert_eq!(listener.local_addr().unwrap().to_string(), "127.0.0.1:9001");
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = within(listener.accept()).await.unwrap();
        let mut stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
        drop(stream);
        let text = within(read(raised.output)).await;
        assert_eq!(text, "True ['lo']\n111\n101\n101\nb'HELLO'\n");
    });
}

pub fn reaches_the_host_where_asked() {
    block(async {
        let bench = Bench::new();
        let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let script = format!("import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('reached')");
        let spec = Spec { network: Network::Host, listen: vec![9001, 9001], ..python(&script) };
        let raised = bench.raise(spec).await;
        let ports: Vec<u16> = raised.listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports.len() == 2 && ports[0] != ports[1] && !ports.contains(&9001), "{ports:?}");
        assert_eq!(within(read(raised.output)).await, "reached\n");
    });
}

pub fn mounts_are_as_asked() {
    block(async {
        let bench = Bench::new();
        let code = bench.dir.path().join("code");
        std::fs::create_dir(&code).unwrap();
        std::fs::write(code.join("bootstrap"), "#!/bin/sh\necho from the package\n").unwrap();
        std::fs::set_permissions(code.join("bootstrap"), PermissionsExt::from_mode(0o755)).unwrap();
        // As an interpreter in somebody's home is: below directories that only root may enter.
        let home = bench.dir.path().join("home");
        std::fs::create_dir_all(home.join("deep/bin")).unwrap();
        std::fs::write(home.join("deep/bin/file"), "deep").unwrap();
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        let mut spec = sh("/var/task/bootstrap; cat /root/x/deep/bin/file; ls /root; touch /var/task/x 2>&1; \
            touch /mnt/all/x 2>&1; id -u; cat /proc/self/uid_map");
        let shared = bench.dir.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o777)).unwrap();
        spec.mounts = vec![
            Mount::new(&code, "/var/task"),
            Mount::new(home.join("deep"), "/root/x/deep"),
            Mount::new(home.join("deep/bin/file"), "/opt/one-file"),
            Mount::new(&shared, "/mnt/all"),
        ];
        let (text, _) = bench.run(spec).await;
        assert!(text.starts_with("from the package\ndeepx\n"), "{text}");
        assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
        let (_, ids) = text.split_once("\n993\n").expect("the user inside");
        let host: u32 = ids.split_whitespace().nth(1).expect("the user outside").parse().unwrap();
        assert!(host >= 2_000_000, "a user of the host's own would be {host}");

        // A package's link is not followed out of the sandbox to make a place for the next mount.
        std::os::unix::fs::symlink(bench.dir.path(), code.join("out")).unwrap();
        let mounts = vec![Mount::new(&code, "/var/task"), Mount::new(&shared, "/var/task/out/made")];
        let error = within(bench.driver.raise(Spec { mounts, ..sh("true") })).await.unwrap_err().to_string();
        assert!(error.contains("leads out of the sandbox") && !bench.dir.path().join("made").exists(), "{error}");
    });
}

pub fn memory_is_limited_for_the_whole() {
    block(async {
        let bench = Bench::new();
        // A child passes the limit; its parent would live on.
        let grow = "import os, time
if os.fork() == 0:
    kept = []
    while True: kept.append(bytearray(b'x' * (1 << 20)))
print('waits', flush=True); time.sleep(60)";
        let (_, exit) = bench.run(python(grow)).await;
        assert!(exit.out_of_memory, "{exit:?}");
        assert_eq!(exit.status, Status::Signalled(9));
        let limit = 128 << 20;
        assert!((limit / 10 * 9..=limit).contains(&exit.memory_bytes_peak), "{exit:?}");

        let hold = "b = bytearray(b'x' * (40 << 20)); print('held', flush=True); input() if False else None
import time; time.sleep(60)";
        let raised = bench.raise(python(hold)).await;
        crate::bench::until("it holds 40 MB", || raised.handle.memory_bytes_peak() > 40 << 20).await;
        assert!(raised.handle.cpu_us() > 0);
        raised.handle.kill();
        let exit = within(raised.exit).await.unwrap();
        assert!(!exit.out_of_memory && exit.memory_bytes_peak < 100 << 20 && exit.cpu_us > 0, "{exit:?}");
        assert_eq!(raised.handle.memory_bytes_peak(), exit.memory_bytes_peak);
    });
}

pub fn a_fork_bomb_is_bounded() {
    block(async {
        let bench = Bench::new();
        let bomb = "import os, time
made = 0
try:
    while made < 1000:
        if os.fork() == 0: time.sleep(60)
        made += 1
except BlockingIOError: pass
print(made)";
        let mut spec = python(bomb);
        spec.limits.pids = 20;
        let (text, exit) = bench.run(spec).await;
        assert_eq!((text.as_str(), exit.status), ("19\n", Status::Exited(0)));
    });
}

/// Processor time over time as it goes by, while it may burst and once it is held: a quarter of a core, with room for a
/// machine that others use.
pub fn the_processor_is_held_to_a_share() {
    block(async {
        let bench = Bench::new();
        let mut spec = python("while True: pass");
        (spec.limits.cpu_weight, spec.limits.cpu_quota) = (256, true);
        let raised = bench.raise(spec).await;
        let share = async || {
            let (began, before) = (std::time::Instant::now(), raised.handle.cpu_us());
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            (raised.handle.cpu_us() - before) as f64 / began.elapsed().as_micros() as f64
        };
        let burst = share().await;
        raised.handle.hold_cpu();
        let held = share().await;
        assert!(held > 0.02 && held < 0.35, "{held} of a core, and a quarter is its share");
        assert!(burst > held * 1.5, "{burst} of a core before it was held, {held} then");
        raised.handle.kill();
        within(raised.exit).await.unwrap();
    });
}

/// As root, with cgroups, only an older kernel makes any of them weaker.
pub fn root_keeps_its_promises() {
    let promises = Bench::new().driver.promises();
    let weaker: Vec<_> = promises.iter().filter(|promise| promise.kept != Kept::Yes).collect();
    let of_the_kernel = |promise: &&&sandbox::Promise| {
        promise.remedy.as_ref().is_some_and(|r| r.contains("kernel") || r.contains("Linux"))
    };
    assert!(promises.len() >= 10 && weaker.iter().filter(of_the_kernel).count() == weaker.len(), "{weaker:?}");
}

/// The launcher as an ordinary user: what still holds, holds, and what does not is told.
pub fn works_without_root() {
    block(async {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::os::unix::fs::chown(&state, Some(4242), Some(4242)).unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let launcher = dir.path().join("launcher");
        let own = std::env::current_exe().unwrap();
        let copy = dir.path().join("binary");
        std::fs::copy(own, &copy).unwrap();
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/setpriv --reuid 4242 --regid 4242 --clear-groups {} \"$@\"\n",
            copy.display()
        );
        std::fs::write(&launcher, script).unwrap();
        std::fs::set_permissions(&launcher, PermissionsExt::from_mode(0o755)).unwrap();
        let driver =
            Process::start(ProcessConfig { program: launcher, state_dir: state.clone(), egress: None }).unwrap();
        let promises = driver.promises();
        let of = |name: &str| promises.iter().find(|promise| promise.name == name).unwrap();
        if let Kept::No(reason) = &of("namespaces and a root of its own").kept {
            return eprintln!("skipped: this machine has no user namespaces without root: {reason}");
        }
        for weaker in ["a user of its own", "memory limit", "process limit"] {
            assert!(matches!(of(weaker).kept, Kept::Weaker(_)) && of(weaker).remedy.is_some(), "{promises:?}");
        }
        let script = "id -u; grep -c 0000000000000000 /proc/self/status; ls /root /home 2>&1 | grep -c 'No such'
            touch /usr/x 2>/dev/null || echo read-only; mkdir -p /tmp/a/b; chmod 0 /tmp/a; exit 3";
        let raised = tokio::time::timeout(PATIENCE, driver.raise(sh(script))).await.unwrap().unwrap();
        let text = within(read(raised.output)).await;
        assert_eq!(within(raised.exit).await.unwrap().status, Status::Exited(3), "{text}");
        assert!(text.starts_with("993\n") && text.ends_with("2\nread-only\n"), "{text}");
        crate::bench::until("its /tmp is gone", || crate::bench::entries(&state.join("gone")) == 0).await;
    });
}
