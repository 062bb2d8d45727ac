"""A node as its operator meets it: start, stop, credentials, a full disk."""

import json
import os
import shutil
import stat
import subprocess
import threading
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from conftest import ROLE, RUNTIME, WADI, Node, eventually, invoke, left_behind, package, process_tree
from test_events import BOOTSTRAP

SLOW = BOOTSTRAP.replace("    urllib.request.urlopen(urllib.request.Request(api", "    __import__('time').sleep(2)\n    urllib.request.urlopen(urllib.request.Request(api", 1)


def make(node, name, bootstrap):
    lam = node.client("lambda", read_timeout=60)
    lam.create_function(FunctionName=name, Runtime="provided.al2023", Role=ROLE, Handler="x", Timeout=20, Code={"ZipFile": package(bootstrap=bootstrap)})
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    return lam


@pytest.mark.skipif(os.geteuid() != 0, reason="without root each sandbox makes all of its root")
def test_new_instances_see_what_the_host_has_replaced(own, tmp_path):
    """As an upgrade does: a file of /etc and a link are others now, and a file is gone. The node has an /etc of the test's own."""
    etc = tmp_path / "etc"
    shutil.copytree("/etc", etc, symlinks=True)
    link, file, gone = etc / "localtime", etc / "services", etc / "protocols"

    def replace(text):
        link.unlink(missing_ok=True)
        link.symlink_to(f"/usr/share/zoneinfo/{text}")
        (etc / "new").write_text(text)
        (etc / "new").rename(file)

    replace("Old")
    gone.write_text("here")
    own.begin = ["unshare", "--mount", "sh", "-c", f'mount --bind "{etc}" /etc && exec "$0" "$@"']
    own.start()
    looks = package(app="import os\ndef handler(event, context):\n    return [open('/etc/services').read(), os.readlink('/etc/localtime'), os.path.exists('/etc/protocols')]")
    lam = own.client("lambda")

    def seen(name):
        lam.create_function(FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Code={"ZipFile": looks})
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        return invoke(lam, name)[0]

    assert seen("before") == ["Old", "/usr/share/zoneinfo/Old", True]
    replace("New")
    gone.unlink()
    assert seen("after") == ["New", "/usr/share/zoneinfo/New", False]


def test_stop_finishes_what_is_in_flight(own):
    own.start()
    lam = make(own, "slow", SLOW)
    got = []
    call = threading.Thread(target=lambda: got.append(invoke(lam, "slow", {"n": 1})[0]))
    call.start()
    time.sleep(1)
    begin = time.time()
    own.stop()
    call.join()
    assert got == [{"n": 1}] and time.time() - begin < 15
    with pytest.raises(EndpointConnectionError):
        own.client("s3").list_buckets()
    assert "ERROR" not in own.log_text() and "WARN" not in own.log_text(), own.log_text()


def test_nothing_is_left_behind(own):
    """After a stop, and after kill -9 and the next start: no process, mount or cgroup of an instance."""
    own.start()
    lam = make(own, "f", BOOTSTRAP)
    assert invoke(lam, "f", 1)[0] == 1
    first = process_tree(own.process.pid)
    assert len(first) >= 3, "node, launcher and an instance at least"
    own.kill()
    eventually(lambda: not any(os.path.exists(f"/proc/{p}") for p in first))
    own.start()
    eventually(lambda: left_behind(own, first) == [])
    assert invoke(own.client("lambda"), "f", 2)[0] == 2
    second = process_tree(own.process.pid)
    own.stop()
    try:
        eventually(lambda: left_behind(own, first + second) == [])
    except AssertionError:
        raise AssertionError(left_behind(own, first + second))


def test_root_credentials(tmp_path):
    node = Node(tmp_path / "data", "--credentials", "root").start()
    try:
        with pytest.raises(ClientError) as e:
            node.client("lambda", key=("test", "test")).list_functions()
        assert e.value.response["Error"]["Code"] == "UnrecognizedClientException"
        path = node.data_dir / "root-key.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = json.loads(path.read_text())
        lam = boto3.client("lambda", endpoint_url=node.url, region_name="eu-west-1", aws_access_key_id=key["AccessKeyId"],
                           aws_secret_access_key=key["SecretAccessKey"], config=Config(retries={"max_attempts": 1}))
        assert lam.list_functions()["Functions"] == []
    finally:
        node.stop()


def test_one_node_per_data_directory(own):
    own.start()
    second = subprocess.run([str(WADI), "up", "--listen", "127.0.0.1:0", "--data-dir", str(own.data_dir)], capture_output=True, text=True, timeout=20)
    assert second.returncode == 1 and "another node is using" in " ".join(second.stderr.split()).replace("│ ", "")
    same_port = subprocess.run([str(WADI), "up", "--listen", f"127.0.0.1:{own.port}", "--data-dir", str(own.data_dir) + "2"], capture_output=True, text=True, timeout=20)
    assert same_port.returncode == 1 and "cannot listen" in " ".join(same_port.stderr.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_full_disk(tmp_path):
    """Writes are refused with a retryable error, reads go on, nothing acknowledged is lost, and it recovers by itself."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(disk)], check=True)
    node = Node(disk / "data")
    node.log_path, config = tmp_path / "node.log", tmp_path
    try:
        node.start()
        s3 = node.client("s3", retries={"max_attempts": 0})
        s3.create_bucket(Bucket="full")
        kept, refusals = {}, set()
        for i in range(2000):
            body = os.urandom(30_000 if i % 3 else 400_000)
            try:
                s3.put_object(Bucket="full", Key=f"{i:04}", Body=body)
                kept[f"{i:04}"] = body
            except ClientError as e:
                refusals.add((e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"]))
                if len(kept) and i > len(kept) + 20:
                    break
        assert refusals and all(status in (500, 503, 507) for _, status in refusals), refusals
        assert len(kept) > 20
        for key, body in kept.items():
            assert s3.get_object(Bucket="full", Key=key)["Body"].read() == body, key
        subprocess.run(["mount", "-o", "remount,size=96m", str(disk)], check=True)
        eventually(lambda: put(s3, "again"))
        node.stop()
        node.start()
        s3 = node.client("s3")
        assert all(s3.get_object(Bucket="full", Key=k)["Body"].read() == b for k, b in kept.items())
        assert s3.get_object(Bucket="full", Key="again")["Body"].read() == b"yes"
    finally:
        if node.process and node.process.poll() is None:
            node.kill()
        subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(disk, ignore_errors=True)


def put(s3, key):
    try:
        return s3.put_object(Bucket="full", Key=key, Body=b"yes")
    except ClientError:
        return None


def test_nearest_python_says_so(tmp_path):
    node = Node(tmp_path / "data", "--runtime-fallback", "nearest").start()
    try:
        lam = node.client("lambda", read_timeout=60)
        lam.create_function(FunctionName="future", Runtime="python3.15", Role=ROLE, Handler="app.handler",
                            Code={"ZipFile": package(app="import sys\ndef handler(e, c):\n    return list(sys.version_info[:2])\n")})
        lam.get_waiter("function_active_v2").wait(FunctionName="future", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        ran = invoke(lam, "future")[0]
        assert ran[0] == 3 and ran[1] < 15
        said = f"python3.15 is not on this machine; this function runs on Python 3.{ran[1]}."
        eventually(lambda: any(said in e["message"]
                               for e in node.client("logs").filter_log_events(logGroupName="/aws/lambda/future")["events"]))
        assert "nearest" in node.cli("doctor").stdout
    finally:
        node.stop()
