"""A node of an ordinary user: without root, with and without control groups of its own. The tests are root and become that user;
without root, or where the machine lets no user make namespaces, they are skipped and say so."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import images
import networks
import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, ROOT, WADI, Node, eventually, groups_of_nodes, invoke, nothing_is_left, package, process_tree, unframed
from test_events import BOOTSTRAP
from test_wasm import build

USER = 1000
PATH = "/usr/local/bin:/usr/bin:/bin"
BECOME = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env", f"PATH={PATH}"]
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")


def as_user(*command):
    return subprocess.run([*BECOME, *command], capture_output=True, text=True, cwd="/")


def reason_to_skip():
    if os.geteuid() != 0:
        return "needs root, to become another user"
    if not shutil.which("setpriv") or as_user("unshare", "-Urmpf", "true").returncode:
        return "this machine has no setpriv and unshare, or lets no user make namespaces"
    return None


pytestmark = pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))


def python_of_all():
    """An interpreter that any user may run, as (runtime, path)."""
    for minor in range(14, 8, -1):
        for place in PATH.split(":"):
            if as_user(path := f"{place}/python3.{minor}", "-c", "").returncode == 0:
                return f"python3.{minor}", path
    pytest.skip("no Python in a place that every user may read")


class Groups:
    """Control groups that are the user's: below this process's own, as a delegation is. Gone afterwards."""

    count = itertools.count()

    def __init__(self):
        name = f"wadi-test-{os.getpid()}-{next(self.count)}"
        own = dict(line.rstrip().split(":", 2)[1:] for line in open("/proc/self/cgroup"))
        mounts = [line.split() for line in open("/proc/mounts")]
        v1 = {o: m[1] for m in mounts if m[2] == "cgroup" for o in m[3].split(",") if o in CONTROLLERS}
        found = [(v1[c], path) for names, path in own.items() for c in names.split(",") if c in v1]
        self.v2 = not found
        if self.v2:
            found = [(m[1], own.get("", "/")) for m in mounts if m[2] == "cgroup2"]
        self.made = [pathlib.Path(at + path) / name for at, path in found]

    def __enter__(self):
        for group in self.made:
            if self.v2:
                with contextlib.suppress(OSError):
                    (group.parent / "cgroup.subtree_control").write_text("+memory +pids +cpu")
            group.mkdir()
            delegated = [group, *(group / f for f in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks") if (group / f).exists())]
            for file in delegated:
                os.chown(file, USER, USER)
        if not self.made or (self.v2 and "memory" not in (self.made[0] / "cgroup.controllers").read_text()):
            self.__exit__()
            pytest.skip("no control group can be given away here")
        return self

    def join(self):
        """What puts a process in before it becomes the user: in v2 into the node's leaf, where a node has parted the group before."""
        enter = "at={0}; [ ! -d $at/wadi-node ] || at=$at/wadi-node; echo $$ > $at/cgroup.procs || exit\n"
        return ["sh", "-c", "".join(enter.format(g) for g in self.made) + 'exec "$@"', "sh"]

    def __exit__(self, *_):
        for group in self.made:
            for directory, *_ in os.walk(group, topdown=False):
                eventually(lambda: not os.path.exists(directory) or os.rmdir(directory) is None)


@contextlib.contextmanager
def ordinary(*flags, before=(), settings="", **more):
    """A node of the user's, in a place of its own that the user can read, started and ended."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="wadi-rootless-"))
    node = None
    try:
        place.chmod(0o755)
        home = place / "home"
        home.mkdir()
        os.chown(home, USER, USER)
        program = place / "wadi"
        try:
            os.link(WADI, program)
        except OSError:
            shutil.copy(WADI, program)
        program.chmod(0o755)
        node = Node(home / "data", *flags, settings=settings, **more)
        node.runtimes = dict([python_of_all()])
        node.program, node.begin = program, [*before, *BECOME, f"HOME={home}"]
        node.log_path = place / "log"
        yield node.start()
        pids = process_tree(node.process.pid)
        node.stop()
        nothing_is_left(node, pids)
    finally:
        if node and node.process and node.process.poll() is None:
            node.kill()
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def plain():
    """Without a control group."""
    with ordinary("--network", "platform", settings='[networks.db]\nallow = ["10.0.0.1 tcp 5432"]\n[networks.silent]\nplatform = false\n') as node:
        yield node


@pytest.fixture(scope="module")
def delegated():
    """With a control group of its own."""
    with Groups() as groups, ordinary("--network", "platform", before=groups.join()) as node:
        node.groups = groups
        yield node


@pytest.fixture(params=["plain", "delegated"])
def node(request):
    return request.getfixturevalue(request.param)


def make(node, name, code, wait=True, **config):
    lam = node.client("lambda", read_timeout=120)
    if isinstance(code, str):
        code = package(app=code)
    config = {"Runtime": next(iter(node.runtimes)), "Handler": "app.handler", "Role": ROLE, "Timeout": 30, **config}
    lam.create_function(FunctionName=name, Code={"ZipFile": code}, **config)
    if wait:
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return lam


def checks(node):
    """What `wadi doctor` says, by the check's name, with members in lower case."""
    rows = json.loads(node.cli("doctor", "--json", check=False).stdout)["Checks"]
    return {row["Name"]: {key.lower(): value for key, value in row.items()} for row in rows}


def commands():
    """Everybody's command lines."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            found.append(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return found


def test_functions_of_every_kind_answer(node, tmp_path):
    lam = make(node, "py", """
import os
def handler(event, context):
    said = open('/proc/self/status').read()
    caps = {line.split()[1] for line in said.splitlines() if line.startswith('Cap')}
    filtered = 'Seccomp:\\t2' in said and 'NoNewPrivs:\\t1' in said
    lost = []
    for path in ('/var/task/x', '/usr/x', '/etc/x'):
        try: open(path, 'w')
        except OSError: lost.append(path)
    return {'event': event, 'uid': os.getuid(), 'caps': sorted(caps), 'filtered': filtered, 'lost': lost, 'hosts': os.path.exists('/home') or os.path.exists('/root'),
            'pids': sum(p.isdigit() for p in os.listdir('/proc')), 'tmp': os.listdir('/tmp'), 'host': os.uname().nodename}
""")
    want = {"uid": 993, "caps": ["0000000000000000"], "filtered": True, "lost": ["/var/task/x", "/usr/x", "/etc/x"], "hosts": False, "pids": 2, "tmp": [], "host": "wadi"}
    for n in range(3):
        assert invoke(lam, "py", n)[0] == {"event": n, **want}
    make(node, "script", package(bootstrap=BOOTSTRAP), Runtime="provided.al2023")
    assert invoke(lam, "script", {"n": 1})[0] == {"n": 1}
    if shutil.which("cc") and os.uname().machine == "x86_64":
        program = tmp_path / "bootstrap"
        subprocess.run(["cc", "-static", "-O1", "-D_GNU_SOURCE", "-include", "signal.h", "-o", program, ROOT / "tests/attacks/raw.c"], check=True)
        make(node, "static", package(bootstrap=program.read_bytes()), Runtime="provided.al2023")
        assert invoke(lam, "static", "102,165 0 0 0 0 0")[0] == ["here", "GOT 993", "errno 1"], "getuid, mount"
    nodejs = [name for name in checks(node) if name.startswith("nodejs")]
    for runtime in nodejs[:1]:
        make(node, "js", package(**{"app.js": "exports.handler = async e => [e, process.getuid()]"}), Runtime=runtime)
        assert [invoke(lam, "js", n)[0] for n in (1, 2)] == [[1, 993], [2, 993]]
    # Nothing is copied or begun beforehand without root, and the function's own page says so.
    for name in ["py", *(["js"] if nodejs else [])]:
        said = node.cli("functions", "show", name).stdout
        assert "template" in said and "only as root" in said and "each instance is started by itself" in said, said
    assert node.log_text().count("not copied or begun beforehand") == 1, "told once"


def test_components_answer(plain):
    component = build("examples/wasm-hello", "bootstrap")
    out = json.loads(plain.cli("deploy", str(component), "--name", "component", "--json").stdout)
    assert out["State"] == "Active"
    event = {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": "POST", "path": "/"}}, "body": "Ada", "headers": {}}
    assert invoke(plain.client("lambda"), "component", event)[0]["body"] == "Hello, Ada!\n"


def test_images_answer_and_containers_are_refused(plain):
    """An image's root is unpacked and entered as any other; a wall that root alone can make is refused before a function is active."""
    images.need()
    directory = plain.program.parent / "layout"
    images.layout(directory, [images.base()], {"Cmd": ["echo 7"]})
    subprocess.run(["chmod", "-R", "a+rX", directory], check=True)
    lam = plain.client("lambda", read_timeout=60)
    for name, tags in (("image", {}), ("walled", {"wadi:isolation": "container"}), ("kernelled", {"wadi:isolation": "gvisor"})):
        lam.create_function(FunctionName=name, PackageType="Image", Role=ROLE, Code={"ImageUri": f"oci:{directory}:latest"}, Timeout=20, Tags=tags)
        made = eventually(lambda: (c := lam.get_function_configuration(FunctionName=name))["State"] != "Pending" and c)
        assert made["State"] == ("Failed" if tags else "Active"), made
        assert not tags or "`wadi doctor` says what is missing" in made["StateReason"]
    assert [invoke(lam, "image", n)[0] for n in (1, 2)] == [7, 7]


def test_nothing_outlives_a_node_that_is_killed():
    """Nor does what it had in control groups: the next start sweeps them."""
    with Groups() as groups, ordinary("--network", "platform", before=groups.join()) as node:
        lam = make(node, "f", "import subprocess\ndef handler(e, c): subprocess.Popen(['sleep', '600'], start_new_session=True)")
        invoke(lam, "f")
        pids = process_tree(node.process.pid)
        assert len(pids) >= 5
        node.kill()
        eventually(lambda: not any(os.path.exists(f"/proc/{p}") for p in pids))
        node.start()
        eventually(lambda: not any(f"wadi-{p}-" in g for g in groups_of_nodes() for p in pids))
        assert invoke(node.client("lambda"), "f")[1]["StatusCode"] == 200


def test_timeouts_end_everybody(node):
    mark = f"31{os.getpid():07}"
    lam = make(node, "slow", f"""
import subprocess, time
def handler(event, context):
    subprocess.Popen(['sh', '-c', 'setsid sleep {mark} & setsid sh -c "trap : TERM HUP INT; sleep {mark}" & wait'])
    time.sleep(60)
""", Timeout=2)
    begin = time.time()
    said, response = invoke(lam, "slow")
    assert response["FunctionError"] and said["errorType"] == "Sandbox.Timedout" and 1.9 < time.time() - begin < 10
    eventually(lambda: not any(f"sleep {mark}" in c for c in commands()))


EAT = "def handler(event, context):\n    eaten = []\n    while True: eaten.append(bytearray(4 << 20))\n"
EAT_TOGETHER = """
import os, time
def handler(event, context):
    for child in range(4):
        if os.fork() == 0:
            eaten = bytearray(60 << 20)
            time.sleep(20)
            os._exit(0)
    time.sleep(event)
    return 'all of them lived'
"""
FORKS = """
import os, time
def handler(event, context):
    made = 0
    try:
        while made < 3000:
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            made += 1
    except OSError: pass
    return made
"""


def test_memory_is_bounded(plain, delegated):
    """In a control group of the user's own, all together and told as AWS tells it; without, each process by itself, as doctor says."""
    lam = make(delegated, "eat", EAT, MemorySize=128)
    said, response = invoke(lam, "eat")
    assert response["FunctionError"] and said["errorType"] == "Runtime.OutOfMemory", said
    make(delegated, "together", EAT_TOGETHER, MemorySize=128)
    assert invoke(lam, "together", 10)[0]["errorType"] == "Runtime.OutOfMemory"
    lam = make(plain, "eat", EAT, MemorySize=128)
    assert invoke(lam, "eat")[0]["errorType"] == "MemoryError"
    make(plain, "together", EAT_TOGETHER, MemorySize=128)
    assert invoke(lam, "together", 1)[0] == "all of them lived", "if not, doctor says too little"


def test_processes_are_bounded(node):
    """However many one makes, the next function has as many, and answers."""
    lam = make(node, "forks", FORKS, MemorySize=1024, Timeout=60)
    make(node, "neighbour", FORKS, MemorySize=1024, Timeout=60)
    made = [invoke(lam, name)[0] for name in ("forks", "neighbour")]
    assert all(1000 < n < 1024 for n in made), made


TMP = """
import os, time
def handler(event, context):
    held = []
    for n in range(24):
        file = open(f'/tmp/{n}', 'wb')
        if event: os.unlink(file.name)
        file.write(bytes(32 << 20))
        file.flush()
        held.append(file)
    time.sleep(10)
    return 'all of it'
"""


@pytest.mark.parametrize("unlinked", [False, True])
def test_tmp_is_bounded(node, unlinked):
    """768 MB where 512 may be, also in files that have no name any more."""
    name = f"tmp-{unlinked}".lower()
    lam = make(node, name, TMP, MemorySize=512)
    said, response = invoke(lam, name, unlinked)
    assert response.get("FunctionError") and "signal: killed" in said["errorMessage"], said
    assert "for more in its /tmp" in node.log_text()


REACH = """
import socket
def handler(event, context):
    def reach(host, port):
        try:
            socket.create_connection((host, port), 2).close()
            return True
        except OSError: return False
    return [reach(*to) for to in event]
"""


def test_networks_are_those_that_a_user_can_have(plain):
    places = [["127.0.0.1", 9001], ["127.0.0.1", 4566], ["127.0.0.1", plain.port], ["169.254.169.254", 80], ["10.0.0.1", 80]]
    lam = make(plain, "reach", REACH)
    assert invoke(lam, "reach", places)[0] == [True, True, False, False, False]
    for network in ("none", "silent"):
        make(plain, f"reach-{network}", REACH, Tags={"wadi:network": network})
        assert invoke(lam, f"reach-{network}", places)[0] == [True, False, False, False, False]
    # What leads out is refused by name, with the reason and the remedy, and never given less quietly.
    with pytest.raises(ClientError) as refused:
        make(plain, "reach-db", REACH, Tags={"wadi:network": "db"})
    assert "root" in str(refused.value) and "db" in str(refused.value)
    with pytest.raises(ClientError) as refused:
        make(plain, "reach-more", REACH, Tags={"wadi:network": "internet"})
    assert "internet" in str(refused.value)


def test_the_internet_is_not_promised_where_it_cannot_be_given():
    with pytest.raises(AssertionError) as ended:
        with ordinary("--network", "internet"):
            pass
    said = unframed(str(ended.value))
    assert "only root can lead a network out" in said and "--network platform" in said


LIMITS = ("memory limit", "process limit", "processor share")


def test_doctor_says_what_is_weaker_and_what_to_do(plain, delegated):
    for node in (plain, delegated):
        said = checks(node)
        for kept in ("namespaces and a root of its own", "no capabilities, no_new_privs", "system call filter"):
            assert said[f"sandbox: {kept}"]["status"] == "ok"
        for weaker in ("a user of its own", "/tmp of bounded size"):
            assert said[f"sandbox: {weaker}"]["status"] == "weaker" and "root" in said[f"sandbox: {weaker}"]["remedy"]
        for wall in ("container", "gvisor"):
            if "not here" not in said[f"isolation: {wall}"]["detail"]:
                assert said[f"isolation: {wall}"]["status"] == "weaker" and "root" in said[f"isolation: {wall}"]["remedy"]
    said = checks(plain)
    for limit in LIMITS:
        assert said[f"sandbox: {limit}"]["status"] == "weaker" and "Delegate=yes" in said[f"sandbox: {limit}"]["remedy"]
    assert said["isolation: process"]["status"] == "weaker" and "memory limit" in said["isolation: process"]["detail"]
    said = checks(delegated)
    assert [said[f"sandbox: {limit}"]["status"] for limit in LIMITS] == ["ok"] * 3
    assert said["isolation: process"]["status"] == "ok"


def test_groups_are_given_back(delegated):
    """Each sandbox has one while it lives, in the group that was delegated."""
    make(delegated, "grouped", "def handler(e, c): return open('/proc/self/cgroup').read()")
    invoke(delegated.client("lambda"), "grouped")
    ours = [g for g in groups_of_nodes() if any(g.startswith(str(made)) for made in delegated.groups.made)]
    assert len(ours) >= len(delegated.groups.made), "the launcher's, and the sandboxes' below"


@contextlib.contextmanager
def open_to_others(*flags, before=()):
    """A node that listens on every address, of a network in which it is alone."""
    with networks.held() as pid, networks.inside(pid), ordinary("--credentials", "root", *flags, before=before, listen="0.0.0.0") as node:
        yield node


def deploy(node):
    code = node.program.parent / "fn"
    code.mkdir()
    (code / "app.py").write_text("def handler(event, context): return 'ran'\n")
    return node.cli("deploy", str(code), "--name", "f", "--runtime", next(iter(node.runtimes)), "--handler", "app.handler", check=False)


def test_a_node_that_others_reach_refuses_what_it_cannot_isolate():
    """Programs, not components; and `wadi doctor` and the refusal name what is lacking and the flag that accepts it."""
    with open_to_others() as node:
        done = deploy(node)
        said = unframed(done.stdout + done.stderr)
        assert done.returncode != 0 and "memory limit; process limit" in said and "--weaker-isolation accept" in said, said
        done = node.cli("invoke", "f", "--payload", "1", check=False)
        assert done.returncode != 0 and "ran" not in done.stdout, done.stdout
        rows = checks(node)
        assert rows["isolation: process"]["status"] == "missing" and "--weaker-isolation accept" in rows["isolation: process"]["remedy"]
        component = build("examples/wasm-hello", "bootstrap")
        done = node.cli("deploy", str(component), "--name", "component", "--json")
        assert json.loads(done.stdout)["State"] == "Active"
    assert "--weaker-isolation" in subprocess.run([str(WADI), "up", "--help"], capture_output=True, text=True).stdout


def test_it_runs_what_it_cannot_isolate_once_told_so():
    with open_to_others("--weaker-isolation", "accept") as node:
        assert deploy(node).returncode == 0
        assert '"ran"' in node.cli("invoke", "f", "--payload", "1").stdout
        rows = checks(node)
        assert rows["isolation: process"]["status"] == "weaker" and "accepted" in rows["isolation: process"]["detail"]


def test_with_a_group_of_its_own_it_needs_no_telling():
    with Groups() as groups, open_to_others(before=groups.join()) as node:
        assert deploy(node).returncode == 0
        assert '"ran"' in node.cli("invoke", "f", "--payload", "1").stdout
