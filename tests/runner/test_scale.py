"""A large run: what it costs to carry it on, and what is held of it in memory."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from benchhost.runner.summary import summarise_run
from benchhost.store import AttemptRecord, open_store

pytestmark = pytest.mark.anyio

SIZE = 20_000


async def test_planning_and_summarising_hold_a_few_bytes_of_each_attempt(desk_type, doubling, tmp_path):
    async with open_store(tmp_path / "store.db") as store:
        desk = desk_type(store, tmp_path)
        desk.source = doubling(0)
        await desk.run(task_count=SIZE)
        desk.source = _Large()
        await store.keep_attempts([_attempt(number) for number in range(SIZE)])
        tracemalloc.start()
        session = desk.session(task_count=SIZE)
        plan = await session._plan()
        planned, _ = tracemalloc.get_traced_memory()
        summary = await summarise_run(store, await store.run("first"))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert list(plan.owed(session.options)) == []
        assert (summary.scored, summary.mean, session.progress.done) == (SIZE, 0.5, SIZE)
        assert planned / SIZE < 150, "an entry of a dict by id, and three bytes"
        assert (peak - planned) / SIZE < 100, "a page of records, and some numbers of each"
        began = time.process_time()
        await desk.session(task_count=SIZE)._plan()
        assert time.process_time() - began < 2.0, "a hundred thousand are to take less, and these are a fifth"


class _Large:
    benchmark, dataset, version, evaluator_version, kind, host = "doubling", "default", "v1", "1", "benchmark", None
    scores, instances = False, None

    def __init__(self) -> None:
        self.ids = [f"t{number}" for number in range(SIZE)]

    def digest(self, task_id: str) -> str:
        return "d" * 64


def _attempt(number: int) -> AttemptRecord:
    score = float(number % 2)
    fields: dict[str, Any] = {
        "run": "first",
        "task": f"t{number}",
        "epoch": 1,
        "number": 1,
        "task_digest": "d" * 64,
        "status": "success",
        "response_digest": "a" * 64,
        "spend": b'{"calls":1,"cost":0.5,"usage":{"input_tokens":10,"output_tokens":5}}',
        "started_at": 1.0,
        "generated_at": 2.0,
        "evaluation_status": "evaluated",
        "evaluator_version": "1",
        "score": score,
        "evaluation": b'{"status":"evaluated","result":{"score":%.1f}}' % score,
        "generation": b'{"task_id":"t","status":"success","data":"%s"}' % (b"x" * 2000),
    }
    return AttemptRecord(**fields)
