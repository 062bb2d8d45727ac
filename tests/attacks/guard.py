"""The outer guard: runs a command where whatever gets through does no harm, and says afterwards what it left behind.

    python tests/attacks/guard.py COMMAND...

The command gets mount, pid, net, IPC and host name namespaces of its own, control groups with a limit on memory and
processes, and a small disk of its own as its temporary directory. Needs root; without, the command runs as it is, and the
attacks skip themselves."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

MEMORY_BYTES_MAX = 6 << 30
PIDS_MAX = 6000
DISK_BYTES = 6 << 30
CGROUPS = pathlib.Path("/sys/fs/cgroup")
# Those that a node nests its own groups in: left out, it would find and sweep those of the machine's other nodes.
V1 = ("memory", "pids", "cpu", "cpuacct")
MARK = "WADI_ATTACKS_GUARD"


def own_groups():
    """Where this process is in each hierarchy: directory by controller, v2 as ``""``."""
    found = {}
    mounts = [line.split() for line in open("/proc/self/mountinfo")]
    for line in open("/proc/self/cgroup"):
        _, names, path = line.rstrip("\n").split(":", 2)
        for mount in mounts:
            root, at, kind, options = mount[3], mount[4], mount[mount.index("-") + 1], mount[-1].split(",")
            for name in names.split(","):
                if (kind, name) == ("cgroup2", "") or (kind == "cgroup" and name in options):
                    found[name] = pathlib.Path(at) / os.path.relpath(path, root)
    return found


def hand_down(group):
    for controller in ("memory", "pids", "cpu"):
        if controller in (group / "cgroup.controllers").read_text().split():
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def unified_group(own, name):
    """A group of v2 with controllers: below this process's own, which it refuses where that has processes, or else the topmost."""
    for parent in (own, CGROUPS):
        with contextlib.suppress(OSError):
            hand_down(parent)
            (parent / name).mkdir()
            return parent / name
    sys.exit("guard: no group with controllers to be had: run this from a cgroup without processes (systemd-run --scope -p Delegate=yes)")


def make_groups(name):
    """The guard's groups, and the one directory in which the node is to be; both limited."""
    memory = min(MEMORY_BYTES_MAX, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 6 // 10)
    own, made = own_groups(), {}
    unified = own.pop("", None)
    if unified and {"memory", "pids"} <= set((unified / "cgroup.controllers").read_text().split()):
        top = unified_group(unified, name)
        (top / "memory.max").write_text(str(memory))
        (top / "pids.max").write_text(str(PIDS_MAX))
        hand_down(top)
        for group in (top / "tests", top / "node"):
            group.mkdir()
        return {"": top}
    for controller in V1:
        if controller in own:
            made[controller] = own[controller] / name
            made[controller].mkdir()
    if not {"memory", "pids"} <= made.keys():
        sys.exit("guard: no control groups for memory and pids on this machine")
    (made["memory"] / "memory.limit_in_bytes").write_text(str(memory))
    (made["pids"] / "pids.max").write_text(str(PIDS_MAX))
    return made


def left_of(groups):
    return [d for group in groups.values() for d, *_ in os.walk(group, topdown=False) if pathlib.Path(d) != group]


def remove_groups(groups):
    for group in groups.values():
        for directory, *_ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def outer(command):
    name = f"attacks-{os.getpid()}"
    work = pathlib.Path(tempfile.mkdtemp(prefix="wadi-attacks-"))
    groups = make_groups(name)

    def join():
        # Ends with this process, whatever happens to it; and all that it guards with it (`--kill-child`).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        for controller, group in groups.items():
            (group / ("tests" if controller == "" else ".") / "cgroup.procs").write_text("0")

    env = {**os.environ, MARK: str(work), "TMPDIR": str(work), "HOME": str(work)}
    if "" in groups:
        # v2 has the node in a group without processes beside its children's.
        wrapper = work / "wadi"
        binary = env.get("WADI_BINARY") or str(pathlib.Path(__file__).resolve().parents[2] / "target/debug/wadi")
        wrapper.write_text(f"#!/bin/sh\necho $$ > {groups['']}/node/cgroup.procs\nexec {binary} \"$@\"\n")
        wrapper.chmod(0o755)
        env["WADI_BINARY"] = str(wrapper)
    inside = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--net",
              "--ipc", "--uts", sys.executable, __file__, "--inside", *command]
    process = subprocess.Popen(inside, env=env, preexec_fn=join)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: process.kill())
    code = process.wait()
    # The namespaces are gone with their first process, and with them every process, mount and address in them.
    left = [d for d in left_of(groups) if pathlib.Path(d).name not in ("tests", "node")]
    left += [l.split()[1] for l in open("/proc/mounts") if str(work) in l]
    remove_groups(groups)
    left += [str(g) for g in groups.values() if g.exists()]
    shutil.rmtree(work, ignore_errors=True)
    if left:
        print("guard: left behind:", *left, sep="\n  ")
        code = code or 1
    return code


def inside(command):
    """The first process of the namespaces: prepares them, runs the command, buries orphans, and ends everything."""
    work = pathlib.Path(os.environ[MARK])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", "/run"], check=True)
    disk = work / "disk"
    disk.mkdir()
    image = work / "disk.img"
    with open(image, "wb") as f:
        f.truncate(DISK_BYTES)
    made = shutil.which("mkfs.ext4") and subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", str(image)]).returncode == 0
    if not made or subprocess.run(["mount", "-o", "loop", str(image), str(disk)], capture_output=True).returncode:
        print("guard: no disk of its own to be had (mkfs.ext4, a loop device): the attacks fill", work)
    os.environ["TMPDIR"] = str(disk)
    child = subprocess.Popen(command)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


def build_component():
    """The component that attacks, which nobody could build inside: the compiler lies in somebody's home."""
    root = pathlib.Path(__file__).resolve().parents[2]
    subprocess.run(["cargo", "build", "--quiet", "--release", "--target", "wasm32-wasip2", "--target-dir", str(root / "target/guest")],
                   cwd=root / "crates/sandbox-wasm/tests/guest", check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(inside(sys.argv[2:]))
    if os.geteuid() != 0:
        sys.exit(subprocess.run(sys.argv[1:]).returncode)
    build_component()
    sys.exit(outer(sys.argv[1:]))
