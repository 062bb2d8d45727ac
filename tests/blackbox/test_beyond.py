"""A node of root's that others can reach: what is different there, seen from its own network and from another's."""

import http.client
import itertools
import os
import pathlib
import socket
import threading

import networks
import pytest
from botocore.exceptions import ClientError
from conftest import ROLE, RUNTIME, Node, eventually, groups_of_nodes, invoke, nothing_is_left, package, process_tree, unframed
from test_wasm import event, guest, of, workers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="networks are made by root alone")
HERE, THERE = "10.9.0.1", "10.9.0.2"
NEAR = f'[networks.near]\nallow = ["{THERE} tcp", "{THERE} udp"]\n'


@pytest.fixture(scope="module")
def beyond(tmp_path_factory):
    """A node on all addresses of a network; `there` is the process of another, which a cable leads to."""
    with networks.held() as here, networks.held() as there:
        networks.join(here, there, HERE, THERE)
        with networks.inside(here):
            node = Node(tmp_path_factory.mktemp("beyond") / "data", "--credentials", "root", settings=NEAR, listen="0.0.0.0")
            node.there = there
            node.start()
            pids = process_tree(node.process.pid)
            try:
                yield node
                pids += process_tree(node.process.pid)
            finally:
                node.stop()
            nothing_is_left(node, pids)


def status(path, port, headers=(), host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=10)
    connection.request("GET", path, headers=dict(headers))
    response = connection.getresponse()
    return response.status, response.read().decode()


def make(lam, name, zip, wait=True, **config):
    lam.create_function(FunctionName=name, Role=ROLE, Code={"ZipFile": zip}, Timeout=30, **config)
    if wait:
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_signed_requests_are_answered_from_elsewhere_and_others_are_not(beyond):
    url = f"http://{HERE}:{beyond.port}"
    with networks.inside(beyond.there):
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", beyond.port), 1)
        assert beyond.client("lambda", url=url).list_functions()["Functions"] is not None
        assert beyond.client("sqs", url=url).list_queues()["ResponseMetadata"]["HTTPStatusCode"] == 200
        code, said = status("/2015-03-31/functions/", beyond.port, host=HERE)
        assert code == 403 and "Missing Authentication Token" in said, said
        for path in ("/_wadi/api/usage", "/_wadi/api/doctor", "/some-bucket"):
            assert status(path, beyond.port, host=HERE)[0] == 403, path
        of_everybody(beyond, url)
    of_everybody(beyond, beyond.url)


def of_everybody(beyond, url):
    """The development key, and the root key with another secret."""
    for key in (("test", "test"), (beyond.key[0], "test")):
        with pytest.raises(ClientError) as refused:
            beyond.client("lambda", url=url, key=key).list_functions()
        error = refused.value.response
        assert error["ResponseMetadata"]["HTTPStatusCode"] == 403, error
        assert error["Error"]["Code"] in ("UnrecognizedClientException", "InvalidSignatureException"), error


def test_the_development_key_is_for_loopback_alone(tmp_path):
    with networks.held() as here, networks.inside(here), pytest.raises(AssertionError) as ended:
        Node(tmp_path / "data", "--credentials", "development", listen="0.0.0.0").start()
    assert "development credentials test/test are known to" in unframed(str(ended.value))


def test_components_run_outside_the_nodes_process(beyond, guest):
    lam = beyond.client("lambda", read_timeout=60)
    make(lam, "component", package(**{"bootstrap.wasm": guest("http")}), Runtime="provided.al2023", Handler="bootstrap.wasm")
    assert invoke(lam, "component", event("/env", "AWS_LAMBDA_FUNCTION_NAME"))[0]["body"] == "component"
    [worker] = workers(beyond)
    for kind in ("mnt", "pid", "net", "ipc", "uts", "user"):
        assert os.readlink(f"/proc/{worker}/ns/{kind}") != os.readlink(f"/proc/{beyond.process.pid}/ns/{kind}"), kind
    said = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{worker}/status").read_text().splitlines())
    assert all(int(uid) >= 2_000_000 for uid in said["Uid"].split()), said["Uid"]
    assert int(said["CapEff"], 16) == 0 and said["NoNewPrivs"].strip() == "1" and said["Seccomp"].strip() == "2"


def test_a_component_may_ask_for_no_less(beyond, guest):
    lam = beyond.client("lambda")
    make(lam, "less", package(**{"bootstrap.wasm": guest("http")}), wait=False, **of("wasm"))
    made = eventually(lambda: (c := lam.get_function_configuration(FunctionName="less"))["State"] != "Pending" and c)
    assert (made["State"], made["StateReasonCode"]) == ("Failed", "InvalidConfiguration"), made
    assert "The isolation `wasm` is less than this node's components have to have: `wasm-process`." in made["StateReason"]


PROGRAM = """
import os, socket
def reach(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError: return False
def handler(event, context):
    links = [line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]]
    return {'links': links, 'reached': [reach(*to) for to in event], 'uid': os.getuid(), 'url': os.environ.get('AWS_ENDPOINT_URL')}
"""


def test_programs_have_the_platform_and_their_share_alone(beyond):
    lam = beyond.client("lambda", read_timeout=60)
    before = set(groups_of_nodes())
    make(lam, "program", package(app=PROGRAM), Runtime=RUNTIME, Handler="app.handler", MemorySize=1024)
    places = [["127.0.0.1", 4566], ["127.0.0.1", beyond.port], [HERE, beyond.port], [THERE, 80], ["169.254.169.254", 80]]
    answer, response = invoke(lam, "program", places)
    assert "FunctionError" not in response, answer
    assert answer == {"links": ["lo"], "reached": [True, False, False, False, False], "uid": 993, "url": "http://127.0.0.1:4566"}
    with pytest.raises(ClientError) as refused:
        lam.update_function_configuration(FunctionName="program", VpcConfig={"SecurityGroupIds": ["sg-internet"]})
    assert "internet" in str(refused.value) and refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
    # 1,024 of the 1,769 MB that are a core, in periods of 20 ms.
    assert 11_500 <= min(quotas(set(groups_of_nodes()) - before)) <= 11_600


def quotas(groups):
    """Microseconds of 20 ms that groups may have."""
    files = (pathlib.Path(group) / name for group, name in itertools.product(groups, ("cpu.cfs_quota_us", "cpu.max")))
    words = [file.read_text().split()[0] for file in files if file.exists()]
    return [int(word) for word in words if word.isdigit()]


@pytest.fixture
def peer(beyond):
    """Answers in the other network: 20,000 bytes for 1,000 by TCP, 700 for 300 by UDP."""
    with networks.inside(beyond.there):
        tcp, udp = socket.create_server((THERE, 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((THERE, 0))

    def stream():
        while True:
            connection, _ = tcp.accept()
            with connection:
                connection.recv(1000, socket.MSG_WAITALL)
                connection.sendall(bytes(20_000))

    def datagrams():
        while True:
            udp.sendto(bytes(700), udp.recvfrom(4096)[1])

    for answering in (stream, datagrams):
        threading.Thread(target=lambda: suppressed(answering), daemon=True).start()
    yield tcp.getsockname()[1], udp.getsockname()[1]
    for opened in (tcp, udp):
        opened.shutdown(socket.SHUT_RDWR) if opened is tcp else opened.close()


def suppressed(answering):
    try:
        answering()
    except OSError:
        pass


@pytest.mark.parametrize("tier", ["wasm", "wasm-process"])
def test_what_a_components_sockets_carry_is_in_its_usage(beyond, guest, peer, tmp_path, tier):
    """As the guest sends it in the node's process; with the packets' heads, as the kernel counts them, in one of its own."""
    node = Node(tmp_path / "data", settings=NEAR).start() if tier == "wasm" else beyond
    try:
        lam = node.client("lambda", read_timeout=60)
        make(lam, "talks", package(**{"bootstrap.wasm": guest("http")}), **of(tier), VpcConfig={"SecurityGroupIds": ["sg-near"]})
        for path, port, back, bytes_min in (("/tcp", peer[0], "20000", 21_000), ("/udp", peer[1], "700", 1000)):
            seen = counted(node, "talks")
            assert invoke(lam, "talks", event(path, f"{THERE}:{port}"))[0]["body"] == back
            heads = 0 if tier == "wasm" else 6000
            added = eventually(lambda: (now := counted(node, "talks") - seen) >= bytes_min and now)
            assert bytes_min <= added <= bytes_min + heads, added
    finally:
        if node is not beyond:
            node.stop()


def counted(node, name):
    return sum(f["NetworkBytes"] for f in node.get("/_wadi/api/usage")["Functions"] if f["FunctionName"] == name)
