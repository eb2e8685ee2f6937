"""Many responses in one call."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from benchhost.server.bodies import DISCARD_FOR
from benchhost.testing import serving

PATH = "/b/q/v1/evaluate-batch"
LINES = {"accept": "application/jsonl"}


@pytest.fixture
def batch(host):
    """Submit ``(task, response)`` pairs in a run that nobody has used."""
    run = uuid.uuid4().hex

    def submit(*pairs, headers=None):
        submissions = [{"task_id": task, "response": response} for task, response in pairs]
        return host.post(PATH, {"run_id": run, "submissions": submissions}, headers)

    submit.run = run
    return submit


def lines(answer):
    assert answer.headers["content-type"] == "application/jsonl"
    assert not answer.body or answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_verdicts_are_in_the_order_of_the_submissions(batch):
    answer = batch(("q3", "6"), ("q1", "sleep:0.2"), ("q2", "4"), ("q3", "7"))
    assert answer.status == 200
    assert answer.json["run_id"] == batch.run
    verdicts = answer.json["evaluations"]
    assert [verdict["index"] for verdict in verdicts] == [0, 1, 2, 3]
    assert [verdict["task_id"] for verdict in verdicts] == ["q3", "q1", "q2", "q3"]
    assert [verdict["result"]["score"] for verdict in verdicts] == [1.0, 0.0, 1.0, 0.0]
    assert {verdict["evaluator_version"] for verdict in verdicts} == {"3"}


def test_a_verdict_is_the_one_that_a_single_request_gets(host, batch):
    [verdict] = batch(("q1", "2")).json["evaluations"]
    payload = {"type": "text", "schema": "", "data": "2"}
    single = host.post("/b/q/v1/evaluate", {"run_id": batch.run, "task_id": "q1", "payload": payload})
    assert verdict["evaluation_id"] == single.headers["x-evaluation-id"]
    assert {name: verdict[name] for name in ("status", "result", "errors")} == {
        name: single.json[name] for name in ("status", "result", "errors")
    }


def test_one_failure_is_the_verdict_of_its_own_response_and_of_no_other(batch):
    fine, failed, declined = batch(("q1", "2"), ("q1", "raise"), ("q1", "decline:why not")).json["evaluations"]
    assert (fine["status"], fine["result"]["score"]) == ("evaluated", 1.0)
    assert (failed["status"], failed["result"]) == ("error", None)
    assert failed["evaluation_id"] in failed["errors"][0]
    assert (declined["status"], declined["errors"]) == ("error", ["why not"])


@pytest.mark.parametrize("media_type", ["Application/JSONL", "application/x-ndjson", "text/html, application/ndjson"])
def test_lines_are_asked_for_by_the_accept_header(batch, media_type):
    verdicts = lines(batch(("q1", "2"), ("q2", "3"), headers={"accept": media_type}))
    assert sorted(verdict["index"] for verdict in verdicts) == [0, 1]
    assert {verdict["index"]: verdict["result"]["score"] for verdict in verdicts} == {0: 1.0, 1: 0.0}


def test_lines_come_as_they_finish(host, batch):
    submissions = [("q1", "sleep:1.5"), *((f"q{n}", "4") for n in range(10)), ("q2", "sleep:0.5")]
    body = {
        "run_id": batch.run,
        "submissions": [{"task_id": task, "response": response} for task, response in submissions],
    }
    started = time.monotonic()
    headers = {"content-type": "application/json", **LINES}
    with host.open("POST", PATH, json.dumps(body).encode(), headers) as response:
        came = [(json.loads(line)["index"], time.monotonic() - started) for line in response]
    indices = [index for index, _ in came]
    assert indices[-2:] == [11, 0]
    assert sorted(indices) == list(range(12))
    at = dict(came)
    assert at[1] < 0.4 < at[11] < 1.4 < at[0]


def test_a_response_that_is_in_a_batch_twice_is_judged_once_and_answered_twice(batch):
    for answer in (batch(("q1", "2"), ("q2", "4"), ("q1", "2")), batch(("q1", "2"), ("q1", "2"), headers=LINES)):
        verdicts = answer.json["evaluations"] if answer.headers["content-type"] == "application/json" else lines(answer)
        same = [verdict for verdict in verdicts if verdict["task_id"] == "q1"]
        assert len(same) == 2
        assert same[0]["evaluation_id"] == same[1]["evaluation_id"]


def test_a_batch_that_is_sent_again_is_answered_by_the_same_evaluations(batch):
    pairs = [(f"q{n}", "4") for n in range(10)]
    first, again = batch(*pairs).json, batch(*pairs).json
    assert first == again


def test_a_batch_that_overlaps_another_is_answered_whole(batch):
    batch(("q1", "2"), ("q2", "4"))
    verdicts = batch(("q3", "6"), ("q2", "4"), ("q4", "8"), ("q1", "2")).json["evaluations"]
    assert [verdict["index"] for verdict in verdicts] == [0, 1, 2, 3]
    assert [verdict["result"]["score"] for verdict in verdicts] == [1.0] * 4


def test_an_unknown_task_refuses_the_batch_and_says_where_it_stands(batch):
    for headers in ({}, LINES):
        answer = batch(("q1", "2"), ("nope", "2"), headers=headers)
        assert (answer.status, answer.detail) == (404, "Task not found: nope (submission 1)")


def test_an_empty_batch_has_an_empty_answer(batch):
    answer = batch()
    assert (answer.status, answer.json) == (200, {"run_id": batch.run, "evaluations": []})
    assert lines(batch(headers=LINES)) == []


def test_a_batch_need_not_belong_to_a_run(host):
    answer = host.post(PATH, {"submissions": [{"task_id": "q1", "response": "2"}]})
    outside = host.post("/b/q/evaluate-response", {"task_id": "q1", "response": "2"})
    [verdict] = answer.json["evaluations"]
    assert answer.json["run_id"] == ""
    assert verdict["evaluation_id"] == outside.headers["x-evaluation-id"]


def test_many_responses_are_one_call(batch):
    pairs = [(f"q{n % 10}", str(n)) for n in range(900)]
    verdicts = batch(*pairs).json["evaluations"]
    assert [verdict["result"]["passed"] for verdict in verdicts] == [n == 2 * (n % 10) for n in range(900)]


@pytest.fixture(scope="module")
def small(tmp_path_factory, plugins, make_client):
    """A server that runs two evaluations of a benchmark at once and lets three wait."""
    flags = ("--only", "q", "--max-running", "2", "--max-queued", "3")
    with serving(tmp_path_factory.mktemp("small"), *flags, plugins=[plugins]) as running:
        yield make_client(running.url)


def test_a_batch_that_could_never_be_taken_is_too_large(small):
    body = {"submissions": [{"task_id": "q1", "response": str(n)} for n in range(6)]}
    for headers in ({}, LINES):
        answer = small.post(PATH, body, headers)
        assert (answer.status, answer.detail) == (413, "The benchmark q takes at most 5 at once.")


def test_a_batch_over_the_limit_is_refused_as_a_whole_and_told_when_to_come_back(small):
    responses = ["2", "sleep:3 a", "sleep:3 b"]
    slow = {"run_id": "busy", "submissions": [{"task_id": "q1", "response": each} for each in responses]}
    body = {"submissions": [{"task_id": "q1", "response": f"never seen before {n}"} for n in range(4)]}
    headers = {"content-type": "application/json", **LINES}
    with small.open("POST", PATH, json.dumps(slow).encode(), headers) as running:
        for headers in ({}, LINES):
            asked = time.monotonic()
            answer = small.post(PATH, body, headers)
            assert time.monotonic() - asked < DISCARD_FOR, "it waited for more of a body that it had read"
            assert answer.status == 429
            assert answer.detail == "The benchmark q has 3 evaluations running or waiting; retry later."
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert len(running.read().splitlines()) == 3
    assert small.post(PATH, body).status == 200


def test_a_batch_within_the_limit_is_judged(small):
    body = {"submissions": [{"task_id": "q1", "response": str(n)} for n in range(5)]}
    assert small.post(PATH, body).status == 200


def test_a_response_that_is_in_a_batch_many_times_counts_once(small):
    body = {"submissions": [{"task_id": "q1", "response": "2"}] * 20}
    assert small.post(PATH, body).status == 200
