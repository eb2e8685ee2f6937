"""Results in, a score out: by both routes alike."""

from __future__ import annotations

import math

import pytest

PLAIN = {"type": "Result", "score": 1.0, "passed": None, "metrics": {}, "feedback": None, "private": None}


def final_score(host, results, benchmark="scored", **more):
    return host.post(f"/b/{benchmark}/final-score/", {"evaluation_results": results, **more})


def score(host, verdicts, benchmark="scored", **more):
    return host.post(f"/b/{benchmark}/v1/score", {"run_id": "r", "evaluation_results": verdicts, **more})


def test_the_default_score_is_the_mean_with_its_interval_and_coverage(host):
    answer = final_score(host, {"q3": {"score": 1.0}, "q1": {"score": 0.0}, "q2": None}, "q")
    assert answer.status == 200
    assert answer.json["tasks_evaluated"] == ["q3", "q1", "q2"]
    metadata = answer.json["metadata"]
    assert (metadata["given"], metadata["scored"]) == (3, 2)
    assert metadata["coverage"] == pytest.approx(2 / 3)
    assert metadata["missing_as_zero"] == pytest.approx(1 / 3)
    assert metadata["missing_left_out"] == pytest.approx(0.5)


def test_nothing_to_score_is_no_error(host):
    for benchmark in ("q", "scored"):
        answer = final_score(host, {}, benchmark)
        assert (answer.status, answer.json["tasks_evaluated"], answer.json["final_score"]) == (200, [], 0.0)
        answer = score(host, {}, benchmark)
        assert (answer.status, answer.json["tasks_evaluated"], answer.json["run_id"]) == (200, [], "r")


def test_what_an_evaluation_answers_can_be_scored_as_it_is(host):
    result = host.post("/b/q/evaluate-response", {"task_id": "q1", "response": "2"}).json
    payload = {"type": "text", "schema": "", "data": "2"}
    verdict = host.post("/b/q/v1/evaluate", {"run_id": "r", "task_id": "q1", "payload": payload}).json
    answers = [
        final_score(host, {"q1": result}, "q").json,
        final_score(host, {"q1": verdict}, "q").json,
        score(host, {"q1": verdict}, "q").json,
    ]
    assert [answer["final_score"] for answer in answers] == [1.0, 1.0, 1.0]
    assert answers[0]["metadata"] == answers[1]["metadata"] == answers[2]["metadata"]


GIVEN = {
    "bare": ({"score": 1}, {"status": "evaluated", "result": {"score": 1}}, PLAIN),
    "whole": (
        {"score": 0.5, "passed": False, "metrics": {"m": 2}, "feedback": "f"},
        {"status": "evaluated", "result": {"score": 0.5, "passed": False, "metrics": {"m": 2}, "feedback": "f"}},
        {**PLAIN, "score": 0.5, "passed": False, "metrics": {"m": 2.0}, "feedback": "f"},
    ),
    "with more keys": (
        {"score": 1, "resolved": True, "private": {"forged": 1}},
        {"status": "evaluated", "result": {"score": 1, "resolved": True, "private": "forged"}, "task_id": "t0"},
        PLAIN,
    ),
    "an envelope of create-benchmark-runner": (
        {"task_id": "t0", "status": "evaluated", "result": {"score": 1}, "error": None},
        {"status": "evaluated", "result": {"score": 1}, "errors": []},
        PLAIN,
    ),
    "not completed": (
        {"task_id": "t0", "status": "did_not_complete", "result": None, "error": "timed out"},
        {"status": "did_not_complete", "errors": ["timed out"]},
        None,
    ),
    "not generated": ({"status": "generation_error"}, {"status": "generation_error", "result": None}, None),
    "an error with a result": (
        {"status": "error", "result": {"score": 1}},
        {"status": "error", "result": {"score": 1}, "errors": ["lost"]},
        None,
    ),
    "evaluated without a result": ({"status": "evaluated", "result": None}, {"status": "evaluated"}, None),
    "null": (None, None, None),
}


@pytest.mark.parametrize("case", GIVEN)
def test_the_hook_is_given_one_shape_whichever_route_and_envelope(host, case):
    bare, verdict, seen = GIVEN[case]
    by_final_score, by_score = final_score(host, {"t0": bare}), score(host, {"t0": verdict})
    assert (by_final_score.status, by_score.status) == (200, 200)
    assert by_final_score.json["metadata"] == {"given": {"t0": seen}, "dataset": "default"}
    assert by_score.json == {"run_id": "r", **by_final_score.json}


def test_a_score_may_be_called_for_by_name_of_the_dataset_and_must_be_of_it(host):
    for ask in (final_score, score):
        assert ask(host, {}, "q", dataset="odd names").status == 200
        answer = ask(host, {"q1": None}, "q", dataset="odd names")
        assert (answer.status, answer.detail) == (400, "Task ID not found: q1")
        answer = ask(host, {}, "q", dataset="nope")
        assert answer.status == 400
        assert answer.detail == "Dataset 'nope' not found. Available datasets: default, odd names, empty"


def test_an_unknown_task_is_refused_even_without_a_result(host):
    for ask in (final_score, score):
        answer = ask(host, {"t0": None, "nope": None})
        assert (answer.status, answer.detail) == (400, "Task ID not found: nope")


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "true", '"1"', "null", "[1]"]
)
@pytest.mark.parametrize("field", ['"score":NUMBER', '"score":1,"metrics":{"m":NUMBER}'])
def test_what_is_no_finite_number_never_reaches_a_score(host, number, field):
    result = "{" + field.replace("NUMBER", number) + "}"
    for path, body in (
        ("final-score", '{"evaluation_results":{"t0":RESULT}}'),
        ("v1/score", '{"run_id":"r","evaluation_results":{"t0":{"status":"evaluated","result":RESULT}}}'),
    ):
        answer = host.post(f"/b/scored/{path}", body.replace("RESULT", result).encode())
        assert answer.status == 422
        assert answer.detail[0]["loc"][0] == "body"


def test_the_largest_numbers_have_a_finite_mean(host):
    answer = final_score(host, {f"q{n}": {"score": 1.7e308} for n in range(10)}, "q")
    assert answer.status == 200
    assert math.isfinite(answer.json["final_score"])


@pytest.mark.parametrize("feedback", ["raise", "refuse", "nonsense", "not finite"])
def test_a_scoring_hook_that_fails_is_an_internal_error(host, server, feedback):
    result = {"score": 1.0, "feedback": feedback}
    for answer in (
        final_score(host, {"t3": result}),
        score(host, {"t3": {"status": "evaluated", "result": result}}),
    ):
        assert (answer.status, answer.detail) == (500, "Internal server error")
        assert b"hidden" not in answer.body
        assert answer.json["error_id"] in server.said()


def test_what_json_cannot_say_is_null_in_the_metadata(host):
    answer = final_score(host, {"t3": {"score": 1.0, "feedback": "metadata"}})
    assert (answer.status, answer.json["metadata"]) == (200, {"not a number": None, "infinite": None})
