"""Attempts that are made in sandboxes, and judged there."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from benchhost import Environment, GenerationResult, GenerationStatus, Result, Runner, Task
from benchhost.contract import EvaluationStatus
from benchhost.errors import SandboxNotFound, SandboxUnavailable
from benchhost.runner.source import Verdict

pytestmark = pytest.mark.anyio


class Box:
    """What stands for a sandbox: a dictionary of files."""

    def __init__(self, number):
        self.id = f"box-{number}"
        self.files = {}


class Boxes:
    """Sandboxes of the benchmark of ``conftest``: right is whoever leaves the double of the number in ``answer``."""

    def __init__(self, judged=True):
        self.judged = judged
        self.made, self.open, self.labels, self.judged_in = 0, set(), [], []
        self.failing = False
        self.hold = None

    async def environment(self, task_id):
        return Environment(image="host", problem_path="/problem", cwd="/", agent_timeout=9)

    @asynccontextmanager
    async def lent(self, task_id, labels):
        if self.failing:
            raise SandboxUnavailable("the provider is down")
        self.made += 1
        self.labels.append(dict(labels))
        box = Box(self.made)
        self.open.add(box.id)
        try:
            yield box
        finally:
            self.open.discard(box.id)

    async def judge(self, run, task_id, sandbox):
        assert sandbox.id in self.open
        if self.hold is not None:
            await self.hold.wait()
        self.judged_in.append(sandbox.id)
        right = sandbox.files.get("answer") == str(2 * int(task_id[1:]))
        return Verdict(
            status=EvaluationStatus.EVALUATED, result=Result(score=float(right), passed=right), evaluator_version="1"
        )


class Worker(Runner[Task]):
    """Writes what the model says into the file ``answer``."""

    async def generate(self, task, model, context):
        environment = await context.environment()
        assert environment.agent_timeout == 9
        sandbox = await context.sandbox()
        assert await context.sandbox() is sandbox
        text = (await model.complete(await context.prompt())).text
        sandbox.files["answer"] = text
        if text == "late":
            return GenerationResult(task_id=task.id, status=GenerationStatus.MAX_TURNS, data="")
        return "done"


@pytest.fixture
def boxes(desk):
    desk.source.instances = Boxes()
    return desk.source.instances


async def test_what_was_done_in_a_sandbox_is_judged_there_and_not_the_response(desk, boxes, script):
    outcome = await desk.run(script(), runner=Worker())
    assert outcome.summary.score == 1.0
    assert desk.source.judged == []
    assert len(boxes.judged_in) == boxes.made == 6


async def test_every_sandbox_is_deleted_whatever_came_of_its_attempt(desk, boxes, script):
    answers = {"t0": RuntimeError("no"), "t1": "late", "t2": "wrong"}
    await desk.run(script(**answers), runner=Worker())
    assert boxes.made == 6
    assert boxes.open == set()


async def test_a_sandbox_says_of_which_run_task_and_attempt_it_is(desk, boxes, script):
    await desk.run(script(), runner=Worker(), run="mine")
    assert {"run": "mine", "task": "t3", "attempt": "1.1"} in boxes.labels


async def test_an_attempt_that_never_asks_for_a_sandbox_gets_none(desk, boxes, script):
    outcome = await desk.run(script())
    assert boxes.made == 0
    assert outcome.summary.score == 1.0
    assert len(desk.source.judged) == 6


async def test_the_response_is_judged_where_the_benchmark_judges_no_sandboxes(desk, script):
    desk.source.instances = Boxes(judged=False)
    await desk.run(script(), runner=Worker())
    assert {response for _, response in desk.source.judged} == {"done"}
    assert desk.source.instances.open == set()


async def test_a_sandbox_that_cannot_be_had_is_no_failure_of_the_model(desk, boxes, script):
    boxes.failing = True
    outcome = await desk.run(script(), runner=Worker())
    assert outcome.summary.statuses == {"infra_error": 6}


async def test_a_run_that_is_stopped_at_once_deletes_the_sandboxes_in_which_is_being_judged(desk, boxes, script):
    boxes.hold = asyncio.Event()
    run = desk.session(script(), runner=Worker())
    executing = asyncio.create_task(run.execute())
    await desk.until(lambda: len(boxes.open) == 6)
    run.stop()
    run.stop()
    await executing
    assert boxes.open == set()


async def test_what_was_not_judged_in_its_sandbox_is_attempted_again(desk, boxes, script):
    boxes.hold = asyncio.Event()
    run = desk.session(script(), runner=Worker(), run="again")
    executing = asyncio.create_task(run.execute())
    await desk.until(lambda: len(boxes.open) == 6)
    run.stop()
    run.stop()
    await executing
    boxes.hold = None
    outcome = await desk.run(script(), runner=Worker(), run="again")
    assert boxes.made == 12
    assert outcome.summary.score == 1.0


async def test_a_runner_is_told_where_there_are_no_sandboxes(desk, script):
    outcome = await desk.run(script(), runner=Worker())
    [group] = outcome.summary.errors
    assert "cannot be attempted in sandboxes" in group.message


class Destroyed(Box):
    async def info(self):
        raise SandboxNotFound("the sandbox is gone")


@pytest.mark.parametrize("when", ["working", "judging"])
async def test_a_sandbox_that_is_lost_again_and_again_was_destroyed_by_what_was_done_in_it(desk, boxes, script, when):
    class Destroyer(Worker):
        async def generate(self, task, model, context):
            sandbox = await context.sandbox()
            if task.id == "t0":
                sandbox.__class__ = Destroyed
                if when == "working":
                    raise SandboxUnavailable("the sandbox was gone before the agent had ended")
            return await super().generate(task, model, context)

    judge = boxes.judge

    async def judging(run, task_id, sandbox):
        if isinstance(sandbox, Destroyed):
            return Verdict(status=EvaluationStatus.JUDGE_ERROR, kind="hook-raised", errors=("no such sandbox",))
        return await judge(run, task_id, sandbox)

    boxes.judge = judging
    for _ in range(2):
        outcome = await desk.run(script(), runner=Destroyer(), run="lost")
        [error] = outcome.summary.errors
        assert (error.kind, error.status) == ("sandbox-lost", "infra_error")
    outcome = await desk.run(script(), runner=Destroyer(), run="lost")
    assert outcome.summary.scored == 5
    assert outcome.summary.evaluations["did_not_complete"] == 1
    made = boxes.made
    await desk.run(script(), runner=Destroyer(), run="lost")
    assert boxes.made == made, "it is not tried once more"


async def test_what_there_was_nothing_to_judge_in_does_not_count_as_evaluated(desk, boxes, script):
    session = desk.session(script(t0=RuntimeError("the installation failed")), runner=Worker(), run="counted")
    await session.execute()
    snapshot = session.progress.snapshot()
    assert (snapshot.done, snapshot.generated, snapshot.evaluated) == (6, 6, 5)
