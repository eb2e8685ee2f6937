"""A policy against probing is kept by every route and by all workers together."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import websockets

from benchhost.receipts import PublicKey, verify
from benchhost.testing import install_plugin, serving

SOURCE = """
import random
from benchhost import *

NAMES = ("default", "few", "score", "sum", "told", "pooled", "later", "fold", "own")


class Riddle(Task, kw_only=True):
    answer: str


class Plugin(Benchmark[Riddle]):
    probing = {"own": Probing(attempts=1), "*": Probing()}

    def load_datasets(self):
        tasks = [Riddle(id=f"r{n}", question=f"{n}?", answer=str(n)) for n in range(40)]
        return {name: tasks for name in NAMES}

    def evaluate_response(self, task, response):
        right = response.text.strip().lower() == task.answer
        yield Message(f"it is {task.answer}")
        if response.text == "decline":
            yield Error(f"not {task.answer}")
            return
        noise = {"noise": random.random()}
        yield Result(score=float(right), passed=right, metrics=noise, feedback=f"near {task.answer}")
"""

POLICIES = """
["riddles/few"]
attempts = 3

["riddles/score"]
feedback = "score"

["riddles/sum"]
feedback = "sum"
least = 5
digits = 2

["riddles/told"]
feedback = "sum"
least = 2
sums = 4

["riddles/pooled"]
feedback = "sum"
least = 2
sums = 3
attempts = 2
pooled = true

["riddles/later"]
delay = 2.5

["riddles/fold"]
attempts = 2
fold = true
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probing")
    install_plugin(folder / "plugins", "riddles", SOURCE)
    (folder / "probing.toml").write_text(POLICIES)
    flags = ("--only", "riddles", "--workers", "2", "--allow-runs", "--probing", str(folder / "probing.toml"))
    with serving(folder / "state", *flags, plugins=[folder / "plugins"]) as server:
        yield server


@pytest.fixture(scope="module")
def host(server, make_client):
    return make_client(server.url)


@pytest.fixture(scope="module")
def tenants(server, tmp_path_factory, make_client):
    """Two tenants of another such host."""
    state = tmp_path_factory.mktemp("tenants")

    def tenant(name):
        command = [sys.executable, "-m", "benchhost", "keys", "create", "--tenant", name, "--datasets", "riddles/*"]
        environ = {**os.environ, "BENCHHOST_STATE": str(state)}
        key = subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()
        return {"authorization": f"Bearer {key}"}

    keys = [tenant("acme"), tenant("umbrella")]
    folder = server.state.parent
    flags = ("--only", "riddles", "--workers", "2", "--auth", "keys", "--probing", str(folder / "probing.toml"))
    with serving(state, *flags, plugins=[folder / "plugins"]) as other:
        yield [make_client(other.url, headers) for headers in keys]


def submit(host, dataset, task, response, run="r"):
    payload = {"type": "text", "schema": "", "data": response}
    body = {"run_id": run, "dataset": dataset, "task_id": task, "payload": payload}
    return host.post("/b/riddles/v1/evaluate", body)


def test_as_many_different_responses_as_allowed_are_judged_whatever_the_run(host):
    for number in range(3):
        assert submit(host, "few", "r1", f"guess {number}", run=f"run {number}").status == 200
    refused = submit(host, "few", "r1", "1", run="another")
    assert (refused.status, refused.json["type"]) == (403, "urn:benchhost:problem:attempts-used-up")
    assert submit(host, "few", "r1", "guess 2", run="another").status == 200, "which was judged before"
    assert submit(host, "few", "r2", "1").status == 200, "which is another task"
    plain = host.post("/b/riddles/evaluate-response", {"task_id": "r1", "response": "1", "dataset": "few"})
    assert plain.status == 403


def test_of_many_at_once_at_two_workers_exactly_as_many_are_judged_as_are_allowed(host):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: submit(host, "few", "r7", f"guess {n}", run=f"at once {n}"), range(48)))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [403] * 45


def test_a_batch_is_judged_as_far_as_it_is_allowed(host):
    submissions = [{"task_id": "r9", "response": str(n)} for n in range(5)] + [{"task_id": "r10", "response": "10"}]
    answer = host.post("/b/riddles/v1/evaluate-batch", {"dataset": "few", "submissions": submissions})
    assert answer.status == 200
    statuses = [each["status"] for each in answer.json["evaluations"]]
    assert (statuses[:5].count("evaluated"), statuses[5]) == (3, "evaluated")
    assert all("3 different" in each["errors"][0] for each in answer.json["evaluations"] if each["status"] == "error")


def test_the_author_s_own_policy_holds_where_the_operator_has_none(host):
    assert submit(host, "own", "r1", "7").status == 200
    assert submit(host, "own", "r1", "1").status == 403


def test_with_score_neither_feedback_nor_metrics_are_told_by_any_route(host):
    judged = submit(host, "score", "r3", "3")
    result = {"score": 1.0, "passed": True, "metrics": {}, "feedback": None}
    assert judged.json["result"] == result
    found = host.get(f"/b/riddles/v1/evaluations/{judged.headers['x-evaluation-id']}")
    assert found.json["result"] == result
    plain = host.post("/b/riddles/evaluate-response", {"task_id": "r3", "response": "4", "dataset": "score"})
    assert plain.json == {**result, "score": 0.0, "passed": False}
    assert submit(host, "score", "r3", "decline").json["errors"] == ["The response was not scored."]
    submit(host, "score", "r3", "3", run="one")
    [entry] = host.post("/b/riddles/v1/receipts", {"run_id": "one", "dataset": "score"}).json["entries"]
    told = json.dumps(result, separators=(",", ":")).encode()
    assert (entry["score"], entry["result"]) == (1.0, hashlib.sha256(told).hexdigest())


def test_results_that_are_told_in_sum_alone_are_told_in_sum_alone(host):
    judged = [submit(host, "sum", f"r{n}", str(n) if n % 3 else "no", run="summed") for n in range(4)]
    assert {answer.json["status"] for answer in judged} == {"evaluated"}
    assert [answer.json["result"] for answer in judged] == [None] * 4
    plain = host.post("/b/riddles/evaluate-response", {"task_id": "r1", "response": "1", "dataset": "sum"})
    assert (plain.status, plain.json["type"]) == (403, "urn:benchhost:problem:result-withheld")
    found = host.get(f"/b/riddles/v1/evaluations/{judged[0].headers['x-evaluation-id']}")
    assert found.json["result"] is None
    early = host.post("/b/riddles/v1/receipts", {"run_id": "summed", "dataset": "sum"})
    assert (early.status, early.json["type"]) == (403, "urn:benchhost:problem:result-withheld")
    for n in range(4, 7):
        submit(host, "sum", f"r{n}", str(n) if n % 3 else "no", run="summed")
    sealed = host.post("/b/riddles/v1/receipts", {"run_id": "summed", "dataset": "sum"})
    assert sealed.status == 200
    assert (sealed.json["entries"], sealed.json["statement"]["score"]) == (None, 0.57)
    assert (sealed.json["statement"]["scored"], sealed.json["statement"]["results"]) == (7, 7)
    key = PublicKey.of_pem(host.get("/v1/receipts/key").json["pem"].encode())
    assert verify(sealed.body, key).ok


def submit_run(host, dataset, run, wrong=0):
    """Answer three tasks under a run, so many of them wrongly."""
    answers = [{"task_id": f"r{n}", "response": "no" if n < wrong else str(n)} for n in range(3)]
    body = {"run_id": run, "dataset": dataset, "submissions": answers}
    return host.post("/b/riddles/v1/evaluate-batch", body).json["evaluations"]


def sealed(host, dataset, run):
    return host.post("/b/riddles/v1/receipts", {"run_id": run, "dataset": dataset})


def told(answers):
    """Pick the answers by which a sum was told; all others must say why it was not."""
    refused = [answer for answer in answers if answer.status != 200]
    assert {(answer.status, answer.json["type"]) for answer in refused} <= {
        (403, "urn:benchhost:problem:result-withheld")
    }
    return [answer for answer in answers if answer.status == 200]


def test_of_many_sums_at_once_at_two_workers_exactly_as_many_are_told_as_the_policy_says(tenants):
    acme, umbrella = tenants
    runs = [f"run {n}" for n in range(12)]
    for n, run in enumerate(runs):
        submit_run(acme, "told", run, wrong=n % 3)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda run: (run, sealed(acme, "told", run)), runs))
    assert len(told([answer for _, answer in answers])) == 4
    known = {run: answer.json["statement"]["score"] for run, answer in answers if answer.status == 200}
    with ThreadPoolExecutor(12) as pool:
        again = list(pool.map(lambda run: (run, sealed(acme, "told", run)), runs * 4))
    assert {run: answer.json["statement"]["score"] for run, answer in again if answer.status == 200} == known, (
        "what was told before is told again, and nothing else"
    )
    assert "4 different sums of this dataset were told, which is all that are for a tenant" in next(
        answer.json["detail"] for _, answer in again if answer.status == 403
    )
    submit_run(umbrella, "told", "another")
    assert sealed(umbrella, "told", "another").status == 200, "which is another tenant"


def test_sums_and_attempts_of_all_tenants_are_counted_together_where_they_are_pooled(tenants):
    acme, umbrella = tenants
    for host, name in ((acme, "a"), (umbrella, "u")):
        for n in range(6):
            assert {each["status"] for each in submit_run(host, "pooled", f"{name}{n}", wrong=n % 2)} == {"evaluated"}
    asked = [(host, f"{name}{n}") for n in range(6) for host, name in ((acme, "a"), (umbrella, "u"))]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda each: sealed(each[0], "pooled", each[1]), asked))
    assert len(told(answers)) == 3
    third = [submit(host, "pooled", "r0", "a third response").status for host in (acme, umbrella)]
    assert third == [403, 403], "of which two were judged, whoever sent them"


def test_a_result_is_told_after_its_delay_and_not_before(host):
    judged = submit(host, "later", "r1", "1")
    assert (judged.json["status"], judged.json["result"]) == ("evaluated", None)
    assert "ask again" in judged.json["errors"][0]
    end = time.monotonic() + 30
    while submit(host, "later", "r1", "1").json["result"] is None:
        assert time.monotonic() < end
        time.sleep(0.2)
    found = host.get(f"/b/riddles/v1/evaluations/{judged.headers['x-evaluation-id']}")
    assert found.json["result"]["score"] == 1.0
    assert time.time() - found.json["finished_at"] >= 2.5


def test_responses_that_fold_into_one_are_one_attempt_with_one_result(host):
    answers = [
        submit(host, "fold", "r5", response, run=f"folded {n}")
        for n, response in enumerate(["No Idea", "no  idea", " NO IDEA\n", "ｎｏ idea"])
    ]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.headers["x-evaluation-id"] for answer in answers}) == 4
    assert len({answer.json["result"]["metrics"]["noise"] for answer in answers}) == 1
    assert submit(host, "fold", "r5", "5").status == 200
    assert submit(host, "fold", "r5", "6").status == 403


def test_what_folds_into_one_and_comes_at_once_is_judged_once(host):
    responses = ["same", "Same", "SAME", " same", "same ", "sAme", "samE", "saMe"] * 3
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda each: submit(host, "fold", "r6", each[1], run=f"at once {each[0]}"), enumerate(responses))
        )
    assert {answer.status for answer in answers} == {200}
    assert len({answer.json["result"]["metrics"]["noise"] for answer in answers}) == 1


async def asked_over_a_socket(server, **frame):
    url = f"{server.url.replace('http', 'ws', 1)}/b/riddles/ws/evaluate-response"
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps(frame))
        return [json.loads(chunk) async for chunk in socket]


@pytest.mark.anyio
async def test_a_socket_tells_no_more_than_a_request(server):
    frame = {"task_id": "r8", "response": "8"}
    open_ = await asked_over_a_socket(server, dataset="default", **frame)
    assert [chunk["type"] for chunk in open_] == ["message", "result"]
    [scored] = await asked_over_a_socket(server, dataset="score", **frame)
    assert scored["data"] == {"score": 1.0, "passed": True, "metrics": {}, "feedback": None}
    [summed] = await asked_over_a_socket(server, dataset="sum", **frame)
    assert (summed["type"], "in sum alone" in summed["data"]) == ("error", True)
    for response in ("1", "2", "3"):
        await asked_over_a_socket(server, dataset="few", task_id="r8", response=response)
    [refused] = await asked_over_a_socket(server, dataset="few", **frame)
    assert (refused["type"], "3 different" in refused["data"]) == ("error", True)


def test_callers_start_no_runs_of_a_dataset_with_a_policy(host):
    refused = host.post("/b/riddles/v1/runs", {"model": "scripted/echo", "dataset": "sum", "limit": 1})
    assert (refused.status, refused.json["type"]) == (403, "urn:benchhost:problem:runs-not-allowed")
    assert host.post("/b/riddles/v1/runs", {"model": "scripted/echo", "limit": 1}).status == 202


def test_a_dataset_without_a_policy_is_as_it_was(host):
    for number in range(6):
        judged = submit(host, "default", "r1", f"guess {number}")
        assert judged.json["result"]["feedback"] == "near 1"


@pytest.mark.parametrize(
    "text, said",
    [
        ("[riddles]\nattempts = 3", "no dataset of a benchmark"),
        ('["riddles/x"]\nattempts = 0', "attempts"),
        ('["riddles/x"]\nattemps = 3', "attemps"),
        ("[", "no TOML"),
    ],
)
def test_a_malformed_file_of_policies_stops_the_host_before_it_starts(tmp_path, text, said):
    (tmp_path / "probing.toml").write_text(text)
    flags = ("--port", "0", "--state", tmp_path / "state", "--probing", tmp_path / "probing.toml")
    ended = subprocess.run([sys.executable, "-m", "benchhost", "serve", *flags], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Error: probing: the file ")
    assert said in ended.stderr
    assert not (tmp_path / "state").exists()
