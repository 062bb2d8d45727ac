"""Container images that tests make of a static busybox, and a registry of their own."""

import gzip
import hashlib
import io
import json
import pathlib
import platform
import shutil
import socket
import subprocess
import tarfile
import time

import pytest

BUSYBOX = next((p for p in ("/bin/busybox", "/usr/bin/busybox") if pathlib.Path(p).exists()), None)
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
APPLETS = "sh cat grep sed tr id ls wget echo sleep mount touch ps env head ln mkdir".split()

# What speaks the Runtime API, with nothing but a shell: the first argument is the handler, which is a shell's words.
RUNTIME = """#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
handler="$1"
while :; do
  wget -q -S -O /tmp/event "$api/invocation/next" 2>/tmp/headers || exit 1
  id=$(grep -i lambda-runtime-aws-request-id /tmp/headers | sed 's/.*: *//' | tr -d '\\r')
  eval "$handler" >/tmp/answer 2>&1
  wget -q -O /dev/null --post-file /tmp/answer "$api/invocation/$id/response" || exit 1
done
"""
# As AWS's base images have it: the entry point hands the handler on to the runtime.
ENTRYPOINT = '#!/bin/sh\nexport _HANDLER="$1"\nexec /var/runtime/bootstrap "$1"\n'


def need(*programs):
    """Skips the test where the machine lacks a program, and says which."""
    missing = [name for name in programs if not (shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin"))]
    if BUSYBOX is None:
        missing.append("a static busybox")
    if missing:
        pytest.skip(f"no {', '.join(missing)}")


def need_none():
    """What is missing to make an image at all; nothing where it is there."""
    return "" if BUSYBOX else "static busybox"


def program(name):
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def layer(files, links=(), modes=None):
    """A tar of name -> text or bytes; those that begin with `#!` or are programs can be executed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, body in files.items():
            body = body.encode() if isinstance(body, str) else body
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), (modes or {}).get(name, 0o755 if body[:2] in (b"#!", b"\x7fE") else 0o644)
            tar.addfile(info, io.BytesIO(body))
        for name, to in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, to
            tar.addfile(info)
    return buffer.getvalue()


def base():
    """The layer that all test images share."""
    links = [(f"bin/{name}", "busybox") for name in APPLETS]
    files = {"bin/busybox": pathlib.Path(BUSYBOX).read_bytes(), "var/runtime/bootstrap": RUNTIME,
             "lambda-entrypoint.sh": ENTRYPOINT, "etc/passwd": "root:x:0:0::/:/bin/sh\n"}
    return layer(files, links)


def greeter():
    """The layers of an image of examples/rust-hello with the libraries that it is linked to: what waits for the Runtime API by
    polling, as all runtimes do. Busybox reads instead, and older gVisors do not let it wait on the network that they are given."""
    bootstrap = pathlib.Path(__file__).resolve().parents[2] / "target/debug/bootstrap"
    if not bootstrap.exists():
        pytest.skip("examples/rust-hello is not built")
    files = {"var/runtime/bootstrap": bootstrap.read_bytes()}
    for word in subprocess.run(["ldd", str(bootstrap)], capture_output=True, text=True, check=True).stdout.split():
        if word.startswith("/"):
            files[word[1:]] = pathlib.Path(word).read_bytes()
    return [layer(files, modes=dict.fromkeys(files, 0o755))], {"Entrypoint": ["/var/runtime/bootstrap"], "Cmd": []}


def layout(directory, layers, config=None, tag="latest", architecture=ARCHITECTURE):
    """Writes an OCI layout with one image of these tars."""
    blobs = pathlib.Path(directory) / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(body):
        digest = hashlib.sha256(body).hexdigest()
        (blobs / digest).write_bytes(body)
        return {"digest": f"sha256:{digest}", "size": len(body)}

    packed = [put(gzip.compress(tar, 1, mtime=0)) | {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"} for tar in layers]
    diffs = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in layers]
    settings = {"Env": ["PATH=/bin", "OF_THE_IMAGE=yes"], "Entrypoint": ["/lambda-entrypoint.sh"], "Cmd": ["echo '\"hello\"'"]}
    config = put(json.dumps({"architecture": architecture, "os": "linux", "config": settings | (config or {}),
                             "rootfs": {"type": "layers", "diff_ids": diffs}}).encode())
    config["mediaType"] = "application/vnd.oci.image.config.v1+json"
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = put(json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": packed}).encode())
    entry = manifest | {"mediaType": kind, "annotations": {"org.opencontainers.image.ref.name": tag}}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (pathlib.Path(directory) / "index.json").write_text(json.dumps(index))
    (pathlib.Path(directory) / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return manifest["digest"]


class Registry:
    """A registry, on loopback unless told otherwise, which tells what it was asked for. `more` goes into its settings."""

    def __init__(self, directory, address="127.0.0.1", **more):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        with socket.create_server((address, 0)) as free:
            self.port = free.getsockname()[1]
        self.host = f"{address}:{self.port}"
        config = self.directory / "registry.yml"
        config.write_text(json.dumps({
            "version": "0.1", "log": {"accesslog": {"disabled": False}, "level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "registry")}},
            **more, "http": {"addr": self.host, **more.get("http", {})}}))
        self.log = self.directory / "registry.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([program("docker-registry"), "serve", str(config)], stdout=log, stderr=log)
        deadline = time.time() + 20
        while time.time() < deadline:
            try:
                socket.create_connection((address, self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def push(self, directory, name, tag="latest", how=("--dest-tls-verify=false",)):
        done = subprocess.run([program("skopeo"), "--insecure-policy", "copy", *how, f"oci:{directory}:{tag}",
                               f"docker://{self.host}/{name}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def asked(self, what):
        """Requests so far whose line has `what`."""
        return sum(what in line for line in self.log.read_text().splitlines())

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
