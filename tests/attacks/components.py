"""Attacks by WebAssembly components on the tier `wasm-process`: what they ask of the host for, and what the process around them
may do should they ever get into it."""

import os
import pathlib
import signal
import subprocess

from deeds import ENDED, TIMED_OUT, deed, zipped
from world import ROOT, SANDBOX_UID_MIN, blackbox, bombs

# The guest of the black-box tests, which does what the path of a request says; the guard has built it.
COMPONENT = ROOT / "target/guest/wasm32-wasip2/release/http.wasm"
# How WASI words what is refused: a request, a connection, a file that there is no way to.
DENIED = ("HttpRequestDenied", "permission denied")
NOWHERE = ("uncategorized error", "entity not found", "permission denied", "read-only filesystem or storage medium", "operation not supported", "not a directory")


def asked(world, *asks, files=(), during=None, **config):
    """What a component says to each (path, query); the error's type, where it ended otherwise."""
    config = {"Runtime": "provided.al2023", "Handler": "bootstrap.wasm", "Tags": {"wadi:isolation": "wasm-process"}, "MemorySize": 256, "Timeout": 20, **config}
    world.make("component", zipped(("bootstrap.wasm", COMPONENT.read_bytes()), *files), **config)
    try:
        return [said(world, *ask) for ask in asks] + (during() if during else [])
    finally:
        world.pids.update(blackbox.process_tree(world.node.process.pid))
        world.lam.delete_function(FunctionName="component")


def said(world, path, query=""):
    event = {"version": "2.0", "rawPath": path, "rawQueryString": str(query), "headers": {}, "requestContext": {"http": {"method": "GET"}}}
    got, _ = world.invoke("component", event)
    text = got["errorType"] if "errorType" in got else got["body"]
    return next((word for word in DENIED if word in text), text)


def ways_to(*places):
    return [(path, place) for place in places for path in ("/fetch", "/connect")]


@deed("wasm-host-loopback", "components", *DENIED)
def host_loopback(world):
    return asked(world, *ways_to(*(f"127.0.0.1:{world.given[port]}" for port in ("host_port", "node_port")), "[::1]:80"))


# A name is not even resolved, which WASI has no word for.
@deed("wasm-runtime-api", "components", "uncategorized error", *DENIED)
def runtime_api(world):
    return asked(world, *ways_to("127.0.0.1:9001", "localhost:9001", "0.0.0.0:9001"))


@deed("wasm-metadata", "components", *DENIED)
def metadata(world):
    return asked(world, *ways_to(f"{world.given['metadata']}:80"))


@deed("wasm-private-range", "components", *DENIED)
def private_range(world):
    return asked(world, *ways_to(f"{world.given['private']}:80", f"{world.given['internet']}:80"))


@deed("wasm-ways-out", "components", "GOT a connection", *DENIED)
def ways_out(world):
    """In a network that leads out, the internet is reached and nothing that is near."""
    near = [f"{world.given[what]}:80" for what in ("metadata", "private")] + [f"{world.given['own']}:7778", f"127.0.0.1:{world.given['host_port']}"]
    reached, *others = asked(world, ("/connect", f"{world.given['internet']}:80"), *ways_to(*near), VpcConfig={"SecurityGroupIds": ["sg-web"]})
    return [reached if reached.startswith("GOT") else f"not even the internet: {reached}", *(f"REACHED {text}" if text.startswith("GOT") else text for text in others)]


@deed("wasm-files", "components", *NOWHERE)
def files(world):
    places = ("/", "/etc", "/tmp", "/proc", "/var/runtime", "/var/task/..", "../../..", world.given["data_dir"])
    lists = [("/list", place) for place in places]
    writes = [("/write", place) for place in ("/var/task/x", "/tmp/x", "/var/runtime/component", "x")]
    return asked(world, *lists, *writes, files=[("data", "x")])


@deed("wasm-memory", "components", "Runtime.OutOfMemory")
def memory(world):
    return asked(world, ("/grow",))


@deed("wasm-memory-of-the-host", "components", "Runtime.OutOfMemory", *ENDED, "bounded")
def memory_of_the_host(world):
    """What the host holds for a component is the worker's memory, which is bounded as all of a sandbox's is."""
    before = resident(world.node.process.pid)
    text, = asked(world, ("/hoard",))
    grown = resident(world.node.process.pid) - before
    return ["bounded" if text.startswith("refused at ") else text, "bounded" if grown < 64 << 20 else f"GOT {grown} bytes of the node"]


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@deed("wasm-endless", "components", TIMED_OUT)
def endless(world):
    return asked(world, ("/loop",), ("/loop",), Timeout=2)


@deed("wasm-log", "components", "ok", TIMED_OUT)
def log(world):
    return asked(world, ("/flood", 20_000), Timeout=15)


PRELOADED = """
#include <unistd.h>
__attribute__((constructor)) static void in(void) { write(1, "GOT into the process\\n", 21); }
"""


@deed("wasm-native-code", "components", "not loaded")
def native_code(world):
    """A function's environment and package bring no program's code into the process."""
    library = world.node.data_dir.parent / "own.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-o", str(library), "-"], input=PRELOADED.encode(), check=True)

    def loaded():
        maps = [pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in workers(world)]
        return ["not loaded" if maps and not any("own.so" in text for text in maps) else f"GOT {maps}"]

    steering = {"LD_PRELOAD": "/var/task/own.so", "LD_AUDIT": "/var/task/own.so", "LD_LIBRARY_PATH": "/var/task"}
    got = asked(world, ("/env", "LD_PRELOAD"), files=[("own.so", library.read_bytes(), 0o100755)], during=loaded, Environment={"Variables": steering})
    assert got.pop(0) == "/var/task/own.so"
    return got


@deed("wasm-worker", "components", "held")
def worker(world):
    """The process around a component has no more than any function's has."""
    return asked(world, ("/env", "X"), during=lambda: [held(world, pid) for pid in workers(world)])[1:]


@deed("wasm-compile-bomb", "components", "compiling it takes more than", "bounded")
def compile_bomb(world):
    """What takes all memory that compiling has takes none of the node's."""
    before, most = resident(world.node.process.pid), 0
    code = {"ZipFile": zipped(("bootstrap.wasm", bombs.of_memory()))}
    config = {"Runtime": "provided.al2023", "Handler": "bootstrap.wasm", "Tags": {"wadi:isolation": "wasm-process"}}
    world.lam.create_function(FunctionName="bomb", Role=blackbox.ROLE, Code=code, **config)
    try:
        while (got := world.lam.get_function_configuration(FunctionName="bomb"))["State"] == "Pending":
            most = max(most, resident(world.node.process.pid))
    finally:
        world.lam.delete_function(FunctionName="bomb")
    said = got.get("StateReason", got["State"])
    word = "compiling it takes more than"
    return [word if word in said else f"GOT {said}", "bounded" if most - before < 64 << 20 else f"GOT {most - before} bytes of the node"]


@deed("wasm-compiler", "components", "held")
def compiler(world):
    """The process that compiles reaches nothing, becomes nobody, and is in sight of no file."""
    code = {"ZipFile": zipped(("bootstrap.wasm", bombs.of_time()))}
    config = {"Runtime": "provided.al2023", "Handler": "bootstrap.wasm", "Tags": {"wadi:isolation": "wasm-process"}}
    world.lam.create_function(FunctionName="bomb", Role=blackbox.ROLE, Code=code, **config)
    try:
        pid, = blackbox.eventually(lambda: below(world, b"component-compiler"))
        read = lambda name: pathlib.Path(f"/proc/{pid}/{name}").read_text()
        blackbox.eventually(lambda: "Seccomp:\t2" in read("status"))
        status = dict(line.split(":\t", 1) for line in read("status").splitlines() if ":\t" in line)
        limits = {line[:26].strip(): line[26:47].strip() for line in read("limits").splitlines()}
        files = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
        wrong = {
            "capabilities": [name for name in ("CapEff", "CapPrm", "CapAmb") if int(status[name], 16)],
            "new rights": status["NoNewPrivs"] != "1",
            "the host's user": [uid for uid in status["Uid"].split() if int(uid) < SANDBOX_UID_MIN],
            "memory without a bound": limits["Max data size"] == "unlimited" or limits["Max address space"] == "unlimited",
            "time without a bound": limits["Max cpu time"] == "unlimited",
            "files": [name for name in files if not name.startswith(("pipe:", "/dev/null")) and ".part" not in name],
        }
        os.kill(pid, signal.SIGKILL)
        blackbox.eventually(lambda: world.lam.get_function_configuration(FunctionName="bomb")["State"] == "Failed")
    finally:
        world.lam.delete_function(FunctionName="bomb")
    wrong = {what: which for what, which in wrong.items() if which}
    return ["held" if not wrong else f"GOT {wrong}"]


def workers(world):
    return below(world, b"wasm-worker")


def below(world, verb):
    command = lambda pid: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [pid for pid in blackbox.process_tree(world.node.process.pid) if verb in command(pid)]


def held(world, pid):
    read = lambda name: pathlib.Path(f"/proc/{pid}/{name}").read_text()
    status = dict(line.split(":\t", 1) for line in read("status").splitlines() if ":\t" in line)
    mounts = [line.split() for line in read("mountinfo").splitlines()]
    writable = {mount[4] for mount in mounts if "rw" in mount[5].split(",")}
    apart = [name for name in ("mnt", "pid", "net", "ipc", "uts", "user", "cgroup") if os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")]
    files = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
    wrong = {
        "capabilities": [name for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb") if int(status[name], 16)],
        "a filter, no new rights": (status["Seccomp"], status["NoNewPrivs"]) != ("2", "1"),
        "the host's user": [uid for uid in status["Uid"].split() if int(uid) < SANDBOX_UID_MIN],
        "namespaces of the guard's": apart,
        "writable mounts": writable - {"/tmp"},
        "files of the node": [name for name in files if name.startswith("/") and not name.startswith(("/dev/null", "/proc/self/pagemap", "/proc/", "/var/runtime/component", "/var/task"))],
        "its environment": [part for part in read("environ").split("\0") if part and not part.startswith("_WADI_WORKER=")],
    }
    wrong = {what: which for what, which in wrong.items() if which}
    return "held" if not wrong else f"GOT {wrong}"
