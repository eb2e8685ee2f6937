from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from importlib_metadata import entry_points

from benchhost import Response
from benchhost.contract import public
from benchhost.errors import DatasetError
from benchhost.scoring import number_in
from benchhost_gsm8k import GSM8K, Settings, WordProblem, final_number

CHECKOUT = Path(__file__).resolve().parents[3]
DATA = CHECKOUT.parent / "shared" / "data" / "gsm8k"

# What each `policy` row of the extraction set is read as; the README says why, in the same order.
POLICY = {
    "g015": -10,
    "g019": 7,
    "g020": 7,
    "g021": 100000,
    "g022": 120,
    "g023": 3,
    "g034": None,
    "g035": 20,
    "g036": 1000,
    "g074": 18,
    "g075": 17,
    "g076": 18,
    "g077": None,
    "g078": None,
    "g081": 18,
    "g082": 18,
    "g083": 18,
    "g084": 18,
    "g085": 18,
    "g086": 18,
    "g087": None,
    "g092": 18,
    "g093": 18,
}


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def benchmark() -> GSM8K:
    return GSM8K(Settings(data=DATA / "test.jsonl"))


@pytest.fixture(scope="module")
def problems(benchmark: GSM8K) -> list[WordProblem]:
    return list(benchmark.load_datasets()["default"])


def problem(answer: float) -> WordProblem:
    return WordProblem(id="test-0000", question="How many?", answer=answer, solution=f"#### {answer}")


def test_the_plugin_is_found_by_its_entry_point():
    (entry,) = entry_points(group="benchhost.benchmarks", name="gsm8k")
    assert entry.load() is GSM8K


def test_all_problems_of_the_test_set_load_in_order(problems):
    assert [task.id for task in problems] == [f"test-{index:04}" for index in range(1319)]
    assert [task.question for task in problems] == [row["question"] for row in rows("test.jsonl")]


def test_every_answer_is_the_number_behind_the_marker(problems):
    published = [int(row["answer"].split("#### ")[1].replace(",", "")) for row in rows("test.jsonl")]
    assert [task.answer for task in problems] == published


def test_callers_see_nothing_but_the_question(problems):
    assert set(public(problems[0])) == {"id", "question", "timeout"}


def test_every_worked_solution_deserves_full_marks_and_an_empty_response_none(benchmark, problems):
    for task in problems:
        assert benchmark.evaluate_response(task, benchmark.reference_response(task)).score == 1.0
        assert benchmark.evaluate_response(task, Response("")).score == 0.0


def test_published_solutions_get_the_authors_verdict_on_every_row(benchmark, problems):
    correct: Counter[str] = Counter()
    for row in rows("model_solutions_6b.jsonl"):
        result = benchmark.evaluate_response(problems[row["index"]], Response(row["solution"]))
        assert result.passed == row["is_correct"], row["solution"]
        correct[row["model"]] += result.passed
    assert correct == {"6b_finetuning": 286, "6b_verification": 515}


@pytest.mark.parametrize("row", rows("extraction_agreement.jsonl"), ids=lambda row: f"{row['id']} {row['why']}")
def test_a_response_is_marked_as_a_careful_human_marks_it(benchmark, row):
    result = benchmark.evaluate_response(problem(number_in(row["gold"])), Response(row["response"]))
    assert result.passed == row["correct"]


def test_every_policy_row_is_decided_on_purpose():
    policy = [row for row in rows("extraction_agreement.jsonl") if row["tier"] == "policy"]
    assert {row["id"]: final_number(row["response"]) for row in policy} == POLICY


def test_the_readme_has_a_reason_for_every_policy_row():
    readme = (CHECKOUT / "plugins" / "gsm8k" / "README.md").read_text("utf-8")
    table = readme.split("## What is decided, case by case")[1]
    read_as = [line.split("|")[2].strip() for line in table.splitlines() if "|" in line][2:]
    assert read_as == ["nothing" if number is None else str(number) for number in POLICY.values()]


@pytest.mark.parametrize(
    "text, number",
    [
        ("18", 18),
        ("**$18.00**", 18),
        ("A: 17\nA: 18", 18),
        ("Person A: 5, person B: 6", None),
        ("The answer is 17. No, the answer is 18.", 18),
        ("The answer is 18. She had 16 before.", 18),
        ("So 3 + 4 = 7", None),
        ("#### 3 + 4 = 7", 7),
        ("#### 20 (21)", None),
        ("<think>\n#### 18", None),
        ("#### 18\n<think>", 18),
        ("reasoning whose opening tag is in the prompt #### 17</think>#### 18", 18),
        ("Question: how many?\n#### 18", 18),
        ("\\boxed{17} or rather \\boxed{\\frac{36}{2}}", 18),
        ("#### 18.000000000000000000000001", 18),
        ("####\n18", None),
    ],
)
def test_the_final_number_is_read(text, number):
    assert final_number(text) == number


def test_a_response_without_a_final_number_is_told_what_was_expected(benchmark):
    result = benchmark.evaluate_response(problem(18), Response("I think she has 18 eggs"))
    assert (result.score, result.feedback) == (0.0, "no final number was found; end with a line like: #### 42")


def test_feedback_never_names_the_answer(benchmark):
    result = benchmark.evaluate_response(problem(4711), Response("#### 4712"))
    assert result.feedback is None


def test_a_row_without_an_answer_is_named_but_not_quoted(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "How many?", "answer": "a secret"}\n')
    with pytest.raises(DatasetError, match="problem 1: expected an answer that ends in '#### <number>'") as raised:
        list(GSM8K(Settings(data=path)).load_datasets()["default"])
    assert "secret" not in str(raised.value)


def test_nothing_that_is_hidden_leaks():
    environ = {**os.environ, "BENCHHOST_BENCHMARKS__GSM8K__DATA": str(DATA / "test.jsonl")}
    command = [sys.executable, "-m", "benchhost", "leakcheck", "gsm8k", "--sample", "3"]
    searched = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert searched.returncode == 0, searched.stdout + searched.stderr
