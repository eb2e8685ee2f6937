"""The published data, graded: every row gets the verdict that it is published with, whatever it tries."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from importlib_metadata import entry_points

from benchhost import Response
from benchhost.contract import public
from benchhost.errors import DatasetError
from benchhost.scoring import pass_at_k
from benchhost.testing import serving
from benchhost_humaneval import HumanEval, Problem, Settings, programs

CHECKOUT = Path(__file__).resolve().parents[3]
DATA = CHECKOUT.parent / "shared" / "data" / "humaneval"
PROBLEMS = DATA / "HumanEval.jsonl.gz"
AT_ONCE = 4


def rows(name: str) -> list[dict]:
    path = DATA / name
    lines = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in lines.splitlines()]


AGREEMENT = rows("agreement.jsonl")


@pytest.fixture(scope="module")
def benchmark() -> HumanEval:
    return HumanEval(Settings(data=PROBLEMS))


@pytest.fixture(scope="module")
def problems(benchmark: HumanEval) -> dict[str, Problem]:
    return {problem.id: problem for problem in benchmark.load_datasets()["default"]}


@pytest.fixture(scope="module")
def disagreements(benchmark: HumanEval, problems: dict[str, Problem]):
    """Grade rows, several at once as a host does, and return those that are judged otherwise than they are labelled."""

    def grade(labelled: list[dict]) -> list[tuple]:
        def graded(row: dict) -> tuple | None:
            result = benchmark.evaluate_response(problems[row["task_id"]], Response(row["completion"]))
            return None if result.passed == row["passed"] else (row["id"], row["category"], result.private)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return [found for found in pool.map(graded, labelled) if found is not None]

    return grade


def test_the_plugin_is_found_by_its_entry_point():
    (entry,) = entry_points(group="benchhost.benchmarks", name="humaneval")
    assert entry.load() is HumanEval


def test_callers_see_the_prompt_and_the_name_of_the_function_alone(problems):
    assert len(problems) == 164
    assert set(public(problems["HumanEval/0"])) == {"id", "question", "timeout", "entry_point"}


def test_the_reference_solutions_pass_all_of_them(benchmark, problems):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(
            pool.map(
                lambda each: benchmark.evaluate_response(each, benchmark.reference_response(each)), problems.values()
            )
        )
    assert [result.private for result in results if not result.passed] == []


def test_the_labelled_set_is_the_one_that_we_know():
    kinds = Counter(row["kind"] for row in AGREEMENT)
    assert kinds == {"codegen16b": 811, "mutant": 350, "canonical": 82, "nasty": 50, "tricky_pass": 16}
    assert {row.get("tier") for row in AGREEMENT if row["kind"] == "nasty"} == {"harness", "in_process"}


@pytest.mark.parametrize("kind", ["nasty", "tricky_pass", "mutant", "codegen16b"])
def test_the_labelled_set_is_judged_as_it_is_labelled(disagreements, kind):
    assert disagreements([row for row in AGREEMENT if row["kind"] == kind]) == []


def test_what_is_hostile_disturbs_none_of_its_neighbours(benchmark, problems, disagreements):
    hostile = [row for row in AGREEMENT if row["kind"] == "nasty" and "timeout" not in row["category"]]
    good = [row for row in AGREEMENT if row["kind"] == "canonical"]
    between = [row for pair in zip(good, 2 * hostile, strict=False) for row in pair]
    assert disagreements(between) == []
    assert disagreements(good) == [], "and the judge is as well as it was"


def test_a_submission_is_told_no_value_of_a_test(benchmark, problems):
    leaky = "    raise ValueError(numbers, threshold)\n"
    result = benchmark.evaluate_response(problems["HumanEval/0"], Response(leaky))
    assert result.feedback == "an exception was raised while a test ran"


def test_a_response_continues_the_prompt_or_holds_code_in_a_fence(problems):
    problem = problems["HumanEval/0"]
    answer = "Sure:\n```python\ndef has_close_elements(numbers, threshold):\n    return True\n```\nDone."
    assert programs(problem.question, problem.entry_point, answer)[-1].endswith("    return True\n")
    assert programs(problem.question, problem.entry_point, "    pass\n") == [problem.question + "    pass\n"]


def test_a_program_has_some_time():
    with pytest.raises(msgspec.ValidationError, match=r"> 0\.0 - at `\$\.seconds`"):
        msgspec.convert({"data": PROBLEMS, "seconds": 0.0}, Settings)


def test_a_file_that_is_none_is_said_to_be_none(tmp_path):
    path = tmp_path / "HumanEval.jsonl"
    path.write_text('{"task_id": "HumanEval/0", "prompt": 1}\n')
    with pytest.raises(DatasetError, match=r"HumanEval\.jsonl"):
        list(HumanEval(Settings(data=path)).load_datasets()["default"])


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("host")
    (folder / "benchhost.toml").write_text(f'[benchmarks.humaneval]\ndata = "{PROBLEMS}"\n')
    with serving(folder / "state", "--config", str(folder / "benchhost.toml"), "--only", "humaneval") as server:
        yield f"{server.url}/b/humaneval"


def test_the_published_samples_get_their_published_verdicts_over_http(host):
    samples = rows("codegen16b_samples.jsonl.gz")
    assert len(samples) == 3280
    passed = defaultdict(list)
    for first in range(0, len(samples), 410):
        batch = samples[first : first + 410]
        submissions = [{"task_id": each["task_id"], "response": each["completion"]} for each in batch]
        body = json.dumps({"run_id": "codegen", "submissions": submissions}).encode()
        request = urllib.request.Request(f"{host}/v1/evaluate-batch", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            verdicts = json.load(answer)["evaluations"]
        assert [verdict["result"]["passed"] for verdict in verdicts] == [each["passed"] for each in batch]
        for each in batch:
            passed[each["task_id"]].append(each["passed"])
    assert sum(map(sum, passed.values())) == 722
    at = {k: 100 * sum(pass_at_k(20, sum(each), k) for each in passed.values()) / 164 for k in (1, 10, 20)}
    assert at == pytest.approx({1: 22.0122, 10: 49.9886, 20: 57.9268}, abs=5e-5)


def test_nothing_that_is_hidden_leaks():
    environ = {**os.environ, "BENCHHOST_BENCHMARKS__HUMANEVAL__DATA": str(PROBLEMS)}
    command = [sys.executable, "-m", "benchhost", "leakcheck", "humaneval", "--sample", "3"]
    searched = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert searched.returncode == 0, searched.stdout + searched.stderr
