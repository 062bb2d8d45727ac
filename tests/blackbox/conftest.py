"""Black-box tests: a real node, real clients. Every node that a test starts is ended, by its process id."""

import contextlib
import glob
import io
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import zipfile

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

ROOT = pathlib.Path(__file__).resolve().parents[2]
WADI = pathlib.Path(os.environ.get("WADI_BINARY", ROOT / "target/debug/wadi"))
ROLE = "arn:aws:iam::000000000000:role/test"
RUNTIME = f"python3.{sys.version_info.minor}"
RUNTIME_EXECUTABLE = os.path.realpath(pathlib.Path(sys.base_prefix) / "bin" / RUNTIME)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def package(**files):
    """A zip of name -> text or bytes; `__` in a name stands for `/`, a missing suffix for `.py`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as z:
        for name, text in files.items():
            name = name if "." in name else name.replace("__", "/")
            info = zipfile.ZipInfo(name if "." in name or name == "bootstrap" else name + ".py")
            info.external_attr = (0o100755 if name == "bootstrap" else 0o100644) << 16
            z.writestr(info, text)
    return buffer.getvalue()


class Node:
    """A `wadi up` of the test's own."""

    def __init__(self, data_dir, *flags, scale="0.002", port=None, settings="", listen="127.0.0.1"):
        self.data_dir = pathlib.Path(data_dir)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.listen = listen
        # Whose requests a test's are; a node with keys of its own says when it has started.
        self.key = ("test", "test")
        # Nothing that a test runs has business outside, nor is this machine to forward packets for it.
        network = [] if "--network" in flags or listen != "127.0.0.1" else ["--network", "platform"]
        self.flags = [*flags, *network, "--retry-time-scale", scale]
        # More for its wadi.toml.
        self.settings = settings
        self.runtimes = {RUNTIME: RUNTIME_EXECUTABLE}
        # What runs it, and before it what becomes it.
        self.program = WADI
        self.begin = []
        self.log_path = self.data_dir.parent / f"{self.data_dir.name}.log"
        self.process = None
        # Of nodes that were killed before; a process of this one may have the number that they were named by.
        self.foreign_groups = set(groups_of_nodes())

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("WADI_", "AWS_"))}
        config = self.data_dir.parent / f"{self.data_dir.name}.toml"
        runtimes = "".join(f'"{name}" = "{path}"\n' for name, path in self.runtimes.items())
        config.write_text(f"[runtimes]\n{runtimes}{self.settings}")
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            [*self.begin, str(self.program), "up", "--listen", f"{self.listen}:{self.port}", "--data-dir", str(self.data_dir),
             "--config", str(config), *self.flags],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=env)
        deadline = time.time() + 20
        while time.time() < deadline:
            assert self.process.poll() is None, f"the node ended at start:\n{self.log_text()}"
            try:
                with urllib.request.urlopen(self.url + "/_wadi/health", timeout=1) as r:
                    assert json.load(r)["status"] == "ok"
                if "root" in self.flags:
                    made = json.loads((self.data_dir / "root-key.json").read_text())
                    self.key = (made["AccessKeyId"], made["SecretAccessKey"])
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"the node did not get ready:\n{self.log_text()}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("the node did not stop within 30 s of SIGTERM")
            assert code == 0, f"the node ended with {code}:\n{self.log_text()}"

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log_text(self):
        return self.log_path.read_text(errors="replace")[-8000:]

    def client(self, service, region="us-east-1", url=None, key=None, **config):
        config.setdefault("retries", {"max_attempts": 1})
        user, secret = key or self.key
        client = boto3.client(service, endpoint_url=url or self.url, region_name=region, aws_access_key_id=user,
                              aws_secret_access_key=secret, config=Config(**config))
        if service in ("lambda", "logs", "events", "scheduler"):
            client.meta.events.register(f"before-parse.{service}", fits_its_model)
        return client

    def get(self, path, **query):
        """A signed GET of Wadi's own API."""
        url = f"{self.url}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
        request = AWSRequest("GET", url)
        SigV4Auth(Credentials(*self.key), "wadi", "us-east-1").add_auth(request)
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(request.headers))) as r:
            return json.load(r)

    def cli(self, *args, env=None, check=True):
        """The `wadi` command line against this node."""
        done = subprocess.run([str(WADI), *args], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
                              env={**os.environ, "AWS_ENDPOINT_URL": self.url, **self.keys(), **(env or {})})
        if check:
            assert done.returncode == 0, f"wadi {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def keys(self):
        """The keys as programs are told of them, but for those that everybody knows."""
        return {} if self.key == ("test", "test") else dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), self.key))

    def aws(self, *args):
        """The AWS CLI, version 2, against this node; the test is skipped where the machine has none."""
        done = subprocess.run(self.aws_command(*args), capture_output=True, text=True, timeout=120, env=self.aws_env())
        assert done.returncode == 0, done.stderr
        return done

    @contextlib.contextmanager
    def aws_start(self, *args):
        """The same, left running, and ended after the block; it is killed after 60 s."""
        process = subprocess.Popen(self.aws_command(*args), stdout=subprocess.PIPE, text=True, env=self.aws_env())
        timer = threading.Timer(60, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()
            process.wait()

    def aws_command(self, *args):
        program = next((p for p in which_all("aws") if b"aws-cli/2" in subprocess.run([p, "--version"], capture_output=True).stdout), None)
        if not program:
            pytest.skip("no AWS CLI version 2 on PATH (Debian: apt-get install awscli)")
        return [program, "--endpoint-url", self.url, *args]

    def aws_env(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.data_dir.parent), "AWS_ACCESS_KEY_ID": "test",
               "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "", "PYTHONUNBUFFERED": "1"}


def fits_its_model(operation_model, response_dict, **_):
    """Every reply that a test gets is held against the service's model: nothing missing, nothing that is not in it."""
    body, status = response_dict["body"], response_dict["status_code"]
    shape, where = operation_model.output_shape, operation_model.name
    if status >= 300:
        code = response_dict["headers"].get("x-amzn-errortype") or json.loads(body)["__type"]
        assert code in {s.error_code for s in operation_model.error_shapes} | COMMON_ERRORS, f"{where} has no error {code}"
        assert "message" in {k.lower() for k in json.loads(body)}, f"{where}: {body}"
        return
    if operation_model.has_event_stream_output or (shape and shape.serialization.get("payload")):
        return
    says = shape is not None and any(m.serialization.get("location") == "statusCode" for m in shape.members.values())
    assert says or operation_model.http.get("responseCode", 200) == status, f"{where}: {status}"
    if shape is None:
        assert body in (b"", b"{}"), f"{where} has no output, but: {body}"
        return
    elsewhere = {n for n, m in shape.members.items() if m.serialization.get("location")}
    compare(json.loads(body or b"{}"), shape, where, elsewhere)


def compare(value, shape, where, elsewhere=frozenset()):
    kind = shape.type_name
    if kind == "structure":
        assert isinstance(value, dict), f"{where}: {value!r}"
        members = {m.serialization.get("name", n): m for n, m in shape.members.items()}
        assert not value.keys() - members.keys(), f"{where} has more than its model: {value.keys() - members.keys()}"
        lacking = set(shape.required_members) - elsewhere - value.keys()
        assert not lacking, f"{where} lacks {lacking}"
        for name, inner in value.items():
            assert inner is not None, f"{where}.{name} is null"
            compare(inner, members[name], f"{where}.{name}")
    elif kind == "list":
        assert isinstance(value, list), f"{where}: {value!r}"
        for inner in value:
            compare(inner, shape.member, where + "[]")
    elif kind == "map":
        for key, inner in value.items():
            compare(key, shape.key, where + " key")
            compare(inner, shape.value, f"{where}.{key}")
    else:
        kinds = {"string": str, "integer": int, "long": int, "boolean": bool, "double": (int, float), "float": (int, float),
                 "timestamp": (int, float, str), "blob": str}
        assert isinstance(value, kinds[kind]) and (kind in ("boolean",) or not isinstance(value, bool)), f"{where} is no {kind}: {value!r}"
        known = shape.metadata.get("enum")
        # AWS itself says "Creating" of an update, which its model does not list.
        assert not known or value in known or where.endswith("LastUpdateStatusReasonCode"), f"{where}: {value!r} is none of {known}"


# What any operation of any service may answer (the "Common errors" page of each API reference).
COMMON_ERRORS = {"ValidationException", "SerializationException", "UnknownOperationException", "NotImplemented", "AccessDeniedException",
                 "InvalidSignatureException", "MissingAuthenticationTokenException", "UnrecognizedClientException",
                 "RequestEntityTooLargeException"}


def which_all(name):
    return [p for d in os.environ["PATH"].split(os.pathsep) if os.access(p := os.path.join(d, name), os.X_OK)]


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """One node for all tests that need no node of their own. Unexpected warnings in its log fail the run."""
    node = Node(tmp_path_factory.mktemp("shared") / "data").start()
    yield node
    node.stop()
    bad = [l for l in node.log_path.read_text(errors="replace").splitlines() if " WARN " in l or " ERROR " in l]
    assert not bad, "unexpected warnings in the node's log:\n" + "\n".join(bad[:20])


@pytest.fixture
def own(tmp_path):
    """A node of the test's own, not yet started."""
    node = Node(tmp_path / "data")
    yield node
    if node.process and node.process.poll() is None:
        node.kill()


@pytest.fixture
def function(shared, request):
    """Makes functions on the shared node and deletes them after the test."""
    client = shared.client("lambda", read_timeout=120)
    made = []

    def make(code, name=None, wait=True, **config):
        name = name or f"{request.node.name[:40].replace('[', '-').replace(']', '').replace('.', '-')}-{len(made)}"
        if isinstance(code, str):
            code = package(app=code)
        config = {"Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE, **config}
        created = client.create_function(FunctionName=name, Code={"ZipFile": code}, **config)
        made.append(name)
        if wait:
            client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        return created["FunctionName"]

    yield make
    for name in made:
        try:
            client.delete_function(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            pass


def invoke(client, name, payload=None, **kw):
    """(decoded payload, whole response)"""
    r = client.invoke(FunctionName=name, Payload=json.dumps(payload).encode(), **kw)
    body = r["Payload"].read()
    return (json.loads(body) if body else None), r


def unframed(text):
    """What is told on a terminal in lines of a frame, in one."""
    return " ".join(text.replace("│", " ").split())


def process_tree(pid):
    """The process and all below it."""
    children = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path) as f:
            children += f.read().split()
    return [pid] + [p for c in children for p in process_tree(int(c))]


def groups_of_nodes():
    return [d for d, *_ in os.walk("/sys/fs/cgroup") if "/wadi-" in d]


def left_behind(node, pids):
    """What there is still of a stopped node whose processes were these: mounts, control groups, processes, files of sandboxes."""
    mounts = [l for l in open("/proc/mounts") if str(node.data_dir) in l]
    groups = [d for d in groups_of_nodes() if d not in node.foreign_groups and any(f"wadi-{p}-" in d for p in pids)]
    files = [str(f) for name in ("tmp", "gone") for f in (node.data_dir / "sandboxes" / name).glob("*")]
    return mounts + groups + [p for p in pids if os.path.exists(f"/proc/{p}")] + files


def nothing_is_left(node, pids):
    """Waits until a stopped node has left nothing behind; says what it has."""
    left = []

    def gone():
        left[:] = left_behind(node, pids)
        return not left

    try:
        eventually(gone)
    except AssertionError:
        raise AssertionError(f"left behind: {left[:20]}") from None


def eventually(check, seconds=30, every=0.05):
    """Waits, bounded, until `check()` gives something true, and returns it. A check that raises is not yet true: logs and
    usage are written behind the reply, so even their group may come a moment later."""
    deadline = time.time() + seconds
    while True:
        try:
            value = check()
            if value:
                return value
        except Exception:
            if time.time() >= deadline:
                raise
        assert time.time() < deadline, f"not within {seconds} s: {check}"
        time.sleep(every)
