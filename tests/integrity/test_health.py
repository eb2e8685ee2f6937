"""What a check of a benchmark promises is what it looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchhost.errors import UnknownDataset
from benchhost.integrity.checks import CHECKS, MOST_FINDINGS
from benchhost.integrity.health import examine
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

UNSOUND = {
    "reference-full-marks": "def reference_response(self, task):\n    return Response(task.answer + '!')",
    "silence-not-full-marks": "def evaluate_response(self, task, response):\n"
    "    return Result(score=float(response.text.strip() in ('', task.answer)))",
    "noise-not-full-marks": "def evaluate_response(self, task, response):\n"
    "    return Result(score=float(bool(response.text.strip())))",
    "grading-deterministic": "calls = 0\n"
    "def evaluate_response(self, task, response):\n"
    "    self.calls += 1\n"
    "    return Result(score=float(response.text == task.answer), metrics={'calls': self.calls})",
    "hooks-answer": "def evaluate_response(self, task, response):\n"
    "    return Result(score=float(bool(response.text[0]) and response.text == task.answer))",
    "prompts-render": "def prompt(self, task):\n    return ' '",
    "final-score": "def calculate_final_score(self, results, dataset):\n"
    "    return FinalScore(score=sum(result.score for result in results.values()))",
    "loop-free": "async def evaluate_response(self, task, response):\n"
    "    time.sleep(0.11)\n"
    "    return Result(score=float(response.text == task.answer))",
    "loads": "def load_datasets(self):\n    return {'default': [Question(id='x', question='?', answer='1')] * 2}",
    "environments": "def retrieve_task(self, task):\n    return None",
}
"""For each check, a class that does not pass it."""


@pytest.mark.parametrize("check", UNSOUND)
async def test_a_benchmark_that_breaks_a_promise_fails_the_check_that_makes_it(check, opened):
    async with opened(UNSOUND[check]) as benchmark:
        report = await examine(benchmark, most=2, repeats=2)
    found = {each.check: each for each in report.checks}
    failed = {each.check for each in report.checks if each.outcome == "failed"}
    assert check in failed
    assert failed <= {check, "hooks-answer"}
    assert not report.sound
    assert found[check].findings[0].said


async def test_a_sound_benchmark_passes_every_check_that_concerns_it(opened):
    async with opened() as benchmark:
        report = await examine(benchmark)
    assert [each.check for each in report.checks] == list(CHECKS)
    assert {each.check: each.outcome for each in report.checks if each.outcome != "passed"} == {
        "probing-bounded": "skipped",
        "environments": "skipped",
        "sandbox-grading": "skipped",
    }
    assert report.sound
    assert (report.datasets["default"].tasks, report.datasets["default"].examined) == (12, 12)


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1"])
async def test_an_agent_has_a_time_that_there_is(opened, seconds):
    environment = f"Environment(image='host', problem_path='/p', cwd='/', agent_timeout=float('{seconds}'))"
    async with opened(f"def retrieve_task(self, task):\n    return {environment}") as benchmark:
        report = await examine(benchmark, most=1)
    [hooks] = [each for each in report.checks if each.check == "hooks-answer"]
    assert hooks.outcome == "failed"
    assert "agent_timeout must be a finite number of seconds, 0 or more, not" in hooks.findings[0].said


async def test_a_dataset_without_tasks_is_warned_of(opened):
    async with opened("def load_datasets(self):\n    return {'default': []}") as benchmark:
        report = await examine(benchmark)
    [loads] = [each for each in report.checks if each.check == "loads"]
    assert (loads.outcome, loads.found, loads.findings[0].dataset) == ("warned", 1, "default")
    assert loads.findings[0].said == "it has no tasks: is the file empty?"


async def test_a_hook_that_raises_is_named_with_its_task_and_its_traceback(opened):
    async with opened("def prompt(self, task):\n    raise KeyError(task.id)") as benchmark:
        report = await examine(benchmark)
    [check] = [each for each in report.checks if each.check == "hooks-answer"]
    assert check.found == 12
    assert len(check.findings) == MOST_FINDINGS
    assert "prompt" in check.findings[0].said
    assert check.findings[0].task in check.findings[0].cause


async def test_a_coroutine_that_only_waits_does_not_hold_the_loop(opened):
    body = "async def prompt(self, task):\n    await asyncio.sleep(0.15)\n    return '?'"
    async with opened(body) as benchmark:
        report = await examine(benchmark, most=2, repeats=1)
    assert {each.check: each.outcome for each in report.checks}["loop-free"] == "passed"


async def test_a_blocking_stream_is_found_too(opened):
    body = "async def evaluate_response(self, task, response):\n    time.sleep(0.12)\n    yield Result(score=0.0)"
    async with opened(body) as benchmark:
        report = await examine(benchmark, most=2, repeats=1)
    [check] = [each for each in report.checks if each.check == "loop-free"]
    assert "evaluate_response" in check.findings[0].said


TASKS = "def load_datasets(self):\n    return {'default': [Question(id=f'q{n}', %s) for n in range(40)]}"


@pytest.mark.parametrize(
    "fields, outcome",
    [
        ("question=f'What is {n} and {n}?', answer=f'{2 * n}'", "passed"),
        ("question=f'A, B, C or D of {n}?', answer='ABCD'[n % 4]", "passed"),
        ("question=f'What is {n} and {n}? ({2 * n})', answer=f'{2 * n}'", "warned"),
        (
            "question='?', subject=f'The\\nanswer, it  is not shown {n}', answer=f'the answer it is not shown {n}'",
            "warned",
        ),
    ],
)
async def test_an_answer_in_the_question_is_told_of_unless_it_may_be_there_by_nature(opened, fields, outcome):
    async with opened(TASKS % fields) as benchmark:
        report = await examine(benchmark, repeats=1)
    assert {each.check: each.outcome for each in report.checks}["answers-hidden"] == outcome
    assert report.sound


@pytest.mark.parametrize(
    "policy, outcome, said",
    [
        ("attempts=3", "passed", None),
        ("feedback='sum', least=5, sums=1", "passed", None),
        ("fold=True, digits=1", "warned", "responses may be tried without end"),
        ("feedback='sum', least=5", "warned", "10 sums of 2 decimals tell up to 67 bits"),
        ("feedback='sum', least=13, sums=1", "warned", "no sum is ever told"),
    ],
)
async def test_a_declared_policy_that_bounds_less_than_there_is_to_know_is_told_of(policy, outcome, said, opened):
    async with opened(f"probing = {{'*': Probing({policy})}}") as benchmark:
        report = await examine(benchmark, most=1, repeats=1)
    [check] = [each for each in report.checks if each.check == "probing-bounded"]
    assert check.outcome == outcome
    assert [said in each.said and each.dataset == "default" for each in check.findings] == [True] * (said is not None)
    assert report.sound


async def test_a_sample_is_of_the_size_asked_for_and_none_is_all(opened):
    async with opened() as benchmark:
        assert (await examine(benchmark, most=5)).datasets["default"].examined == 5
        assert (await examine(benchmark, most=None)).datasets["default"].examined == 12


async def test_a_dataset_that_is_not_there_is_refused(opened):
    async with opened() as benchmark:
        with pytest.raises(UnknownDataset, match="nope"):
            await examine(benchmark, datasets=["nope"])


async def test_what_is_not_checked_of_a_sandbox_benchmark_is_said(opened):
    body = "def retrieve_task(self, task):\n    return Environment(image='python', problem_path='/p', cwd='/')"
    async with opened(body) as benchmark:
        report = await examine(benchmark, most=1)
    outcomes = {each.check: (each.outcome, each.note) for each in report.checks}
    assert outcomes["environments"][0] == "passed"
    assert outcomes["sandbox-grading"][0] == "skipped"
    assert outcomes["sandbox-grading"][1]


def check(*arguments, plugins):
    environ = {**os.environ, "PYTHONPATH": str(plugins)}
    command = [sys.executable, "-m", "benchhost", "check", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True)


def test_the_command_says_by_its_exit_code_whether_the_benchmark_is_sound(tmp_path):
    source = """
from benchhost import *

class Sound(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="a", question="?")]}
    def evaluate_response(self, task, response):
        return Result(score=0.0)

class Unsound(Sound):
    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""
    for name in ("sound", "unsound"):
        install_plugin(tmp_path, name, source, attribute=name.title())
    good, bad = check("sound", plugins=tmp_path), check("unsound", "--json", plugins=tmp_path)
    assert (good.returncode, good.stderr) == (0, "")
    assert "The benchmark is sound." in good.stdout
    assert bad.returncode == 1
    report = json.loads(bad.stdout)
    assert not report["sound"]
    assert {each["check"]: each["outcome"] for each in report["checks"]}["silence-not-full-marks"] == "failed"
    assert check("nobody", plugins=tmp_path).returncode == 2
