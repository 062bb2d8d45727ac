"""What stands around a registry, played by a test: an authority that signs certificates, a server of tokens, storage."""

import base64
import hashlib
import http.server
import json
import pathlib
import ssl
import subprocess
import threading
import time
import urllib.parse

USER, PASSWORD, IDENTITY = "ada", "pass:word-of-ada", "identity-token-of-ada"
# The password's, by bcrypt.
HTPASSWD = "ada:$2y$05$abcdefghijklmnopqrstuupL93EFJSD7NmThxDV10OxBj3azeZ.qK"
SECRETS = [PASSWORD, IDENTITY, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()]


def openssl(*words, feed=None):
    done = subprocess.run(["openssl", *map(str, words)], input=feed, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Authority:
    """Signs certificates of addresses; nobody knows it who was not told."""

    def __init__(self, directory):
        self.made = pathlib.Path(directory)
        # As clients want a directory of those whom they trust.
        self.directory = self.made / "known"
        self.directory.mkdir(parents=True)
        self.certificate, self.key = self.directory / "ca.crt", self.made / "ca.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", "/CN=an authority of a test", "-keyout", self.key,
                "-out", self.certificate, "-addext", "keyUsage=critical,keyCertSign")

    def signed(self, address):
        """The files of a certificate and its key."""
        made = {end: self.made / f"{address}.{end}" for end in ("crt", "key", "csr", "ext")}
        made["ext"].write_text(f"subjectAltName=IP:{address}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n")
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={address}", "-keyout", made["key"], "-out", made["csr"])
        openssl("x509", "-req", "-in", made["csr"], "-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial", "-days", 2,
                "-extfile", made["ext"], "-out", made["crt"])
        return str(made["crt"]), str(made["key"])

    def tls(self, address):
        """As docker-registry's settings have it."""
        certificate, key = self.signed(address)
        return {"tls": {"certificate": certificate, "key": key}}


class Server:
    """A server by TLS that answers each request as `answer(method, path, headers, body)` says, with (status, body), and notes them."""

    def __init__(self, authority, address, answer):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                asked.append((self.command, self.path, dict(self.headers), body))
                status, said = answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said)

            do_GET = do_POST = do_HEAD = do

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.signed(address))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://{address}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Tokens(Server):
    """A server of tokens as registries name them: RS256, for what is asked where the login is right, for reading what is public else."""

    service, issuer = "registry of a test", "issuer of a test"

    def __init__(self, authority, address):
        self.authority = authority
        super().__init__(authority, address, self.answer)

    def settings(self):
        """As docker-registry's settings have it."""
        of = {"realm": f"{self.url}/token", "service": self.service, "issuer": self.issuer, "rootcertbundle": str(self.authority.certificate)}
        return {"token": of}

    def answer(self, method, path, headers, body):
        query = body if method == "POST" else urllib.parse.urlsplit(path).query
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        if method == "POST":
            known = (asked.get("grant_type"), asked.get("refresh_token")) == ("refresh_token", IDENTITY)
            wrong = not known
        else:
            known = headers.get("authorization") == f"Basic {SECRETS[2]}"
            wrong = "authorization" in headers and not known
        if wrong or asked.get("service") != self.service:
            return 401, json.dumps({"details": f"not {headers.get('authorization')} {body}"}).encode()
        token = self.token(asked["scope"], known) if "scope" in asked else self.token("", known)
        return 200, json.dumps({"access_token" if method == "POST" else "token": token, "expires_in": 60}).encode()

    def token(self, scope, known):
        access = []
        for kind, name, actions in (part.split(":") for part in scope.split()):
            actions = [a for a in actions.split(",") if known or (name.startswith("public/") and a == "pull")]
            access.append({"type": kind, "name": name, "actions": actions})
        certificate = "".join(line for line in self.authority.certificate.read_text().splitlines() if "-----" not in line)
        now = int(time.time())
        head = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        claims = {"iss": self.issuer, "aud": self.service, "sub": USER if known else "", "nbf": now - 60, "iat": now, "exp": now + 60,
                  "jti": hashlib.sha256(f"{now}{scope}".encode()).hexdigest(), "access": access}
        text = ".".join(packed(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{packed(openssl('dgst', '-sha256', '-sign', self.authority.key, feed=text.encode()))}"


def packed(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
