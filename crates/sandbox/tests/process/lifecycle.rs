//! How sandboxes begin and end, and the launcher with them.

use crate::bench::{Bench, block, cgroups, children, entries, launchers, python, read, sh, spec, until, within};
use sandbox::{Driver, LAUNCHER_ARG, Mount, Program, Spec, Status};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub fn ends_are_told_exactly() {
    block(async {
        let bench = Bench::new();
        let check = async |script: &str, expect| {
            let (text, exit) = bench.run(sh(script)).await;
            assert_eq!((exit.status, exit.out_of_memory), (expect, false), "{script}: {text}");
        };
        check("true", Status::Exited(0)).await;
        check("exit 7", Status::Exited(7)).await;
        check("exit 255", Status::Exited(255)).await;
        check("kill -9 $$", Status::Signalled(9)).await;
        check("kill -TERM $$", Status::Signalled(15)).await;
        check("kill -SEGV $$", Status::Signalled(11)).await;
        // Orphans are buried by init, and one that lives on does not keep the sandbox.
        check("(sleep 0 &); (sleep 60 &); sleep 0.1; exit 4", Status::Exited(4)).await;
    });
}

pub fn output_and_frames_are_pipes() {
    block(async {
        let bench = Bench::new();
        let script = "import os, sys
for n in range(3): os.write(1, b'out\\n'); os.write(2, b'err\\n'); os.write(3, b'frame %d\\n' % n)
os.write(1, b'x' * 300_000)";
        let raised = bench.raise(python(script)).await;
        let (text, frames) = within(async { tokio::join!(read(raised.output), read(raised.frames)) }).await;
        assert_eq!(&text[..24], "out\nerr\nout\nerr\nout\nerr\n");
        assert_eq!((text.len(), frames.as_str()), (300_024, "frame 0\nframe 1\nframe 2\n"));
    });
}

pub fn kill_ends_everyone_inside() {
    block(async {
        let bench = Bench::new();
        // A daemon: forked twice, a session of its own, deaf to signals.
        let daemon = "import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)
        print('up', flush=True); time.sleep(1000)
    os._exit(0)
time.sleep(1000)";
        let mut raised = bench.raise(python(daemon)).await;
        let mut output = std::fs::File::from(raised.output);
        let mut up = [0; 3];
        output.read_exact(&mut up).unwrap();
        assert!(raised.exit.try_recv().is_err());
        raised.handle.kill();
        raised.handle.kill();
        assert_eq!(within(raised.exit).await.unwrap().status, Status::Signalled(9));
        // The daemon held the pipe too.
        assert_eq!(within(read(output.into())).await, "");
        raised.handle.kill();
    });
}

pub fn what_cannot_be_raised_says_why() {
    block(async {
        let bench = Bench::new();
        let check = async |spec: Spec, expect: &str| {
            let error = within(bench.driver.raise(spec)).await.expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(spec(&["/no/such/program"]), "execute /no/such/program: No such file").await;
        check(spec(&["/etc/passwd"]), "execute /etc/passwd: Permission denied").await;
        check(Spec { cwd: "/nowhere".into(), ..sh("true") }, "No such file").await;
        let mount = |source: &str, target: &str| vec![Mount::new(source, target)];
        check(Spec { mounts: mount("/no/where", "/opt"), ..sh("true") }, "mount /no/where at /opt: No such file").await;
        check(Spec { mounts: mount("/etc", "/usr/new/x"), ..sh("true") }, "Read-only file system").await;
        check(Spec { id: "UPPER".into(), ..sh("true") }, "id:").await;
        let first = bench.raise(sh("sleep 100")).await;
        check(Spec { id: first.id.clone(), ..sh("true") }, "lives already").await;
        // The id is free again once its sandbox has ended.
        first.handle.kill();
        within(first.exit).await.unwrap();
        assert_eq!(bench.run(Spec { id: first.id, ..sh("exit 5") }).await.1.status, Status::Exited(5));
        assert_eq!(children(launchers()[0]).len(), 0);
    });
}

pub fn a_call_given_up_leaves_nothing() {
    block(async {
        let bench = Bench::new();
        for wait in [0, 1, 2, 4, 8] {
            let raise = bench.driver.raise(sh("sleep 1000"));
            let _ = tokio::time::timeout(Duration::from_millis(wait), raise)
                .await
                .map(|raised| raised.unwrap().handle.kill());
        }
        until("all ended", || children(launchers()[0]).is_empty() && entries(&bench.state_dir().join("tmp")) == 0)
            .await;
    });
}

pub fn a_dead_launcher_is_replaced() {
    block(async {
        let bench = Bench::new();
        let first = bench.raise(sh("echo x > /tmp/left; echo up; sleep 1000")).await;
        let second = bench.raise(sh("sleep 1000")).await;
        let mut up = [0; 3];
        std::fs::File::from(first.output).read_exact(&mut up).unwrap();
        let launcher = launchers()[0];
        let inits = children(launcher);
        assert_eq!(inits.len(), 2);
        assert_eq!(entries(&bench.state_dir().join("tmp")), 2);
        kill(launcher);
        let ends = within(async { tokio::join!(first.exit, second.exit) }).await;
        assert_eq!((ends.0.unwrap().status, ends.1.unwrap().status), (Status::Signalled(9), Status::Signalled(9)));
        for init in inits {
            until("inits are gone", || !std::path::Path::new(&format!("/proc/{init}/status")).exists()).await;
        }
        // The next call starts another, which sweeps what the first left.
        assert_eq!(bench.run(sh("exit 6")).await.1.status, Status::Exited(6));
        assert_ne!(launchers(), vec![launcher]);
        assert_eq!(cgroups(launcher), Vec::<std::path::PathBuf>::new());
        until("left-over /tmp is gone", || {
            entries(&bench.state_dir().join("tmp")) + entries(&bench.state_dir().join("gone")) == 0
        })
        .await;
        // A call that waits when the launcher dies is the next launcher's.
        let stopped = launchers()[0];
        let pid = rustix::process::Pid::from_raw(stopped).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        let call = bench.driver.raise(sh("true"));
        let kill_later = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            kill(stopped);
        };
        let (answer, ()) = within(async { tokio::join!(call, kill_later) }).await;
        assert_eq!(within(answer.unwrap().exit).await.unwrap().status, Status::Exited(0));
        assert_eq!(bench.run(sh("exit 7")).await.1.status, Status::Exited(7));
    });
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub fn nothing_is_left_behind() {
    block(async {
        let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
        let descriptors = || entries(std::path::Path::new("/proc/self/fd"));
        let (mounts_before, descriptors_before) = (mounts(), descriptors());
        let bench = Bench::new();
        let launcher = launchers()[0];
        let launcher_fds = || entries(std::path::Path::new(&format!("/proc/{launcher}/fd")));
        bench.sh("true").await;
        // The next sandboxes' networks are made once there is nothing else to do.
        let mut own = (0, 0);
        while own != (cgroups(launcher).len(), launcher_fds()) {
            own = (cgroups(launcher).len(), launcher_fds());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Many at once; each leaves files, some deep, some in directories it has shut.
        let script = "mkdir -p /tmp/a/b/c; touch /tmp/a/b/c/f; chmod 0 /tmp/a/b; \
            dd if=/dev/zero of=/tmp/big bs=1M count=4 2>/dev/null";
        let raise = || {
            let driver = bench.driver.clone();
            tokio::spawn(async move { within(driver.raise(sh(script))).await.unwrap() })
        };
        let raising: Vec<_> = (0..40).map(|_| raise()).collect();
        let mut raised = Vec::new();
        for raising in raising {
            raised.push(raising.await.unwrap());
        }
        for (n, raised) in raised.into_iter().enumerate() {
            if n % 4 == 0 {
                raised.handle.kill();
            }
            within(raised.exit).await.unwrap();
        }
        let state = bench.state_dir();
        until("/tmp is removed", || entries(&state.join("tmp")) + entries(&state.join("gone")) == 0).await;
        until("no process", || children(launcher).is_empty()).await;
        until("no descriptor", || launcher_fds() == own.1).await;
        assert_eq!((cgroups(launcher).len(), mounts()), (own.0, mounts_before));
        // A living one goes with the driver.
        let living = bench.raise(sh("sleep 1000")).await;
        let Bench { driver, dir } = bench;
        tokio::task::block_in_place(|| drop(driver));
        assert_eq!(within(living.exit).await.unwrap().status, Status::Signalled(9));
        drop((living.output, living.frames, living.listeners, living.handle));
        assert_eq!((launchers().len(), cgroups(launcher).len(), mounts()), (0, 0, mounts_before));
        assert_eq!((entries(&state.join("tmp")), descriptors()), (0, descriptors_before));
        drop(dir);
    });
}

pub fn bad_messages_do_not_end_the_launcher() {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send};
    let dir = tempfile::tempdir().unwrap();
    let start = || -> (OwnedFd, std::process::Child) {
        let kind = (AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = rustix::net::socketpair(kind.0, kind.1, kind.2, None).unwrap();
        rustix::net::sockopt::set_socket_timeout(
            &ours,
            rustix::net::sockopt::Timeout::Recv,
            Some(crate::bench::PATIENCE),
        )
        .unwrap();
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.arg(LAUNCHER_ARG).stdin(theirs).stderr(std::process::Stdio::null());
        (ours, command.spawn().unwrap())
    };
    let ask = |socket: &OwnedFd, bytes: &[u8]| {
        send(socket, bytes, SendFlags::NOSIGNAL).unwrap();
        let mut buffer = vec![0; 1 << 17];
        let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty()).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    // No greeting: it says so and ends.
    let (socket, mut child) = start();
    assert!(ask(&socket, b"garbage").contains("Unfit"));
    assert!(!child.wait().unwrap().success());

    let (socket, mut child) = start();
    let hello = format!("{{\"Hello\":{{\"state_dir\":{:?}}}}}", dir.path());
    assert!(ask(&socket, hello.as_bytes()).contains("Ready"));
    for bad in [&b"garbage"[..], b"{}", b"\0\xff", b"{\"Raise\":{\"seq\":-1}}", &vec![b'x'; 150_000]] {
        assert!(ask(&socket, bad).contains("Warning"), "{}", bad.len());
    }
    let mut nested = b"{\"Raise\":".to_vec();
    nested.resize(100_000, b'[');
    assert!(ask(&socket, &nested).contains("Warning"));
    // What the node would have refused, the launcher refuses too: it trusts nobody.
    for spec in [Spec { id: "../../x".into(), ..sh("true") }, Spec { program: Program::Exec(Vec::new()), ..sh("true") }]
    {
        let request = serde_json::json!({ "Raise": { "seq": 1, "spec": spec } });
        assert!(ask(&socket, request.to_string().as_bytes()).contains("invalid"));
    }
    let huge = serde_json::json!({ "Raise": { "seq": u64::MAX, "spec": sh("true") } });
    assert!(ask(&socket, huge.to_string().as_bytes()).contains("Failed"));
    let good = serde_json::json!({ "Raise": { "seq": 2, "spec": sh("true") } });
    assert!(ask(&socket, good.to_string().as_bytes()).contains("Raised"));
    drop(socket);
    assert!(child.wait().unwrap().success(), "it ends when the node's socket does");
}
