"""What every store promises of runs, asked of each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchhost.errors import StoreFailed
from benchhost.store import AttemptRecord, AttemptVerdict, RunEvent, RunRecord, Store, open_store
from benchhost.store.run_protocol import PAGE

pytestmark = pytest.mark.anyio


def run_of(name: str = "first", **changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "id": name,
        "tenant": "lab",
        "benchmark": "sums",
        "dataset": "default",
        "model": "openai/gpt-x",
        "digest": "d" * 64,
        "config": b'{"epochs":1}',
        "status": "running",
        "created_at": 1000.0,
        "updated_at": 1000.0,
    }
    return RunRecord(**fields | changes)


def attempt_of(task: str = "t1", number: int = 1, **changes: Any) -> AttemptRecord:
    fields: dict[str, Any] = {
        "run": "first",
        "task": task,
        "epoch": 1,
        "number": number,
        "task_digest": "e" * 64,
        "facets": b'{"kind":"odd"}',
        "status": "success",
        "response_digest": "a" * 64,
        "spend": b'{"calls":1}',
        "started_at": 1.0,
        "generated_at": 2.0,
        "generation": b'{"data":"42"}',
    }
    return AttemptRecord(**fields | changes)


def verdict_of(attempt: AttemptRecord, **changes: Any) -> AttemptVerdict:
    fields: dict[str, Any] = {
        "run": attempt.run,
        "task": attempt.task,
        "epoch": attempt.epoch,
        "number": attempt.number,
        "response_digest": attempt.response_digest,
        "evaluation_status": "evaluated",
        "evaluator_version": "1",
        "score": 1.0,
        "evaluation": b'{"status":"evaluated"}',
        "evaluated_at": 3.0,
    }
    return AttemptVerdict(**fields | changes)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store({"memory": "memory:", "sqlite": f"{tmp_path}/store.db"}[request.param]) as store:
        yield store


@pytest.fixture
async def begun(store: Store) -> Store:
    await store.create_run(run_of())
    return store


async def attempts_in(store: Store, run: str = "first", **how: bool) -> list[AttemptRecord]:
    return [one async for page in store.attempts(run, **how) for one in page]


async def test_a_run_is_kept_as_it_was_given(store):
    assert await store.create_run(run_of(label="tuned", reason="new", summary=b"{}"))
    assert await store.run("first") == run_of(label="tuned", reason="new", summary=b"{}")


async def test_an_id_is_given_to_one_run_only(store):
    answers = await asyncio.gather(*(store.create_run(run_of(label=str(n))) for n in range(20)))
    assert answers.count(True) == 1
    assert (await store.run("first")).label == str(answers.index(True))


async def test_an_update_replaces_all_but_the_origin_of_a_run(begun):
    changed = run_of(
        tenant="other", created_at=5.0, status="complete", config=b"{}", summary=b"{}", updated_at=9.0, label="x"
    )
    assert await begun.update_run(changed)
    assert await begun.run("first") == msgspec.structs.replace(changed, tenant="lab", created_at=1000.0)
    assert not await begun.update_run(run_of("second"))


async def test_runs_are_listed_newest_first_by_tenant_and_benchmark_and_page_by_page(store):
    for number in range(6):
        await store.create_run(
            run_of(f"r{number}", tenant="ab"[number % 2], benchmark="xy"[number // 3], created_at=float(number))
        )
    assert [run.id for run in await store.runs()] == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert [run.id for run in await store.runs(tenant="a")] == ["r4", "r2", "r0"]
    assert [run.id for run in await store.runs(tenant="b", benchmark="y")] == ["r5", "r3"]
    assert [run.id for run in await store.runs(limit=2)] == ["r5", "r4"]
    assert [run.id for run in await store.runs(limit=2, before="r4")] == ["r3", "r2"]
    assert await store.runs(before="unknown") == []
    await store.update_run(run_of("r2", status="complete", benchmark="x"))
    assert [run.id for run in await store.runs(status="complete")] == ["r2"]
    assert [run.id for run in await store.runs(status="running", benchmark="x")] == ["r1", "r0"]


async def test_a_run_that_is_deleted_takes_its_attempts_and_events_along_and_no_others(begun):
    await begun.create_run(run_of("second"))
    await begun.keep_attempts([attempt_of(), attempt_of(run="second")])
    await begun.note(RunEvent(run="first", at=1.0, kind="began"))
    assert await begun.delete_run("first")
    assert not await begun.delete_run("first")
    assert await begun.run("first") is None
    assert await begun.run_events("first") == []
    await begun.create_run(run_of())
    assert await attempts_in(begun) == []
    assert [one.task for one in await attempts_in(begun, "second")] == ["t1"]


async def test_events_come_back_in_their_order(begun):
    events = [RunEvent(run="first", at=float(9 - n), kind=f"k{n}", data=b'{"n":%d}' % n) for n in range(3)]
    for event in events:
        await begun.note(event)
    assert await begun.run_events("first") == events
    assert await begun.run_events("first", "k1") == [events[1]]
    assert await begun.run_events("unknown") == []


async def test_what_was_generated_is_there_only_when_it_is_asked_for(begun):
    await begun.keep_attempts([attempt_of(retriable=True, kind="x", message="m")])
    kept = attempt_of(retriable=True, kind="x", message="m")
    assert await attempts_in(begun, generation=True) == [kept]
    assert await attempts_in(begun) == [msgspec.structs.replace(kept, generation=None)]
    assert await begun.attempts_at("first", "t1") == [kept]


async def test_the_newest_attempt_is_the_latest_and_the_others_stay(begun):
    await begun.keep_attempts([attempt_of(), attempt_of("t2")])
    await begun.keep_attempts([attempt_of(number=2), attempt_of(epoch=2)])
    assert [(one.task, one.epoch, one.number) for one in await attempts_in(begun)] == [
        ("t2", 1, 1),
        ("t1", 1, 2),
        ("t1", 2, 1),
    ]
    history = await begun.attempts_at("first", "t1")
    assert [(one.epoch, one.number, one.latest) for one in history] == [(1, 1, False), (1, 2, True), (2, 1, True)]
    assert len(await attempts_in(begun, latest=False)) == 4


async def test_an_attempt_is_recorded_once_and_only_for_a_run_that_there_is(begun):
    await begun.keep_attempts([attempt_of()])
    for refused in ([attempt_of("t2"), attempt_of()], [attempt_of("t2"), attempt_of(run="unknown")]):
        with pytest.raises(StoreFailed):
            await begun.keep_attempts(refused)
    assert [one.task for one in await attempts_in(begun)] == ["t1"], "those of one call are kept together or not at all"


async def test_a_verdict_is_kept_with_the_attempt_it_belongs_to(begun):
    await begun.keep_attempts([attempt_of(), attempt_of("t2")])
    assert await begun.keep_verdicts([verdict_of(attempt_of())]) == [True]
    first, second = await attempts_in(begun)
    assert (first.evaluation_status, first.score, first.evaluation) == ("evaluated", 1.0, b'{"status":"evaluated"}')
    assert (first.evaluator_version, first.evaluated_at) == ("1", 3.0)
    assert (second.evaluation_status, second.score) == (None, None)


@pytest.mark.parametrize(
    "wrong", [{"response_digest": "b" * 64}, {"task": "t9"}, {"epoch": 2}, {"number": 2}, {"run": "unknown"}]
)
async def test_a_verdict_on_another_response_is_not_kept(begun, wrong):
    await begun.keep_attempts([attempt_of()])
    assert await begun.keep_verdicts([verdict_of(attempt_of(), **wrong)]) == [False]
    [attempt] = await attempts_in(begun)
    assert attempt.evaluation is None


async def test_attempts_come_in_pages_and_in_the_order_they_were_kept(begun):
    many = [attempt_of(f"t{(n * 7919) % 1201}") for n in range(PAGE * 2 + 1)]
    await begun.keep_attempts(many)
    pages = [page async for page in begun.attempts("first")]
    assert [len(page) for page in pages] == [PAGE, PAGE, 1]
    assert [one.task for page in pages for one in page] == [one.task for one in many]


async def test_half_a_character_in_an_error_does_not_stop_the_record(begun):
    await begun.keep_attempts([attempt_of(message="caf\ud800")])
    [attempt] = await attempts_in(begun)
    assert attempt.message.startswith("caf")


async def test_what_was_kept_is_there_when_the_file_is_opened_again(tmp_path):
    async with open_store(tmp_path / "store.db") as store:
        await store.create_run(run_of())
        await store.keep_attempts([attempt_of()])
        await store.keep_verdicts([verdict_of(attempt_of())])
    async with open_store(tmp_path / "store.db") as store:
        assert (await store.run("first")) == run_of()
        [attempt] = await attempts_in(store)
        assert attempt.score == 1.0


async def test_a_store_that_is_not_open_keeps_and_tells_nothing():
    with pytest.raises(StoreFailed):
        await open_store("memory:").create_run(run_of())
