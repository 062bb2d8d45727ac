"""HTTP as no SDK speaks it: old, odd and hostile requests on a raw socket. Each gets one clear answer, and what follows on
the same connection is never read as something else."""

import json
import socket

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

HEALTH = b"GET /_wadi/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
# The same, after which the node closes the connection.
LAST = b"GET /_wadi/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def replies(node, data, half_close=False):
    """[(status, headers, body)] of all that comes back on one connection until the node closes it."""
    with socket.create_connection(("127.0.0.1", node.port)) as c:
        c.settimeout(20)
        received = b""
        try:
            c.sendall(data)
            if half_close:
                c.shutdown(socket.SHUT_WR)
        except OSError:
            # It has been refused already.
            pass
        try:
            while chunk := c.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1."), received[:200]
        status = int(first.split()[1])
        headers = {k.lower(): v.strip() for k, v in (l.split(":", 1) for l in lines)}
        if status == 100:
            received = rest
            continue
        length = int(headers.get("content-length", len(rest))) if "transfer-encoding" not in headers else len(rest)
        found.append((status, headers, rest[:length]))
        received = rest[length:]
    return found


def signed(node, method, path, body=b"", service="lambda", **headers):
    """Request line and headers of a signed request, without any about its length."""
    request = AWSRequest(method, node.url + path, data=body, headers=headers)
    SigV4Auth(Credentials("test", "test"), service, "us-east-1").add_auth(request)
    lines = {"Host": f"127.0.0.1:{node.port}", **{k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")}}
    return f"{method} {path} HTTP/1.1\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in lines.items()).encode()


def statuses(found):
    return [status for status, _, _ in found]


LIST = "/2015-03-31/functions"
CREATE = json.dumps({"logGroupName": "/http/chunked"}).encode()
LOGS = {"X-Amz-Target": "Logs_20140328.CreateLogGroup", "Content-Type": "application/x-amz-json-1.1"}


def test_http_1_0(shared):
    assert statuses(replies(shared, b"GET /_wadi/health HTTP/1.0\r\nHost: localhost\r\n\r\n")) == [200]
    (status, _, body), = replies(shared, b"GET /_wadi/health HTTP/1.0\r\n\r\n")
    assert (status, json.loads(body)["message"]) == (400, "The request has no Host header.")
    head = signed(shared, "GET", LIST).replace(b"HTTP/1.1", b"HTTP/1.0")
    (status, headers, body), = replies(shared, head + b"\r\n")
    assert status == 200 and json.loads(body)["Functions"] is not None and "transfer-encoding" not in headers


def test_pipelined_requests_are_answered_in_order(shared):
    one = signed(shared, "GET", LIST + "?MaxItems=1") + b"\r\n"
    refused = signed(shared, "POST", LIST, b"{}") + b"Content-Length: 2\r\n\r\n{}"
    lost = b"GET /2015-03-31/functions HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    assert statuses(replies(shared, (HEALTH + one + refused + lost) * 5 + LAST)) == [200, 200, 400, 403] * 5 + [200]


def test_expect_100_continue(shared):
    head = signed(shared, "POST", LIST, b"{}") + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with socket.create_connection(("127.0.0.1", shared.port)) as c:
        c.settimeout(5)
        c.sendall(head)
        assert c.recv(100).startswith(b"HTTP/1.1 100 Continue")
        c.sendall(b"{}")
        assert c.recv(100).startswith(b"HTTP/1.1 400 ")


def test_chunked_bodies(shared):
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (1, bytes([b])) for b in CREATE) + b"0\r\nTrailer: x\r\n\r\n"
    head = signed(shared, "POST", "/", CREATE, "logs", **LOGS) + b"Transfer-Encoding: chunked\r\n\r\n"
    assert statuses(replies(shared, head + chunks + LAST)) == [200, 200]
    shared.client("logs").delete_log_group(logGroupName="/http/chunked")
    for bad in (b"zz\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"fffffffffffffffff\r\nx", b"5\r\nab"):
        found = replies(shared, head + bad, half_close=True)
        assert statuses(found) == [400], (bad, found)


SMUGGLED = b"GET /_wadi/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("lengths", [
    b"Content-Length: 4\r\nContent-Length: 40\r\n", b"Content-Length: 4, 40\r\n", b"Content-Length: +4\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 0x4\r\n", b"Content-Length: 99999999999999999999999\r\n", b"Transfer-Encoding: gzip, chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n", b"Content-Length : 4\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b" Content-Length: 4\r\n", b"Content-Length: 4\r\n folded: 1\r\n", b"Content-\x00Length: 4\r\n",
])
def test_lengths_that_disagree(shared, lengths):
    """One answer, then the connection is over: nothing of what follows is taken for a request."""
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n" + lengths + b"\r\n"
    found = replies(shared, head + SMUGGLED)
    assert statuses(found) == [400], found


@pytest.mark.parametrize("order", [b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"])
def test_chunked_with_a_length(shared, order):
    """RFC 9112: chunked wins or the request is refused, and either way the connection is not used again."""
    found = replies(shared, b"POST / HTTP/1.1\r\nHost: localhost\r\n" + order + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert len(found) <= 1 and all(s >= 400 for s in statuses(found)), found


def test_methods_and_targets(shared):
    (status, _, body), = replies(shared, LAST.replace(b"GET", b"HEAD"))
    assert status in (200, 403, 405) and not body
    for method in (b"OPTIONS", b"TRACE", b"CONNECT", b"BREW"):
        for target in (b"*", b"/2015-03-31/functions", b"localhost:1"):
            found = replies(shared, method + b" " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert len(found) <= 1 and all(400 <= s < 502 for s in statuses(found)), (method, target, found)
    absolute = signed(shared, "GET", LIST).replace(b"GET /", b"GET " + shared.url.encode() + b"/", 1)
    assert statuses(replies(shared, absolute + b"\r\n" + LAST)) == [200, 200]
    elsewhere = signed(shared, "GET", LIST).replace(b"GET /", b"GET http://elsewhere.example/", 1)
    assert statuses(replies(shared, elsewhere + b"\r\n" + LAST))[-1] == 200


def test_heads_that_are_too_large(shared):
    """Refused; a client that still sends may lose the answer, but gets no other."""
    get = b"GET /_wadi/health HTTP/1.1\r\nHost: localhost\r\n"
    for head in (b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n", get + b"".join(b"X-%d: y\r\n" % i for i in range(5000)),
                 get + b"X: " + b"y" * 300_000 + b"\r\n"):
        assert statuses(replies(shared, head + b"\r\n" + LAST)) in ([431], [])
    assert statuses(replies(shared, get + b"X: " + b"y" * 8_000 + b"\r\n\r\n" + LAST)) == [200, 200]


@pytest.mark.parametrize("name", ["%2F", "a%2Fb", "..", "%2e%2e", "a%00b", "%ff%fe", "%", "%zz", "a%20b", "%25", "a%3Fb", ";x", "a%5Cb", "%c3%a9"])
def test_odd_names_in_paths(shared, name):
    """Signed as it is sent: a name that is none is refused by name, and reaches no other operation."""
    for path in (f"/2015-03-31/functions/{name}", f"/2015-03-31/functions/{name}/invocations", f"/2018-10-31/layers/{name}/versions/1"):
        head = signed(shared, "DELETE" if "invocations" not in path else "POST", path)
        found = replies(shared, head + b"Content-Length: 0\r\n\r\n" + LAST)
        assert len(found) == 2 and found[1][0] == 200 and found[0][0] in (204, 400, 403, 404), (path, found)
        # Deleting a version of a layer that is not there is no error, whatever its proper name.
        assert found[0][0] != 204 or "layers" in path, (path, found)


def test_paths_that_are_not_utf_8(shared):
    for path in (b"/\xff\xfe", b"/2015-03-31/functions/\xc3\x28", b"/a b", b"//", b"/\x7f", b"/?\xff"):
        found = replies(shared, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert statuses(found) in ([400], [403], [404]), (path, found)
