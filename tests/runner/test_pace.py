"""Attempts are begun as the model has room for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from benchhost.contract import Context, Runner, Task
from benchhost.models import Limiter

pytestmark = pytest.mark.anyio


async def test_a_run_begins_no_attempts_that_would_only_queue_for_the_model(desk, script) -> None:
    limiter, gate = Limiter(2), asyncio.Event()

    async def limited(call: Any) -> str:
        await limiter.acquire()
        await gate.wait()
        limiter.succeeded()
        return "0"

    model = script(otherwise=limited)
    session = desk.session(model, options={"concurrency": 500}, epochs=20, limiter=limiter)
    running = asyncio.create_task(session.execute())
    await desk.until(lambda: limiter.waiting)
    await asyncio.sleep(0.2)
    assert len(model.asked) == 4
    session.stop()
    gate.set()
    outcome = await running
    assert outcome.summary.attempted == 4, "what was begun is finished, and that is soon"
    assert (await desk.run(epochs=20)).status == "complete"


async def test_all_attempts_are_made_however_many_at_once(desk, script) -> None:
    limiter = Limiter(2)

    async def limited(call: Any) -> str:
        await limiter.acquire()
        await asyncio.sleep(0)
        limiter.succeeded()
        return "0"

    outcome = await desk.run(script(otherwise=limited), options={"concurrency": 500}, epochs=20, limiter=limiter)
    assert outcome.summary.attempted == outcome.summary.given


async def test_attempts_that_leave_the_model_idle_hold_no_others_back(desk) -> None:
    begun: list[str] = []
    all_begun = asyncio.Event()

    class Thinks(Runner[Task]):
        async def generate(self, task: Task, model: Any, context: Context) -> str:
            begun.append(task.id)
            if len(begun) == 6:
                all_begun.set()
            await all_begun.wait()
            return "0"

    outcome = await desk.run(runner=Thinks(), options={"concurrency": 6}, limiter=Limiter(1))
    assert outcome.summary.attempted == 6
