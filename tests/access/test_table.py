"""Who may use which route: every caller tries every route of a host with two workers.

The table of the documentation is what came out. When it is no longer that, the failure shows the new one.
"""

from __future__ import annotations

import functools
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchhost.server.openapi import openapi
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES

PAGE = Path(__file__).parents[2] / "docs" / "access.md"

TIMES = 4
"""How often each tries each route, on a connection of its own: either worker may answer."""

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


class Try(NamedTuple):
    """How a route is tried; the path may name ``{evaluation_id}`` and ``{run_id}`` of the tenant."""

    path: str
    body: Any = None


TRIES = {
    "GET /": Try("/"),
    "GET /health": Try("/health"),
    "GET /v1/plugins": Try("/v1/plugins"),
    "GET /openapi.json": Try("/openapi.json"),
    "GET /b/{name}/health": Try("/b/my-bench/health"),
    "GET /b/{name}/version": Try("/b/my-bench/version"),
    "GET /b/{name}/verify-task-ids": Try("/b/my-bench/verify-task-ids"),
    "GET /b/{name}/retrieve-task": Try("/b/my-bench/retrieve-task?task_id=q0"),
    "GET /b/{name}/v1/datasets/{dataset}/tasks": Try("/b/my-bench/v1/datasets/default/tasks"),
    "POST /b/{name}/evaluate-response": Try("/b/my-bench/evaluate-response", {"task_id": "q0", "response": "4"}),
    "POST /b/{name}/v1/evaluate": Try(
        "/b/my-bench/v1/evaluate",
        {"run_id": "r", "task_id": "q0", "payload": {"type": "text", "schema": "", "data": "4"}},
    ),
    "POST /b/{name}/v1/evaluate-batch": Try(
        "/b/my-bench/v1/evaluate-batch", {"submissions": [{"task_id": "q0", "response": "4"}]}
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
}


@pytest.fixture(scope="module")
def send(host, callers, ask):
    """Have a caller send a request."""

    def send(caller, route, **ids):
        method, _ = route.split()
        path, body = TRIES[route]
        return ask(host.url, method, path.format(**ids), body, callers[caller])

    return send


@pytest.fixture(scope="module")
def ids(send):
    """An evaluation and a run of the tenant."""
    evaluation = send("tenant", "POST /b/{name}/v1/evaluate")
    run = send("tenant", "POST /b/{name}/v1/runs")
    assert (evaluation.status, run.status) == (200, 202), (evaluation, run)
    shown = {"evaluation_id": evaluation.headers["x-evaluation-id"], "run_id": run.json["run_id"]}
    end = time.monotonic() + 60
    while send("tenant", "GET /b/{name}/v1/runs/{run_id}", **shown).json["status"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
    return shown


@pytest.fixture(scope="module")
def answered(send, ids):
    """What each caller was answered by each route, as the table tells it."""

    @functools.cache
    def answered(caller, route):
        [told] = {told_of(send(caller, route, **ids)) for _ in range(TIMES)}
        return told

    return answered


def told_of(answer) -> str:
    """Say what a route answered."""
    if answer.status in (401, 403):
        assert set(answer.json) == {"type", "title", "status", "detail"}
        return f"{answer.status}{DETAILS[answer.detail]}"
    assert answer.status in (200, 202, 404), answer
    return str(answer.status)


def routes() -> list[str]:
    """Every route of the server."""
    found = []
    for prefix, handlers in (("", [*HOST_ROUTES, openapi]), ("/b/{name}", BENCHMARK_ROUTES)):
        for handler in handlers:
            [path], [method] = handler.paths, handler.http_methods
            found.append(f"{method} {prefix}{re.sub(':str', '', path)}")
    return found


def test_every_route_is_tried():
    assert sorted(TRIES) == sorted(routes())


@pytest.mark.parametrize("route", TRIES)
def test_a_stranger_reaches_what_is_public_alone(answered, route):
    public = route.endswith(("/health", "/version"))
    for caller in ("nobody", "unknown", "revoked"):
        assert answered(caller, route) == ("200" if public else "401")


@pytest.mark.parametrize("route", TRIES)
def test_a_tenant_reaches_everything(answered, route):
    assert answered("tenant", route) in ("200", "202")


@pytest.mark.parametrize("route", [route for route in TRIES if "/b/" in route and "health" not in route])
def test_another_tenant_reaches_nothing_of_it(answered, route):
    lists_its_own = route in ("GET /b/{name}/version", "GET /b/{name}/v1/runs")
    assert answered("another", route) in (["200"] if lists_its_own else ["403 dataset", "404"])


def test_the_openapi_document_tells_of_every_answer(answered, send):
    paths = send("api key", "GET /openapi.json").json["paths"]
    for route in TRIES:
        method, path = route.replace("{name}", "my-bench").split()
        told = paths[path][method.lower()]
        for caller in CALLERS:
            assert answered(caller, route).split()[0] in told["responses"], (route, caller)
        public = route.endswith(("/health", "/version"))
        assert told.get("security", []) == ([] if public else [{"bearer": []}, {"descope": []}])


def test_the_documentation_shows_what_was_answered(answered):
    lines = [f"| route | {' | '.join(CALLERS.values())} |", "|---" * (len(CALLERS) + 1) + "|"]
    lines += [f"| `{route}` | {' | '.join(answered(caller, route) for caller in CALLERS)} |" for route in TRIES]
    shown = re.search(r"^\| route \| no credential .*\n(?:\|.*\n)*", PAGE.read_text(), re.MULTILINE)
    assert shown is not None
    assert shown[0].splitlines() == lines, "the table should be:\n" + "\n".join(lines)
