"""Runs tests on another kernel, in a virtual machine: on control groups of version 2 alone, whatever this host has.

    python tests/machine/run.py [OPTIONS] [-- COMMAND...]

The machine's root is this host's file system, which it cannot write: what it writes lies on a disk of its own that goes with it.
It has no network, two processors and a bounded time. COMMAND runs in the repository as root; without one, `suite.sh` does.
Options: `--help`. The exit status is the command's; what its kernel said is in `target/machine/kernel.log`."""

import argparse
import ctypes
import lzma
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = ROOT / "target/machine"
LOG = TARGET / "kernel.log"
DISK_BYTES = 12 << 30
# Within this the kernel says its first word, however slow the machine.
START_SECONDS_MAX = 60
# What the machine needs to find its root; modules of the kernel's, or built in. ext4 wants the first and does not say so.
MODULES = ("crc32c_generic", "virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "ext4", "overlay")
DEBIAN = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def arguments():
    parse = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parse.add_argument("--kernel", type=pathlib.Path, default=os.environ.get("WADI_TEST_KERNEL"), metavar="PATH",
                       help="a Debian kernel package, or a directory with boot/vmlinuz-* and lib/modules (WADI_TEST_KERNEL); "
                            "otherwise linux-image-amd64 is fetched with apt-get")
    parse.add_argument("--suite", help="fetch it from this suite of Debian's, like bookworm-backports, in place of this host's own")
    parse.add_argument("--accel", choices=("kvm", "tcg"), default="kvm", help="tcg: a processor played by qemu; many times slower")
    parse.add_argument("--minutes", type=int, default=240, help="after so long the machine is ended")
    parse.add_argument("--memory", type=int, default=6144, metavar="MIB", help="the machine's memory")
    parse.add_argument("command", nargs="*", default=[str(HERE / "suite.sh")], help="what to run")
    return parse.parse_args()


def missing(options):
    """What this host lacks, in words a person can act on."""
    programs = {"qemu-system-x86_64": "Debian: qemu-system-x86", "busybox": "Debian: busybox-static", "mkfs.ext4": "Debian: e2fsprogs"}
    if not options.kernel:
        programs |= {"apt-get": "or name a kernel: --kernel", "dpkg": "or name a kernel: --kernel"}
    lacking = [f"{program} ({hint})" for program, hint in programs.items() if not shutil.which(program)]
    if options.accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        lacking.append("/dev/kvm (virtualisation, and the right to use it; or --accel tcg, which is slow)")
    return lacking


def fetch(suite):
    """The directory of the kernel that Debian has now, fetched unless it is there already."""
    apt, pinned = [], TARGET / f"apt-{suite}"
    if suite:
        (pinned / "lists/partial").mkdir(parents=True, exist_ok=True)
        (pinned / "sources.list").write_text(f"deb [signed-by={KEYRING}] {DEBIAN} {suite} main\n")
        apt = ["-o", f"Dir::Etc::sourcelist={pinned}/sources.list", "-o", "Dir::Etc::sourceparts=-",
               "-o", f"Dir::State::Lists={pinned}/lists", "-o", f"Dir::Cache={pinned}"]
        subprocess.run(["apt-get", *apt, "update", "-qq"], check=True)
    said = subprocess.run(["apt-cache", *apt, "depends", "linux-image-amd64"], capture_output=True, text=True, check=True).stdout
    name = next((line.split()[1] for line in said.splitlines() if "Depends: linux-image-" in line), None)
    if not name:
        sys.exit("machine: apt knows no linux-image-amd64: run apt-get update, or name a kernel with --kernel")
    if not (TARGET / name).is_dir():
        subprocess.run(["apt-get", *apt, "-o", "APT::Sandbox::User=root", "download", "-qq", name], cwd=TARGET, check=True)
        package = next(TARGET.glob(f"{name}_*.deb"))
        unpack(package)
        package.unlink()
    return TARGET / name


def unpack(package):
    """A package's files at `target/machine/NAME`, its modules as plain files."""
    at = TARGET / package.name.split("_")[0]
    if not at.is_dir():
        with tempfile.TemporaryDirectory(dir=TARGET) as place:
            files = pathlib.Path(place) / "files"
            subprocess.run(["dpkg", "-x", package, files], check=True)
            for module in files.rglob("*.ko.xz"):
                module.with_suffix("").write_bytes(lzma.decompress(module.read_bytes()))
                module.unlink()
            files.rename(at)
    return at


class Kernel:
    """A kernel's image and modules, in the places where packages have them."""

    def __init__(self, directory):
        images = sorted(directory.glob("boot/vmlinuz-*"), key=os.path.getmtime)
        if not images:
            sys.exit(f"machine: there is no boot/vmlinuz-* in {directory}")
        self.image = images[-1]
        self.version = self.image.name.split("-", 1)[1]
        self.modules = next((d for d in (directory / p / self.version for p in ("lib/modules", "usr/lib/modules")) if d.is_dir()), None)
        if not self.modules:
            sys.exit(f"machine: {directory} has {self.image.name}, but not its modules")
        if not (self.modules / "modules.dep").exists():
            base = self.modules.parents[2]
            subprocess.run(["busybox", "depmod", "-b", base, self.version], check=True)

    def needed(self):
        """Files of `MODULES` and of what those depend on, in the order to load them in."""
        lines = (line.split(":") for line in (self.modules / "modules.dep").read_text().splitlines())
        depends = {path: rest.split() for path, rest in lines}
        by_name = {pathlib.Path(path).name.split(".")[0].replace("-", "_"): path for path in depends}
        order = []

        def load(path):
            for other in reversed(depends[path]):
                load(other)
            if path not in order:
                order.append(path)

        for name in MODULES:
            if name in by_name:
                load(by_name[name])
        return [self.modules / path for path in order]


def first_root(kernel, place):
    """The archive that the kernel unpacks and starts from: busybox, the modules, and `early.sh`."""
    at = place / "first"
    for name in ("bin", "dev", "proc", "sys", "host", "own", "new", "modules"):
        (at / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), at / "bin/busybox")
    shutil.copy(HERE / "early.sh", at / "init")
    (at / "init").chmod(0o755)
    for n, module in enumerate(kernel.needed()):
        shutil.copy(module, at / f"modules/{n:02}-{module.name}")
    names = "\n".join(str(path.relative_to(at)) for path in sorted(at.rglob("*")))
    archive = place / "first.cpio"
    with open(archive, "wb") as out:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], input=names.encode(), stdout=out, stderr=subprocess.DEVNULL, cwd=at, check=True)
    return archive


def job(options, kernel, place):
    """What the machine is to do, as a script that it reads from its root."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "WADI_BINARY") if name in os.environ}
    keep |= {"TMPDIR": "/machine", "MACHINE_ACCEL": options.accel}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in keep.items()]
    lines += [f"cd {shlex.quote(str(ROOT))}", "exec " + shlex.join(options.command)]
    (place / "job.sh").write_text("\n".join(lines) + "\n")
    words = {"ROOT": ROOT, "PLACE": place, "MODULES": kernel.modules}
    (place / "words.sh").write_text("".join(f"{name}={shlex.quote(str(value))}\n" for name, value in words.items()))


def machine(options, kernel, place):
    """The command line of the machine."""
    disk = place / "disk"
    with open(disk, "wb") as f:
        f.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", disk], check=True)
    job(options, kernel, place)
    processor = ["-accel", "kvm", "-cpu", "host"] if options.accel == "kvm" else ["-accel", "tcg,thread=multi", "-cpu", "max"]
    append = f"console=ttyS0 panic=-1 wadi.place={place}"
    return ["qemu-system-x86_64", "-machine", "q35", *processor, "-smp", "2", "-m", str(options.memory),
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none",
            "-kernel", kernel.image, "-initrd", first_root(kernel, place), "-append", append,
            "-serial", f"file:{LOG}",
            "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
            "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe",
            "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
            "-chardev", "stdio,id=out,signal=off", "-device", "virtserialport,chardev=out,nr=1",
            "-chardev", f"file,id=status,path={place}/status", "-device", "virtserialport,chardev=status,nr=2"]


def run(command, options):
    """Runs the machine, and ends it with us, when we are interrupted, and after its time; whether it ended by itself."""
    die_with_us = lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    # A pipe that stays open: to the machine, an end of what could be read would be the end of the port.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, preexec_fn=die_with_us)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: process.kill())
    started = lambda: LOG.exists() and LOG.stat().st_size > 0
    for seconds, wrong in ((START_SECONDS_MAX, lambda: not started()), (options.minutes * 60, lambda: True)):
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            if wrong():
                process.kill()
                process.wait()
                print(f"machine: {'not done' if started() else 'its kernel has not begun'} after {seconds} seconds; ended")
                if not started() and options.accel == "kvm":
                    print("machine: a KVM that is itself in a virtual machine may run no such kernel: try --accel tcg")
                return False


def main():
    options = arguments()
    if lacking := missing(options):
        sys.exit("machine: this needs " + " and ".join(lacking))
    TARGET.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    given = options.kernel and options.kernel.resolve()
    kernel = Kernel((given if given.is_dir() else unpack(given)) if given else fetch(options.suite))
    print(f"machine: Linux {kernel.version}", flush=True)
    with tempfile.TemporaryDirectory(dir=TARGET, prefix="run-") as place:
        place = pathlib.Path(place)
        ended = run(machine(options, kernel, place), options)
        status = (place / "status").read_text().strip() if (place / "status").exists() else ""
    if not ended or not status.isdigit():
        sys.exit(f"machine: it ended without a status; what its kernel said is in {LOG}")
    sys.exit(int(status))


if __name__ == "__main__":
    main()
