"""Images from registries beyond loopback: TLS, logins, tokens, helpers, redirects, with a real registry. The addresses are played in
a network of the test's own, in which the node, the registry and the test itself are."""

import base64
import json
import os
import subprocess

import networks
import pytest
from botocore.exceptions import ClientError
from conftest import Node, invoke
from images import Registry, base, layout, need, program
from places import HTPASSWD, IDENTITY, PASSWORD, SECRETS, USER, Authority, Server, Tokens
from test_images import create

REGISTRY, TOKENS, STORAGE = "10.9.0.1", "10.9.0.2", "10.9.0.3"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="networks are made by root alone")


@pytest.fixture
def alone():
    need("docker-registry", "skopeo", "openssl")
    with networks.held(REGISTRY, TOKENS, STORAGE) as pid, networks.inside(pid):
        yield


@pytest.fixture
def authority(tmp_path):
    need("openssl")
    return Authority(tmp_path / "authority")


@pytest.fixture
def start(tmp_path, alone, monkeypatch):
    """Starts what a test needs and ends it: a registry with an image, a node, servers."""
    started = []
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUST_LOG", "debug")
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    def start(what):
        started.append(what)
        return what.start() if isinstance(what, Node) else what

    yield start
    for what in reversed(started):
        what.stop()


@pytest.fixture
def image(tmp_path):
    layout(tmp_path / "layout", [base()])
    return tmp_path / "layout"


def node(tmp_path, authority=None):
    return Node(tmp_path / "data", settings=f'[images]\nca = "{authority.certificate}"\n' if authority else "")


def refused(lam, uri):
    """Why the image cannot be had, as (code, message)."""
    with pytest.raises(ClientError) as error:
        create(lam, "refused", uri)
    return error.value.response["Error"]["Code"], str(error.value)


def login(registry, authority, user=USER, password=PASSWORD):
    """As a person does; skopeo keeps it where the node's user has such things."""
    return subprocess.run([program("skopeo"), "login", "--cert-dir", str(authority.directory), "--username", user, "--password-stdin",
                           registry.host], input=password, capture_output=True, text=True)


def logins(tmp_path):
    return tmp_path / "run/containers/auth.json"


def by_password(tmp_path):
    """As the registry's settings have it."""
    (tmp_path / "htpasswd").write_text(HTPASSWD + "\n")
    return {"htpasswd": {"realm": "of a test", "path": str(tmp_path / "htpasswd")}}


def with_login(authority):
    return ("--dest-cert-dir", str(authority.directory), f"--dest-creds={USER}:{PASSWORD}")


def shows_no_secret(node, *more):
    said = node.log_path.read_text(errors="replace") + "".join(more)
    for secret in SECRETS:
        assert secret not in said


@pytest.mark.parametrize("how", ["ca", "SSL_CERT_FILE", "unknown"])
def test_tls_is_spoken_with_whom_an_authority_vouches_for(tmp_path, start, authority, image, monkeypatch, how):
    registry = start(Registry(tmp_path / "registry", REGISTRY, http=authority.tls(REGISTRY)))
    registry.push(image, "greeter", how=("--dest-cert-dir", str(authority.directory)))
    if how == "SSL_CERT_FILE":
        monkeypatch.setenv(how, str(authority.certificate))
    own = start(node(tmp_path, authority if how == "ca" else None))
    if how == "unknown":
        code, said = refused(own, f"{registry.host}/greeter")
        assert code == "ServiceException" and "UnknownIssuer" in said and "[images] ca in wadi.toml" in said, said
        assert not registry.asked("GET /v2/greeter"), "nothing was asked for"
        return
    lam, _ = create(own, "greeter", f"{registry.host}/greeter")
    assert invoke(lam, "greeter")[0] == "hello"


def test_an_authority_that_is_none_is_told_at_start(tmp_path, alone):
    for text in (None, "", "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"):
        if text is not None:
            (tmp_path / "ca.pem").write_text(text)
        with pytest.raises(AssertionError) as ended:
            Node(tmp_path / "data", settings=f'[images]\nca = "{tmp_path}/ca.pem"\n').start()
        assert "ca.pem" in str(ended.value) and "ended at start" in str(ended.value)


def test_http_is_spoken_on_loopback_alone(tmp_path, start, image):
    registry = start(Registry(tmp_path / "registry", REGISTRY))
    registry.push(image, "greeter")
    code, said = refused(start(node(tmp_path)), f"{registry.host}/greeter")
    assert code == "ServiceException" and "does not speak TLS" in said and "by HTTP this node pulls from registries on loopback alone" in said
    assert not registry.asked("GET /v2/greeter")


def test_a_login_by_password(tmp_path, start, authority, image):
    registry = start(Registry(tmp_path / "registry", REGISTRY, http=authority.tls(REGISTRY), auth=by_password(tmp_path)))
    registry.push(image, "greeter", how=with_login(authority))
    own, uri = start(node(tmp_path, authority)), f"{registry.host}/greeter"
    asks_for_a_login(tmp_path, own, registry, authority, uri)


def asks_for_a_login(tmp_path, own, registry, authority, uri):
    """Without, with a wrong one, and with the right one, of people who log in while the node runs."""
    code, said = refused(own, uri)
    assert code == "AccessDeniedException" and "Lambda does not have permission to access the image" in said
    assert f"this node has no login for {registry.host}" in said
    wrong = "wrong:word-of-ada"
    logins(tmp_path).parent.mkdir()
    both = f"{USER}:{wrong}".encode()
    logins(tmp_path).write_text(json.dumps({"auths": {registry.host: {"auth": base64.b64encode(both).decode()}}}))
    code, told = refused(own, uri)
    assert code == "AccessDeniedException" and f"{registry.host} does not take the login that this node has for it" in told
    logins(tmp_path).unlink()
    assert login(registry, authority, password=wrong).returncode, "skopeo has the same opinion"
    done = login(registry, authority)
    assert done.returncode == 0, done.stderr
    assert registry.host in logins(tmp_path).read_text()
    lam, _ = create(own, "greeter", uri)
    assert invoke(lam, "greeter")[0] == "hello"
    shown = json.dumps(lam.get_function(FunctionName="greeter"), default=str) + own.cli("functions", "show", "greeter").stdout
    shows_no_secret(own, said, told, shown)
    assert wrong not in said + told + own.log_path.read_text(errors="replace")


@pytest.fixture
def tokened(tmp_path, start, authority, image):
    """A registry that wants tokens, and the server that has them."""
    tokens = start(Tokens(authority, TOKENS))
    registry = start(Registry(tmp_path / "registry", REGISTRY, http=authority.tls(REGISTRY), auth=tokens.settings()))
    for name in ("greeter", "public/greeter"):
        registry.push(image, name, how=with_login(authority))
    tokens.asked.clear()
    return registry, tokens


def test_a_login_for_tokens(tmp_path, start, authority, tokened):
    registry, tokens = tokened
    own = start(node(tmp_path, authority))
    lam, _ = create(own, "anybody", f"{registry.host}/public/greeter")
    assert invoke(lam, "anybody")[0] == "hello"
    asked = [path for _, path, headers, _ in tokens.asked]
    assert asked and all("scope=repository%3Apublic%2Fgreeter%3Apull" in path for path in asked), asked
    assert not any("authorization" in {name.lower() for name in headers} for _, _, headers, _ in tokens.asked)
    asks_for_a_login(tmp_path, own, registry, authority, f"{registry.host}/greeter")


def test_an_identity_token_is_exchanged(tmp_path, start, authority, tokened):
    registry, tokens = tokened
    (tmp_path / "own.json").write_text(json.dumps({"auths": {registry.host: {"identitytoken": IDENTITY}}}))
    own = node(tmp_path, authority)
    own.settings += f'credentials = "{tmp_path}/own.json"\n'
    start(own)
    lam, _ = create(own, "greeter", f"{registry.host}/greeter")
    assert invoke(lam, "greeter")[0] == "hello"
    assert {method for method, *_ in tokens.asked} == {"POST"}
    shows_no_secret(own)


@pytest.mark.parametrize("kept", ["credHelpers", "credsStore"])
def test_helpers_are_asked(tmp_path, start, authority, tokened, monkeypatch, kept):
    registry, _ = tokened
    bin = tmp_path / "bin"
    bin.mkdir()
    helper = bin / "docker-credential-of-a-test"
    helper.write_text(f"""#!/bin/sh
[ "$1" = get ] && [ "$(cat)" = {registry.host} ] || exit 2
test -f {tmp_path}/unlocked || {{ echo credentials not found in native keychain; exit 1; }}
echo '{{"ServerURL": "{registry.host}", "Username": "{USER}", "Secret": "{PASSWORD}"}}'
""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    (tmp_path / "home/.docker").mkdir(parents=True)
    config = tmp_path / "home/.docker/config.json"
    named = {"credHelpers": {registry.host: "of-a-test"}, "credsStore": "of-a-test"}[kept]
    config.write_text(json.dumps({"auths": {registry.host: {}}, kept: named}))
    own, uri = start(node(tmp_path, authority)), f"{registry.host}/greeter"
    assert "this node has no login" in refused(own, uri)[1]
    (tmp_path / "unlocked").touch()
    lam, _ = create(own, "greeter", uri)
    assert invoke(lam, "greeter")[0] == "hello"
    helper.write_text(f"#!/bin/sh\necho '{PASSWORD}'; exit 4\n")
    code, said = refused(own, uri)
    assert code == "ServiceException" and "docker-credential-of-a-test" in said and "exit status: 4" in said
    shows_no_secret(own, said)


def test_storage_elsewhere_is_shown_nothing(tmp_path, start, authority, image):
    """As registries in clouds have it: they send those who ask for a blob to another host."""
    kept = tmp_path / "registry/registry"

    def give(method, path, headers, body):
        file = kept / path.lstrip("/")
        return (200, file.read_bytes()) if file.is_file() else (404, b"")

    storage = start(Server(authority, STORAGE, give))
    redirect = {"storage": [{"name": "redirect", "options": {"baseurl": storage.url}}]}
    registry = start(Registry(tmp_path / "registry", REGISTRY, http=authority.tls(REGISTRY), auth=by_password(tmp_path),
                              middleware=redirect))
    registry.push(image, "greeter", how=with_login(authority))
    storage.asked.clear()
    own = start(node(tmp_path, authority))
    assert login(registry, authority).returncode == 0
    lam, _ = create(own, "greeter", f"{registry.host}/greeter")
    assert invoke(lam, "greeter")[0] == "hello"
    assert len(storage.asked) == 2, "the configuration and the layer"
    for _, path, headers, _ in storage.asked:
        assert "authorization" not in {name.lower() for name in headers}, path
