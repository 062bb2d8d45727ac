"""The rest of the table: attacks that take more than a program in a sandbox. Each is a function of the world that says, in
texts, what came of it."""

import contextlib
import io
import os
import pathlib
import shutil
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cases import ENDED, TIMED_OUT, Case, case
from world import ATTACKER, ROOT, blackbox, images, named

DEEDS = []


def deed(name, promise, *refusals):
    def take(act):
        DEEDS.append(Case(name, promise, frozenset(refusals), act, on=("outside",)))
        return act
    return take


# --- packages and layers ----------------------------------------------------------------------------------------------

def zipped(*entries):
    """A zip of (name, content) or (name, content, Unix mode), in this order and with all that is wrong with them."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        # Of names that are there twice.
        warnings.simplefilter("ignore")
        for name, content, *mode in [("app.py", ATTACKER), *entries]:
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (mode[0] if mode else 0o100644) << 16
            z.writestr(info, content)
    return buffer.getvalue()


LINK = stat.S_IFLNK | 0o777


def installed(world, *entries):
    """What becomes of such a package: the refusal's code, or where it was let in, what it wrote outside of the node's store."""
    before = outside(world)
    try:
        world.make("hostile", zipped(*entries))
    except ClientError as e:
        return [e.response["Error"]["Code"], *(outside(world) - before)]
    except Exception as e:
        return [type(e).__name__, *(outside(world) - before)]
    finally:
        try:
            world.lam.delete_function(FunctionName="hostile")
        except ClientError:
            pass
    return ["GOT it installed", *(outside(world) - before)]


def outside(world):
    found = set()
    for top in (world.node.data_dir.parent, "/tmp", "/run", "/var/tmp"):
        found |= {os.path.join(at, name) for at, _, names in os.walk(top) for name in names if name.startswith("evil")}
    return found


REFUSED = "InvalidParameterValueException"
deed("zip-parents", "packages", REFUSED)(lambda world: installed(world, ("../../../../../../tmp/evil", "x")))
deed("zip-absolute", "packages", REFUSED)(lambda world: installed(world, ("/tmp/evil", "x")))
deed("zip-backslashes", "packages", REFUSED, "GOT it installed")(lambda world: installed(world, ("..\\..\\tmp\\evil", "x"))[:1])
deed("zip-link-out", "packages", REFUSED)(lambda world: installed(world, ("shadow", "/etc/shadow", LINK)))
deed("zip-link-up", "packages", REFUSED)(lambda world: installed(world, ("a/up", "../../../../../../etc", LINK)))
deed("zip-through-a-link", "packages", REFUSED)(lambda world: installed(world, ("d", "/tmp", LINK), ("d/evil", "x")))
deed("zip-link-replaced", "packages", REFUSED)(lambda world: installed(world, ("d", "e", LINK), ("d", "../..", LINK), ("d/evil", "x")))
deed("zip-file-as-directory", "packages", REFUSED)(lambda world: installed(world, ("d", "x"), ("d/evil", "x")))
deed("zip-device", "packages", REFUSED)(lambda world: installed(world, ("mem", "", stat.S_IFCHR | 0o666)))
deed("zip-socket", "packages", REFUSED)(lambda world: installed(world, ("s", "", stat.S_IFSOCK | 0o666), ("f", "", stat.S_IFIFO | 0o666)))
deed("zip-bomb", "packages", REFUSED, "RequestEntityTooLargeException")(lambda world: installed(world, *((f"zeros-{n}", bytes(60 << 20)) for n in range(5))))


@deed("zip-setuid", "packages", "993", "no setuid")
def zip_setuid(world):
    program = open("/usr/bin/id", "rb").read()
    world.make("setuid", zipped(("id", program, 0o106755)))
    try:
        return world.run("setuid", """
mode = os.stat('/var/task/id').st_mode
return ['GOT setuid' if mode & 0o6000 else 'no setuid', subprocess.run(['/var/task/id', '-u'], capture_output=True, text=True).stdout.strip()]""")
    finally:
        world.lam.delete_function(FunctionName="setuid")


# --- container images --------------------------------------------------------------------------------------------------

REFUSED_IMAGE = "InvalidImage"


def imaged(world, *layers, command=None, tamper=None):
    """What becomes of an image of these layers above a busybox: the reason's code, else what it answers; and what it wrote
    outside of the node's store."""
    made = images.need_none()
    if made:
        pytest.skip(f"no {made}")
    where = world.node.data_dir.parent / "hostile-image"
    images.layout(where, [images.base(), *layers], {"Cmd": [command]} if command else None)
    if tamper:
        tamper(where)
    before = outside(world)
    try:
        world.lam.create_function(FunctionName="hostile", PackageType="Image", Role=blackbox.ROLE, Code={"ImageUri": f"oci:{where}"}, Timeout=20, MemorySize=256)
        state = blackbox.eventually(lambda: (c := world.lam.get_function_configuration(FunctionName="hostile"))["State"] != "Pending" and c, seconds=120)
        said = [state["StateReasonCode"]] if state["State"] == "Failed" else [str(blackbox.invoke(world.lam, "hostile")[0])]
    except ClientError as e:
        said = [e.response["Error"]["Code"]]
    finally:
        try:
            world.lam.delete_function(FunctionName="hostile")
        except ClientError:
            pass
        shutil.rmtree(where)
    found = {p for p in outside(world) - before if not p.startswith((f"{world.node.data_dir}/cache/", f"{world.node.data_dir}/blobs/"))}
    return said + [f"GOT {path}" for path in found]


def entry(name, kind, to="", mode=0o644):
    """A layer of one entry that no tool would write."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode, info.devmajor, info.devminor = kind, to, mode, 1, 3
        tar.addfile(info)
    return buffer.getvalue()


@deed("image-parents", "images", REFUSED_IMAGE)
def image_parents(world):
    return imaged(world, images.layer({"../../../evil-image": "x"}))


@deed("image-absolute", "images", "inside")
def image_absolute(world):
    return imaged(world, images.layer({"/tmp-evil-image": "inside"}), command="echo \\\"$(cat /tmp-evil-image)\\\"")


def joined(*tars):
    """One layer of several: each without the end of the one before it."""
    return b"".join(tar.rstrip(b"\0") + bytes(-len(tar.rstrip(b"\0")) % 512) for tar in tars) + bytes(1024)


@deed("image-link-out", "images", REFUSED_IMAGE)
def image_link_out(world):
    out = entry("l", tarfile.SYMTYPE, str(world.node.data_dir.parent))
    return imaged(world, joined(out, images.layer({"l/evil-image": "x"})))


@deed("image-hard-link-out", "images", REFUSED_IMAGE)
def image_hard_link_out(world):
    return imaged(world, entry("h", tarfile.LNKTYPE, "../../../../etc/shadow"))


@deed("image-link-at-tmp", "images", REFUSED_IMAGE)
def image_link_at_tmp(world):
    return imaged(world, entry("tmp", tarfile.SYMTYPE, "/etc")) + imaged(world, entry("proc", tarfile.SYMTYPE, "/")) + \
        imaged(world, entry("dev", tarfile.SYMTYPE, "tmp"))


@deed("image-devices", "images", REFUSED_IMAGE)
def image_devices(world):
    return imaged(world, entry("null", tarfile.CHRTYPE)) + imaged(world, entry("disk", tarfile.BLKTYPE)) + imaged(world, entry("pipe", tarfile.FIFOTYPE))


@deed("image-whiteout-out", "images", REFUSED_IMAGE)
def image_whiteout_out(world):
    kept = world.node.data_dir.parent / "host-secret"
    said = imaged(world, images.layer({f"../../../..{kept.parent}/.wh.host-secret": ""})) + imaged(world, images.layer({".wh...": ""}))
    return said + ([] if kept.exists() else ["GOT removed"])


@deed("image-setuid", "images", "no setuid")
def image_setuid(world):
    program = images.layer({"bin/su": open(images.BUSYBOX, "rb").read()}, modes={"bin/su": 0o6755})
    return imaged(world, program, command="[ -u /bin/su ] || [ -g /bin/su ] && echo '\"GOT setuid\"' || echo '\"no setuid\"'")


@deed("image-written", "images", "read-only")
def image_written(world):
    return imaged(world, command="(echo x > /evil-image) 2>/dev/null && echo '\"GOT written\"' || echo '\"read-only\"'")


@deed("image-another-layer", "images", REFUSED_IMAGE)
def image_another_layer(world):
    def tamper(where):
        largest = max((where / "blobs/sha256").iterdir(), key=lambda blob: blob.stat().st_size)
        largest.write_bytes(largest.read_bytes()[:-1] + b"x")
    # One that no other image has brought already, and the largest.
    return imaged(world, images.layer({"own": os.urandom(4 << 20)}), tamper=tamper)


@deed("layers-through-links", "packages", "inside", REFUSED)
def layers_through_links(world):
    def layer(name, *entries):
        return world.lam.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(*entries)})["LayerVersionArn"]
    before = outside(world)
    try:
        layers = [layer("one", ("d", "e", LINK), ("e/kept", "x")), layer("two", ("d/evil-layer", "x"))]
        world.make("layered", zipped(), Layers=layers)
        world.run("layered", "return 'ran'")
        world.lam.delete_function(FunctionName="layered")
    except ClientError as e:
        return [e.response["Error"]["Code"]]
    # Within the node's store is where it belongs.
    found = {p for p in outside(world) - before if not p.startswith(f"{world.node.data_dir}/cache/")}
    return ["inside"] if not found else [f"GOT {found}"]


# --- ways out ---------------------------------------------------------------------------------------------------------

# What root sends in a sandbox's own network: an honest packet, then such as say that somebody else sent them.
FORGERS = """
import socket, struct, sys
to, own, others = sys.argv[1], sys.argv[2], sys.argv[3:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for source in (own, *others):
    text = b"honest" if source == own else b"forged"
    datagram = struct.pack(">HHHH", 7, 123, 8 + len(text), 0) + text
    head = struct.pack(">BBHHHBBH4s4s", 69, 0, 20 + len(datagram), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(to))
    for _ in range(3): raw.sendto(head + datagram, (to, 0))
"""


@deed("forged-sources", "ways-out", "the honest alone")
def forged_sources(world):
    """A sandbox in which somebody has become root: the router lets through what comes from its own address."""
    address = """
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((given['internet'], 53))
    return s.getsockname()[0]"""
    own, other = world.run("web", address), world.run("web-plain", address)
    tree = blackbox.process_tree(world.node.process.pid)
    inside = next(pid for pid in tree if own in addresses_of(pid))
    forged = [other, world.given["own"], world.given["internet"], "127.0.0.1", "203.0.113.9"]
    enter = ("nsenter", "-t", str(inside), "-n", sys.executable, "-c", FORGERS, world.given["internet"], own, *forged)
    subprocess.run(enter, check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(b"what?", (world.given["internet"], 123))
        seen = s.recv(60_000).decode()
    return ["the honest alone" if "honest" in seen and "forged" not in seen else f"GOT {seen}"]


def addresses_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/net/fib_trie").read_text()
    return ""


# --- lifetime ---------------------------------------------------------------------------------------------------------

DAEMON = """
libc.prctl(15, b'%s', 0, 0, 0)
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    for n in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(n, signal.SIG_IGN)
    while True: time.sleep(60)
time.sleep(0.1)
"""


def gone(name):
    try:
        blackbox.eventually(lambda: not named(name), seconds=10)
        return "gone"
    except AssertionError:
        return f"GOT still there: {named(name)}"


@deed("daemon-after-timeout", "lifetime", TIMED_OUT, "gone")
def daemon_after_timeout(world):
    return [*world.own(DAEMON % "outlives-1" + "time.sleep(60)", Timeout=1), gone("outlives-1")]


@deed("daemon-after-deletion", "lifetime", "daemon", "alive", "gone")
def daemon_after_deletion(world):
    said = world.own(DAEMON % "outlives-2" + "return ['daemon', 'alive' if os.path.exists('/proc/self') else '']", Timeout=5)
    return [*said, gone("outlives-2")]


@deed("deaf-to-signals", "lifetime", TIMED_OUT, "gone")
def deaf(world):
    return [*world.own(DAEMON % "outlives-3" + "while True: pass", Timeout=1), gone("outlives-3")]


@deed("stops-itself", "lifetime", TIMED_OUT, "gone")
def stops_itself(world):
    return [*world.own("libc.prctl(15, b'outlives-4', 0, 0, 0)\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(60)", Timeout=1), gone("outlives-4")]


@deed("exits-with-children", "lifetime", ENDED, "gone")
def exits_with_children(world):
    return [*world.own(DAEMON % "outlives-5" + "os._exit(0)", Timeout=5), gone("outlives-5")]


@deed("node-killed", "lifetime", "daemon", "gone")
def node_killed(world):
    node = blackbox.Node(world.node.data_dir.parent / "second").start()
    lam = node.client("lambda")
    lam.create_function(FunctionName="f", Runtime=blackbox.RUNTIME, Handler="app.handler", Role=blackbox.ROLE, Code={"ZipFile": blackbox.package(app=ATTACKER)})
    lam.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1})
    said, _ = blackbox.invoke(lam, "f", {"program": DAEMON % "outlives-6" + "return ['daemon']", "given": {}})
    node.kill()
    left = gone("outlives-6")
    # What has no processes any more, the next one sweeps.
    node.start().stop()
    return [*said, left]


# --- the Runtime API --------------------------------------------------------------------------------------------------

POST = """
import urllib.error, urllib.request
def post(path, body=b'{}', method='POST', timeout=5, **headers):
    request = urllib.request.Request('http://' + os.environ['AWS_LAMBDA_RUNTIME_API'] + '/2018-06-01/runtime/' + path, body, headers, method=method)
    try: return 'GOT %d' % urllib.request.urlopen(request, timeout=timeout).status
    except urllib.error.HTTPError as e: return str(e.code)
    except OSError as e: return 'no answer'
"""
NOT_YOURS = {"400", "403", "404", "405", "413", "501", "no answer"}
case("answer-for-an-unknown-id", "runtime-api", NOT_YOURS, POST + """
ids = ('00000000-0000-4000-8000-000000000000', 'x', '..', '%00', 'a' * 4000, '../../ping')
return [post('invocation/%s/%s' % (i, what)) for i in ids for what in ('response', 'error')]""")
case("answer-twice", "runtime-api", {"first"}, POST + """
post('invocation/%s/response' % context.aws_request_id, b'"first"')
again = post('invocation/%s/response' % context.aws_request_id, b'"GOT second"')
return 'GOT third'""")
case("error-after-answer", "runtime-api", {"first"}, POST + """
post('invocation/%s/response' % context.aws_request_id, b'"first"')
post('invocation/%s/error' % context.aws_request_id, b'{"errorType": "GOT"}')
return 'GOT third'""")
case("init-error-later", "runtime-api", NOT_YOURS, POST + "return [post('init/error'), post('init/template'), post('restore/error')]")
case("next-while-at-work", "runtime-api", NOT_YOURS, POST + "return post('invocation/next', None, 'GET', timeout=1)", on=("own",), own={"Timeout": 5})
case("garbage-on-the-runtime-api", "runtime-api", {"held"}, POST + """
host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')
kept = []
for n in range(300):
    s = socket.socket(); s.settimeout(1)
    try:
        s.connect((host, int(port))); s.sendall((b'GET /' + b'x' * n * 100, os.urandom(2000), b'POST / HTTP/1.1\\r\\nContent-Length: 99999999999\\r\\n\\r\\n')[n % 3])
    except OSError: pass
    kept.append(s)
for s in kept: s.close()
return 'held'""", on=("own",), own={"Timeout": 20})
case("slow-connections", "runtime-api", {"held"}, POST + """
host, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')
kept = [socket.create_connection((host, int(port)), 1) for _ in range(60)]
for s in kept: s.sendall(b'POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\\r\\nContent-Length: 100\\r\\n')
return 'held'""", on=("own",), own={"Timeout": 20})
case("answer-too-large", "runtime-api", {"Function.ResponseSizeTooLarge"}, "return 'GOT' + 'x' * (7 << 20)", on=("own",), own={"Timeout": 20})


@deed("forge-anothers-answer", "runtime-api", "its own", *NOT_YOURS)
def forge(world):
    """While another function is at work whose request id is known, its answer is given on the attacker's own Runtime API."""
    world.make("slow", "import time\ndef handler(event, context):\n    print('ID', context.aws_request_id)\n    time.sleep(4)\n    return 'its own'\n", Timeout=20)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(world.invoke("slow", None)[0]))
    thread.start()
    try:
        logs = world.node.client("logs")

        def seen():
            return [e["message"].split()[1] for e in logs.filter_log_events(logGroupName="/aws/lambda/slow")["events"] if e["message"].startswith("ID ")]
        known = blackbox.eventually(seen, seconds=10)[0]
        said = world.run("copied", POST + f"return [post('invocation/{known}/' + what, b'\"GOT forged\"') for what in ('response', 'error')]")
        return [*said, *(thread.join() or answers)]
    finally:
        thread.join()
        world.lam.delete_function(FunctionName="slow")


# --- keys -------------------------------------------------------------------------------------------------------------

case("unsigned-at-the-platform", "keys", {"403"}, """
import urllib.error, urllib.request
def get(path):
    try: return 'GOT %d' % urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + path, timeout=5).status
    except urllib.error.HTTPError as e: return str(e.code)
return [get('/2015-03-31/functions/'), get('/_wadi/api/usage'), get('/2015-03-31/functions/neighbour'), get('/bucket/key')]""")
case("keys-elsewhere-in-the-environment", "keys", {"own"}, """
wrong = [n for n in os.environ if ('SECRET' in n or 'KEY' in n) and n not in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')]
return 'own' if not wrong and os.environ['AWS_ACCESS_KEY_ID'].startswith('ASIA') and os.environ['AWS_SESSION_TOKEN'] else 'GOT %s' % wrong""")


def with_keys(world, **changed):
    keys = world.run("copied", "return [os.environ[n] for n in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')]")
    keys = dict(zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), keys))
    keys = {**keys, **{n: change(keys[n]) for n, change in changed.items()}}
    return boto3.client("lambda", endpoint_url=world.node.url, region_name="us-east-1", config=Config(retries={"max_attempts": 1}), **keys)


def code_of(call, **arguments):
    try:
        return f"GOT {call(**arguments)}"[:200]
    except ClientError as e:
        return e.response["Error"]["Code"]


@deed("keys-for-another-account", "keys", "AccessDeniedException", "AccessDenied", "own works")
def another_account(world):
    lam, other = with_keys(world), "arn:aws:lambda:us-east-1:111111111111:function:f"
    works = "own works" if lam.list_functions()["Functions"] else "GOT nothing with its own keys"
    return [works, code_of(lam.get_function, FunctionName=other), code_of(lam.invoke, FunctionName=other), code_of(lam.delete_function, FunctionName=other)]


STRANGER = ("UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "InvalidClientTokenId")


@deed("keys-changed", "keys", *STRANGER)
def changed_keys(world):
    flipped = lambda text: text[:40] + ("A" if text[40] != "A" else "B") + text[41:]
    tries = [{"aws_session_token": flipped}, {"aws_session_token": lambda _: None}, {"aws_session_token": lambda t: t + "x"}, {"aws_secret_access_key": lambda s: s[::-1]},
             {"aws_access_key_id": lambda k: k[:-1] + ("A" if k[-1] != "A" else "B")}, {"aws_session_token": lambda t: "x" * 10_000}]
    return [code_of(with_keys(world, **change).list_functions) for change in tries]


# --- a program linked to nothing, and Node.js -------------------------------------------------------------------------

def raw(world, calls):
    program = world.node.data_dir.parent / "bootstrap"
    if not program.exists():
        subprocess.run(["cc", "-static", "-O1", "-D_GNU_SOURCE", "-include", "signal.h", "-o", str(program), str(ROOT / "tests/attacks/raw.c")], check=True)
    world.make("raw", blackbox.package(bootstrap=program.read_bytes()), Runtime="provided.al2023", Handler="bootstrap")
    try:
        return world.invoke("raw", calls)[0]
    finally:
        world.lam.delete_function(FunctionName="raw")


X86 = os.uname().machine == "x86_64"
if X86:
    deed("static-namespaces", "rights", "here", "errno 1", "errno 38")(lambda world: raw(world, "272 0x10000000,272 0x20000,56 0x10000011,56 0x40000011,435 0 0,308 0 0"))
    deed("static-mounts", "rights", "here", "errno 1")(lambda world: raw(world, "165 0 0 0 0 0,166 0 0,155 0 0,161 0,428 0 0 0,429 0 0 0 0 0,430 0 0,442 0 0 0 0 0"))
    deed("static-doors", "kernel", "here", "errno 1")(lambda world: raw(world, "321 0 0 0,425 1 0,323 1,298 0 0 -1 -1 0,250 0 0 0 0 0,101 16 1 0 0,310 1 0 0 0 0 0,135 0x40000"))
    deed("static-32-bits", "kernel", "here", "signal 31")(lambda world: raw(world, "i386 20,i386 21,i386 120,i386 11"))

NODE = '''
const fs = require("fs"), net = require("net"), dgram = require("dgram"), child = require("child_process"), os = require("os");
const refused = async (attempt) => { try { return "GOT " + JSON.stringify(await attempt()).slice(0, 100); } catch (e) { return e.code || String(e); } };
const reach = (options) => new Promise((yes, no) => { const s = net.connect(options, () => { s.destroy(); yes("reached"); }); s.setTimeout(2000, () => { s.destroy(); no({ code: "ETIMEDOUT" }); }); s.on("error", no); });
exports.handler = async ({ program, given }) => new (Object.getPrototypeOf(async function () {}).constructor)("given", "refused", "reach", "fs", "net", "child", "os", program)(given, refused, reach, fs, net, child, os);
'''


def node_js(world, program, **config):
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip().lstrip("v").split(".")[0]
    config = {"Runtime": f"nodejs{version}.x", "Handler": "index.handler", "MemorySize": 512, "Timeout": 20, **config}
    world.make("node", blackbox.package(**{"index.js": NODE}), **config)
    try:
        return world.run("node", program)
    finally:
        world.lam.delete_function(FunctionName="node")


deed("node-files", "files", "ENOENT", "EROFS", "EACCES", "EXDEV", "EPERM")(lambda world: node_js(world, """
const tries = ["/etc/shadow", given.data_dir, given.host_secret, "/proc/1/environ", "/proc/1/root" + given.data_dir, "/dev/mem"].map((p) => refused(() => fs.readFileSync(p, "utf8")));
return Promise.all([...tries, refused(() => fs.writeFileSync("/usr/x", "")), refused(() => fs.writeFileSync("/var/task/x", "")), refused(() => fs.linkSync("/etc/passwd", "/tmp/x"))]);"""))
deed("node-network", "network", "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "ENOENT")(lambda world: node_js(world, """
return Promise.all([{ host: "127.0.0.1", port: given.host_port }, { host: "127.0.0.1", port: given.node_port }, { host: given.metadata, port: 80 }, { host: given.private, port: 80 },
    { host: given.internet, port: 80 }, { path: "/run/canary.sock" }, { path: "\\0canary" }].map((o) => refused(() => reach(o))));"""))
deed("node-processes", "processes", "ESRCH", "EPERM", "EACCES", "EINVAL")(lambda world: node_js(world, """
return Promise.all([given.node_pid + 100000, 30000, 4000].map((pid) => refused(() => process.kill(pid, 9))).concat([refused(() => process.setuid(0)), refused(() => { try { os.setPriority(0, -20) } catch (e) { throw e.info } })]));"""))

NODE_WAYS_OUT = """
const [there, ...near] = await Promise.all([given.internet, given.private, given.metadata, given.own].map((host) => refused(() => reach({ host, port: host === given.own ? 7778 : 80 }))));
return [there === 'GOT "reached"' && near.every((text) => text === "ETIMEDOUT") ? "only what is the internet's" : `GOT ${there}, ${near}`];"""


@deed("node-ways-out", "ways-out", "only what is the internet's")
def node_ways_out(world):
    # Twice: the second function's instance is made of an interpreter that was started beforehand, in the network of the first.
    return [node_js(world, NODE_WAYS_OUT, VpcConfig={"SecurityGroupIds": ["sg-web"]})[0] for _ in range(2)]


# Components' join the list: they are in a file of their own, and use what is above.
import components  # noqa: E402,F401
