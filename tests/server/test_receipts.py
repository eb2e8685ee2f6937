"""What is submitted to a host, and what it runs, is sealed by what it has recorded itself."""

from __future__ import annotations

import hashlib
import json

import pytest

from benchhost.receipts import PublicKey, verify


@pytest.fixture(scope="module")
def key(host):
    told = host.get("/v1/receipts/key").json
    assert told["algorithm"] == "Ed25519"
    return PublicKey.of_pem(told["pem"].encode())


def submit(host, run, task, response):
    payload = {"type": "text", "schema": "", "data": response}
    return host.post("/b/q/v1/evaluate", {"run_id": run, "task_id": task, "payload": payload})


def seal(host, run, **more):
    return host.post("/b/q/v1/receipts", {"run_id": run, **more})


def test_what_was_submitted_is_sealed(host, key):
    right, wrong = submit(host, "sealed", "q3", "6"), submit(host, "sealed", "q1", "3")
    answer = seal(host, "sealed")
    assert answer.status == 200
    assert verify(answer.body, key).ok
    said = answer.json["statement"]
    assert (said["kind"], said["run_id"], said["benchmark"], said["dataset"]) == ("score", "sealed", "q", "default")
    assert (said["tasks"], said["given"], said["scored"], said["responses"]) == (10, 2, 2, 2)
    assert (said["score"], said["coverage"], said["evaluator_version"]) == (0.5, 0.2, "3")
    entries = {each["task"]: each for each in answer.json["entries"]}
    assert list(entries) == ["q1", "q3"]
    for task, judged, response in (("q3", right, "6"), ("q1", wrong, "3")):
        result = json.dumps(judged.json["result"], separators=(",", ":")).encode()
        assert entries[task]["result"] == hashlib.sha256(result).hexdigest()
        assert entries[task]["response"] == hashlib.sha256(response.encode()).hexdigest()


def test_of_several_responses_to_a_task_the_first_counts_and_all_are_told(host, key):
    for response in ("1", "2", "3", "4"):
        submit(host, "tried", "q2", response)
    submit(host, "tried", "q2", "1")  # which was judged before
    answer = seal(host, "tried")
    assert verify(answer.body, key).ok
    [entry] = answer.json["entries"]
    assert (entry["score"], entry["responses"]) == (0.0, 4)
    assert (answer.json["statement"]["score"], answer.json["statement"]["responses"]) == (0.0, 4)


def test_what_could_not_be_judged_is_sealed_as_such(host, key):
    submit(host, "failing", "q4", "raise:")
    submit(host, "failing", "q5", "10")
    answer = seal(host, "failing")
    assert verify(answer.body, key).ok
    first, second = answer.json["entries"]
    assert (first["task"], first["status"], first["score"], first["result"]) == ("q4", "error", None, None)
    assert (second["status"], second["score"]) == ("evaluated", 1.0)
    assert answer.json["statement"]["scored"] == 1
    assert b"hidden" not in answer.body


def test_without_entries_no_task_is_named(host, key):
    submit(host, "short", "q7", "14")
    answer = seal(host, "short", entries=False)
    assert verify(answer.body, key).ok
    assert answer.json["entries"] is None
    assert answer.json["statement"]["results"] == 1


@pytest.mark.parametrize("body", [{"run_id": "nothing"}, {"run_id": "sealed", "dataset": "empty"}])
def test_nothing_is_sealed_where_nothing_was_submitted(host, body):
    answer = host.post("/b/q/v1/receipts", body)
    assert (answer.status, answer.json["type"]) == (404, "urn:benchhost:problem:unknown-run")


@pytest.mark.parametrize("body", [{"run_id": ""}, {}, {"run_id": "sealed", "tenant": "another"}])
def test_a_request_that_is_not_as_it_should_be_is_refused(host, body):
    assert host.post("/b/q/v1/receipts", body).status == 422
