"""Who may use which route and socket: every caller tries each of a host with two workers.

The table of the documentation is what came out. When it is no longer that, the failure shows the new one.
"""

from __future__ import annotations

import functools
import json
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from benchhost.server.openapi import openapi
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES
from benchhost.server.sockets import SOCKETS

PAGE = Path(__file__).parents[2] / "docs" / "access.md"

TIMES = 4
"""How often each tries each, on a connection of its own: either worker may answer."""

CALLERS = {
    "nobody": "no credential",
    "unknown": "unknown",
    "revoked": "revoked",
    "another": "another tenant",
    "trial": "on trial",
    "api key": "API key",
    "tenant": "tenant",
}
"""The callers, and what the documentation calls them."""

DETAILS = {
    "Unauthorized": "",
    "Dataset not allowed": " dataset",
    "Trial tenants may only access approved /v1 endpoints (/v1/*)": " trial",
    "The /v1/ surface requires Descope authentication, or another credential of a tenant; "
    "the one that was shown is of none.": " tenant",
}
"""What a refusal says, and how that is told in the table."""

VERDICT = {"score": 1.0}

PUBLIC = ("/health", "/version", "/v1/receipts/key", "/v1/uploads")


class Try(NamedTuple):
    """How a route is tried, or a socket, whose first frame is the body; ``times`` is how often.

    Both may name what is the tenant's: ``{evaluation_id}``, ``{run_id}``, ``{sandbox_id}``, ``{signed}``, the query of
    the URL of an upload, and ``{doomed_id}``, a sandbox that is not needed any more. For the caller with the API key,
    the sandboxes are its own.
    """

    path: str
    body: Any = None
    times: int = TIMES


TRIES = {
    "GET /": Try("/"),
    "GET /health": Try("/health"),
    "GET /v1/plugins": Try("/v1/plugins"),
    "GET /openapi.json": Try("/openapi.json"),
    "POST /v1/sandboxes": Try("/v1/sandboxes", {}),
    "GET /v1/sandboxes": Try("/v1/sandboxes"),
    "GET /v1/sandboxes/{sandbox_id}": Try("/v1/sandboxes/{sandbox_id}"),
    "POST /v1/sandboxes/{sandbox_id}/exec": Try("/v1/sandboxes/{sandbox_id}/exec", {"command": "cat"}),
    "PUT /v1/sandboxes/{sandbox_id}/files": Try("/v1/sandboxes/{sandbox_id}/files?path=/here", {}),
    "GET /v1/sandboxes/{sandbox_id}/files": Try("/v1/sandboxes/{sandbox_id}/files?path=/here"),
    "DELETE /v1/sandboxes/{sandbox_id}": Try("/v1/sandboxes/{doomed_id}", times=1),
    "GET /v1/receipts/key": Try("/v1/receipts/key"),
    "PUT /v1/uploads": Try("/v1/uploads?{signed}", {}),
    "GET /b/{name}/health": Try("/b/my-bench/health"),
    "GET /b/{name}/version": Try("/b/my-bench/version"),
    "GET /b/{name}/verify-task-ids": Try("/b/my-bench/verify-task-ids"),
    "GET /b/{name}/retrieve-task": Try("/b/my-bench/retrieve-task?task_id=q0"),
    "GET /b/{name}/v1/datasets/{dataset}/tasks": Try("/b/my-bench/v1/datasets/default/tasks"),
    "POST /b/{name}/resolve-dataset": Try("/b/my-bench/resolve-dataset", {"dataset": "default", "version": None}),
    "POST /b/{name}/evaluate-response": Try("/b/my-bench/evaluate-response", {"task_id": "q0", "response": "4"}),
    "POST /b/{name}/v1/evaluate": Try(
        "/b/my-bench/v1/evaluate",
        {"run_id": "r", "task_id": "q0", "payload": {"type": "text", "schema": "", "data": "4"}},
    ),
    "POST /b/{name}/v1/evaluate-batch": Try(
        "/b/my-bench/v1/evaluate-batch", {"submissions": [{"task_id": "q0", "response": "4"}]}
    ),
    "POST /b/{name}/v1/submissions/upload-url": Try(
        "/b/my-bench/v1/submissions/upload-url", {"run_id": "r", "task_id": "q0", "filename": "work.zip"}
    ),
    "GET /b/{name}/v1/evaluations/{evaluation_id}": Try("/b/my-bench/v1/evaluations/{evaluation_id}"),
    "POST /b/{name}/final-score": Try("/b/my-bench/final-score", {"evaluation_results": {"q0": VERDICT}}),
    "POST /b/{name}/v1/score": Try(
        "/b/my-bench/v1/score",
        {"run_id": "r", "evaluation_results": {"q0": {"status": "evaluated", "result": VERDICT}}},
    ),
    "POST /b/{name}/v1/runs": Try("/b/my-bench/v1/runs", {"model": "scripted/echo"}),
    "GET /b/{name}/v1/runs": Try("/b/my-bench/v1/runs"),
    "GET /b/{name}/v1/runs/{run_id}": Try("/b/my-bench/v1/runs/{run_id}"),
    "GET /b/{name}/v1/runs/{run_id}/events": Try("/b/my-bench/v1/runs/{run_id}/events"),
    "POST /b/{name}/v1/runs/{run_id}/cancel": Try("/b/my-bench/v1/runs/{run_id}/cancel"),
    "POST /b/{name}/v1/receipts": Try("/b/my-bench/v1/receipts", {"run_id": "r"}),
    "WS /b/{name}/ws/setup-task": Try("/b/my-bench/ws/setup-task", {"task_id": "q0", "instance_id": "{sandbox_id}"}),
    "WS /b/{name}/ws/evaluate-instance": Try(
        "/b/my-bench/ws/evaluate-instance", {"task_id": "q0", "instance_id": "{sandbox_id}"}
    ),
    "WS /b/{name}/ws/evaluate-response": Try("/b/my-bench/ws/evaluate-response", {"task_id": "q0", "response": "4"}),
}
"""Every route and every socket."""


@pytest.fixture(scope="module")
def send(host, callers, ask):
    """Have a caller send a request."""

    def send(caller, route, **ids):
        method, _ = route.split()
        tried = TRIES[route]
        return ask(host.url, method, tried.path.format(**ids), tried.body, callers[caller])

    return send


@pytest.fixture(scope="module")
def converse(host, callers):
    """Have a caller open a socket; say with which code and why it was closed, after which chunk."""

    def converse(caller, route, **ids):
        tried = TRIES[route]
        frame = {name: value.format(**ids) for name, value in tried.body.items()}
        url = f"{host.url.replace('http', 'ws', 1)}{tried.path}"
        last = "{}"
        with connect(url, additional_headers=callers[caller], proxy=None) as socket:
            try:
                socket.send(json.dumps(frame))
                for last in socket:  # noqa: B007 - the last is what counts
                    pass
            except ConnectionClosedError:  # by any code but 1000
                pass
            return socket.close_code, socket.close_reason, json.loads(last)

    return converse


@pytest.fixture(scope="module")
def ids(send):
    """What is the tenant's, and what the caller with the API key has instead."""

    def sandboxes(caller):
        made = [send(caller, "POST /v1/sandboxes").json["id"] for _ in range(2)]
        return dict(zip(("sandbox_id", "doomed_id"), made, strict=True))

    evaluation = send("tenant", "POST /b/{name}/v1/evaluate")
    run = send("tenant", "POST /b/{name}/v1/runs")
    assert (evaluation.status, run.status) == (200, 202), (evaluation, run)
    found = {"evaluation_id": evaluation.headers["x-evaluation-id"], "run_id": run.json["run_id"]}
    found["signed"] = send("tenant", "POST /b/{name}/v1/submissions/upload-url").json["url"].partition("?")[2]
    found |= sandboxes("tenant")
    send("tenant", "PUT /v1/sandboxes/{sandbox_id}/files", **found)
    end = time.monotonic() + 60
    while send("tenant", "GET /b/{name}/v1/runs/{run_id}", **found).json["status"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    others = {"api key": found | sandboxes("api key")}
    send("api key", "PUT /v1/sandboxes/{sandbox_id}/files", **others["api key"])
    return lambda caller: others.get(caller, found)


@pytest.fixture(scope="module")
def answered(send, converse, ids):
    """What each caller was answered by each route, as the table tells it."""

    @functools.cache
    def answered(caller, route):
        times = range(TRIES[route].times)
        if route.startswith("WS "):
            [told] = {told_of_socket(*converse(caller, route, **ids(caller))) for _ in times}
        else:
            [told] = {told_of(send(caller, route, **ids(caller))) for _ in times}
        return told

    return answered


def told_of_socket(code, reason, chunk) -> str:
    """Say how a socket was closed."""
    if code == 1000:
        assert chunk["type"] == "result", chunk
        return "1000"
    assert (code, chunk) == (1008, {})
    return f"{code}{DETAILS[reason]}"


def told_of(answer) -> str:
    """Say what a route answered."""
    if answer.status in (401, 403):
        assert set(answer.json) == {"type", "title", "status", "detail"}
        return f"{answer.status}{DETAILS[answer.detail]}"
    assert answer.status in (200, 201, 202, 204, 404), answer
    return str(answer.status)


def routes() -> list[str]:
    """Every route and socket of the server."""
    found = []
    for prefix, handlers in (("", [*HOST_ROUTES, openapi]), ("/b/{name}", BENCHMARK_ROUTES)):
        for handler in handlers:
            [path], [method] = handler.paths, handler.http_methods
            found.append(f"{method} {prefix}{re.sub(':str', '', path)}")
    return [*found, *(f"WS /b/{{name}}{path}" for path in SOCKETS)]


def test_every_route_is_tried():
    assert sorted(TRIES) == sorted(routes())


@pytest.mark.parametrize("route", TRIES)
def test_a_stranger_reaches_what_is_public_alone(answered, route):
    public = route.endswith(PUBLIC)
    for caller in ("nobody", "unknown", "revoked"):
        refused = "1008" if route.startswith("WS ") else "401"
        assert answered(caller, route) == ("200" if public else refused)


@pytest.mark.parametrize("route", TRIES)
def test_a_tenant_reaches_everything(answered, route):
    assert answered("tenant", route) in ("200", "201", "202", "204", "1000")


@pytest.mark.parametrize("route", [each for each in TRIES if ("/b/" in each or "{" in each) and "health" not in each])
def test_another_tenant_reaches_nothing_of_it(answered, route):
    lists_its_own = route in ("GET /b/{name}/version", "GET /b/{name}/v1/runs")
    assert answered("another", route) in (["200"] if lists_its_own else ["403 dataset", "1008 dataset", "404"])


def test_the_openapi_document_tells_of_every_answer(answered, send):
    paths = send("api key", "GET /openapi.json").json["paths"]
    for route in TRIES:
        if route.startswith("WS "):  # of which OpenAPI knows nothing
            continue
        method, path = route.replace("{name}", "my-bench").split()
        told = paths[path][method.lower()]
        for caller in CALLERS:
            assert answered(caller, route).split()[0] in told["responses"], (route, caller)
        public = route.endswith(PUBLIC)
        assert told.get("security", []) == ([] if public else [{"bearer": []}, {"descope": []}])


def test_the_documentation_shows_what_was_answered(answered):
    lines = [f"| route | {' | '.join(CALLERS.values())} |", "|---" * (len(CALLERS) + 1) + "|"]
    lines += [f"| `{route}` | {' | '.join(answered(caller, route) for caller in CALLERS)} |" for route in TRIES]
    shown = re.search(r"^\| route \| no credential .*\n(?:\|.*\n)*", PAGE.read_text(), re.MULTILINE)
    assert shown is not None
    assert shown[0].splitlines() == lines, "the table should be:\n" + "\n".join(lines)
