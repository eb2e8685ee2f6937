from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest
from importlib_metadata import entry_points

from benchhost import Response
from benchhost.contract import public
from benchhost_arithmetic import Arithmetic, Calculation, calculations


@pytest.fixture
def benchmark() -> Arithmetic:
    return Arithmetic()


@pytest.fixture
def tasks(benchmark: Arithmetic) -> list[Calculation]:
    return list(benchmark.load_datasets()["default"])


def test_the_plugin_is_found_by_its_entry_point():
    (entry,) = entry_points(group="benchhost.benchmarks", name="arithmetic")
    assert entry.load() is Arithmetic


def test_there_are_a_thousand_tasks_with_ids_of_their_own(tasks):
    assert len({task.id for task in tasks}) == 1000


def test_the_three_kinds_are_evenly_spread(tasks):
    assert Counter(task.kind for task in tasks) == {"addition": 334, "subtraction": 333, "multiplication": 333}


def test_the_tasks_are_the_same_every_time():
    assert list(calculations(50)) == list(calculations(50))


def test_the_first_and_last_task_are_those_of_version_1(tasks):
    assert (tasks[0].question, tasks[0].answer) == ("What is 4 + 7?", 11)
    assert (tasks[-1].question, tasks[-1].answer) == ("What is 55 + 74?", 129)


def test_every_answer_is_that_of_its_question(tasks):
    for task in tasks:
        left, sign, right = re.fullmatch(r"What is (\d+) ([-+*]) (\d+)\?", task.question).groups()
        a, b = int(left), int(right)
        assert task.answer == {"+": a + b, "-": a - b, "*": a * b}[sign]


def test_every_reference_deserves_full_marks_and_an_empty_response_none(benchmark, tasks):
    for task in tasks:
        assert benchmark.evaluate_response(task, benchmark.reference_response(task)).score == 1.0
        assert benchmark.evaluate_response(task, Response("")).score == 0.0


@pytest.mark.parametrize("text", ["-12", "The answer is -12.", "**-12**", "5 - 17 = -12", "−12"])
def test_the_number_may_be_dressed(benchmark, text):
    task = Calculation(id="t", question="What is 5 - 17?", kind="subtraction", answer=-12)
    assert benchmark.evaluate_response(task, Response(text)).passed


@pytest.mark.parametrize("text", ["12", "-13", "-12 or -13", "I do not know", "-120", "-1.2", "1" * 100_000])
def test_another_number_or_a_hedge_is_wrong(benchmark, text):
    task = Calculation(id="t", question="What is 5 - 17?", kind="subtraction", answer=-12)
    assert benchmark.evaluate_response(task, Response(text)).score == 0.0


def test_callers_see_the_kind_and_not_the_answer(tasks):
    assert set(public(tasks[0])) == {"id", "question", "timeout", "kind"}


def test_nothing_that_is_hidden_leaks():
    command = [sys.executable, "-m", "benchhost", "leakcheck", "arithmetic", "--sample", "3"]
    searched = subprocess.run(command, capture_output=True, text=True)
    assert searched.returncode == 0, searched.stdout + searched.stderr
