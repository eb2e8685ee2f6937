"""Quotas on a host with two workers: exact, told with the time to come back, and of what is begun anew alone."""

from __future__ import annotations

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from benchhost.store import DATABASE
from benchhost.testing import serving

KNOWN_WITHIN = 1.0
"""Seconds within which every worker knows of a new quota."""


@pytest.fixture
def metered(host, operator, ask, request):
    """A tenant with quotas: set them, and return how it has a response judged, and the headers of its key."""

    def metered(*limits):
        tenant = f"metered-{request.node.name[:40]}"
        headers = operator.key(tenant, "my-bench/default")
        operator("quota", "set", tenant, "my-bench", *limits)
        time.sleep(KNOWN_WITHIN)

        def evaluate(response, path="/b/my-bench/v1/evaluate"):
            payload = {"type": "text", "schema": "", "data": response}
            return ask(host.url, "POST", path, {"run_id": "r", "task_id": "q0", "payload": payload}, headers)

        return tenant, headers, evaluate

    return metered


def used(operator, tenant):
    return [each["used"] for each in json.loads(operator("quota", "list", "--tenant", tenant, "--json"))["quotas"]]


def test_of_many_at_once_at_two_workers_exactly_the_limit_is_judged(operator, metered):
    tenant, _, evaluate = metered("25/month", "1000/day")
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(evaluate, map(str, range(60))))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (25, 35)
    assert used(operator, tenant) == [25, 25]
    with ThreadPoolExecutor(10) as pool:
        again = list(pool.map(evaluate, map(str, range(60))))
    assert [answer.status for answer in again] == statuses  # what was judged is answered again, and costs nothing
    assert used(operator, tenant) == [25, 25]


def test_whoever_is_refused_is_told_by_which_quota_and_when_to_come_back(metered, ask, host):
    _, headers, evaluate = metered("1/month")
    assert evaluate("1").status == 200
    refused = evaluate("2")
    assert (refused.status, refused.json["type"]) == (429, "urn:benchhost:problem:quota-reached")
    assert refused.detail.startswith("Evaluation request limit of 1 per month reached; try again after ")
    assert "T00:00:00Z. It is the quota of this tenant at the benchmark my-bench." in refused.detail
    assert 0 < int(refused.headers["retry-after"]) <= 31 * 86400
    with connect(
        f"{host.url.replace('http', 'ws', 1)}/b/my-bench/ws/evaluate-response",
        additional_headers=headers,
        proxy=None,
    ) as socket:
        socket.send(json.dumps({"task_id": "q0", "response": "3"}))
        with pytest.raises(ConnectionClosedError):
            socket.recv()
        assert socket.close_code == 1008
        assert socket.close_reason.startswith("Evaluation quota reached; retry after ")
    batch = {"submissions": [{"task_id": "q0", "response": "1"}, {"task_id": "q0", "response": "4"}]}
    many = ask(host.url, "POST", "/b/my-bench/v1/evaluate-batch", batch, headers)
    assert many.status == 429
    assert "2 more would begin, and 0 are left" in many.detail


def test_a_failure_of_ours_is_given_back(operator, metered):
    tenant, _, evaluate = metered("2/month")
    for _ in range(4):
        assert evaluate("raise").json["status"] == "error"
    assert used(operator, tenant) == [0]
    assert [evaluate(each).status for each in "123"] == [200, 200, 429]


def test_in_a_batch_only_what_is_begun_anew_counts_and_failures_do_not(operator, metered, ask, host):
    tenant, headers, _ = metered("3/month")

    def judge(*responses):
        body = {"run_id": "r", "submissions": [{"task_id": "q0", "response": each} for each in responses]}
        return ask(host.url, "POST", "/b/my-bench/v1/evaluate-batch", body, headers).status

    assert judge("1", "2", "1") == 200
    assert used(operator, tenant) == [2]
    assert judge("1", "2", "raise") == 200
    assert used(operator, tenant) == [2]
    assert judge("1", "2", "3", "4") == 429
    assert judge("1", "2", "3") == 200
    assert used(operator, tenant) == [3]


def test_a_quota_that_is_removed_or_raised_counts_within_a_second(operator, metered):
    tenant, _, evaluate = metered("1/month", "1/day")
    assert [evaluate("1").status, evaluate("2").status] == [200, 429]
    operator("quota", "set", tenant, "my-bench", "2/month")
    assert evaluate("2").status == 429
    assert operator("quota", "rm", tenant, "my-bench", "day") == "1 quota is removed"
    until(lambda: evaluate("2").status == 200)
    assert evaluate("3").status == 429
    assert operator("quota", "rm", tenant, "my-bench") == "1 quota is removed"
    until(lambda: evaluate("3").status == 200)


def test_a_quota_of_the_allowlist_outlives_a_kill_and_is_never_exceeded(
    operator, operator_of, ask, tmp_path, monkeypatch
):
    here = operator_of(tmp_path / "state", operator.plugins)
    headers = here.key("listed")
    allowlist = {"tenants": {"listed": {"datasets": ["default"], "evaluation_quota": {"limit": 40, "period": "year"}}}}
    environ = {"DESCOPE_TENANT_ALLOWLIST_JSON": json.dumps(allowlist)}
    flags = ("--auth", "keys", "--workers", "2", "--only", "my-bench,another")
    judged: set[str] = set()

    def evaluate(response, name="my-bench"):
        payload = {"type": "text", "schema": "", "data": response}
        body = {"run_id": "r", "task_id": "q0", "payload": payload}
        try:
            status = ask(host.url, "POST", f"/b/{name}/v1/evaluate", body, headers).status
        except (OSError, HTTPException):  # the host was killed meanwhile
            return 0
        if status == 200 and name == "my-bench":
            judged.add(response)
        return status

    with serving(here.state, *flags, plugins=[here.plugins], environ=environ) as host, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(evaluate, str(number)) for number in range(200)]
        until(lambda: len(judged) > 10)
        host.kill()
        statuses = {each.result() for each in asked}
    assert statuses <= {0, 200, 429}
    before = len(judged)
    with serving(here.state, *flags, plugins=[here.plugins], environ=environ) as host, ThreadPoolExecutor(8) as pool:
        assert set(pool.map(evaluate, map(str, range(200)))) == {200, 429}
        assert before <= len(judged) <= 40
        assert evaluate("1", "another") == 200  # each benchmark is counted by itself
    monkeypatch.setenv("DESCOPE_TENANT_ALLOWLIST_JSON", environ["DESCOPE_TENANT_ALLOWLIST_JSON"])
    told = json.loads(here("quota", "list", "--tenant", "listed", "--json"))["quotas"]
    assert [(each["benchmark"], each["used"]) for each in told] == [("another", 1), ("my-bench", 40)]
    [_, quota] = told
    assert quota["refused"] > 0
    log = json.loads(here("audit", "--tenant", "listed", "--json"))["log"]
    assert [(event["by"], event["quota"]) for event in log if event["kind"] == "quota-reached"] == [
        ("@host", "40/year")
    ]


def test_while_the_store_does_not_say_what_is_left_nothing_is_begun(operator, operator_of, ask, tmp_path):
    here = operator_of(tmp_path / "state", operator.plugins)
    metered = here.key("metered")
    here("grant", "metered", "my-bench/default")
    here("quota", "set", "metered", "my-bench", "10/month")
    said = "Evaluation quota enforcement is temporarily unavailable; try again later."
    payload = {"type": "text", "schema": "", "data": "1"}
    task = {"run_id": "r", "task_id": "q0"}
    asked = [
        ("/b/my-bench/v1/evaluate", {**task, "payload": payload}),
        ("/b/my-bench/evaluate-response/", {"task_id": "q0", "response": "2"}),
        ("/b/my-bench/v1/evaluate-batch", {"submissions": [{"task_id": "q0", "response": "3"}]}),
    ]
    flags = ("--auth", "keys", "--workers", "2", "--only", "my-bench")
    with serving(here.state, *flags, plugins=[here.plugins]) as host:
        database = sqlite3.connect(here.state / DATABASE)
        database.execute("ALTER TABLE quota RENAME TO elsewhere")
        for path, body in asked:
            refused = ask(host.url, "POST", path, body, metered)
            assert (refused.status, refused.detail) == (503, said)
            assert refused.json["type"] == "urn:benchhost:problem:quota-unavailable"
        address = f"{host.url.replace('http', 'ws', 1)}/b/my-bench/ws/evaluate-response"
        with connect(address, additional_headers=metered, proxy=None) as socket:
            socket.send(json.dumps({"task_id": "q0", "response": "4"}))
            with pytest.raises(ConnectionClosedError):
                socket.recv()
            assert (socket.close_code, socket.close_reason) == (1011, said)
        database.execute("ALTER TABLE elsewhere RENAME TO quota")
        database.close()
        for path, body in asked:
            assert ask(host.url, "POST", path, body, metered).status == 200
        assert used(here, "metered") == [3], "what was refused meanwhile was not counted"


def until(true):
    """Wait for what comes within a second, for as long as a busy machine may need to show it."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.1)
