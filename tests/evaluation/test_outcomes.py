"""Whatever a hook does becomes the right outcome, and touches nobody else's."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psutil
import pytest
import structlog.testing

from benchhost.evaluation import process
from benchhost.evaluation.requests import Context, Submission

pytestmark = pytest.mark.anyio

NAMES = ["plain", "coroutine", "generator", "asyncgenerator", "iterable", "returned"]

INNOCENTS = 20

ANYWHERE = {
    "good": "scored",
    "fork": "scored",
    "fork and go on": "scored",
    "thread": "scored",
    "start": "scored",
    "print": "scored",
    "raise": "HookRaised",
    "exit": "HookRaised",
    "interrupt": "HookRaised",
    "cancel": "HookRaised",
    "exhaust": "HookRaised",
    "half a character": "HookRaised",
    "unspeakable": "HookRaised",
    "long": "HookRaised",
    "end": "GraderDied",
    "kill": "GraderDied",
    "fault": "GraderDied",
    "close": "GraderDied",
    "block": "HookOverran",
    "none": "HookReturned",
    "dict": "HookReturned",
    "number": "HookReturned",
    "class": "HookReturned",
    "nan": "HookReturned",
    "text for a score": "HookReturned",
    "infinite metric": "HookReturned",
    "list of metrics": "HookReturned",
    "huge metric": "HookReturned",
    "unencodable private": "HookReturned",
    "endless private": "HookReturned",
    "deep private": "HookReturned",
    "huge private": "scored",
    "task as feedback": "HookReturned",
    "half a character of feedback": "HookReturned",
}

CASES = [
    *[("plain", deed, outcome) for deed, outcome in ANYWHERE.items()],
    ("plain", "stop", "HookRaised"),
    ("plain", "close stdout", "scored"),
    ("plain", "sleep", "HookOverran"),
    ("plain", "spin", "HookOverran"),
    *[
        ("coroutine", deed, outcome)
        for deed, outcome in ANYWHERE.items()
        # What a coroutine forks goes on with the event loop of its parent; that is for threads to do.
        if deed not in ("fork", "fork and go on")
    ],
    ("coroutine", "never", "HookOverran"),
    ("coroutine", "cling", "HookOverran"),
    ("coroutine", "sleep", "HookOverran"),
    ("coroutine", "spin", "HookOverran"),
    ("coroutine", "exit in a task", "GraderDied"),
    *[(name, deed, outcome) for name in NAMES[2:4] for deed, outcome in [
        ("good", "scored"),
        ("two", "scored"),
        ("raise", "HookRaised"),
        ("exit", "HookRaised"),
        ("end", "GraderDied"),
        ("none", "HookReturned"),
        ("nothing", "HookReturned"),
        ("decline", "declined"),
        ("nan", "HookReturned"),
    ]],
    ("generator", "half a character of a message", "scored"),
    ("asyncgenerator", "endless", "HookOverran"),
    *[(name, deed, outcome) for name in NAMES[4:] for deed, outcome in [
        ("good", "scored"),
        ("raise", "HookRaised"),
        ("none", "HookReturned"),
    ]],
]  # fmt: skip


@pytest.fixture(scope="module")
async def hub(open_hub, misbehaving, tmp_path_factory):
    async with open_hub(tmp_path_factory.mktemp("hub"), misbehaving, only=NAMES) as hub:
        await hub.roster.loaded()
        assert hub.roster.faults() == []
        yield hub


@pytest.fixture(scope="module")
async def judged(hub):
    """Everything at once: each case, with innocent responses before, between and after."""
    with structlog.testing.capture_logs() as log:
        cases = [asyncio.create_task(hub.judge(name, deed, task="1")) for name, deed, _ in CASES]
        innocents = []
        for number in range(INNOCENTS):
            innocents += [
                asyncio.create_task(hub.judge(name, "good", task=str(number), run="innocent")) for name in NAMES
            ]
            await asyncio.sleep(0.02)
        batches = [
            asyncio.create_task(hub.judge_all(name, *((str(n), "good") for n in range(INNOCENTS)), run="batch"))
            for name in NAMES
        ]
        evaluations = await asyncio.gather(*cases)
        innocent = await asyncio.gather(*innocents)
        for batch in await asyncio.gather(*batches):
            innocent += batch
    return dict(zip([case[:2] for case in CASES], evaluations, strict=True)), innocent, log


@pytest.mark.parametrize("name,deed,outcome", CASES)
async def test_a_deed_of_a_hook_becomes_the_right_outcome(judged, name, deed, outcome):
    evaluations, _, log = judged
    evaluation = evaluations[name, deed]
    logged = [line for line in log if line.get("evaluation") == evaluation.id]
    if outcome == "scored":
        assert (evaluation.status, evaluation.errors, logged) == ("scored", (), [])
        return
    assert (evaluation.status, evaluation.result) == ("error", None)
    [said] = evaluation.errors
    if outcome == "declined":
        assert (said, evaluation.cause, logged) == ("no compiler for that language", None, [])
        return
    [line] = logged
    assert line["error"] == outcome, line["cause"][-2000:]
    assert line["cause"] == evaluation.cause
    assert evaluation.id in said
    assert "42" not in said.replace(evaluation.id, "")


async def test_innocent_responses_are_scored_whatever_the_others_do(judged):
    _, innocent, _ = judged
    assert len(innocent) == 2 * INNOCENTS * len(NAMES)
    assert {evaluation.status for evaluation in innocent} == {"scored"}


async def test_a_cause_names_the_line_of_the_hook(judged):
    evaluations, _, _ = judged
    assert "ValueError: the answer is 42" in evaluations["plain", "raise"].cause
    assert "misbehaving" in evaluations["plain", "raise"].cause or "plugin_plain" in evaluations["plain", "raise"].cause


async def test_a_long_cause_loses_its_middle(judged):
    evaluations, _, _ = judged
    cause = evaluations["plain", "long"].cause
    assert len(cause) < 110_000
    assert cause.startswith("Traceback")
    assert "characters are left out" in cause


async def test_afterwards_nothing_is_left_but_the_graders(hub, judged, misbehaving):
    """No process that a hook has started, and no zombie."""
    await _eventually(lambda: _tree(misbehaving) == sorted([_mother(hub).pid, *hub.watchers(), *hub.graders()]))
    assert not [child for child in _mother(hub).children() if child.status() == psutil.STATUS_ZOMBIE]


async def test_afterwards_every_gate_is_at_zero(hub, judged):
    for gate in hub.evaluator._gates.values():
        assert (gate._running, gate._entered, len(gate._waiters)) == (0, 0, 0)
    assert hub.evaluator._running == {}
    assert all(not benchmark._use.users for benchmark in hub.roster)


async def test_hundreds_of_evaluations_and_dead_graders_leave_no_descriptor_behind(hub, judged, misbehaving):
    async def some(run: str) -> None:
        await hub.judge_all("plain", *((str(n), "good") for n in range(100)), run=run)
        await asyncio.gather(*(hub.judge("plain", "end", task=str(n), run=run) for n in range(3)))
        await hub.judge("plain", "good", run=run)

    await some("warm")
    await _eventually(lambda: 2 * len(hub.watchers()) == len(_tree(misbehaving)) - 1)
    before = psutil.Process().num_fds(), _mother(hub).num_fds()
    for number in range(3):
        await some(f"run {number}")
    await _eventually(lambda: psutil.Process().num_fds() <= before[0] and _mother(hub).num_fds() <= before[1])


async def test_messages_go_to_whoever_listens(hub):
    for name in ("generator", "asyncgenerator", "iterable"):
        benchmark = hub.roster.get(name)
        claim = hub.evaluator._claim(benchmark, Context(run="listened"), Submission("7", "good"))
        with hub.evaluator.events.listen(claim.id) as messages:
            evaluation = await hub.evaluator.evaluate(benchmark, Context(run="listened"), Submission("7", "good"))
            assert evaluation.id == claim.id
            assert messages.take() == (["first\nsecond"], None)


async def test_a_stream_that_only_yields_is_heard_at_once_ends_at_its_deadline_and_holds_up_nobody(hub):
    benchmark = hub.roster.get("asyncgenerator")
    before = [grader._pid for grader in benchmark._graders.processes if not grader.retired]
    claim = hub.evaluator._claim(benchmark, Context(run="endless"), Submission("7", "endless"))
    heard = asyncio.Event()
    with hub.evaluator.events.listen(claim.id, heard.set) as messages:
        endless = asyncio.create_task(hub.judge("asyncgenerator", "endless", task="7", run="endless"))
        await asyncio.wait_for(heard.wait(), 0.5)
        assert messages.take()[0][0].startswith("first\nmore\nmore")
        assert (await hub.judge("asyncgenerator", "good", run="endless")).status == "scored"
    assert "evaluate_response did not finish within 1 s" in (await endless).cause
    assert [grader._pid for grader in benchmark._graders.processes if not grader.retired] == before


async def test_a_blocked_grader_does_not_hold_up_who_comes_later(hub, monkeypatch):
    monkeypatch.setattr(process, "SILENCE", 0.5)
    blocked = asyncio.create_task(hub.judge("plain", "block", run="later"))
    await asyncio.sleep(1.0)
    assert (await hub.judge("plain", "good", run="later")).status == "scored"
    assert not blocked.done()
    assert (await blocked).status == "error"


async def test_when_the_process_that_starts_graders_is_killed_another_takes_its_place(hub, misbehaving):
    mother = _mother(hub).pid
    slow = asyncio.create_task(hub.judge("plain", "slow", run="orphaned"))
    await asyncio.sleep(0.1)
    os.kill(mother, 9)
    assert (await slow).status == "scored"
    assert (await hub.judge("coroutine", "good", run="orphaned")).status == "scored"
    assert _mother(hub).pid != mother
    await _eventually(lambda: _tree(misbehaving) == sorted([_mother(hub).pid, *hub.watchers(), *hub.graders()]))


def _tree(folder: Path) -> list[int]:
    """Whatever the hub has started, and what that has started, wherever it belongs by now: told by its plugins."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get("PYTHONPATH") == str(folder) and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each.pid)
        except psutil.Error:  # it has ended, or belongs to somebody else
            continue
    return sorted(set(found) - {os.getpid()})


def _mother(hub) -> psutil.Process:
    return psutil.Process(hub.roster._installation._mother._process.pid)


async def _eventually(is_so) -> None:
    """Wait for what takes a moment: the end of a process, say."""
    end = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
