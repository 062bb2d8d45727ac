"""The S3 API as boto3 sees it."""

import hashlib
import io
import os
import socket
import time
import urllib.error
import urllib.request

import pytest
import requests
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError


@pytest.fixture
def bucket(shared, request):
    s3 = shared.client("s3")
    name = "b-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    yield name
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        if page.get("Contents"):
            s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]]})
    s3.delete_bucket(Bucket=name)


def refused(call, **kw):
    with pytest.raises(ClientError) as e:
        call(**kw)
    return e.value.response["Error"]["Code"]


@pytest.fixture
def localhost_names(monkeypatch):
    """`*.localhost` means loopback, as browsers and systemd have it (RFC 6761), whatever this machine's resolver says."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1" if str(host).endswith(".localhost") else host, *a, **k))


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_put_get_head_delete(shared, bucket, style, localhost_names):
    s3 = shared.client("s3", s3={"addressing_style": "path"})
    if style == "virtual":
        import boto3
        from botocore.config import Config
        s3 = boto3.client("s3", endpoint_url=f"http://s3.localhost:{shared.port}", region_name="us-east-1",
                          aws_access_key_id="test", aws_secret_access_key="test", config=Config(s3={"addressing_style": "virtual"}))
    put = s3.put_object(Bucket=bucket, Key="a/é b+c.txt", Body=b"0123456789", ContentType="text/plain", Metadata={"who": "me"},
                        CacheControl="no-store", Tagging="k=v&x=y")
    assert put["ETag"] == '"%s"' % hashlib.md5(b"0123456789").hexdigest()
    got = s3.get_object(Bucket=bucket, Key="a/é b+c.txt")
    assert got["Body"].read() == b"0123456789" and got["ContentType"] == "text/plain" and got["Metadata"] == {"who": "me"}
    assert got["CacheControl"] == "no-store" and got["TagCount"] == 2
    for spec, want, header in (("bytes=2-4", b"234", "bytes 2-4/10"), ("bytes=-3", b"789", "bytes 7-9/10"), ("bytes=8-99", b"89", "bytes 8-9/10")):
        r = s3.get_object(Bucket=bucket, Key="a/é b+c.txt", Range=spec)
        assert (r["Body"].read(), r["ContentRange"], r["ResponseMetadata"]["HTTPStatusCode"]) == (want, header, 206)
    assert refused(s3.get_object, Bucket=bucket, Key="a/é b+c.txt", Range="bytes=10-") == "InvalidRange"
    assert refused(s3.get_object, Bucket=bucket, Key="a/é b+c.txt", IfNoneMatch=put["ETag"]) == "304"
    assert refused(s3.get_object, Bucket=bucket, Key="a/é b+c.txt", IfMatch='"x"') == "PreconditionFailed"
    assert refused(s3.put_object, Bucket=bucket, Key="a/é b+c.txt", Body=b"", IfNoneMatch="*") == "PreconditionFailed"
    assert s3.head_object(Bucket=bucket, Key="a/é b+c.txt")["ContentLength"] == 10
    assert {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket=bucket, Key="a/é b+c.txt")["TagSet"]} == {"k": "v", "x": "y"}
    s3.delete_object(Bucket=bucket, Key="a/é b+c.txt")
    assert refused(s3.get_object, Bucket=bucket, Key="a/é b+c.txt") == "NoSuchKey"
    assert refused(s3.head_object, Bucket=bucket, Key="a/é b+c.txt") == "404"


def test_buckets(shared, bucket):
    s3 = shared.client("s3")
    assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert refused(s3.head_bucket, Bucket="no-such-bucket") == "404"
    assert refused(s3.create_bucket, Bucket="Bad_Name") in ("InvalidBucketName",)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert refused(s3.delete_bucket, Bucket=bucket) == "BucketNotEmpty"
    eu = shared.client("s3", region="eu-west-1")
    assert refused(eu.create_bucket, Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}) == "BucketAlreadyOwnedByYou"
    assert "GetBucketAnalyticsConfiguration" in str(pytest.raises(ClientError, s3.get_bucket_analytics_configuration, Bucket=bucket, Id="x").value)


def test_listing(shared, bucket):
    s3 = shared.client("s3")
    keys = sorted([f"p/{i:03}" for i in range(25)] + ["a", "p/x/1", "p/x/2", "q/1", "z é"], key=str.encode)
    for k in keys:
        s3.put_object(Bucket=bucket, Key=k, Body=b"x")
    for version in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(version).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7}))
        assert [o["Key"] for p in pages for o in p["Contents"]] == keys
        pages = list(s3.get_paginator(version).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
        assert [c["Prefix"] for p in pages for c in p.get("CommonPrefixes", [])] == ["p/", "q/"]
        assert [o["Key"] for p in pages for o in p.get("Contents", [])] == ["a", "z é"]
    r = s3.list_objects_v2(Bucket=bucket, Prefix="p/", Delimiter="/", StartAfter="p/020")
    assert [o["Key"] for o in r["Contents"]] == [f"p/{i:03}" for i in range(21, 25)] and r["CommonPrefixes"] == [{"Prefix": "p/x/"}]


def test_versions_of_a_bucket_without(shared, bucket):
    """What `boto3.resource("s3").Bucket(b).object_versions.delete()` and Terraform's `force_destroy` do."""
    s3 = shared.client("s3")
    for k in ("a", "b/1", "b/2", "c"):
        s3.put_object(Bucket=bucket, Key=k, Body=b"x")
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 3}))
    versions = [v for p in pages for v in p["Versions"]]
    assert len(pages) == 2 and [(v["Key"], v["VersionId"], v["IsLatest"]) for v in versions] == [(k, "null", True) for k in ("a", "b/1", "b/2", "c")]
    rolled = s3.list_object_versions(Bucket=bucket, Delimiter="/", KeyMarker="a", MaxKeys=1)
    assert rolled["CommonPrefixes"] == [{"Prefix": "b/"}] and rolled["NextKeyMarker"] == "b/" and "NextVersionIdMarker" not in rolled
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions]})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_multipart(shared, bucket):
    s3 = shared.client("s3")
    data = os.urandom(12 << 20)
    s3.upload_fileobj(io.BytesIO(data), bucket, "big", Config=TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20))
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == len(data) and head["ETag"].endswith('-3"')
    out = io.BytesIO()
    s3.download_fileobj(bucket, "big", out)
    assert out.getvalue() == data
    assert s3.get_object(Bucket=bucket, Key="big", PartNumber=3)["Body"].read() == data[10 << 20:]
    assert s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={(5 << 20) - 3}-{(5 << 20) + 2}")["Body"].read() == data[(5 << 20) - 3:(5 << 20) + 3]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "big"})
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == data
    up = s3.create_multipart_upload(Bucket=bucket, Key="never")["UploadId"]
    a = s3.upload_part(Bucket=bucket, Key="never", UploadId=up, PartNumber=1, Body=b"small")["ETag"]
    b = s3.upload_part(Bucket=bucket, Key="never", UploadId=up, PartNumber=2, Body=b"small")["ETag"]
    parts = [{"PartNumber": 1, "ETag": a}, {"PartNumber": 2, "ETag": b}]
    assert refused(s3.complete_multipart_upload, Bucket=bucket, Key="never", UploadId=up, MultipartUpload={"Parts": parts}) == "EntityTooSmall"
    assert refused(s3.complete_multipart_upload, Bucket=bucket, Key="never", UploadId=up, MultipartUpload={"Parts": parts[::-1]}) == "InvalidPartOrder"
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["never"]
    s3.abort_multipart_upload(Bucket=bucket, Key="never", UploadId=up)
    assert refused(s3.list_parts, Bucket=bucket, Key="never", UploadId=up) == "NoSuchUpload"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(shared, bucket, algorithm):
    s3 = shared.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] and head["ChecksumType"] == "FULL_OBJECT"
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"hello"
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"hello", ChecksumSHA256="A" * 43 + "=") in ("BadDigest", "InvalidRequest", "XAmzContentChecksumMismatch")
    assert refused(s3.put_object, Bucket=bucket, Key="k", Body=b"hello", ContentMD5="A" * 22 + "==") == "BadDigest"


@pytest.mark.parametrize("signature", ["s3", "s3v4"])
def test_presigned(shared, bucket, signature):
    """boto3 still makes version 2 URLs unless told otherwise."""
    s3 = shared.client("s3", signature_version=signature)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "p"}, ExpiresIn=60)
    assert requests.put(url, data=b"via url").status_code == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "p"}, ExpiresIn=60)
    assert requests.get(url).content == b"via url"
    assert requests.get(url.replace("Signature=", "Signature=0")).status_code in (400, 403)
    assert requests.get(url.replace(f"/{bucket}/p", f"/{bucket}/q")).status_code == 403
    answer = requests.put(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "c"}, ExpiresIn=60),
                          headers={"x-amz-copy-source": f"{bucket}/p"})
    assert answer.status_code == 403 and refused(shared.client("s3").head_object, Bucket=bucket, Key="c") == "404"
    params = {"Bucket": bucket, "Key": "t", "ContentType": "text/x", "Metadata": {"who": "me"}, "Tagging": "k=v"}
    url = s3.generate_presigned_url("put_object", Params=params, ExpiresIn=60)
    signed = {"content-type": "text/x", "x-amz-meta-who": "me", "x-amz-tagging": "k=v"}
    assert requests.put(url, data=b"x", headers={**signed, "x-amz-meta-who": "you"}).status_code == 403
    assert requests.put(url, data=b"x", headers=signed).status_code == 200
    assert shared.client("s3").head_object(Bucket=bucket, Key="t")["Metadata"] == {"who": "me"}
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "p", "ResponseContentType": "a/b; c=d"}, ExpiresIn=1)
    assert requests.get(url).headers["content-type"] == "a/b; c=d"
    time.sleep(2)
    expired = requests.get(url)
    assert expired.status_code == 403 and "<Code>AccessDenied</Code><Message>Request has expired</Message>" in expired.text


@pytest.mark.parametrize("key", ["../../etc/passwd", "a/../../b", "/lead", "//", ".", "..", "é" * 512, "x" * 1024, "\u0001\u001f", "a\nb", "%2e%2e/%00", "\U0001f40a/💧"],
                         ids=range(12))
def test_hostile_keys(shared, bucket, key):
    s3 = shared.client("s3")
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, EncodingType="url")["Contents"]]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}], "Quiet": True}) if key.isprintable() else s3.delete_object(Bucket=bucket, Key=key)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert refused(s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"") == "KeyTooLongError"


def test_wrong_signatures(shared, bucket):
    import boto3
    for key, secret, code in (("test", "wrong", "SignatureDoesNotMatch"), ("nobody", "x", "InvalidAccessKeyId")):
        s3 = boto3.client("s3", endpoint_url=shared.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret)
        assert refused(s3.list_objects_v2, Bucket=bucket) == code
        lam = boto3.client("lambda", endpoint_url=shared.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret)
        assert refused(lam.list_functions) in ("InvalidSignatureException", "UnrecognizedClientException")
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(f"{shared.url}/{bucket}/k")
    assert e.value.code == 403


def test_aws_cli(shared, bucket, tmp_path):
    tree = tmp_path / "tree"
    (tree / "sub/deep").mkdir(parents=True)
    (tree / "a b+c é.txt").write_text("one")
    (tree / "empty").touch()
    (tree / "sub/deep/big").write_bytes(os.urandom(9 << 20))
    to = f"s3://{bucket}"
    shared.aws("s3", "sync", str(tree), f"{to}/in")
    shared.aws("s3", "cp", "--recursive", f"{to}/in", f"{to}/copied")
    shared.aws("s3", "mv", f"{to}/copied/sub/deep/big", f"{to}/copied/moved")
    (tree / "empty").unlink()
    assert shared.aws("s3", "sync", "--delete", str(tree), f"{to}/in").stdout.strip() == f"delete: {to}/in/empty"
    shared.aws("s3", "sync", f"{to}/in", str(tmp_path / "out"))
    assert (tmp_path / "out/sub/deep/big").read_bytes() == (tree / "sub/deep/big").read_bytes()
    assert [l.split(None, 3)[3] for l in shared.aws("s3", "ls", "--recursive", f"{to}/copied").stdout.splitlines()] == \
        ["copied/a b+c é.txt", "copied/empty", "copied/moved"]
    url = shared.aws("s3", "presign", f"{to}/in/a b+c é.txt").stdout.strip()
    assert requests.get(url).text == "one"
    shared.aws("s3", "rm", "--recursive", to)
    assert shared.aws("s3", "ls", "--recursive", "--summarize", to).stdout.split() == ["Total", "Objects:", "0", "Total", "Size:", "0"]


def test_a_truncated_upload_stores_nothing(shared, bucket):
    s3 = shared.client("s3")
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "cut"}, ExpiresIn=60)
    path = url.split(str(shared.port), 1)[1]
    with socket.create_connection(("127.0.0.1", shared.port)) as c:
        c.sendall(f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{shared.port}\r\nContent-Length: 1000000\r\n\r\n".encode() + b"x" * 200_000)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_memory_stays_flat(shared, bucket):
    """1 GiB in and out (5 GB with WADI_LARGE=1) costs the node less than 64 MiB more than before."""
    size = (5 << 30) - 1 if os.environ.get("WADI_LARGE") else 1 << 30

    class Zeros(io.RawIOBase):
        at = 0
        def readable(self): return True
        def seekable(self): return True
        def tell(self): return self.at
        def seek(self, to, whence=0):
            self.at = to if whence == 0 else size if whence == 2 else self.at + to
            return self.at
        def read(self, n=-1):
            n = min(size - self.at, n if n >= 0 else size)
            self.at += n
            return bytes(n)
        def readinto(self, into):
            data = self.read(len(into))
            into[:len(data)] = data
            return len(data)

    def peak():
        return int(next(l for l in open(f"/proc/{shared.process.pid}/status") if l.startswith("VmHWM")).split()[1]) * 1024

    s3 = shared.client("s3", read_timeout=300)
    before = peak()
    s3.put_object(Bucket=bucket, Key="large", Body=Zeros())
    left = size
    for chunk in s3.get_object(Bucket=bucket, Key="large")["Body"].iter_chunks(1 << 20):
        left -= len(chunk)
    assert left == 0
    # Somebody who asks and does not read.
    path = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "large"}, ExpiresIn=60).split(str(shared.port), 1)[1]
    with socket.create_connection(("127.0.0.1", shared.port)) as c:
        c.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{shared.port}\r\n\r\n".encode())
        time.sleep(1)
    assert peak() - before < 64 << 20, f"{(peak() - before) >> 20} MiB more"
