"""What the attacks are tried in: a node, a neighbour with secrets, and a host that plays every address beyond loopback."""

import contextlib
import glob
import importlib.util
import json
import os
import pathlib
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

from cases import TIERS

ROOT = pathlib.Path(__file__).resolve().parents[2]
_found = importlib.util.spec_from_file_location("blackbox", ROOT / "tests/blackbox/conftest.py")
blackbox = importlib.util.module_from_spec(_found)
_found.loader.exec_module(blackbox)
_found = importlib.util.spec_from_file_location("images", ROOT / "tests/blackbox/images.py")
images = importlib.util.module_from_spec(_found)
_found.loader.exec_module(images)
_found = importlib.util.spec_from_file_location("bombs", ROOT / "tests/blackbox/bombs.py")
bombs = importlib.util.module_from_spec(_found)
_found.loader.exec_module(bombs)
MARK = "WADI_ATTACKS_GUARD"
# The first of the host's users that sandboxes are.
SANDBOX_UID_MIN = 2_000_000

# A neighbour is slow only beyond this, whatever its usual time is: machines are shared.
FLOOR_MS = 60
# Where the processor is played (`tests/machine`), what takes seconds takes some more.
SLOWER = 8 if os.environ.get("MACHINE_ACCEL") == "tcg" else 1
# Every attacker runs what it is sent, with this before it.
PRELUDE = '''
import ctypes, errno, json, os, platform, signal, socket, stat, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"

def refused(attempt, *arguments):
    """What an attempt is refused with, by name; what it got, if it was not."""
    try:
        got = attempt(*arguments)
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))
    return "GOT %r" % (got,)

def call(x86, other, *arguments):
    """A system call by its number here; a failure raises."""
    ctypes.set_errno(0)
    plain = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    got = libc.syscall(ctypes.c_long(x86 if X86 else other), *plain)
    if got < 0:
        raise OSError(ctypes.get_errno(), "system call %d" % x86)
    return got

def reach(address, port, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as s:
        s.settimeout(2)
        s.connect((address, port))
        s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        return s.recv(100)

def tried(*ways):
    """What each of these ways to be reached is refused with; all at once, for silence takes its time."""
    found = [None] * len(ways)
    def take(n):
        found[n] = refused(reach, *ways[n])
    threads = [threading.Thread(target=take, args=(n,)) for n in range(len(ways))]
    for act in (threading.Thread.start, threading.Thread.join):
        for thread in threads: act(thread)
    return found

def ended(act):
    """How a child ends that acts: a signal's name, or what it returned."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(tell, str(act()).encode()[:500])
        finally:
            os._exit(0)
    os.close(tell)
    text = os.read(told, 1000).decode()
    os.close(told)
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else text
'''
ATTACKER = PRELUDE + '''
def handler(event, context):
    scope = dict(globals(), given=event["given"], context=context)
    exec("def attack():\\n" + "".join("    " + line + "\\n" for line in event["program"].splitlines()), scope)
    return scope["attack"]()
'''
NEIGHBOUR = '''
import ctypes, os, socket
SECRET = os.environ["SECRET"] + "-in-memory"
kept = []
def handler(event, context):
    if event == "hide":
        open("/tmp/secret", "w").write(SECRET)
        libc = ctypes.CDLL(None)
        kept.append(libc.shmget(0x77616469, 4096, 0o1666))
        for name in ("\\0neighbour", "/tmp/socket"):
            kept.append(socket.socket(socket.AF_UNIX))
            kept[-1].bind(name)
            kept[-1].listen()
    return event
'''
# Plays every address beyond loopback, in a network of its own. It knows a few names, says of any other that it is the
# internet's, and remembers what it was sent by whom.
TEST_HOST = '''
import ast, socket, struct, sys, threading
print("here", flush=True)
sys.stdin.readline()
seen, names = [], ast.literal_eval(sys.argv[1])
def name(text):
    return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".")) + b"\\0"
def dns(text, most):
    """An answer to a question for addresses; there is no other record."""
    end = text.index(0, 12) + 5
    asked, at = [], 12
    while text[at]:
        asked.append(text[at + 1:at + 1 + text[at]].decode().lower())
        at += 1 + text[at]
    alias, seconds, addresses = names.get(".".join(asked), ("", 0, ["192.0.2.1"]))
    if text[end - 4:end - 2] != b"\\0\\1": alias, addresses = "", []
    records, owner = [], b"\\xc0\\x0c"
    if alias:
        records.append(owner + struct.pack(">HHIH", 5, 1, seconds, len(name(alias))) + name(alias))
        owner = name(alias)
    records += [owner + struct.pack(">HHIH", 1, 1, seconds, 4) + socket.inet_aton(a) for a in addresses]
    whole = lambda flags, given: text[:2] + flags + struct.pack(">HHHH", 1, len(given), 0, 0) + text[12:end] + b"".join(given)
    answer = whole(b"\\x81\\x80", records)
    return answer if len(answer) <= most else whole(b"\\x83\\x80", [])
def echo(udp):
    while True:
        text, who = udp.recvfrom(2000)
        if text == b"what?":
            answer = repr(seen).encode()
        elif text[2:4] in (b"\\1\\0", b"\\1 "):
            answer = dns(text, 512)
        else:
            seen.append((who[0], text[:50]))
            answer = b"reached"
        udp.sendto(answer, who)
def accept(tcp):
    while True:
        s, _ = tcp.accept()
        if tcp.getsockname()[1] == 53:
            answer = dns(s.recv(2000)[2:], 65535)
            s.sendall(len(answer).to_bytes(2, "big") + answer)
        else:
            s.sendall(b"reached")
        s.close()
# An answer comes from the address that was asked.
for address in [(a, p) for a in sys.argv[2:] for p in (53, 123)]:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(address)
    threading.Thread(target=echo, args=(udp,), daemon=True).start()
for port in (53, 80, 8080):
    threading.Thread(target=accept, args=(socket.create_server(("0.0.0.0", port), backlog=128),), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
'''
METADATA, PRIVATE, INTERNET = "169.254.169.254", "10.99.0.2", "192.0.2.1"
# This host's own address in the test host's network, and the networks that functions may name.
OWN = "10.99.0.1"
# Addresses that names stand for: a listed one, one that no listed name leads to, one for a second, one by another name.
NAMED, UNNAMED, BRIEF, ALIASED = (f"198.51.100.{n}" for n in (1, 2, 3, 4))
# By name: another name of it, seconds, addresses.
NAMES = {
    "api.example": ("", 60, [NAMED]),
    "other.example": ("", 60, [UNNAMED]),
    "brief.wild.example": ("", 1, [BRIEF]),
    "alias.wild.example": ("edge.elsewhere.example", 60, [ALIASED]),
    "edge.elsewhere.example": ("", 60, [ALIASED]),
    "db.wild.example": ("", 60, [PRIVATE]),
    "rebound.wild.example": ("", 60, [METADATA, OWN, "127.0.0.1", "10.99.0.3", "0.0.0.0"]),
    "sneaking.wild.example": ("metadata.elsewhere.example", 60, [METADATA]),
    "huge.wild.example": ("", 60, [f"203.0.113.{n}" for n in range(1, 255)] * 8),
}
NETWORKS = f'''
[networks.web]
internet = true

[networks.listed]
platform = false
allow = ["{PRIVATE} tcp 80", "{INTERNET} udp 53", "{OWN} tcp 7777"]

[networks.named]
platform = false
allow = ["api.example tcp 80", "*.wild.example tcp 80", "{PRIVATE} tcp 8080"]
'''


@contextlib.contextmanager
def test_host():
    run = lambda *words: subprocess.run(words, check=True)
    process = subprocess.Popen(["unshare", "--net", sys.executable, "-c", TEST_HOST, repr(NAMES), METADATA, PRIVATE, INTERNET], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        # Whom the node asks for names: the test host.
        resolver = pathlib.Path(os.environ["TMPDIR"], "resolv.conf")
        resolver.write_text(f"nameserver {INTERNET}\n")
        run("mount", "--bind", str(resolver), os.path.realpath("/etc/resolv.conf"))
        its = ("nsenter", "-t", str(process.pid), "-n", "ip")
        run("ip", "link", "add", "beyond", "type", "veth", "peer", "name", "here", "netns", str(process.pid))
        run("ip", "addr", "add", f"{OWN}/24", "dev", "beyond")
        run("ip", "link", "set", "beyond", "up")
        run(*its, "link", "set", "lo", "up")
        run(*its, "addr", "add", f"{PRIVATE}/24", "dev", "here")
        for address in (METADATA, INTERNET, NAMED, UNNAMED, BRIEF, ALIASED):
            run(*its, "addr", "add", f"{address}/32", "dev", "lo")
        run(*its, "link", "set", "here", "up")
        run("ip", "route", "add", "default", "via", PRIVATE)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def tiers():
    """The walls beside our own that this machine has a runtime for, and that."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    found = {tier: shutil.which(runtime, path=path) for tier, runtime in TIERS.items()}
    return {tier: program for tier, program in found.items() if program}


def uplink():
    """The host's own address on the way to the node's router."""
    lines = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next(line.split()[3].split("/")[0] for line in lines if line.split()[1].startswith("wadi-"))


def nodes_in_the_host():
    """What nodes have in the host's network: devices, tables, and whether it forwards."""
    devices = [d for d in os.listdir("/proc/sys/net/ipv4/conf") if d.startswith("wadi-")]
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.split("\n")
    forwards = pathlib.Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
    return sorted(devices), sorted(t.split()[-1] for t in tables if t.strip()), forwards


def left_in_the_machine():
    """What outlives a node if anything does: namespaces with somebody in them, mounts, and files of sandboxes' users, or called
    after a node, where anybody may write."""
    namespaces = set()
    for link in glob.glob("/proc/[0-9]*/ns/*"):
        with contextlib.suppress(OSError):
            namespaces.add(os.readlink(link))
    files = set()
    for place in ("/run", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"):
        with contextlib.suppress(OSError):
            entries = [e for e in os.scandir(place) if e.stat(follow_symlinks=False).st_uid >= SANDBOX_UID_MIN or e.name.startswith("wadi-forwarding")]
            files.update(e.path for e in entries)
    return namespaces, sorted(l.split()[1] for l in open("/proc/mounts")), files


class Neighbour:
    """Asks the neighbour again and again, and knows how long it takes."""

    def __init__(self, world):
        self.lam, self.name = world.node.client("lambda", read_timeout=60), world.neighbour
        self.times, self.calm, self.stop = [], [], threading.Event()

    def ask(self):
        began = time.monotonic()
        answer, _ = blackbox.invoke(self.lam, self.name, len(self.times))
        assert answer == len(self.times), answer
        self.times.append((time.monotonic() - began) * 1000)

    def usual(self, calls=5):
        """Asked while nobody attacks; of the last forty such calls."""
        for _ in range(calls):
            self.ask()
        self.calm = (self.calm + self.times[-calls:])[-40:]
        return statistics.median(self.calm)

    def go_on(self):
        while not self.stop.is_set():
            self.ask()
            self.stop.wait(0.02)

    @contextlib.contextmanager
    def watched(self, usual_ms):
        """While the block runs, and for a few calls after it, at least half of the answers take no more than twice the usual."""
        failures = []

        def work():
            try:
                self.go_on()
            except Exception as e:
                failures.append(e)

        first = len(self.times)
        self.stop.clear()
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join(60)
        assert not failures, f"the neighbour does not answer: {failures[0]}"
        while len(self.times) - first < 5:
            self.ask()
        took = statistics.median(self.times[first:])
        allowed = 2 * max(usual_ms, FLOOR_MS / 2) * SLOWER
        assert took <= allowed, f"the neighbour took {took:.0f} ms, and {allowed:.0f} would be twice its usual time"


class World:
    """All of it, for one node."""

    def __init__(self, directory):
        self.canary = f"canary-{secrets.token_hex(8)}"
        oci = "".join(f'{tier} = "{program}"\n' for tier, program in tiers().items())
        self.node = blackbox.Node(directory / "data", settings=f"{NETWORKS}\n[oci]\n{oci}")
        self.neighbour = "neighbour"
        self.pids = set()

    def start(self):
        self.node.start()
        self.lam = self.node.client("lambda", read_timeout=120)
        self.make(self.neighbour, NEIGHBOUR, MemorySize=1769, Timeout=30, Environment={"Variables": {"SECRET": self.canary}})
        assert self.invoke(self.neighbour, "hide")[0] == "hide"
        self.make("copied", ATTACKER, MemorySize=512, Timeout=20 * SLOWER)
        # Variables that change how an interpreter starts are none that a copy could have.
        self.make("plain", ATTACKER, MemorySize=512, Timeout=20 * SLOWER, Environment={"Variables": {"PYTHONNOUSERSITE": "1"}})
        for tier in tiers():
            self.make(tier, ATTACKER, MemorySize=512, Timeout=20 * SLOWER, Tags={"wadi:isolation": tier})
        for name, network, more in (
            ("web", "web", {}),
            ("web-plain", "web", {"Environment": {"Variables": {"PYTHONNOUSERSITE": "1"}}}),
            ("listed", "listed", {}),
            ("named", "named", {}),
            ("alone", "none", {}),
        ):
            self.make(name, ATTACKER, MemorySize=512, Timeout=20 * SLOWER, VpcConfig={"SecurityGroupIds": [f"sg-{network}"]}, **more)
        self.hosts_own()

    def hosts_own(self):
        """The host's secrets and listeners, each of which an attack looks for."""
        self.server = socket.create_server(("127.0.0.1", 0))
        # On every address of the host: one that a list names, and one that none does.
        self.open = [socket.create_server(("0.0.0.0", port), backlog=128) for port in (7777, 7778)]
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind("/run/canary.sock")
        self.unix.listen()
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind("\0canary")
        self.abstract.listen()
        (self.node.data_dir.parent / "host-secret").write_text(self.canary)
        self.given = {
            "canary": self.canary, "data_dir": str(self.node.data_dir), "host_secret": str(self.node.data_dir.parent / "host-secret"),
            "host_port": self.server.getsockname()[1], "node_port": self.node.port, "node_pid": self.node.process.pid,
            "uid": os.getuid(), "metadata": METADATA, "private": PRIVATE, "internet": INTERNET, "own": OWN,
            "uplink": uplink(), "named": NAMED, "unnamed": UNNAMED, "brief": BRIEF, "aliased": ALIASED,
        }

    def make(self, name, code, wait=True, **config):
        config = {"Runtime": blackbox.RUNTIME, "Handler": "app.handler", "Role": blackbox.ROLE, **config}
        code = blackbox.package(app=code) if isinstance(code, str) else code
        self.lam.create_function(FunctionName=name, Code={"ZipFile": code}, **config)
        if wait:
            self.lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        return name

    def invoke(self, name, payload, **kw):
        return blackbox.invoke(self.lam, name, payload, **kw)

    def run(self, name, program):
        """What a program says that runs as this function; the error's type, where it ended otherwise."""
        answer, response = self.invoke(name, {"program": program, "given": self.given})
        if response.get("FunctionError"):
            return [answer["errorType"] if answer["errorType"].startswith(("Runtime.", "Sandbox.", "Function.")) else str(answer)]
        return answer

    def own(self, program, name="own", **config):
        """The same for a function of its own, which is gone afterwards."""
        self.make(name, ATTACKER, **{"MemorySize": 256, **config, "Timeout": config.get("Timeout", 3) * SLOWER})
        try:
            return self.run(name, program)
        finally:
            self.pids.update(blackbox.process_tree(self.node.process.pid))
            self.lam.delete_function(FunctionName=name)


def named(mark):
    """The processes of the whole guard, whoever's they are, that have this name."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == mark:
                found.append(int(pid))
    return found
