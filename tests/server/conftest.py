"""The servers that the tests of this folder talk to, and how they talk to them: over a socket, byte for byte."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from benchhost.testing import install_plugin, serving

QUESTIONS = '''
import time

from benchhost import Benchmark, Error, Message, Public, Result, Task
from benchhost.errors import UnknownTask


class Question(Task, kw_only=True):
    subject: Public[str] = "arithmetic"
    answer: str = ""


class Plugin(Benchmark[Question]):
    """Ten questions. What is said in the response decides how the hook behaves."""

    version = "3"
    failed = set()

    def load_datasets(self):
        ten = [Question(id=f"q{n}", question=f"What is {n} + {n}?", answer=str(2 * n)) for n in range(10)]
        odd = [Question(id=name, question="?", answer="hidden") for name in ("a/b", "ü", "a b", 'say "x"', "a&b=c")]
        return {"default": ten, "odd names": odd, "empty": []}

    def evaluate_response(self, task, response):
        said, _, argument = response.text.partition(":")
        if said == "raise":
            raise ValueError(f"the hidden answer of {task.id} is {task.answer}")
        if said == "sleep":
            time.sleep(float(argument.split()[0]))
        if said == "fail once, then sleep":
            if response.text not in self.failed:
                self.failed.add(response.text)
                raise ValueError("once")
            time.sleep(float(argument.split()[0]))
        if said == "refuse":
            raise UnknownTask(f"the hidden answer of {task.id} is {task.answer}")
        if said == "half":
            return Result(score="half")
        if said == "nonsense":
            return {"score": 1.0}
        if said == "not finite":
            result = Result(score=1.0)
            result.score = float(argument)
            return result
        if said == "metric not finite":
            result = Result(score=1.0)
            result.metrics = {"m": float(argument)}
            return result
        if said == "stream":
            return self.stream(task)
        if said == "decline":
            return self.decline(argument)
        correct = response.text == task.answer
        return Result(
            score=float(correct),
            passed=correct,
            metrics={"length": len(response.text)},
            feedback="exactly right" if correct else None,
            private={"expected": task.answer},
        )

    async def stream(self, task):
        yield Message("looking at it")
        yield Result(score=0.5)

    def decline(self, why):
        yield Error(why)
'''
"""A text benchmark with every kind of verdict."""

SANDBOXED = """
from benchhost import Benchmark, Environment, Resources, Task
from benchhost.errors import UnknownTask

NAMES = ("image", "snapshot", "raises", "nonsense", "half a core", "says no to the caller")


class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id=name, question=name) for name in NAMES]}

    def retrieve_task(self, task):
        where = {"problem_path": "/problem.md", "cwd": "/work"}
        if task.id == "image":
            return Environment(
                image="python:3.12", agent_timeout=60.0, resources=Resources(vcpu=4, memory=8, disk=20), **where
            )
        if task.id == "snapshot":
            return Environment(snapshot="snap-1", **where)
        if task.id == "nonsense":
            return None
        if task.id == "half a core":
            return Environment(image="python:3.12", resources=Resources(vcpu=0.5), **where)
        if task.id == "says no to the caller":
            raise UnknownTask("the hidden path is /hidden")
        raise ValueError("the hidden path is /hidden")
"""
"""A benchmark whose tasks are attempted in sandboxes."""

SCORED = '''
from benchhost import Benchmark, FinalScore, Result, Task
from benchhost.errors import UnknownTask


class Plugin(Benchmark[Task]):
    """Its final score says what it was given."""

    listed = False

    def load_datasets(self):
        return {"default": [Task(id=f"t{n}", question="?") for n in range(4)]}

    def evaluate_response(self, task, response):
        return Result(score=0.0)

    def calculate_final_score(self, results, dataset):
        said = results["t3"].feedback if results.get("t3") else None
        if said == "raise":
            raise ValueError("hidden")
        if said == "refuse":
            raise UnknownTask("hidden")
        if said == "nonsense":
            return 1.0
        if said == "not finite":
            final = FinalScore(score=1.0)
            final.score = float("nan")
            return final
        if said == "metadata":
            return FinalScore(score=1.0, metadata={"not a number": float("nan"), "infinite": float("inf")})
        given = {
            name: None if result is None else {
                "type": type(result).__name__, "score": result.score, "passed": result.passed,
                "metrics": result.metrics, "feedback": result.feedback, "private": result.private,
            }
            for name, result in results.items()
        }
        return FinalScore(score=float(len(results)), metadata={"given": given, "dataset": dataset})
'''
"""A benchmark with a final score of its own, and without a list of its tasks."""

BROKEN = "raise RuntimeError('the hidden reason')"


class Answer:
    """What the server answered. ``headers`` are by their names in lower case."""

    def __init__(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.pairs = [(name.lower(), value) for name, value in headers]
        self.headers = dict(self.pairs)
        self.body = body

    def all_headers(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for each, value in self.pairs if each == name.lower()]

    def __repr__(self) -> str:
        return f"<Answer {self.status} {self.body[:500]!r}>"

    @property
    def json(self) -> Any:
        """The body, which must be strict JSON: the constants that Python adds are refused."""
        return json.loads(self.body, parse_constant=_refuse)

    @property
    def detail(self) -> Any:
        """What is wrong, in an answer that must be a problem by RFC 9457."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem = self.json
        assert problem["status"] == self.status
        assert problem["type"].startswith("urn:benchhost:problem:")
        assert problem["title"]
        return problem["detail"]


class Client:
    """Talks to a server as it is told to: follows nothing, tidies nothing."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.headers = dict(headers or {})

    def request(
        self, method: str, path: str, /, body: Any = None, headers: Mapping[str, str] | None = None, **query: Any
    ) -> Answer:
        """Send a request on a connection of its own; ``body`` may be in chunks."""
        with self.open(method, path, body, headers, **query) as response:
            return Answer(response.status, response.getheaders(), response.read())

    @contextmanager
    def open(self, method, path, /, body=None, headers=None, **query):
        """Send a request, and leave the answer to be read as it comes."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        try:
            connection.request(method, target, body, {**self.headers, **(headers or {})})
            yield connection.getresponse()
        finally:
            connection.close()

    def get(self, path: str, /, **query: Any) -> Answer:
        """GET, with a query."""
        return self.request("GET", path, **query)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a value as JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, {"content-type": "application/json", **(headers or {})})


class DocumentedClient(Client):
    """A client that accepts no answer of which the OpenAPI document does not tell."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(url, headers)
        document = Client(url, headers).get("/openapi.json").json
        self._responses = document["components"]["responses"]
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation["responses"])
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
        ]

    def request(self, method, path, /, *arguments, **query):
        answer = super().request(method, path, *arguments, **query)
        plain = re.sub("/+", "/", path.partition("?")[0]).rstrip("/")
        for documented, pattern, responses in self._operations:
            if documented == method and pattern.fullmatch(plain):
                told = responses[str(answer.status)]
                told = self._responses[told["$ref"].rpartition("/")[2]] if "$ref" in told else told
                assert answer.headers.get("content-type") in told["content"] or not told["content"], (
                    method,
                    path,
                    answer,
                )
                assert told["content"] or not answer.body, (method, path, answer)
                required = {name for name, header in told.get("headers", {}).items() if header.get("required")}
                assert required <= set(answer.headers), (method, path, answer)
        return answer


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@pytest.fixture(scope="session")
def make_client():
    """A client of any server."""
    return Client


@pytest.fixture(scope="session")
def make_documented_client():
    """A client of any server, which holds it to its OpenAPI document."""
    return DocumentedClient


@pytest.fixture(scope="session")
def plugins(tmp_path_factory):
    """A folder in which benchmarks of every kind are installed, one of them faulty."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, source in (("q", QUESTIONS), ("boxes", SANDBOXED), ("scored", SCORED), ("broken", BROKEN)):
        install_plugin(folder, name, source)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory, plugins):
    """An open server with all of them."""
    state = tmp_path_factory.mktemp("state")
    with serving(state, "--only", "q,boxes,scored,broken", "--max-body-mb", "1", plugins=[plugins]) as running:
        yield running


@pytest.fixture(scope="session")
def host(server):
    """A client of that server."""
    return DocumentedClient(server.url)
