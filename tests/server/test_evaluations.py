"""A response in, a verdict out: by the route outside of runs, and by the one inside."""

from __future__ import annotations

import http.client
import json
import re
import time
import uuid
from urllib.parse import urlsplit

import pytest

ID = re.compile("[0-9a-f]{48}")
RIGHT = {"score": 1.0, "passed": True, "metrics": {"length": 1.0}, "feedback": "exactly right"}
WRONG = {"score": 0.0, "passed": False, "metrics": {"length": 1.0}, "feedback": None}
FAILING = ["raise", "nonsense", "not finite:nan", "not finite:inf", "metric not finite:-inf", "refuse", "half"]


@pytest.fixture
def run():
    """A run that nobody has used."""
    return uuid.uuid4().hex


@pytest.fixture
def evaluate(host, run):
    """Submit to ``/v1/evaluate`` in that run."""

    def submit(response, task="q1", *, run=run, **more):
        payload = {"type": "text", "schema": "text/plain", "data": response}
        return host.post("/b/q/v1/evaluate", {"run_id": run, "task_id": task, "payload": payload, **more})

    return submit


def respond(host, response, task="q1", **more):
    return host.post("/b/q/evaluate-response/", {"task_id": task, "response": response, **more})


@pytest.mark.parametrize("response, result", [("2", RIGHT), ("3", WRONG)])
def test_outside_of_a_run_the_answer_is_the_bare_result(host, response, result):
    answer = respond(host, response)
    assert (answer.status, answer.json) == (200, result)
    assert ID.fullmatch(answer.headers["x-evaluation-id"])


def test_inside_a_run_the_answer_is_a_verdict(evaluate, run):
    answer = evaluate("2")
    assert answer.status == 200
    assert ID.fullmatch(answer.headers["x-evaluation-id"])
    assert answer.json == {
        "run_id": run,
        "task_id": "q1",
        "status": "evaluated",
        "evaluator_version": "3",
        "result": RIGHT,
        "errors": [],
    }


def test_a_payload_may_name_its_schema_in_either_way_and_be_empty(host):
    for schema in ({"schema": ""}, {"schema_id": ""}):
        body = {"run_id": "", "task_id": "q1", "payload": {"type": "text", "data": "", **schema}}
        answer = host.post("/b/q/v1/evaluate", {**body, "versions": {"runner": "1.0"}})
        assert (answer.status, answer.json["status"]) == (200, "evaluated")


@pytest.mark.parametrize("response", ["ü" * 1000, "\u0000", "\u2028", '"\\', "😀"])
def test_a_response_reaches_the_hook_as_it_was_sent(host, response):
    assert respond(host, response).json["metrics"] == {"length": len(response)}


def test_an_artifact_is_not_accepted(host):
    payload = {"type": "artifact", "schema": "zip", "data": "key"}
    answer = host.post("/b/q/v1/evaluate", {"run_id": "r", "task_id": "q1", "payload": payload})
    assert (answer.status, answer.detail) == (400, "This benchmark does not accept artifact submissions.")


def test_an_unknown_task_is_400_outside_and_404_inside_of_a_run(host, evaluate):
    outside, inside = respond(host, "2", task="nope"), evaluate("2", task="nope")
    assert (outside.status, outside.detail) == (400, "Task ID not found: nope")
    assert (inside.status, inside.detail) == (404, "Task not found: nope")


def test_an_unknown_dataset_is_400_by_both_routes(host, evaluate):
    for answer in (respond(host, "2", dataset="nope"), evaluate("2", dataset="nope")):
        assert answer.status == 400
        assert answer.detail == "Dataset 'nope' not found. Available datasets: default, odd names, empty"


def test_a_task_is_looked_for_in_the_dataset_that_is_named(host, evaluate):
    assert respond(host, "hidden", task="ü", dataset="odd names").json["score"] == 1.0
    assert evaluate("hidden", task="a/b", dataset="odd names").json["result"]["score"] == 1.0
    assert respond(host, "2", dataset="odd names").status == 400


def test_a_benchmark_that_judges_no_text_says_so(host):
    answer = host.post("/b/boxes/evaluate-response", {"task_id": "image", "response": ""})
    assert (answer.status, answer.detail) == (501, "The benchmark boxes does not implement evaluate_response.")


def test_a_stream_is_folded_to_its_result(evaluate):
    assert evaluate("stream").json["result"]["score"] == 0.5


@pytest.mark.parametrize("failure", FAILING)
def test_inside_a_run_a_failing_hook_is_an_answer_with_the_id_to_look_up(host, server, evaluate, failure):
    answer = evaluate(failure)
    assert answer.status == 200
    verdict = answer.json
    assert (verdict["status"], verdict["result"]) == ("error", None)
    evaluation = answer.headers["x-evaluation-id"]
    [error] = verdict["errors"]
    assert f"Quote evaluation {evaluation} to the operator" in error
    for leak in (b"Traceback", b"hidden", b".py", b"answer"):
        assert leak not in answer.body
    assert evaluation in server.said()


@pytest.mark.parametrize("failure", FAILING)
def test_outside_of_a_run_a_failing_hook_is_an_internal_error_with_the_id_to_look_up(host, server, failure):
    answer = respond(host, failure)
    assert (answer.status, answer.detail) == (500, "Internal server error")
    for leak in (b"Traceback", b"hidden", b".py", b"answer"):
        assert leak not in answer.body
    assert answer.json["evaluation_id"] in server.said()
    recorded = host.get(f"/b/q/v1/evaluations/{answer.json['evaluation_id']}").json
    assert (recorded["status"], recorded["result"]) == ("error", None)


def test_what_a_benchmark_says_to_the_submitter_reaches_the_submitter(host, evaluate):
    assert evaluate("decline:the jürÿ is out").json["errors"] == ["the jürÿ is out"]
    answer = respond(host, "decline:the jürÿ is out")
    assert (answer.status, answer.detail) == (500, "the jürÿ is out")


def test_the_same_request_is_the_same_evaluation(evaluate):
    first, again = evaluate("2"), evaluate("2")
    assert first.headers["x-evaluation-id"] == again.headers["x-evaluation-id"]
    assert first.body == again.body


def test_another_run_task_or_response_is_another_evaluation(evaluate, run):
    answers = [evaluate("2"), evaluate("2", run=f"{run}'"), evaluate("2", task="q2"), evaluate("2 ")]
    assert len({answer.headers["x-evaluation-id"] for answer in answers}) == 4


def test_a_finished_evaluation_can_be_looked_up(host, evaluate, run):
    before = time.time()
    evaluation = evaluate("2").headers["x-evaluation-id"]
    answer = host.get(f"/b/q/v1/evaluations/{evaluation}")
    assert answer.status == 200
    found = answer.json
    assert before - 1 < found.pop("started_at") <= found.pop("finished_at") < time.time() + 1
    assert len(found.pop("dataset_fingerprint")) == 64
    assert found == {
        "evaluation_id": evaluation,
        "benchmark": "q",
        "dataset": "default",
        "dataset_version": None,
        "run_id": run,
        "task_id": "q1",
        "status": "evaluated",
        "evaluator_version": "3",
        "attempt": 1,
        "result": RIGHT,
        "errors": [],
    }


def test_a_failed_evaluation_can_be_looked_up_and_is_tried_again(host, evaluate):
    evaluation = evaluate("raise").headers["x-evaluation-id"]
    assert evaluate("raise").headers["x-evaluation-id"] == evaluation
    found = host.get(f"/b/q/v1/evaluations/{evaluation}").json
    assert (found["status"], found["attempt"], found["result"]) == ("error", 2, None)
    [error] = found["errors"]
    assert evaluation in error


def test_a_running_evaluation_can_be_looked_up_and_is_finished_though_the_caller_hung_up(host, evaluate, run):
    response = f"fail once, then sleep:1 {run}"
    evaluation = evaluate(response).headers["x-evaluation-id"]
    path = f"/b/q/v1/evaluations/{evaluation}"
    assert host.get(path).json["status"] == "error"
    hang_up_on(host, {"run_id": run, "task_id": "q1", "payload": {"type": "text", "schema": "", "data": response}})
    running = until(lambda: host.get(path).json, lambda found: found["status"] == "running")
    assert (running["attempt"], running["result"], running["errors"], running["finished_at"]) == (2, None, [], None)
    finished = until(lambda: host.get(path).json, lambda found: found["status"] != "running")
    assert (finished["status"], finished["result"]["score"]) == ("evaluated", 0.0)


def hang_up_on(host, body):
    """Send a request and do not wait for the answer."""
    connection = http.client.HTTPConnection(urlsplit(host.url).netloc)
    connection.request("POST", "/b/q/v1/evaluate", json.dumps(body), {"content-type": "application/json"})
    time.sleep(0.2)
    connection.close()


def until(look, is_so):
    """Look until something is so; it must be within ten seconds."""
    end = time.monotonic() + 10
    while not is_so(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("evaluation", ["0" * 32, "nope", "%00", "'; --"])
def test_an_unknown_evaluation_is_not_found(host, evaluation):
    answer = host.get(f"/b/q/v1/evaluations/{evaluation.replace(' ', '%20')}")
    assert (answer.status, answer.detail) == (404, "No such evaluation is recorded for this benchmark.")


def test_an_evaluation_of_another_benchmark_is_not_found(host, evaluate):
    evaluation = evaluate("2").headers["x-evaluation-id"]
    assert host.get(f"/b/scored/v1/evaluations/{evaluation}").status == 404
