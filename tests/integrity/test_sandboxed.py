"""A benchmark that judges what is done in sandboxes is checked in some: in fresh ones, and nothing is left of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchhost.integrity.health import examine
from benchhost.integrity.opening import opened_benchmark, opened_sandboxes
from benchhost.settings import Settings
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

SOURCE = """
import random
from benchhost import *

PLACE = "/work"


class Chore(Task, kw_only=True):
    answer: str


class Plugin(Benchmark[Chore]):
    accepted_submission_schemas = {"text": ["plain"], "artifact": ["zip"]}

    def load_datasets(self):
        return {"default": [Chore(id=f"c{n}", question=f"{n}?", answer=f"{n}") for n in range(9)]}

    def retrieve_task(self, task):
        return Environment(image="host", problem_path=f"{PLACE}/problem.md", cwd=PLACE)

    async def setup_task(self, task, sandbox):
        await sandbox.write(f"{PLACE}/problem.md", task.question.encode())
        await sandbox.write(f"{PLACE}/done", b"")

    async def place_submission(self, task, submission, sandbox):
        await sandbox.write(f"{PLACE}/done", submission.data)

    async def evaluate_instance(self, task, sandbox):
        done = await sandbox.read(f"{PLACE}/done")
        yield Message("looking at it")
        yield Result(score=float(done.decode() == task.answer))
"""

JUDGES = "async def evaluate_instance(self, task, sandbox):\n    "

UNSOUND = {
    "silence-not-full-marks": (
        f"{JUDGES}return Result(score=float(await sandbox.read(PLACE + '/done') == b''))",
        "a sandbox in which nothing was done scored 1",
    ),
    "noise-not-full-marks": (
        f"{JUDGES}return Result(score=float(await sandbox.read(PLACE + '/done') != b''))",
        "a submission of noise as artifact of the schema zip scored 1",
    ),
    "grading-deterministic": (
        f"{JUDGES}return Result(score=0.5, metrics={{'chance': random.random()}})",
        "a sandbox in which nothing was done scored 0.5, or differs in metrics or feedback",
    ),
    "hooks-answer": (
        "async def setup_task(self, task, sandbox):\n    raise KeyError(task.id)",
        "setup_task of a sandbox in which nothing was done: ",
    ),
}
"""For each check, what a class says that does not pass it, and what is then said of it."""


@pytest.fixture
def examined(tmp_path, monkeypatch):
    """Examine a benchmark, given by what its class says beyond that of a sound one."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))

    async def examined(body="pass", provider="local", **options):
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        install_plugin(tmp_path / "plugins", "chores", f"{SOURCE}\n{lines}\n")
        settings = Settings(state=tmp_path / "state", sandbox=provider)
        async with opened_benchmark(settings, "chores") as benchmark, opened_sandboxes(settings, benchmark) as own:
            report = await examine(benchmark, repeats=2, sandboxes=own, **{"sandboxed": 3, **options})
            if own is not None and provider == "local":
                assert await (await own.provider()).list({}) == []
        return report, {each.check: each for each in report.checks}

    return examined


async def test_tasks_are_set_up_and_judged_with_nothing_done_and_with_worthless_submissions(examined):
    report, found = await examined()
    assert report.sound
    assert {name: each.examined for name, each in found.items() if each.outcome == "passed"} == {
        "loads": 1,
        "prompts-render": 9,
        "hooks-answer": 9 + 9 + 3 * 2 * (2 + 3 * 3),
        "silence-not-full-marks": 3 * 2,
        "noise-not-full-marks": 3 * 2,
        "grading-deterministic": 3 * 4,
        "final-score": 18,
        "loop-free": 5,
        "answers-hidden": 9,
        "environments": 9,
        "sandbox-grading": 3 * 2 * 4,
    }


@pytest.mark.parametrize("check", UNSOUND)
async def test_a_benchmark_that_breaks_a_promise_in_sandboxes_fails_the_check_that_makes_it(check, examined):
    body, said = UNSOUND[check]
    report, found = await examined(body, sandboxed=1)
    assert {name for name, each in found.items() if each.outcome == "failed"} == {check}
    assert any(finding.said.startswith(said) and finding.task for finding in found[check].findings)
    assert not report.sound


async def test_where_no_sandbox_can_be_had_it_is_said_of_each_task_and_no_fault_of_the_benchmark(examined, monkeypatch):
    monkeypatch.delenv("DAYTONA_API_KEY", raising=False)
    report, found = await examined(provider="daytona")
    assert report.sound
    check = found["sandbox-grading"]
    assert (check.outcome, check.found) == ("warned", 3)
    assert "daytona needs an API key" in check.findings[0].said
    assert found["silence-not-full-marks"].outcome == "skipped"


@pytest.mark.parametrize("options", [{"provider": None}, {"sandboxed": 0}])
async def test_without_sandboxes_nothing_is_judged_in_any(examined, options):
    report, found = await examined(**options)
    assert report.sound
    assert (found["sandbox-grading"].outcome, found["sandbox-grading"].examined) == ("skipped", 0)
    assert "--sandboxed" in found["sandbox-grading"].note


RUNNER = """
from benchhost import *

PLACE = "/work"


class Doer(Runner[Task]):
    version = "1"

    async def generate(self, task, model, context):
        sandbox = await context.sandbox()
        reply = (await model.complete(await context.prompt())).text
        if reply == "give up":
            raise ValueError("no idea")
        await sandbox.write(f"{PLACE}/done", reply.encode())
        return GenerationResult(task_id=task.id, status=GenerationStatus.SUCCESS, data=reply)
"""

REFERENCE = "\n    def reference_response(self, task):\n        return Response({})\n"


@pytest.fixture
def command(tmp_path):
    """Give the command, with two tasks in sandboxes; return its exit code and what it found by the checks."""

    def command(source, runner=None):
        install_plugin(tmp_path / "plugins", "chores", source)
        if runner is not None:
            install_plugin(
                tmp_path / "plugins", "chores", runner, attribute="Doer", module="doer", group="benchhost.runners"
            )
        words = [sys.executable, "-m", "benchhost", "check", "chores", "--sandboxed", "2", "--json"]
        environ = {**os.environ, "PYTHONPATH": str(tmp_path / "plugins"), "BENCHHOST_STATE": str(tmp_path / "state")}
        told = subprocess.run(words, env=environ, capture_output=True, text=True)
        assert told.stderr == ""
        return told.returncode, {each["check"]: each for each in json.loads(told.stdout)["checks"]}

    return command


def test_the_command_looks_at_as_many_tasks_as_it_is_told(command):
    code, found = command(SOURCE)
    assert (code, found["sandbox-grading"]["outcome"], found["sandbox-grading"]["examined"]) == (0, "passed", 2 * 3 * 4)
    assert found["reference-full-marks"]["outcome"] == "skipped"


@pytest.mark.parametrize(
    "reference, code, said",
    [
        ("task.answer", 0, None),
        ("task.answer + '!'", 1, "an attempt with the reference response scored 0"),
        ("'give up'", 1, "an attempt with the reference response came to nothing: "),
    ],
)
def test_references_are_attempted_in_sandboxes_by_the_runner_of_the_benchmark(command, reference, code, said):
    ended, found = command(SOURCE + REFERENCE.format(reference), RUNNER)
    check = found["reference-full-marks"]
    assert (ended, check["outcome"], check["examined"]) == (code, "failed" if said else "passed", 2)
    assert all(finding["said"].startswith(said) and finding["task"] for finding in check["findings"])
    assert len(check["findings"]) == (2 if said else 0)


def test_without_such_a_runner_it_is_said_that_references_were_not_tried(command):
    code, found = command(SOURCE + REFERENCE.format("task.answer"))
    assert (code, found["reference-full-marks"]["outcome"]) == (0, "skipped")
    assert found["reference-full-marks"]["note"] == "not tried in sandboxes: no runner of chores works in sandboxes"
