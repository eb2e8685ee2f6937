"""What an attacker finds out, with a policy and without: the numbers that the policy is there for."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchhost import Probing
from benchhost.errors import NotOffered, SettingsError, UnknownDataset, UsageError
from benchhost.integrity.attack import Plan, attack
from benchhost.settings import Settings
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

SOURCE = """
from benchhost import *


class Riddle(Task, kw_only=True):
    answer: str


class Plugin(Benchmark[Riddle]):
    probing = {"guarded": Probing(attempts=1)}

    def load_datasets(self):
        tasks = [Riddle(id=f"r{n}", question=f"{n}?", answer=str(n % 8)) for n in range(24)]
        return {"default": tasks, "guarded": tasks, "unknown": []}

    def evaluate_response(self, task, response):
        return Result(score=float(response.text == task.answer))
"""
REFERENCE = "\n    def reference_response(self, task):\n        return Response(task.answer)\n"


@pytest.fixture
def attacked(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    install_plugin(tmp_path, "riddles", SOURCE + REFERENCE)
    install_plugin(tmp_path, "unmeasurable", SOURCE)

    async def attacked(policy, dataset="default", name="riddles", **plan):
        return await attack(Settings(), name, dataset, policy, Plan(most=8, guesses=30, **plan))

    return attacked


async def test_a_grader_that_answers_every_guess_tells_every_answer(attacked):
    report = await attacked(Probing(feedback="score"))
    assert (report.off.recovered, report.on.recovered) == (8, 8)
    assert report.off.candidates > 2


async def test_limited_attempts_leave_the_attacker_with_what_these_would_hit_by_chance(attacked):
    report = await attacked(Probing(attempts=1))
    assert report.off.recovered == 8
    assert report.on.recovered <= 4
    assert report.on.refused == 8 - report.on.recovered
    assert report.on.guesses == 16 - report.on.recovered


@pytest.mark.parametrize("strategy", ["difference", "bisect"])
async def test_sums_alone_tell_every_answer_where_they_are_told_without_end_and_few_where_they_are_counted(
    attacked, strategy
):
    endless = await attacked(Probing(feedback="sum", least=5, sums=10**6, digits=15), strategy=strategy)
    assert (endless.off.recovered, endless.on.recovered) == (8, 8)
    by_default = await attacked(Probing(feedback="sum", least=5), strategy=strategy)
    assert by_default.on.recovered == {"difference": 3, "bisect": 1}[strategy]
    assert (by_default.on.sums, by_default.on.policy.digits) == (10, 2)
    few = await attacked(Probing(feedback="sum", least=5, sums=2), strategy=strategy)
    assert (few.on.recovered, few.on.claimed, few.on.sums) == (0, 0, 2)


async def test_single_scores_are_of_no_use_where_sums_alone_are_told(attacked):
    report = await attacked(Probing(feedback="sum"), strategy="enumerate")
    assert (report.on.recovered, report.on.guesses, report.on.refused) == (0, 1, 1)


async def test_several_tenants_have_the_attempts_of_each_unless_these_are_pooled(attacked):
    apart = await attacked(Probing(attempts=1, feedback="score"), strategy="sybil", tenants=8)
    assert (apart.on.recovered, apart.tenants) == (8, 8)
    pooled = await attacked(Probing(attempts=1, feedback="score", pooled=True), strategy="sybil", tenants=8)
    alone = await attacked(Probing(attempts=1, feedback="score"))
    assert (pooled.on.recovered, pooled.on.guesses) == (alone.on.recovered, alone.on.guesses)
    assert pooled.on.recovered <= 4


async def test_several_tenants_are_told_the_sums_of_each_unless_these_are_pooled(attacked):
    apart = await attacked(Probing(feedback="sum", least=5), strategy="sybil", tenants=12)
    assert apart.on.recovered == 8
    pooled = await attacked(Probing(feedback="sum", least=5, pooled=True), strategy="sybil", tenants=12)
    assert pooled.on.sums == 10
    assert pooled.on.recovered == 1
    assert apart.on.bits == pytest.approx(12 * pooled.on.bits)


async def test_the_policy_in_force_is_the_one_that_is_tried(attacked):
    report = await attacked(None, "guarded")
    assert report.on.policy == Probing(attempts=1)
    assert report.on.recovered < report.off.recovered


async def test_without_any_policy_there_is_nothing_to_try(attacked):
    with pytest.raises(UsageError, match="no policy is in force"):
        await attacked(None)


async def test_a_policy_that_cannot_be_read_is_told_before_anything_is_attacked(attacked, tmp_path):
    settings = Settings(probing=tmp_path / "missing.toml")
    with pytest.raises(SettingsError, match=r"missing\.toml cannot be read: No such file or directory$"):
        await attack(settings, "riddles", "default", None)


async def test_a_dataset_of_a_strange_name_that_there_is_not_is_told(attacked):
    with pytest.raises(UnknownDataset, match="Available datasets: default, guarded, unknown"):
        await attacked(Probing(attempts=1), 'a"b')


async def test_nothing_is_said_of_a_dataset_whose_answers_nobody_knows(attacked):
    with pytest.raises(UsageError, match="no task of riddles/unknown that would be attacked has a reference response"):
        await attacked(Probing(attempts=1), "unknown")


async def test_an_attack_is_measured_by_references(attacked):
    with pytest.raises(NotOffered, match="reference_response"):
        await attacked(Probing(attempts=1), name="unmeasurable")


def test_the_command_prints_a_table_or_one_document(tmp_path):
    install_plugin(tmp_path, "riddles", SOURCE + REFERENCE)
    command = [sys.executable, "-m", "benchhost", "attack", "riddles", "--strategy", "enumerate", "--sample", "4"]
    run = {"env": {**os.environ, "PYTHONPATH": str(tmp_path)}, "capture_output": True, "text": True}
    shown = subprocess.run([*command, "--attempts", "2"], **run)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "policy off" in shown.stdout
    assert "4 of 4" in shown.stdout
    told = subprocess.run([*command, "--dataset", "guarded", "--json"], **run)
    report = json.loads(told.stdout)
    assert (report["off"]["recovered"], report["on"]["policy"]["attempts"]) == (4, 1)
    assert subprocess.run(command, **run).returncode == 2
    wrong = subprocess.run([*command, "--sums", "3"], **run)
    assert wrong.returncode == 2
    assert "sums are counted where feedback is 'sum'" in wrong.stderr
    lonely = subprocess.run([*command, "--attempts", "1", "--tenants", "3"], **run)
    assert lonely.returncode == 2
    assert "--tenants is for --strategy sybil" in lonely.stderr
