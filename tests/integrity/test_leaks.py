"""What a benchmark hides is found wherever a caller could see it, and a sound benchmark is not accused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchhost.errors import BenchhostError, UsageError
from benchhost.integrity.leaks import search
from benchhost.integrity.saboteur import ACTS
from benchhost.server import problems
from benchhost.settings import Settings
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

SOURCE = """
import base64
from benchhost import *


class Riddle(Task, kw_only=True):
    hint: Public[str] = ""
    answer: str
    weight: int = 0


class Sound(Benchmark[Riddle]):
    def load_datasets(self):
        return {"default": [
            Riddle(id=f"r{n}", question=f"Riddle {n}?", answer="ABC"[n % 3], weight=n) for n in range(6)
        ]}

    def evaluate_response(self, task, response):
        right = response.text == task.answer
        return Result(score=float(right), passed=right, private={"gold": task.answer})

    def reference_response(self, task):
        return Response(task.answer)


class Plugin(Sound):
"""

LEAKS = {
    "feedback": """
    def evaluate_response(self, task, response):
        return Result(score=0.0, feedback=f"expected {task.answer.upper()}")
""",
    "metrics": """
    def evaluate_response(self, task, response):
        return Result(score=0.0, metrics={"w": task.weight})
""",
    "an author's error": """
    async def evaluate_response(self, task, response):
        yield Error(base64.b64encode(f"not: {task.answer}".encode()).decode())
""",
    "the final score": """
    def evaluate_response(self, task, response):
        self.last = task.answer
        return Result(score=0.0)

    def calculate_final_score(self, results, dataset):
        return FinalScore(score=0.0, metadata={"hardest": getattr(self, "last", "")[::-1]})
""",
    "an environment": """
    def retrieve_task(self, task):
        return Environment(image="x", problem_path="/p", cwd=f"/{task.answer}")
""",
    "what is shown on trial": """
    def evaluate_response(self, task, response):
        self.last = task.weight
        return Result(score=0.0)

    def project_trial_result(self, result):
        return Result(score=0.0, metrics={"of": getattr(self, "last", 0)})
""",
}
"""Bodies of classes that leak."""

FOUND = {
    "feedback": ("POST /b/{name}/v1/evaluate", "result.feedback", "answer", "tenant"),
    "metrics": ("POST /b/{name}/evaluate-response", "metrics.w", "weight", "tenant"),
    "an author's error": ("POST /b/{name}/v1/evaluate", "errors[0]", "answer", "tenant"),
    "the final score": ("POST /b/{name}/v1/score", "metadata.hardest", "answer", "tenant"),
    "an environment": ("GET /b/{name}/retrieve-task", "cwd", "answer", "tenant"),
    "what is shown on trial": ("POST /b/{name}/v1/evaluate", "result.metrics.of", "weight", "trial"),
}
"""For each, the route, the place in the answer, the hidden field, and who sees it."""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a benchmark, given by what its class says beyond that of a sound one, and search it."""
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))

    async def search_(body: str = "    pass", acts=()):
        install_plugin(tmp_path / "plugins", "riddles", f"{SOURCE}{body}\n")
        return await search(Settings(), "riddles", most=3, acts=acts)

    return search_


@pytest.mark.parametrize("leak", LEAKS)
async def test_a_leak_is_found_and_told_by_route_field_and_task(leak, installed):
    route, at, field, who = FOUND[leak]
    report = await installed(LEAKS[leak])
    assert not report.clean
    [found] = [each for each in report.leaks if (each.route, each.at, each.field) == (route, at, field)]
    assert (found.dataset, found.caller, found.act) == ("default", who, "canaries")
    assert found.task in {f"r{n}" for n in range(6)}


async def test_a_leak_over_a_socket_is_found(installed):
    report = await installed(LEAKS["feedback"])
    [found] = [each for each in report.leaks if each.route == "WEBSOCKET /b/{name}/ws/evaluate-response"]
    assert (found.status, found.at, found.field) == (1000, "data.feedback", "answer")


async def test_a_sound_benchmark_is_clean_whatever_its_hooks_do(installed):
    report = await installed(acts=tuple(ACTS))
    assert report.leaks == []
    assert report.clean
    assert all(report.routes.values()), "a route was not called"
    good = {route for route, statuses in report.routes.items() if statuses.keys() & {200, 202, 1000}}
    others = {route for route in report.routes.keys() - good if "/v1/sandboxes" not in route}  # which are not allowed
    not_offered = {"GET /b/{name}/retrieve-task", "POST /b/{name}/resolve-dataset"}
    assert others == not_offered | {"PUT /v1/uploads"}  # which takes signed URLs alone, and knows of no task
    assert all(0 not in statuses for statuses in report.routes.values()), "a route did not answer"


async def test_values_too_short_to_be_told_from_chance_are_found_as_canaries_and_said_to_be_short(installed):
    report = await installed()
    told = report.fields["answer"]
    assert (told.values, told.as_they_are, told.as_canaries) == (3, 0, 3)


@pytest.mark.parametrize("act", ["raises", "refuses"])
async def test_a_host_that_told_its_causes_would_be_found_out(act, installed, monkeypatch):
    monkeypatch.setattr(problems, "Unavailable", BenchhostError)  # whose messages are for callers
    report = await installed(acts=[act])
    assert "POST /b/{name}/final-score" in {leak.route for leak in report.leaks}
    assert {leak.act for leak in report.leaks} == {act}
    assert {leak.at for leak in report.leaks} == {"detail"}


async def test_a_benchmark_that_is_not_installed_is_refused(installed):
    with pytest.raises(UsageError, match="nobody"):
        await search(Settings(), "nobody")


def leakcheck(*arguments, plugins):
    environ = {**os.environ, "PYTHONPATH": str(plugins)}
    command = [sys.executable, "-m", "benchhost", "leakcheck", *arguments, "--sample", "2"]
    return subprocess.run(command, env=environ, capture_output=True, text=True)


def test_the_command_says_by_its_exit_code_whether_there_is_a_leak(tmp_path):
    route, at, field, _ = FOUND["feedback"]
    install_plugin(tmp_path, "leaky", SOURCE + LEAKS["feedback"])
    shown, told = leakcheck("leaky", plugins=tmp_path), leakcheck("leaky", "--json", plugins=tmp_path)
    assert (shown.returncode, told.returncode) == (1, 1)
    assert f"the hidden field {field} of default, " in shown.stdout
    assert f"stands in {at}" in shown.stdout
    report = json.loads(told.stdout)
    assert {(leak["route"], leak["at"], leak["field"]) for leak in report["leaks"]} >= {(route, at, field)}
    assert leakcheck("nobody", plugins=tmp_path).returncode == 2
