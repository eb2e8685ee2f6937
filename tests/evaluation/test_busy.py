"""At a limit: what is refused all the same, what is not, and when to come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from benchhost.errors import Busy
from benchhost.evaluation import evaluator

pytestmark = pytest.mark.anyio


async def test_when_to_come_back_is_reckoned_from_the_evaluations_of_batches_too(open_hub, misbehaving, tmp_path):
    async with open_hub(tmp_path, misbehaving, {"running": 4, "queued": 100}, only=["plain"]) as hub:
        await hub.roster.loaded()
        await hub.judge_all("plain", *((str(n), "slow") for n in range(40)))  # 0.3 s each
        [gate] = {hub.evaluator.gate(hub.roster.get("plain"), "")}
        gate.enter(104)
        with pytest.raises(Busy) as refused:
            await hub.judge("plain", "good")
        gate.leave(104)
        assert refused.value.retry_after > 0.28 * 101 / 4


async def test_tenants_who_have_nothing_under_way_hold_no_files_open(open_hub, misbehaving, tmp_path, monkeypatch):
    def slots() -> list[str]:
        return [path for each in Path("/proc/self/fd").iterdir() if (path := os.path.realpath(each)).endswith(".slots")]

    monkeypatch.setattr(evaluator, "GATES", 8)
    limits = {"running": 4, "running_per_tenant": 1, "workers": 2, "folder": tmp_path / "slots"}
    async with open_hub(tmp_path, misbehaving, limits, only=["plain"]) as hub:
        slow = [asyncio.create_task(hub.judge("plain", "slow", run=str(n), tenant="waits")) for n in range(3)]
        await asyncio.sleep(0)
        for number in range(40):
            assert (await hub.judge("plain", "good", tenant=f"tenant {number}")).status == "scored"
        assert len(slots()) <= 8
        assert [each.status for each in await asyncio.gather(*slow)] == ["scored"] * 3
        assert (await hub.judge("plain", "good", run="again", tenant="tenant 0")).status == "scored"


@pytest.fixture(scope="module")
async def hub(open_hub, misbehaving, tmp_path_factory):
    async with open_hub(
        tmp_path_factory.mktemp("hub"), misbehaving, {"running": 2, "queued": 10}, only=["plain"]
    ) as hub:
        await hub.roster.loaded()
        yield hub


@contextlib.contextmanager
def full(hub, room: int = 0):
    """Let the gate have so much room."""
    gate = hub.evaluator.gate(hub.roster.get("plain"), "")
    gate.enter(12 - room)
    try:
        yield gate
        assert gate._entered == 12 - room
    finally:
        gate.leave(12 - room)


async def test_a_finished_evaluation_is_answered_although_no_more_are_taken(hub):
    first = await hub.judge("plain", "good", run="known")
    with full(hub):
        assert await hub.judge("plain", "good", run="known") == first
        with pytest.raises(Busy):
            await hub.judge("plain", "good", run="unknown")
    assert hub.evaluator._running == {}


async def test_an_evaluation_that_failed_is_to_be_tried_again_and_so_it_needs_a_place(hub):
    assert (await hub.judge("plain", "raise", run="failed")).status == "error"
    with full(hub), pytest.raises(Busy):
        await hub.judge("plain", "raise", run="failed")


async def test_a_batch_that_is_finished_is_answered_although_no_more_are_taken(hub):
    responses = [(str(number % 8), "good") for number in range(12)]
    first = await hub.judge_all("plain", *responses, run="batch")
    with full(hub):
        assert await hub.judge_all("plain", *responses, run="batch") == first


async def test_of_a_batch_only_what_is_not_finished_needs_a_place(hub):
    await hub.judge_all("plain", *((str(number), "good") for number in range(9)), run="part")
    with full(hub, room=1):
        evaluations = await hub.judge_all("plain", *((str(number), "good") for number in range(10)), run="part")
        assert [(each.task, each.status) for each in evaluations] == [(str(n), "scored") for n in range(10)]
        with pytest.raises(Busy):
            await hub.judge_all("plain", *((str(number), "good") for number in range(12)), run="part")
    assert hub.evaluator._running == {}


async def test_a_batch_joins_what_was_begun_while_it_looked_for_what_is_finished(hub, monkeypatch):
    lookup, begun = hub.store.evaluations, []

    async def slowly(ids):
        found = await lookup(ids)
        begun.append(asyncio.create_task(hub.judge("plain", "slow", task="1", run="meanwhile")))
        await asyncio.sleep(0.05)
        return found

    monkeypatch.setattr(hub.store, "evaluations", slowly)
    await hub.judge("plain", "good", task="0", run="meanwhile")
    with full(hub, room=1):
        _, joined = await hub.judge_all("plain", ("0", "good"), ("1", "slow"), run="meanwhile")
        assert joined == await begun[0]
