"""Doubles of those who know who callers are, and servers that ask them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from benchhost.access import new_key
from benchhost.store import open_store
from benchhost.testing import install_plugin, serving

PROJECT = "P2abcdefghijklmnopqrstuvwxyz"

Answer = tuple[int, Any]


class SigningKey:
    """A private key, by which tokens are signed, and the public one as a JWK."""

    def __init__(self, kid: str, algorithm: str = "RS256") -> None:
        self.kid, self.algorithm = kid, algorithm
        if algorithm.startswith("RS"):
            self.private: Any = rsa.generate_private_key(65537, 2048)
        elif algorithm.startswith("ES"):
            self.private = ec.generate_private_key(ec.SECP256R1())
        else:
            self.private = ed25519.Ed25519PrivateKey.generate()

    @property
    def public(self) -> dict[str, Any]:
        told = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        told.pop("key_ops", None)
        return {**told, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        return jwt.encode(claims, self.private, self.algorithm, {"kid": self.kid, **header})


class Double:
    """An HTTP service on loopback, in a thread. ``asked`` counts requests by their paths; ``fails`` is a status."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.fails: int | None = None
        self.delay = 0.0

    def answer(self, method: str, path: str, headers: Any) -> Answer:
        raise NotImplementedError

    @contextmanager
    def running(self) -> Iterator[Any]:
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                double.asked[self.path] += 1
                time.sleep(double.delay)
                status, said = double.answer(self.command, self.path, self.headers)
                if double.fails is not None:
                    status, said = double.fails, {"errorCode": "E010101"}
                body = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class DescopeDouble(Double):
    """As much of Descope as a key needs: its exchange for a session, and the public keys of the project.

    ``keys`` are the keys that are good, and the tenants of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, list[str]] = {}
        self.lasts = 600.0
        self.signer = SigningKey("SK2one")
        self.published = [self.signer.public]

    @property
    def exchanged(self) -> int:
        """How many keys were exchanged, or were to be."""
        return self.asked["/v1/auth/accesskey/exchange"]

    def answer(self, method: str, path: str, headers: Any) -> Answer:
        if (method, path) == ("GET", f"/v2/keys/{PROJECT}"):
            return 200, {"keys": self.published}
        if (method, path) != ("POST", "/v1/auth/accesskey/exchange"):
            return 404, {"errorCode": "E010404", "errorDescription": "not found"}
        project, _, key = headers["authorization"].removeprefix("Bearer ").partition(":")
        if project != PROJECT or headers["x-descope-project-id"] != PROJECT:
            return 400, {"errorCode": "E011004", "errorDescription": "Project not found"}
        if key not in self.keys:
            return 401, {"errorCode": "E066103", "errorMessage": f"Invalid access key {key}"}
        now = int(time.time())
        claims = {
            "iss": f"https://api.descope.com/{PROJECT}",
            "sub": "K2abc",
            "iat": now,
            "exp": now + self.lasts,
            "drn": "DS",
            "tenants": {tenant: {} for tenant in self.keys[key]},
        }
        return 200, {"keyId": "K2abc", "sessionJwt": self.signer.sign(claims), "expiration": now + self.lasts}


class IssuerDouble(Double):
    """An issuer of OpenID Connect. ``published`` are its keys, ``issuer`` is what it calls itself."""

    def __init__(self) -> None:
        super().__init__()
        self.signer = SigningKey("one", "ES256")
        self.published = [self.signer.public]
        self.calls_itself: str | None = None
        self.keys_are_at: str | None = None

    def answer(self, _method: str, path: str, _headers: Any) -> Answer:
        if path == "/.well-known/openid-configuration":
            return 200, {"issuer": self.calls_itself or self.url, "jwks_uri": self.keys_are_at or f"{self.url}/keys"}
        if path == "/keys":
            return 200, {"keys": self.published}
        return 404, {}

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good token, with changes; ``None`` leaves one out."""
        good = {"iss": self.url, "aud": "benchhost", "exp": time.time() + 300, "tenant": "acme", "sub": "somebody"}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, **changes: Any) -> bytes:
        """A token, good but for the changes."""
        return self.signer.sign(self.claims(**changes)).encode()


@pytest.fixture
def descope() -> Iterator[DescopeDouble]:
    with DescopeDouble().running() as double:
        yield double


@pytest.fixture
def issuer() -> Iterator[IssuerDouble]:
    with IssuerDouble().running() as double:
        yield double


@pytest.fixture
def project() -> str:
    return PROJECT


@pytest.fixture(scope="session")
def signing_key() -> type[SigningKey]:
    return SigningKey


@pytest.fixture
async def store():
    async with open_store("memory:") as store:
        yield store


class Said(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> Any:
        return self.json["detail"]


@pytest.fixture(scope="session")
def ask():
    """Send a request on a connection of its own, so that it may come to any worker; a body is sent as JSON."""

    def send(url: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Said:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        typed = {} if body is None else {"content-type": "application/json"}
        try:
            connection.request(method, path, sent, {**typed, **(headers or {})})
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Said(answer.status, answer.read(), told)
        finally:
            connection.close()

    return send


QUESTIONS = """
from benchhost import Benchmark, Environment, Public, Response, Result, Task, Versions


class Question(Task, kw_only=True):
    subject: Public[str] = "sums"
    answer: str = "4"


class Plugin(Benchmark[Question]):
    version = "3"

    def load_datasets(self):
        two = [Question(id=f"q{n}", question="2 + 2?") for n in range(2)]
        return {"default": Versions({"1": two}), "validation": two, "test": two}

    def evaluate_response(self, task, response):
        if response.text == "raise":
            raise ValueError("the hidden cause")
        correct = response.text == task.answer
        return Result(score=float(correct), passed=correct, metrics={"length": 1.0}, feedback="look at page 7")

    def reference_response(self, task):
        return Response(task.answer)

    async def setup_task(self, task, sandbox):
        await sandbox.write("/problem.md", task.question.encode())

    async def evaluate_instance(self, task, sandbox):
        return Result(score=1.0)

    def retrieve_task(self, task):
        return Environment(image="python:3.12", problem_path="/problem.md", cwd="/work")
"""
"""A benchmark that offers every route."""

API_KEY = "an-api-key-of-the-tests-0123456789"


class Operator:
    """What an operator does by the command line."""

    def __init__(self, state: Path, plugins: Path) -> None:
        self.state, self.plugins = state, plugins

    def __call__(self, *arguments: str) -> str:
        """Give a command, and return what it printed."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BENCHHOST_")}
        done = subprocess.run(
            [sys.executable, "-m", "benchhost", *arguments],
            env={**environ, "BENCHHOST_STATE": str(self.state), "BENCHHOST_AUTH": "keys"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self, tenant: str, *datasets: str) -> dict[str, str]:
        """Make a key that is for these datasets, or for all of the tenant; return the headers that show it."""
        only = ["--datasets", ",".join(datasets)] if datasets else []
        return {"authorization": f"Bearer {self('keys', 'create', '--tenant', tenant, *only)}"}


@pytest.fixture(scope="session")
def operator_of():
    """Make the operator of a host."""
    return Operator


@pytest.fixture(scope="session")
def operator(tmp_path_factory, folders):
    """The operator of the host :func:`host`."""
    plugins = tmp_path_factory.mktemp("plugins")
    folders.install(plugins)
    for name in ("my-bench", "another"):
        install_plugin(plugins, name, QUESTIONS)
    return Operator(tmp_path_factory.mktemp("state"), plugins)


@pytest.fixture(scope="session")
def callers(operator):
    """Whoever calls: a tenant and another, one on trial, one that was revoked, a stranger; their headers by name."""
    made = {
        "nobody": {},
        "unknown": {"authorization": f"Bearer {new_key().key}"},
        "revoked": operator.key("gone", "my-bench/default"),
        "another": operator.key("globex", "my-bench/validation"),
        "trial": operator.key("newcomer", "my-bench/default"),
        "api key": {"authorization": f"Bearer {API_KEY}"},
        "tenant": operator.key("acme", "my-bench/default"),
    }
    operator("grant", "newcomer", "--trial")
    operator("revoke", "gone")
    return made


@pytest.fixture(scope="session")
def host(operator, callers):
    """A host with two workers that lets tenants in by keys, and callers of none by the API key."""
    with serving(
        operator.state,
        *("--auth", "keys,bearer", "--workers", "2", "--only", "my-bench,another", "--allow-runs"),
        *("--sandbox", "folders", "--allow-sandboxes", "--max-sandboxes-per-tenant", "100"),
        plugins=[operator.plugins],
        environ={"BENCHHOST_API_KEY": API_KEY},
    ) as running:
        yield running
