"""The main job on real data: the published problems and solutions of GSM8K, over HTTP."""

from __future__ import annotations

import json

import pytest

from benchhost.testing import serving

PUBLISHED = {"6b_finetuning": (286, 21.68), "6b_verification": (515, 39.04)}
"""Correct answers of 1,319, and per cent."""


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory, data, make_client):
    state = tmp_path_factory.mktemp("gsm8k")
    environ = {"BENCHHOST_BENCHMARKS__GSM8K__DATA": str(data / "gsm8k" / "test.jsonl"), "BENCHHOST_MAX_QUEUED": "5000"}
    with serving(state, "--only", "gsm8k", environ=environ) as running:
        client = make_client(running.url)
        client.server = running
        yield client


def rows(data, name):
    return [json.loads(line) for line in (data / "gsm8k" / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def problems(data):
    return rows(data, "test.jsonl")


@pytest.fixture(scope="module")
def solutions(data):
    """The published solutions of each model, in the order of the problems."""
    of_model = {model: [None] * 1319 for model in PUBLISHED}
    for row in rows(data, "model_solutions_6b.jsonl"):
        of_model[row["model"]][row["index"]] = row
    return of_model


@pytest.fixture(scope="module")
def graded(gsm8k, solutions):
    """The verdicts on all of them, of one batch for each model."""
    return {
        model: gsm8k.post(
            "/b/gsm8k/v1/evaluate-batch",
            {
                "run_id": model,
                "submissions": [{"task_id": task(row["index"]), "response": row["solution"]} for row in published],
            },
        )
        for model, published in solutions.items()
    }


def task(index):
    return f"test-{index:04}"


def test_all_problems_are_listed_and_no_answer_is_visible(gsm8k, problems):
    answer = gsm8k.get("/b/gsm8k/v1/datasets/default/tasks")
    assert answer.json["tasks"] == [
        {"id": task(index), "question": problem["question"], "timeout": None} for index, problem in enumerate(problems)
    ]
    for problem in problems:
        worked, _, final = problem["answer"].rpartition("\n")
        assert json.dumps(worked, ensure_ascii=False)[1:-1].encode() not in answer.body
        assert final.encode() not in answer.body  # "#### 18"


@pytest.mark.parametrize("model", PUBLISHED)
def test_every_published_solution_gets_the_authors_verdict(graded, solutions, model):
    assert graded[model].status == 200
    verdicts = graded[model].json["evaluations"]
    assert len(verdicts) == 1319
    for verdict, row in zip(verdicts, solutions[model], strict=True):
        assert verdict["status"] == "evaluated"
        assert verdict["task_id"] == task(row["index"])
        assert verdict["result"]["passed"] == row["is_correct"], row["solution"]
        assert verdict["result"]["score"] == float(row["is_correct"])
    assert sum(verdict["result"]["passed"] for verdict in verdicts) == PUBLISHED[model][0]


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_score_is_the_published_accuracy_with_its_interval(gsm8k, graded, model):
    verdicts = {verdict["task_id"]: verdict for verdict in graded[model].json["evaluations"]}
    answer = gsm8k.post("/b/gsm8k/v1/score", {"run_id": model, "evaluation_results": verdicts})
    assert answer.status == 200
    correct, percent = PUBLISHED[model]
    assert answer.json["final_score"] == pytest.approx(correct / 1319)
    assert round(100 * answer.json["final_score"], 2) == percent
    metadata = answer.json["metadata"]
    assert (metadata["given"], metadata["scored"], metadata["coverage"]) == (1319, 1319, 1.0)
    assert (metadata["judged"], metadata["passed"]) == (1319, correct)
    interval = metadata["interval"]
    assert interval["low"] < correct / 1319 < interval["high"]
    assert 0.03 < interval["high"] - interval["low"] < 0.06
    results = {task_id: verdict["result"] for task_id, verdict in verdicts.items()}
    bare = gsm8k.post("/b/gsm8k/final-score/", {"evaluation_results": results})
    assert bare.json["final_score"] == answer.json["final_score"]
    assert bare.json["metadata"] == metadata


def test_one_by_one_the_verdicts_are_the_same(gsm8k, graded, solutions):
    for model, published in solutions.items():
        verdicts = graded[model].json["evaluations"]
        for row in published[::66]:
            payload = {"type": "text", "schema": "text/plain", "data": row["solution"]}
            body = {"run_id": model, "task_id": task(row["index"]), "payload": payload}
            inside = gsm8k.post("/b/gsm8k/v1/evaluate", body)
            assert inside.json["result"] == verdicts[row["index"]]["result"]
            assert inside.headers["x-evaluation-id"] == verdicts[row["index"]]["evaluation_id"]
            body = {"task_id": task(row["index"]), "response": row["solution"]}
            outside = gsm8k.post("/b/gsm8k/evaluate-response/", body)
            assert outside.json == verdicts[row["index"]]["result"]


def test_a_slice_selects_and_grades_the_tasks_that_python_would(gsm8k, solutions):
    chosen = gsm8k.get("/b/gsm8k/verify-task-ids", slice="0:100:2").json["task_ids"]
    assert chosen == [task(index) for index in range(1319)][0:100:2]
    by_id = {task(row["index"]): row for row in solutions["6b_verification"]}
    submissions = [{"task_id": task_id, "response": by_id[task_id]["solution"]} for task_id in chosen]
    answer = gsm8k.post("/b/gsm8k/v1/evaluate-batch", {"run_id": "slice", "submissions": submissions})
    passed = [verdict["result"]["passed"] for verdict in answer.json["evaluations"]]
    assert passed == [row["is_correct"] for row in solutions["6b_verification"][0:100:2]]


def test_responses_of_every_manner_are_marked_as_a_careful_human_marks_them(gsm8k, data, problems):
    """The set has answers of its own, so each response is given to a problem with the same answer."""
    tasks = {}
    for index, problem in enumerate(problems):
        tasks.setdefault(problem["answer"].split("#### ")[1].replace(",", ""), task(index))
    extraction = [row for row in rows(data, "extraction_agreement.jsonl") if row["gold"].replace(",", "") in tasks]
    assert len(extraction) > 50
    submissions = [{"task_id": tasks[row["gold"].replace(",", "")], "response": row["response"]} for row in extraction]
    answer = gsm8k.post("/b/gsm8k/v1/evaluate-batch", {"run_id": "extraction", "submissions": submissions})
    for verdict, row in zip(answer.json["evaluations"], extraction, strict=True):
        assert verdict["result"]["passed"] == row["correct"], row["id"]


def test_nothing_went_wrong_meanwhile(gsm8k, graded):
    assert "error" not in {json.loads(line)["level"] for line in gsm8k.server.said().splitlines()}
