"""What is sent to every route, whatever it is for: a body that has the fields of all of them, and broken ones.

Keys that a route does not know are ignored, so one body fits all; a route that is added tomorrow is called
with it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

Tried = Sequence[tuple[str, str, str]]
"""The dataset, the task, and the response to it that is submitted."""

NOBODY = ("nope", "nope", "x")


def whole(dataset: str, task: str, response: str, run: str) -> dict[str, Any]:
    """Make the body that fits every route by which something is judged or scored."""
    return {
        "run_id": run,
        "dataset": dataset,
        "task_id": task,
        "instance_id": "nope",
        "filename": "work.zip",
        "response": response,
        "version": None,
        "payload": {"type": "text", "schema": "text", "data": response},
        "submissions": [{"task_id": task, "response": response}, {"task_id": task, "response": f"{response} again"}],
        "evaluation_results": {
            task: {"score": 1.0, "status": "evaluated", "result": {"score": 1.0, "passed": True}, "errors": []}
        },
    }


def run_of_engine(run: str) -> str:
    """Name the run that a model is to carry out, beside the one under which responses are submitted."""
    return f"{run}-engine"


def bodies(tried: Tried, run: str) -> Iterator[bytes]:
    """Yield bodies, good ones first."""
    for dataset, task, response in (*tried, NOBODY):
        yield msgspec.json.encode(whole(dataset, task, response, run))
    dataset, task, response = tried[0] if tried else NOBODY
    yield msgspec.json.encode({"model": "scripted/echo", "limit": 2, "run_id": run_of_engine(run), "dataset": dataset})
    yield msgspec.json.encode({"model": "scripted/reference", "dataset": dataset})
    yield msgspec.json.encode({"run_id": run, "dataset": dataset})
    good = whole(dataset, task, response, run)
    yield msgspec.json.encode(good | {"dataset": "nope"})
    yield msgspec.json.encode(good | {"task_id": "nope"})
    yield msgspec.json.encode(good | {"evaluation_results": {task: None}})
    yield msgspec.json.encode(good | {"evaluation_results": {task: {"score": "x"}}, "task_id": 1, "submissions": {}})
    yield msgspec.json.encode(good | {"payload": {"type": "artifact", "schema": "x", "data": "x"}})
    yield b"{}"
    yield b"[]"
    yield b'{"task_id": '
    yield b""


def queries(tried: Tried) -> Iterator[dict[str, str]]:
    """Yield queries, good ones first."""
    yield {}
    for dataset, task, _ in (*tried[:3], NOBODY):
        yield {"dataset": dataset, "task_id": task, "task_ids": task}
    yield {"slice": "0:2", "limit": "1"}
    yield {"slice": "x", "limit": "x", "skip_validation": "x", "task_id": "nope"}


def frames(tried: Tried) -> Iterator[list[str | bytes]]:
    """Yield what is sent over a socket, each a list of frames."""
    for dataset, task, response in (*tried, NOBODY):
        yield [msgspec.json.encode(whole(dataset, task, response, "")).decode()]
    yield ["{"]
    yield ["[]"]
    yield [b"\x00"]
