"""Networks of a test's own: namespaces in which nobody else is, so that any address may be played there. They need root."""

import contextlib
import ctypes
import os
import subprocess

from conftest import eventually

NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def path(pid):
    return f"/proc/{pid}/ns/net"


def ip(pid, *words):
    """`ip` in the network of a process."""
    done = subprocess.run([*entering(pid), "ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def entering(pid):
    """What runs a program in the network of a process."""
    return ["nsenter", f"--net={path(pid)}"]


@contextlib.contextmanager
def held(*addresses):
    """A network with nothing but loopback, which has these addresses too; the process that holds it."""
    holder = subprocess.Popen(["unshare", "-n", "sleep", "600"])
    try:
        eventually(lambda: os.readlink(path(holder.pid)) != os.readlink(path("self")))
        ip(holder.pid, "link", "set", "lo", "up")
        for address in addresses:
            ip(holder.pid, "address", "add", f"{address}/32", "dev", "lo")
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


@contextlib.contextmanager
def inside(pid):
    """This thread, and what it starts, in the network of a process."""
    home, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(path(pid), os.O_RDONLY)
    try:
        enter(there)
        yield
    finally:
        enter(home)
        os.close(home)
        os.close(there)


def enter(namespace):
    if LIBC.setns(namespace, NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def join(one, other, of_one="10.9.0.1", of_other="10.9.0.2"):
    """A cable between the networks of two processes, with an address at each end."""
    ip(one, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(other))
    for pid, address in ((one, of_one), (other, of_other)):
        ip(pid, "address", "add", f"{address}/24", "dev", "cable")
        ip(pid, "link", "set", "cable", "up")
