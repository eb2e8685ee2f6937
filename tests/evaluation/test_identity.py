"""The same request is one evaluation: joined while it runs, replayed when finished, tried again when it failed."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import structlog.testing

from benchhost.errors import Busy, StoreFailed, UnknownEvaluation
from benchhost.evaluation import claims
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.limits import Limits
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.requests import Context, Submission
from benchhost.store import Evaluation, running
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

COUNTING = """
import os, time
from pathlib import Path
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    version = {version!r}
    evaluation_timeout = 5.0

    def load_datasets(self):
        return {{
            "default": [Task(id=str(number), question="?") for number in range(50)],
            "other": [Task(id="0", question="another one?")],
        }}

    def evaluate_response(self, task, response):
        with open(Path(__file__).with_name("calls"), "a") as file:
            file.write(f"{{task.id}} {{response.text}}\\n")
        if response.text.startswith("slow"):
            time.sleep(0.2)
        if response.text == "fail once" and not (failed := Path(__file__).with_name("failed")).exists():
            failed.touch()
            raise RuntimeError("the judge is not available")
        if response.text == "end":
            os._exit(1)
        return Result(score=1.0, private={{"kept": "for the owner"}})
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("counting")
    install_plugin(folder, "counting", COUNTING.format(version="1"), module="counting")
    install_plugin(folder, "newer", COUNTING.format(version="2"), module="counting_newer")
    return folder


@pytest.fixture(scope="module")
async def hub(open_hub, plugins, tmp_path_factory):
    async with open_hub(
        tmp_path_factory.mktemp("hub"), plugins, {"running": 8, "queued": 50}, only=["counting", "newer"]
    ) as hub:
        await hub.roster.loaded()
        yield hub


@pytest.fixture
def calls(plugins):
    """The calls of the hook since the test began."""
    file = plugins / "calls"
    file.touch()
    before = len(file.read_text().splitlines())
    return lambda: file.read_text().splitlines()[before:]


async def test_identical_requests_at_the_same_time_run_the_hook_once(hub, calls):
    evaluations = await asyncio.gather(*(hub.judge("counting", "slow same") for _ in range(50)))
    assert calls() == ["0 slow same"]
    assert {(evaluation.status, evaluation.attempt) for evaluation in evaluations} == {("scored", 1)}


async def test_a_finished_evaluation_is_replayed_without_the_hook(hub, calls):
    first = await hub.judge("counting", "again")
    second = await hub.judge("counting", "again")
    [third] = await hub.judge_all("counting", ("0", "again"))
    assert calls() == ["0 again"]
    assert first == second == third
    assert first.private == b'{"kept":"for the owner"}'


async def test_a_failure_of_ours_is_tried_again_when_it_is_asked_for_again(hub, calls):
    failed = await hub.judge("counting", "fail once")
    assert (failed.status, failed.attempt) == ("error", 1)
    scored = await hub.judge("counting", "fail once")
    assert (scored.status, scored.attempt, scored.id) == ("scored", 2, failed.id)
    assert (scored.errors, scored.cause) == ((), None)
    assert len(calls()) == 2


async def test_another_tenant_run_task_response_dataset_or_version_is_another_evaluation(hub, calls):
    evaluator, counting, newer = hub.evaluator, hub.roster.get("counting"), hub.roster.get("newer")
    evaluations = [
        await evaluator.evaluate(counting, Context(), Submission("1", "x")),
        await evaluator.evaluate(counting, Context(tenant="lab"), Submission("1", "x")),
        await evaluator.evaluate(counting, Context(run="second"), Submission("1", "x")),
        await evaluator.evaluate(counting, Context(), Submission("0", "x")),
        await evaluator.evaluate(counting, Context(), Submission("1", "x ")),
        await evaluator.evaluate(counting, Context(dataset="other"), Submission("0", "x")),
        await evaluator.evaluate(newer, Context(), Submission("1", "x")),
    ]
    assert len({evaluation.id for evaluation in evaluations}) == 7
    assert len(calls()) == 7
    assert {evaluation.evaluator_version for evaluation in evaluations} == {"1", "2"}


async def test_an_evaluation_is_found_by_its_own_tenant_and_benchmark_alone(hub):
    evaluation = await hub.judge("counting", "whose", tenant="lab")
    found = await hub.evaluator.find(evaluation.id, tenant="lab", benchmark="counting")
    assert found == evaluation
    for tenant, benchmark in (("", "counting"), ("rival", "counting"), ("lab", "newer")):
        with pytest.raises(UnknownEvaluation):
            await hub.evaluator.find(evaluation.id, tenant=tenant, benchmark=benchmark)


async def test_who_hangs_up_does_not_lose_the_evaluation(hub, calls):
    waiting = asyncio.create_task(hub.judge("counting", "slow and left"))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (await hub.judge("counting", "slow and left")).status == "scored"
    assert calls() == ["0 slow and left"]


async def test_who_leaves_a_batch_does_not_lose_its_evaluations(hub, calls):
    submissions = [Submission(str(n), "slow batch that is left") for n in range(20)]

    async def first() -> None:
        async for _ in hub.evaluator.evaluate_many(hub.roster.get("counting"), Context(), submissions):
            return

    await asyncio.wait_for(first(), 5)
    await asyncio.wait_for(asyncio.gather(*hub.evaluator._tasks), 10)
    assert len(calls()) == 20
    again = await hub.judge_all("counting", *((each.task, each.response) for each in submissions))
    assert {evaluation.status for evaluation in again} == {"scored"}
    assert len(calls()) == 20


async def test_single_requests_and_batches_join_each_other(hub, calls):
    responses = [(str(n), "slow join") for n in range(10)]
    results = await asyncio.gather(
        *(hub.judge("counting", "slow join", task=str(n)) for n in range(0, 10, 2)),
        hub.judge_all("counting", *responses),
        hub.judge_all("counting", *responses, *responses),
        *(hub.judge("counting", "slow join", task=str(n)) for n in range(10)),
    )
    assert sorted(calls()) == sorted(f"{n} slow join" for n in range(10))
    assert [evaluation.task for evaluation in results[6]] == [str(n) for n in range(10)] * 2
    assert hub.evaluator._running == {}


async def test_a_batch_in_which_one_ends_the_process_scores_all_the_others(hub):
    responses = [(str(n), "end" if n == 17 else "good in a bad batch") for n in range(50)]
    evaluations = await hub.judge_all("counting", *responses)
    assert [evaluation.task for evaluation in evaluations if evaluation.status != "scored"] == ["17"]


async def test_an_empty_batch_is_no_work(hub, calls):
    assert await hub.judge_all("counting") == []
    assert calls() == []


async def test_at_a_limit_nothing_is_begun(hub, calls):
    [gate] = {hub.evaluator.gate(hub.roster.get("counting"), "")}
    gate.enter(50)
    try:
        with pytest.raises(Busy):
            await hub.judge_all("counting", *((str(n), "too many") for n in range(9)))
        assert hub.evaluator._running == {}
    finally:
        gate.leave(50)
    assert calls() == []


async def test_never_more_run_at_once_than_the_limit(hub, calls):
    running = most = 0
    call = hub.roster.get("counting").call

    async def counted(*args, **kwargs):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await call(*args, **kwargs)
        finally:
            running -= 1

    hub.roster.get("counting").call = counted
    try:
        await asyncio.gather(*(hub.judge("counting", "slow crowd", task=str(n)) for n in range(30)))
    finally:
        del hub.roster.get("counting").call
    assert most == 8


async def test_an_outcome_that_the_store_cannot_keep_is_an_error_and_can_be_asked_for_again(hub, monkeypatch, calls):
    async def full(finishes):
        raise StoreFailed("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(hub.store, "finish", full)
        with pytest.raises(StoreFailed):
            await hub.judge("counting", "not kept")
        joined = [asyncio.create_task(hub.judge_all("counting", *((str(n), "slow not kept") for n in range(20))))]
        await asyncio.sleep(0.05)
        joined += [asyncio.create_task(hub.judge("counting", "slow not kept", task=str(n))) for n in range(20)]
        outcomes = await asyncio.wait_for(asyncio.gather(*joined, return_exceptions=True), 10)
        assert {type(outcome) for outcome in outcomes} == {StoreFailed}
    again = await asyncio.wait_for(hub.judge("counting", "not kept"), 5)
    assert again.status == "scored"
    batch = await asyncio.wait_for(hub.judge_all("counting", *((str(n), "slow not kept") for n in range(20))), 10)
    assert {evaluation.status for evaluation in batch} == {"scored"}
    [gate] = {hub.evaluator.gate(hub.roster.get("counting"), "")}
    assert (gate._running, gate._entered) == (0, 0)


async def test_what_one_worker_cannot_keep_another_judges_when_the_store_is_well(hub, monkeypatch, tmp_path):
    async def full(*_):
        raise StoreFailed("the disk is full")

    async def judged_by(owner: Owner) -> list[Evaluation]:
        evaluator = Evaluator(hub.store, owner, Limits(workers=2, folder=tmp_path / "slots"))
        submissions = [Submission(str(n), "x") for n in range(3)]
        groups = evaluator.evaluate_many(hub.roster.get("counting"), Context(run="not kept by one"), submissions)
        return [evaluation async for group in groups for _, evaluation in group]

    monkeypatch.setattr(claims, "AGAIN", 0.1)
    one, other = (Owner(hub.owner._folder) for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(hub.store, "finish", full)
        patch.setattr(hub.store, "interrupt", full)
        with pytest.raises(StoreFailed):
            await judged_by(one)
        waiting = asyncio.create_task(judged_by(other))
        await asyncio.sleep(0.3)
        assert not waiting.done()
    evaluations = await asyncio.wait_for(waiting, 10)
    assert [(each.status, each.owner, each.attempt) for each in evaluations] == [("scored", other.id, 2)] * 3
    for owner in (one, other):
        owner.close()


def claim_of(hub, response: str, owner: str, run: str = "") -> Evaluation:
    claim = hub.evaluator._claim(hub.roster.get("counting"), Context(run=run), Submission("0", response))
    return msgspec.structs.replace(claim, owner=owner)


def ended(claim: Evaluation, attempt: int = 1, **outcome: Any) -> Evaluation:
    return msgspec.structs.replace(running(claim, attempt), finished_at=1.0, **outcome)


async def test_what_another_process_runs_is_waited_for_and_not_judged_twice(hub, tmp_path, calls):
    other = Owner(hub.owner._folder)
    claim = claim_of(hub, "elsewhere", other.id, "begun elsewhere")
    await hub.store.claim([claim])
    waiting = [asyncio.create_task(hub.judge("counting", "elsewhere", run="begun elsewhere"))]
    both = [("0", "elsewhere"), ("1", "elsewhere")]
    waiting += [asyncio.create_task(hub.judge_all("counting", *both, run="begun elsewhere"))]
    await asyncio.sleep(0.1)
    assert not waiting[0].done()
    await hub.store.finish([ended(claim, status="scored", result=b"{}")])
    assert (await waiting[0]).result == b"{}"
    assert [evaluation.status for evaluation in await waiting[1]] == ["scored", "scored"]
    assert calls() == ["1 elsewhere"]
    other.close()


async def test_who_has_joined_what_another_process_fails_to_judge_is_told_so(hub, calls):
    other = Owner(hub.owner._folder)
    claim = claim_of(hub, "fails elsewhere", other.id, "failing elsewhere")
    await hub.store.claim([claim])
    waiting = asyncio.create_task(hub.judge("counting", "fails elsewhere", run="failing elsewhere"))
    await asyncio.sleep(0.1)
    await hub.store.finish([ended(claim, status="error", errors=("no",))])
    assert ((await waiting).status, (await waiting).errors) == ("error", ("no",))
    assert calls() == []
    again = await hub.judge("counting", "fails elsewhere", run="failing elsewhere")
    assert (again.status, again.attempt) == ("scored", 2)
    other.close()


async def test_what_a_process_that_is_gone_was_running_is_judged_here(hub, calls):
    other = Owner(hub.owner._folder)
    await hub.store.claim([claim_of(hub, "orphan", other.id, "left behind")])
    waiting = asyncio.create_task(hub.judge("counting", "orphan", run="left behind"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    other.close()
    evaluation = await asyncio.wait_for(waiting, 5)
    assert (evaluation.status, evaluation.attempt) == ("scored", 2)
    assert calls() == ["0 orphan"]


async def test_at_the_start_what_was_left_unfinished_is_marked(hub):
    gone, alive = Owner(hub.owner._folder), Owner(hub.owner._folder)
    left, running = claim_of(hub, "left", gone.id), claim_of(hub, "running elsewhere", alive.id)
    await hub.store.claim([left, running])
    gone.close()
    assert await hub.evaluator.recover() == 1
    assert (await hub.store.evaluation(left.id)).status == "interrupted"
    assert (await hub.store.evaluation(running.id)).status == "running"
    alive.close()


async def test_what_ends_soon_is_recorded_with_its_outcome_alone(hub, calls, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(hub.store, "claim", None)
        single = await hub.judge("counting", "soon")
        [again, new] = await hub.judge_all("counting", ("0", "soon and all"), ("1", "soon and all"))
    for evaluation in (single, again, new):
        assert (evaluation.status, evaluation.attempt) == ("scored", 1)
        assert await hub.store.evaluation(evaluation.id) == evaluation
    assert await hub.judge("counting", "soon") == single
    assert sorted(calls()) == ["0 soon", "0 soon and all", "1 soon and all"]


async def eventually(is_so: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(5):
        while not await is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)


def one(hub, response: str) -> asyncio.Task[Any]:
    return asyncio.create_task(hub.judge("counting", response))


def many(hub, response: str) -> asyncio.Task[Any]:
    return asyncio.create_task(hub.judge_all("counting", ("0", response)))


@pytest.mark.parametrize("begin", [one, many])
async def test_what_takes_longer_is_recorded_as_running(hub, begin):
    id_ = claim_of(hub, f"slow, {begin.__name__}", hub.owner.id).id
    task = begin(hub, f"slow, {begin.__name__}")
    await eventually(lambda: hub.store.evaluation(id_))
    recorded = await hub.store.evaluation(id_)
    assert (recorded.status, recorded.owner, recorded.attempt, task.done()) == ("running", hub.owner.id, 1, False)
    await task
    recorded = await hub.store.evaluation(id_)
    assert (recorded.status, recorded.attempt) == ("scored", 1)


@pytest.mark.parametrize("begin", [one, many])
async def test_what_is_begun_and_not_recorded_yet_is_found_and_whoever_records_it_first_has_judged_it(
    hub, begin, monkeypatch
):
    monkeypatch.setattr(claims, "SOON", 0.5)
    claim = claim_of(hub, f"slow and late, {begin.__name__}", "elsewhere")
    task = begin(hub, f"slow and late, {begin.__name__}")

    async def begun() -> bool:
        return claim.id in hub.evaluator._claims._unclaimed

    async def at_rest() -> bool:
        return hub.evaluator._claims._looking is None

    await eventually(begun)
    assert await hub.store.evaluation(claim.id) is None
    assert (await hub.evaluator.find(claim.id, tenant="", benchmark="counting")).status == "running"
    theirs = ended(claim, status="scored", result=b"{}")
    assert await hub.store.finish([theirs]) == [True]
    assert await task in (theirs, [theirs])
    assert hub.evaluator._claims._unclaimed == {}
    await eventually(at_rest)


async def test_of_a_batch_what_has_ended_is_not_claimed_while_the_others_are_judged(hub, monkeypatch):
    monkeypatch.setattr(claims, "SOON", 0.05)
    claimed: list[str] = []
    claim = hub.store.claim

    async def watched(given):
        claimed.extend(each.task for each in given)
        return await claim(given)

    monkeypatch.setattr(hub.store, "claim", watched)
    await hub.judge_all("counting", ("0", "slow, among quick ones"), *((str(n), "quick") for n in range(1, 8)))
    assert claimed == ["0"]


async def test_what_is_about_to_be_recorded_as_failed_is_not_claimed_anew(hub, monkeypatch):
    monkeypatch.setattr(claims, "SOON", 0.01)
    ours = claims.Claims(hub.store, hub.owner, alone=True)
    failing, slow = claim_of(hub, "about to fail", hub.owner.id), claim_of(hub, "is slow", hub.owner.id)
    await ours.take([failing, slow])
    ours.begin([failing.id, slow.id])
    ours.end([failing.id])
    await eventually(lambda: hub.store.evaluation(slow.id))
    assert await hub.store.evaluation(failing.id) is None
    assert ours.unrecorded(failing.id) == failing
    ours.forget([failing.id, slow.id])
    await hub.store.interrupt(hub.owner.id, slow.id)


async def taken_away(hub, response: str) -> None:
    """Do as a process does that thinks this one dead."""
    claim = claim_of(hub, response, hub.owner.id)
    end = time.monotonic() + 5
    while not await hub.store.interrupt(hub.owner.id, claim.id):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_what_another_process_has_taken_is_answered_when_that_one_has_judged_it(hub, calls):
    other = Owner(hub.owner._folder)
    waiting = [
        asyncio.create_task(hub.judge("counting", "slow taken")),
        asyncio.create_task(hub.judge_all("counting", ("0", "slow taken too"), ("1", "slow taken too"))),
    ]
    claims = []
    for response in ("slow taken", "slow taken too"):
        await taken_away(hub, response)
        claims.append(claim_of(hub, response, other.id))
    assert [each.mine for each in await hub.store.claim(claims)] == [True, True]
    await asyncio.sleep(0.6)
    assert len(calls()) == 3
    assert not any(each.done() for each in waiting)
    await hub.store.finish([ended(claim, attempt=2, status="scored", result=b"{}") for claim in claims])
    single, [taken, own] = await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert {(each.status, each.attempt, each.result) for each in (single, taken)} == {("scored", 2, b"{}")}
    assert (own.status, own.attempt) == ("scored", 1)
    other.close()


async def test_what_was_taken_and_given_up_has_the_outcome_that_is_at_hand(hub, calls):
    single = asyncio.create_task(hub.judge("counting", "slow given up"))
    batch = asyncio.create_task(hub.judge_all("counting", ("0", "slow given up too")))
    for response in ("slow given up", "slow given up too"):
        await taken_away(hub, response)
    evaluations = [await single, *await batch]
    assert {(each.status, each.attempt) for each in evaluations} == {("scored", 2)}
    assert evaluations == [await hub.store.evaluation(each.id) for each in evaluations]
    assert len(calls()) == 2


async def test_a_process_that_judges_is_seen_to_be_alive_although_its_lock_file_was_removed(hub):
    other = Owner(hub.owner._folder)
    for judging in (
        lambda: hub.judge("counting", "slow and seen"),
        lambda: hub.judge_all("counting", ("0", "slow and seen too")),
    ):
        hub.owner._path.unlink()
        assert not other.is_alive(hub.owner.id)
        task = asyncio.create_task(judging())
        while not other.is_alive(hub.owner.id):
            assert not task.done()
            await asyncio.sleep(0.01)
        await task
    other.close()


async def test_at_the_start_the_files_of_processes_that_are_gone_are_removed(hub):
    gone = Owner(hub.owner._folder)
    gone.close()
    gone._path.touch()  # as one that was killed leaves it
    await hub.evaluator.recover()
    assert [path.name for path in hub.owner._folder.iterdir()] == [hub.owner.id]


async def test_a_batch_that_fails_when_nobody_waits_for_it_any_more_is_told_of_in_the_log(hub, monkeypatch):
    async def full(finishes):
        raise StoreFailed("the disk is full")

    unheard = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    try:
        with monkeypatch.context() as patch, structlog.testing.capture_logs() as log:
            patch.setattr(hub.store, "finish", full)
            leaving = asyncio.create_task(hub.judge_all("counting", ("0", "slow and left to fail")))
            await asyncio.sleep(0.05)
            leaving.cancel()
            await asyncio.wait([leaving])
            while hub.evaluator._tasks:
                await asyncio.wait(hub.evaluator._tasks, timeout=5)
            gc.collect()
    finally:
        loop.set_exception_handler(None)
    assert unheard == []
    [line] = [line for line in log if line["event"] == "evaluations failed"]
    assert (line["error"], line["cause"]) == ("StoreFailed", "the disk is full")
