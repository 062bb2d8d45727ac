//! Cells: what they may before and after they are told what they become.

use crate::bench::{Bench, block, children, launchers, python, read, until, within};
use sandbox::{Driver, Error, Mount, Program, Role, Spec, Status};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;

/// Says what it sees, waits for a line on its connection to the node, and says it again.
const WAITS: &str = r#"
import os, socket, ctypes
libc = ctypes.CDLL(None, use_errno=True)
def look():
    status = dict(l.split(":", 1) for l in open("/proc/self/status") if ":" in l)
    caps = {status[n].strip() for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    errno = lambda result: ctypes.get_errno() if result < 0 else 0
    tries = [errno(libc.mount(b"x", b"/tmp", b"tmpfs", 0, None)), errno(libc.unshare(0x10000000)), errno(libc.umount2(b"/var/task", 0))]
    init = []
    for secret in ("environ", "mem", "maps"):
        try: open("/proc/1/" + secret).read(1)
        except OSError as e: init.append(e.errno)
    print(os.getuid(), caps, status["NoNewPrivs"].strip(), tries, init, sorted(os.listdir("/var/task")), os.listdir("/opt"), flush=True)
look()
node = socket.create_connection(("127.0.0.1", 9001))
node.recv(1)
look()
try: open("/var/task/x", "w")
except OSError as e: print(e.errno)
print(open("/var/task/file").read(), flush=True)
"#;

fn cell(script: &str) -> Spec {
    Spec { role: Role::Cell, ..python(script) }
}

fn code(bench: &Bench, text: &str) -> Vec<Mount> {
    let dir: PathBuf = bench.dir.path().join(format!("code-{text}"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("file"), text).unwrap();
    let mount = |target: &str| Mount::new(&dir, target);
    vec![mount("/var/task"), mount("/opt")]
}

/// The program goes on.
fn tell(listeners: Vec<TcpListener>) {
    for listener in listeners {
        listener.set_nonblocking(false).unwrap();
        listener.accept().unwrap().0.write_all(b"x").unwrap();
    }
}

pub fn a_cell_sees_what_it_becomes_and_never_has_rights() {
    block(async {
        let bench = Bench::new();
        let raised = bench.raise(cell(WAITS)).await;
        within(bench.driver.specialise(&raised.id, code(&bench, "mine"))).await.unwrap();
        // It is an instance: nothing more can be made of it.
        let again = within(bench.driver.specialise(&raised.id, code(&bench, "other"))).await;
        assert_eq!(again, Err(Error::NoCell(raised.id.clone())));
        tell(raised.listeners);
        let text = within(read(raised.output)).await;
        let rights = "993 {'0000000000000000'} 1 [1, 1, 1] [13, 13, 13]";
        let (before, after) = (format!("{rights} [] []\n"), format!("{rights} ['file'] ['file']\n30\nmine\n"));
        // Whether it looked before it was specialised is a matter of time.
        assert!(text == format!("{before}{after}") || text.ends_with(&after), "{text}");
        assert_eq!(within(raised.exit).await.unwrap().status, Status::Exited(0));
    });
}

pub fn a_cells_init_has_no_rights_afterwards() {
    block(async {
        let bench = Bench::new();
        let raised = bench.raise(cell("import time; time.sleep(60)")).await;
        let init = children(launchers()[0])[0];
        let rights = || {
            let status = std::fs::read_to_string(format!("/proc/{init}/status")).unwrap();
            let of = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                line.trim().to_owned()
            };
            (of("CapEff:") != "0000000000000000", of("CapBnd:") != "0000000000000000", of("Seccomp:"))
        };
        assert_eq!(rights(), (true, true, "0".to_owned()));
        within(bench.driver.specialise(&raised.id, Vec::new())).await.unwrap();
        assert_eq!(rights(), (false, false, "2".to_owned()));
        raised.handle.kill();
        within(raised.exit).await.unwrap();
    });
}

pub fn what_cannot_be_specialised_says_why() {
    block(async {
        let bench = Bench::new();
        let check = async |id: &str, mounts: Vec<Mount>, expect: &str| {
            let error = within(bench.driver.specialise(id, mounts)).await.expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("nobody", Vec::new(), "no cell nobody").await;
        let instance = bench.raise(python("import time; time.sleep(60)")).await;
        check(&instance.id, Vec::new(), "no cell").await;
        let copied = Spec { program: Program::Copy { of: instance.id.clone() }, ..cell("") };
        let error = within(bench.driver.raise(copied)).await.unwrap_err().to_string();
        assert!(error.contains("a cell is executed"), "{error}");
        let mount = |source: &str, target: &str| Mount::new(source, target);
        for (mounts, expect) in [
            (mount("/no/where", "/opt"), "clone /no/where: No such file"),
            (mount("/etc", "/no/where"), "mount at /no/where: No such file"),
        ] {
            let raised = bench.raise(cell("import time; time.sleep(60)")).await;
            check(&raised.id, vec![mounts], expect).await;
            within(raised.exit).await.unwrap();
        }
        // One that is killed, whether that has been seen or not, and one whose program has ended.
        let killed = bench.raise(cell("import time; time.sleep(60)")).await;
        killed.handle.kill();
        assert!(within(bench.driver.specialise(&killed.id, Vec::new())).await.is_err());
        assert_eq!(within(killed.exit).await.unwrap().status, Status::Signalled(9));
        let ended = bench.raise(cell("raise SystemExit(3)")).await;
        assert_eq!(within(ended.exit).await.unwrap().status, Status::Exited(3));
        check(&ended.id, Vec::new(), "no cell").await;
        instance.handle.kill();
        within(instance.exit).await.unwrap();
        until("all ended", || children(launchers()[0]).is_empty()).await;
    });
}

pub fn a_cells_memory_is_limited() {
    block(async {
        let bench = Bench::new();
        let grow =
            "import socket\nsocket.create_connection(('127.0.0.1', 9001)).recv(1)\nb = bytearray(b'x' * (200 << 20))";
        let raised = bench.raise(cell(grow)).await;
        within(bench.driver.specialise(&raised.id, code(&bench, "big"))).await.unwrap();
        tell(raised.listeners);
        let exit = within(raised.exit).await.unwrap();
        assert!(exit.out_of_memory, "{exit:?}");
    });
}
