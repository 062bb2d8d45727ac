"""Hostile and broken input: a clear error, and the node goes on."""

import io
import os
import socket
import stat
import time
import zipfile

import pytest
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import ROLE, RUNTIME


def zip_of(*entries):
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)
    return b.getvalue()


BAD_ZIPS = {
    "bomb": lambda: zip_of(*[(f"f{i}", bytes(60 << 20), stat.S_IFREG | 0o644) for i in range(5)]),
    "traversal": lambda: zip_of(("../../evil", b"x", stat.S_IFREG | 0o644)),
    "absolute": lambda: zip_of(("/etc/evil", b"x", stat.S_IFREG | 0o644)),
    "link_out": lambda: zip_of(("l", b"/etc", stat.S_IFLNK | 0o777), ("l/passwd", b"x", stat.S_IFREG | 0o644)),
    "device": lambda: zip_of(("d", b"", stat.S_IFCHR | 0o644)),
    "cut": lambda: zip_of(("a.py", os.urandom(10_000), stat.S_IFREG | 0o644))[:5000],
    "empty": lambda: b"",
    "noise": lambda: b"PK\x03\x04" + os.urandom(4000),
}


@pytest.mark.parametrize("case", BAD_ZIPS)
def test_bad_zips(shared, case):
    lam = shared.client("lambda")
    with pytest.raises(lam.exceptions.ClientError) as e:
        lam.create_function(FunctionName="bad-" + case.replace("_", "-"), Runtime=RUNTIME, Role=ROLE, Handler="a.handler", Code={"ZipFile": BAD_ZIPS[case]()})
    error = e.value.response["Error"]
    assert error["Code"] == "InvalidParameterValueException" and error["Message"], error
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_function(FunctionName="bad-" + case.replace("_", "-"))


def signed(shared, method, path, body=b"", service="lambda", when=None, **headers):
    url = shared.url + path
    request = AWSRequest(method, url, data=body, headers=headers)
    SigV4Auth(Credentials("test", "test"), service, "us-east-1").add_auth(request)
    return requests.request(method, url, data=body, headers=dict(request.headers), timeout=30)


def test_requests_that_are_not_right(shared):
    assert signed(shared, "POST", "/2015-03-31/functions", b"{").status_code == 400
    assert signed(shared, "POST", "/2015-03-31/functions", b'{"FunctionName": 5}').status_code == 400
    deep = b'{"FunctionName":"x","Tags":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    assert signed(shared, "POST", "/2015-03-31/functions", deep).status_code == 400
    assert signed(shared, "GET", "/no/such/path").status_code in (400, 403, 404)
    r = signed(shared, "POST", "/", b"{}", service="logs", **{"X-Amz-Target": "Logs_20140328.StartQuery", "Content-Type": "application/x-amz-json-1.1"})
    assert r.status_code in (400, 501) and "StartQuery" in r.text
    r = signed(shared, "POST", "/", b"{}", service="logs", **{"X-Amz-Target": "Logs_20140328.NoSuch", "Content-Type": "application/x-amz-json-1.1"})
    assert r.status_code in (400, 404) and "UnknownOperationException" in r.text
    r = signed(shared, "POST", "/", b"Action=ListTopics", service="ses")
    assert r.status_code >= 400 and "ses" in r.text
    assert signed(shared, "PUT", "/2015-03-31/functions/x/code", b"x" * 80_000_000).status_code == 413
    assert requests.get(shared.url + "/2015-03-31/functions").status_code == 403
    assert requests.get(shared.url + "/_wadi/health").json()["status"] == "ok"


def test_clock_skew(shared, monkeypatch):
    import datetime
    import botocore.auth
    import botocore.compat
    late = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=30)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: late.replace(tzinfo=None) if remove_tzinfo else late)
    r = signed(shared, "GET", "/2015-03-31/functions")
    assert r.status_code == 403 and "Signature expired" in r.text, r.text


def test_tampered_body(shared):
    url = shared.url + "/2015-03-31/functions/x/invocations"
    request = AWSRequest("POST", url, data=b'{"a":1}')
    SigV4Auth(Credentials("test", "test"), "lambda", "us-east-1").add_auth(request)
    r = requests.post(url, data=b'{"a":2}', headers=dict(request.headers))
    assert r.status_code == 403 and "InvalidSignatureException" in (r.text + r.headers.get("x-amzn-ErrorType", ""))


def test_slow_clients_do_not_hold_the_node(shared):
    slow = []
    for _ in range(50):
        c = socket.create_connection(("127.0.0.1", shared.port))
        c.sendall(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\nContent-Le")
        slow.append(c)
    begin = time.time()
    assert requests.get(shared.url + "/_wadi/health", timeout=5).status_code == 200
    assert time.time() - begin < 2
    [c.close() for c in slow]


def test_garbage_on_the_wire(shared):
    for noise in (b"\x00" * 100, b"\x16\x03\x01" + os.urandom(200), b"GET / HTTP/9.9\r\n\r\n", b"A" * 100_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", shared.port)) as c:
            c.settimeout(10)
            try:
                c.sendall(noise)
                c.shutdown(socket.SHUT_WR)
                while c.recv(4096):
                    pass
            except OSError:
                pass
    assert requests.get(shared.url + "/_wadi/health").status_code == 200
