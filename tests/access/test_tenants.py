"""What tenants see of a host with two workers, of each other, and what an operator changes while it runs."""

from __future__ import annotations

import time

import pytest

from benchhost.access import new_key

DEADLINE = 20.0
"""Seconds that a test waits for what takes one on a machine that has nothing else to do."""

MANY = 12
"""So many connections come to both workers."""


@pytest.fixture
def tries(host, ask):
    """Ask for the ids of a dataset on many connections; return every status that came."""

    def tries(headers, dataset="default", benchmark="my-bench"):
        path = f"/b/{benchmark}/verify-task-ids?dataset={dataset}"
        return {ask(host.url, "GET", path, None, headers).status for _ in range(MANY)}

    return tries


@pytest.fixture
def soon(tries):
    """Wait until every worker answers so."""

    def soon(status, headers, dataset="default"):
        end = time.monotonic() + DEADLINE
        while (came := tries(headers, dataset)) != {status}:
            assert time.monotonic() < end, came

    return soon


@pytest.fixture
def evaluate(host, ask):
    """Have a response judged."""

    def evaluate(headers, response="4", run="r", dataset="default"):
        payload = {"type": "text", "schema": "", "data": response}
        body = {"run_id": run, "task_id": "q0", "dataset": dataset, "payload": payload}
        return ask(host.url, "POST", "/b/my-bench/v1/evaluate", body, headers)

    return evaluate


def test_a_new_key_is_good_at_once_at_every_worker(operator, tries):
    assert tries(operator.key("prompt", "my-bench/default")) == {200}


def test_a_grant_counts_at_every_worker_without_a_restart_and_so_does_its_end(operator, tries, soon):
    headers = operator.key("changing", "my-bench/default")
    whole = operator.key("changing")
    assert tries(whole, "test") == {403}
    operator("grant", "changing", "my-bench/test")
    soon(200, whole, "test")
    assert tries(headers, "test") == {403}  # it is for the other dataset alone
    operator("revoke", "changing", "my-bench/test", "my-bench/default")
    soon(401, whole)  # a tenant who was granted nothing is nobody
    assert tries(headers) == {401}


def test_a_revoked_key_is_refused_at_every_worker_and_the_others_are_not(operator, tries, soon):
    first, second = operator.key("two-keys", "my-bench/default"), operator.key("two-keys")
    assert tries(first) == tries(second) == {200}
    key_id = operator("keys", "list", "--tenant", "two-keys").split()[0]
    operator("keys", "revoke", key_id)
    soon(401, first)
    assert tries(second) == {200}


def test_a_revoked_tenant_is_let_in_again_with_a_new_key_alone(operator, tries, soon):
    old = operator.key("returning", "my-bench/default")
    operator("revoke", "returning")
    soon(401, old)
    new = operator.key("returning", "my-bench/default")
    assert tries(new) == {200}
    assert tries(old) == {401}


def test_a_key_ends_when_it_says(operator, tries, soon):
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 4))
    key = operator("keys", "create", "--tenant", "ending", "--datasets", "my-bench/default", "--expires", at)
    headers = {"authorization": f"Bearer {key}"}
    assert 200 in tries(headers)
    soon(401, headers)


def test_a_key_is_shown_in_either_header_and_once(operator, tries, host, callers):
    key = callers["tenant"]["authorization"].removeprefix("Bearer ")
    assert tries({"x-descope-api-key": key}) == {200}
    assert tries({"x-descope-api-key": f"Bearer {key}"}) == {401}
    assert tries({"authorization": key}) == {401}
    assert tries({"x-descope-api-key": "wrong", "authorization": f"Bearer {key}"}) == {200}
    assert tries({"x-descope-api-key": new_key().key, "authorization": f"Bearer {key}"}) == {401}


def test_a_dataset_that_was_not_granted_is_answered_alike_whether_it_exists_or_not(tries, host, ask, callers):
    answers = {
        ask(host.url, "GET", f"/b/my-bench/verify-task-ids?dataset={name}", None, callers["tenant"]).body
        for name in ("validation", "there-is-none", "my-bench/default", "*")
    }
    assert len(answers) == 1
    body = {"evaluation_results": {}, "dataset": "validation"}
    first = ask(host.url, "POST", "/b/my-bench/final-score", body, callers["tenant"])
    second = ask(host.url, "POST", "/b/my-bench/final-score", body | {"dataset": "none"}, callers["tenant"])
    assert first.body == second.body in answers


@pytest.mark.parametrize("dataset", ["", "default"])
def test_no_dataset_means_the_default_one_which_must_be_granted_too(tries, callers, dataset):
    assert tries(callers["tenant"], dataset) == {200}
    assert tries(callers["another"], dataset) == {403}


def test_the_shape_of_a_request_is_looked_at_before_the_dataset(host, ask, callers):
    body = {"run_id": "r", "task_id": 7, "dataset": "validation"}
    for path in ("evaluate-response", "final-score", "v1/evaluate", "v1/score", "v1/evaluate-batch"):
        for caller in ("tenant", "another", "api key"):
            assert ask(host.url, "POST", f"/b/my-bench/{path}", body, callers[caller]).status == 422


@pytest.mark.parametrize("first, second, status", [("validation", "default", 200), ("default", "validation", 403)])
def test_of_a_dataset_that_is_named_twice_the_one_that_is_looked_at_is_the_one_that_is_used(
    host, callers, ask, first, second, status
):
    body = f'{{"dataset": "{first}", "evaluation_results": {{"q0": {{"score": 1}}}}, "dataset": "{second}"}}'.encode()
    assert ask(host.url, "POST", "/b/my-bench/final-score", body, callers["tenant"]).status == status


def test_what_may_not_be_used_is_not_told_of(host, ask, callers, operator):
    def told(headers):
        index = ask(host.url, "GET", "/", None, headers).json["benchmarks"]
        listed = ask(host.url, "GET", "/v1/plugins", None, headers).json["plugins"]
        paths = ask(host.url, "GET", "/openapi.json", None, headers).json["paths"]
        named = {path.split("/")[2] for path in paths if path.startswith("/b/")}
        assert set(index) == named == {plugin["name"] for plugin in listed}
        return {plugin["name"]: sorted(plugin["datasets"]) for plugin in listed}

    everything = ["default", "test", "validation"]
    assert told(callers["tenant"]) == {"my-bench": ["default"]}
    assert told(callers["another"]) == {"my-bench": ["validation"]}
    assert told(callers["api key"]) == {"my-bench": everything, "another": everything}
    assert told(operator.key("stars", "another/*", "*/test")) == {"my-bench": ["test"], "another": everything}


def test_an_unknown_dataset_is_told_apart_by_who_may_use_all_and_it_names_what_may_be_used(operator, host, ask):
    whole = operator.key("whole", "my-bench/*")
    answer = ask(host.url, "GET", "/b/my-bench/verify-task-ids?dataset=none", None, whole)
    assert answer.status == 400
    assert answer.detail == "Dataset 'none' not found. Available datasets: default, validation, test"


def test_the_same_evaluation_of_two_tenants_is_two_and_each_finds_its_own_alone(operator, host, ask, evaluate):
    both = [operator.key(name, "my-bench/default") for name in ("first", "second")]
    ids = [evaluate(headers).headers["x-evaluation-id"] for headers in both]
    assert ids[0] != ids[1]
    assert evaluate(both[0]).headers["x-evaluation-id"] == ids[0]
    for mine, headers in zip(ids, both, strict=True):
        for each in ids:
            found = ask(host.url, "GET", f"/b/my-bench/v1/evaluations/{each}", None, headers)
            assert found.status == (200 if each == mine else 404)


def test_an_evaluation_of_a_dataset_that_was_taken_away_is_shown_no_more(operator, host, ask, evaluate, soon):
    headers = operator.key("losing", "my-bench/default", "my-bench/test")
    found = evaluate(headers, dataset="test").headers["x-evaluation-id"]
    operator("revoke", "losing", "my-bench/test")
    soon(403, headers, "test")
    assert ask(host.url, "GET", f"/b/my-bench/v1/evaluations/{found}", None, headers).status == 403


def test_a_tenant_lists_its_own_runs_alone(operator, host, ask):
    both = [operator.key(name, "my-bench/default") for name in ("third", "fourth")]
    body = {"model": "scripted/echo", "limit": 1}
    ids = [ask(host.url, "POST", "/b/my-bench/v1/runs", body, headers).json["run_id"] for headers in both]
    for mine, headers in zip(ids, both, strict=True):
        listed = ask(host.url, "GET", "/b/my-bench/v1/runs", None, headers).json["runs"]
        assert [run["run_id"] for run in listed] == [mine]


def test_on_trial_the_score_of_an_evaluation_is_shown_and_nothing_else(evaluate, callers):
    whole, trial = (evaluate(callers[name]).json for name in ("tenant", "trial"))
    assert whole["result"] == {"score": 1.0, "passed": True, "metrics": {"length": 1.0}, "feedback": "look at page 7"}
    assert trial["result"] == {"score": 1.0, "passed": True, "metrics": {}, "feedback": None}
    assert (whole["evaluator_version"], trial["evaluator_version"]) == ("3", None)
    assert {name: trial[name] for name in ("run_id", "task_id", "status", "errors")} == {
        "run_id": "r",
        "task_id": "q0",
        "status": "evaluated",
        "errors": [],
    }


def test_on_trial_an_error_is_one_word(evaluate, callers):
    answer = evaluate(callers["trial"], response="raise", run="errors").json
    assert (answer["status"], answer["result"], answer["errors"]) == ("error", None, ["error"])


def test_on_trial_a_score_has_no_metadata_and_a_task_no_more_than_its_question(host, ask, callers):
    results = {"q0": {"status": "evaluated", "result": {"score": 1.0}}, "q1": None}
    body = {"run_id": "r", "evaluation_results": results}
    scored = ask(host.url, "POST", "/b/my-bench/v1/score", body, callers["trial"]).json
    score = scored.pop("final_score")
    assert scored == {"run_id": "r", "tasks_evaluated": ["q0", "q1"], "metadata": {}}
    assert score == ask(host.url, "POST", "/b/my-bench/v1/score", body, callers["tenant"]).json["final_score"]
    listed = ask(host.url, "GET", "/b/my-bench/v1/datasets/default/tasks", None, callers["trial"]).json
    assert listed["dataset"] == "default"
    assert all(set(task) == {"id", "question", "timeout"} for task in listed["tasks"])
    whole = ask(host.url, "GET", "/b/my-bench/v1/datasets/default/tasks", None, callers["tenant"]).json
    assert all("subject" in task for task in whole["tasks"])
    assert whole["dataset_version"] == listed["dataset_version"]


def test_a_trial_that_has_ended_shows_everything(operator, evaluate, soon):
    headers = operator.key("graduate", "my-bench/default")
    operator("grant", "graduate", "--trial")
    soon(403, headers)
    assert evaluate(headers).json["evaluator_version"] is None
    operator("grant", "graduate", "--no-trial")
    soon(200, headers)
    assert evaluate(headers).json["evaluator_version"] == "3"


def test_when_a_key_was_used_is_told_within_some_seconds(operator, tries):
    headers = operator.key("used", "my-bench/default")
    assert "last used never" in operator("keys", "list", "--tenant", "used")
    assert tries(headers) == {200}
    end = time.monotonic() + DEADLINE
    while "last used never" in operator("keys", "list", "--tenant", "used"):
        assert time.monotonic() < end


def test_no_credential_is_logged_or_repeated(host, ask, callers, operator):
    for headers in callers.values():
        secret = headers.get("authorization", "Bearer nothing-was-shown").removeprefix("Bearer ")
        answers = [
            ask(host.url, "GET", f"/b/my-bench/verify-task-ids?dataset={secret}", None, headers),
            ask(host.url, "GET", f"/{secret}", None, headers),
        ]
        assert not any(secret.encode() in answer.body for answer in answers if answer.status in (401, 403))
        assert secret not in host.said()
    kept = b"".join(file.read_bytes() for file in operator.state.rglob("*") if file.is_file())
    keys = [headers["authorization"].removeprefix("Bearer ") for headers in callers.values() if headers]
    assert not any(key.encode() in kept for key in keys)


def test_it_is_said_at_the_start_who_is_let_in(host):
    said = host.said()
    assert "whoever shows a key of this host is let in" in said
    assert "the API key is of no tenant" in said
