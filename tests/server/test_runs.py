"""Runs that callers start: by a real server, with a real engine, and a double of a model's provider."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from benchhost.receipts import PublicKey, verify
from benchhost.server.run_views import WITHHELD, public_message, public_reason
from benchhost.testing import install_plugin, serving

KEY = "sk-double-for-runs-0123456789"
SECRET = "the-hidden-answer"
MODELS = "scripted/*,openai/*,anthropic/claude,nobody/at-all"
DEADLINE = 60.0

NUMBERS = """
from benchhost import Benchmark, FinalScore, Public, Result, Task

HIDDEN = "the-hidden-answer"


class Number(Task, kw_only=True):
    parity: Public[str]
    answer: str = HIDDEN


def numbers(count):
    return [Number(id=f"n{n}", question=f"Say {n}", parity="even" if n % 2 == 0 else "odd") for n in range(count)]


class Plugin(Benchmark[Number]):
    version = "VERSION"

    def load_datasets(self):
        return {"default": numbers(40), "unaskable": numbers(3), "unjudgeable": numbers(3)}

    def prompt(self, task):
        return f"{task.question} please"

    def evaluate_response(self, task, response):
        return Result(score=float(response.text.endswith(f"Say {task.id[1:]} please") and task.parity == "odd"))

    def reference_response(self, task):
        return task.answer
"""

LEAKY = """
from benchhost import Benchmark, Result, Task


class Plugin(Benchmark[Task]):
    '''Every one of its hooks says what is hidden.'''

    def load_datasets(self):
        names = ("prompts", "judges", "scores")
        return {name: [Task(id=f"{name}-{n}", question="?") for n in range(3)] for name in names}

    def prompt(self, task):
        if task.id.startswith("prompts"):
            raise ValueError("the-hidden-answer")
        return "?"

    def evaluate_response(self, task, response):
        if task.id.startswith("judges"):
            raise ValueError("the-hidden-answer")
        return Result(score=1.0, private={"expected": "the-hidden-answer"})

    def calculate_final_score(self, results, dataset):
        raise ValueError("the-hidden-answer")
"""


def install_numbers(folder, version="1"):
    install_plugin(folder, "numbers", NUMBERS.replace("VERSION", version))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install_numbers(folder)
    install_plugin(folder, "leaky", LEAKY)
    return folder


@pytest.fixture(scope="module")
def provider():
    """The environment in which ``openai/…`` is the double."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--no-ws"]
    folder = Path(__file__).resolve().parents[1] / "models"
    with subprocess.Popen(
        [*command, "--log-level", "critical", "--working-dir", str(folder), "double:app"],
        env={**os.environ, "DOUBLE_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: answers(f"{url}/seen"))
            yield {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY}
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def serve(folder, provider):
    def serve(state, *flags, only="numbers,leaky", models=MODELS):
        flags = ("--only", only, "--allow-runs", "--drain-timeout", "20", *flags)
        flags += () if models is None else ("--run-models", models)
        return serving(state, *flags, plugins=[folder], environ=provider)

    return serve


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory):
    with serve(tmp_path_factory.mktemp("state"), "--max-runs", "3") as server:
        yield server


@pytest.fixture(scope="module")
def runs(server, make_client):
    return Runs(make_client(server.url))


class Runs:
    """The routes of the runs of one benchmark."""

    def __init__(self, client, benchmark="numbers"):
        self._client = client
        self.path = f"/b/{benchmark}/v1/runs"

    def start(self, model="scripted/echo", **fields):
        return self._client.post(self.path, {"model": model, **fields})

    def begin(self, model="scripted/echo", **fields):
        answer = self.start(model, **fields)
        assert answer.status == 202, answer
        return answer.json["run_id"]

    def list(self, **query):
        return self._client.get(self.path, **query)

    def show(self, run_id):
        answer = self._client.get(f"{self.path}/{run_id}")
        assert answer.status == 200, answer
        return answer.json

    def cancel(self, run_id):
        return self._client.request("POST", f"{self.path}/{run_id}/cancel")

    def events(self, run_id, **headers):
        """The events of a run to their end, as (name, data)."""
        with self._client.open("GET", f"{self.path}/{run_id}/events", headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            return list(read_events(answer))

    def ended(self, run_id):
        """The run, when it has ended."""
        until(lambda: self.show(run_id)["status"] != "running")
        return self.show(run_id)

    def done(self, run_id, least):
        """Wait until so many attempts are finished."""
        until(lambda: ((self.show(run_id)["progress"] or {}).get("done") or 0) >= least)


def read_events(lines):
    event = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        elif "data" in event:
            yield event["event"], json.loads(event["data"])
            event = {}


def until(true):
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.05)


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url):
        return True
    return False


def asked_for(provider, model):
    """How often the double was asked for a model."""
    with urllib.request.urlopen(provider["OPENAI_BASE_URL"].replace("/v1", "/seen")) as answer:
        return json.load(answer)["seen"].get(model.partition("/")[2], 0)


def attempts(state, run_id):
    """How many attempts are recorded of each task."""
    with closing(sqlite3.connect(state / "benchhost.db")) as database:
        rows = database.execute("SELECT task FROM attempt JOIN run ON run.number = run WHERE id = ?", (run_id,))
        return Counter(task for (task,) in rows)


# What a caller sees of a run.


def test_a_run_is_followed_to_its_end_and_has_the_score_of_the_command_line(runs, folder, tmp_path):
    model = "openai/double?latency=0.05&for=score"
    started = runs.start(model, max_connections=2, epochs=2, label="mine", sampling={"temperature": 0.5}).json
    assert (started["status"], started["tasks"], started["label"]) == ("running", 40, "mine")
    *progress, (last, ended) = runs.events(started["run_id"])
    assert last == "ended"
    assert progress
    assert {name for name, _ in progress} == {"progress"}
    assert all(data["total"] == 80 for _, data in progress)
    done = [data["done"] for _, data in progress]
    assert done == sorted(done)
    assert done[-1] > 0
    assert (ended["status"], ended["progress"], ended["sampling"]) == ("complete", None, {"temperature": 0.5})
    assert runs.show(started["run_id"]) == ended
    assert runs.events(started["run_id"], **{"Last-Event-ID": "whatever"}) == [("ended", ended)]

    command = ["run", "numbers", "--model", "scripted/echo", "--epochs", "2", "--json", "--state", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "benchhost", *command],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["summary"]
    assert told["score"] == 0.5
    for field in ("given", "scored", "coverage", "score", "standard_error", "interval", "missing_as_zero", "slices"):
        assert ended["summary"][field] == told[field], field
    spend = ended["summary"]["spend"]
    assert (spend["calls"], spend["unpriced"]) == (80, 80)
    assert spend["usage"]["input_tokens"] == 240


def test_tasks_are_chosen_as_everywhere(runs):
    def scored(**chosen):
        return runs.ended(runs.begin(**chosen))["summary"]["given"]

    assert scored(slice="0:10:2") == 5
    assert scored(task_ids=["n3", "n1"]) == 2
    assert scored(slice=":20", sample=7, seed=3) == 7
    assert scored(limit=4, dataset="unjudgeable") == 3


def test_runs_are_listed_newest_first_and_page_by_page(runs):
    ids = [runs.begin(limit=1, label=str(n)) for n in range(3)]
    for run_id in ids:
        runs.ended(run_id)
    first = runs.list(limit=2).json
    assert [run["run_id"] for run in first["runs"]] == [ids[2], ids[1]]
    assert first["next"] == ids[1]
    second = runs.list(limit=1, before=first["next"]).json
    assert [(run["run_id"], run["score"], run["coverage"]) for run in second["runs"]] == [(ids[0], 0.0, 1.0)]
    assert second["runs"][0]["interval"]["method"] == "wilson"
    everything = runs.list(limit=500).json
    assert everything["next"] is None
    assert everything["runs"][:3] == [*first["runs"], *second["runs"]]


def test_a_run_that_is_not_this_benchmarks_is_not_there(runs, server, make_client):
    run_id = runs.begin(limit=1)
    other = Runs(make_client(server.url), "leaky")
    for answer in (
        other._client.get(f"{other.path}/{run_id}"),
        other._client.get(f"{other.path}/{run_id}/events"),
        other.cancel(run_id),
        other.list(before=run_id),
        runs._client.get(f"{runs.path}/nobody"),
        runs._client.get(f"{runs.path}/..%2Fbenchhost.db"),
    ):
        assert answer.status == 404
    assert run_id not in [run["run_id"] for run in other.list().json["runs"]]


# Cancelling.


def test_a_run_that_is_cancelled_finishes_what_is_under_way(runs, server, provider):
    model = "openai/double?latency=0.1&for=cancel"
    run_id = runs.begin(model, max_connections=2)
    runs.done(run_id, 4)
    answer = runs.cancel(run_id)
    assert (answer.status, answer.json["run_id"]) == (202, run_id)
    run = runs.ended(run_id)
    assert (run["status"], run["reason"]) == ("incomplete", "cancelled by a caller")
    summary = run["summary"]
    assert 4 <= summary["attempted"] == summary["scored"] < 40
    assert asked_for(provider, model) == summary["attempted"]
    assert runs.cancel(run_id).json == run
    assert not list((server.state / "progress").iterdir())


def test_a_run_that_is_cancelled_twice_drops_what_is_under_way(runs):
    run_id = runs.begin("openai/double?latency=50&for=twice", max_connections=2)
    until(lambda: runs.show(run_id)["progress"])
    runs.cancel(run_id)
    until(lambda: runs.show(run_id)["progress"]["stopping"] == "cancelled by a caller")
    runs.cancel(run_id)
    began = time.monotonic()
    run = runs.ended(run_id)
    assert time.monotonic() - began < 20
    assert (run["status"], run["summary"]["scored"]) == ("incomplete", 0)


def test_callers_see_no_run_of_the_command_line(runs, server, folder, make_client):
    command = ["run", "numbers", "--model", "scripted/echo", "--limit", "2", "--run-id", "by-hand"]
    done = subprocess.run(
        [sys.executable, "-m", "benchhost", *command, "--state", str(server.state)],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mine = runs.begin(limit=1)
    assert "by-hand" not in [run["run_id"] for run in runs.list(limit=500).json["runs"]]
    client = make_client(server.url)
    hidden = [
        client.get(f"{runs.path}/by-hand"),
        runs.cancel("by-hand"),
        runs.list(before="by-hand"),
        client.get(f"{runs.path}/by-hand/events"),
    ]
    assert [answer.status for answer in hidden] == [404] * 4
    listed = subprocess.run(
        [sys.executable, "-m", "benchhost", "runs", "list", "--json", "--state", str(server.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert {"by-hand", mine} <= {run["id"] for run in json.loads(listed.stdout)["runs"]}, "the operator sees both"


@pytest.mark.parametrize(
    "flags, may, may_not",
    [
        ((), ["scripted/echo"], ["openai/double", "anthropic/claude"]),
        (("--run-models", "openai/double,vllm/*"), ["openai/double"], ["scripted/echo", "openai/double-2"]),
        (("--run-models", ""), [], ["scripted/echo", "openai/double"]),
    ],
    ids=["by default only what costs nothing", "what is named", "none"],
)
def test_callers_may_run_the_models_that_the_operator_names(serve, tmp_path, make_client, flags, may, may_not):
    with serve(tmp_path / "state", *flags, models=None) as server:
        client = make_client(server.url)
        for model in may:
            answer = client.post("/b/numbers/v1/runs", {"model": model, "limit": 1})
            assert answer.status == 202, answer
        for model in may_not:
            for fields in ({"model": model}, {"model": may[0], "judge": model} if may else {"model": model}):
                answer = client.post("/b/numbers/v1/runs", fields)
                assert answer.status == 422
                assert "callers may not run this model here" in str(answer.detail)


# What is refused.


@pytest.mark.parametrize(
    "fields, status, said",
    [
        ({"model": "scripted/reference"}, 422, "gold answers"),
        ({"model": "scripted/file:/etc/hostname"}, 422, "files of the host"),
        ({"judge": "scripted/reference"}, 422, "gold answers"),
        ({"model": "nobody"}, 422, "provider/name"),
        ({"model": "groq/fast"}, 422, "may run: scripted/*, openai/*, anthropic/claude, nobody/at-all"),
        ({"model": "nobody/at-all"}, 422, "cannot use the model"),
        ({"model": "anthropic/claude"}, 422, "has no key"),
        ({"base_url": "http://127.0.0.1:1/v1"}, 422, "unknown field `base_url`"),
        ({"api_key": "sk-mine"}, 422, "unknown field `api_key`"),
        ({"max_costs": 3}, 422, "unknown field `max_costs`"),
        ({"sampling": {"temperature": -1}}, 422, "temperature"),
        ({"epochs": 0}, 422, "1"),
        ({"timeout": 0}, 422, "0"),
        ({"run_id": "../../etc"}, 422, ""),
        ({"params": {"file": "/etc/hostname"}}, 422, "it takes: none"),
        ({"runner": "nobody"}, 422, "no such runner"),
        ({"slice": "5000:"}, 422, "no task is chosen"),
        ({"slice": "x"}, 400, "invalid literal"),
        ({"task_ids": ["nobody"]}, 400, "Task ID not found: nobody"),
        ({"dataset": "nowhere"}, 400, "Dataset 'nowhere' not found"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_and_leaves_nothing_behind(runs, fields, status, said):
    before = runs.list().json
    answer = runs.start(**fields)
    assert answer.status == status, answer
    assert said in str(answer.detail)
    assert runs.list().json == before


def test_an_id_that_is_taken_is_a_conflict(runs):
    run_id = runs.begin(limit=1, run_id="my-own.1")
    assert run_id == "my-own.1"
    again = runs.start(limit=1, run_id="my-own.1")
    assert again.status == 409
    assert "run of this id" in again.detail
    runs.ended(run_id)  # it would take a place from the next test


def test_more_runs_than_may_be_under_way_are_to_come_back_later(runs):
    begun = [runs.begin("openai/double?latency=50&for=many", limit=1) for _ in range(3)]
    busy = runs.start()
    assert (busy.status, busy.headers["retry-after"]) == (429, "30")
    for run_id in begun:
        runs.cancel(run_id)
        runs.cancel(run_id)
    for run_id in begun:
        runs.ended(run_id)
    assert runs.start(limit=1).status == 202


def test_without_the_permission_of_the_operator_there_are_no_runs(server, host, make_client):
    refused = [
        host.post("/b/q/v1/runs", {"model": "scripted/echo"}),
        host.get("/b/q/v1/runs"),
        host.get("/b/q/v1/runs/any"),
        host.get("/b/q/v1/runs/any/events"),
        host.request("POST", "/b/q/v1/runs/any/cancel"),
    ]
    for answer in refused:
        assert answer.status == 403
        assert "--allow-runs" in answer.detail


@pytest.fixture
def host(tmp_path, plugins, make_client):
    """A client of a host with the default settings."""
    with serving(tmp_path / "closed", "--only", "q", plugins=[plugins]) as running:
        yield make_client(running.url)


def test_a_limit_on_the_cost_is_kept_and_said(runs):
    run = runs.ended(runs.begin("openai/double?for=cost", max_cost=0.01))
    assert run["status"] == "incomplete"
    assert "nothing says what openai/double" in run["reason"]


# What is hidden.


@pytest.mark.parametrize("dataset", ["prompts", "judges", "scores"])
def test_what_a_hook_says_when_it_fails_is_not_told(server, make_client, dataset):
    leaky = Runs(make_client(server.url), "leaky")
    run_id = leaky.begin(dataset=dataset)
    events = leaky.events(run_id)
    said = json.dumps([events, leaky.show(run_id), leaky.list().json])
    assert SECRET not in said
    summary = events[-1][1]["summary"]
    if dataset == "scores":
        assert summary["scored"] == 3
        assert WITHHELD in summary["final_error"]
    else:
        [error] = summary["errors"]
        assert (error["kind"], error["count"]) == ("hook-raised", 3)
        assert error["message"]
    assert SECRET in server.said() or dataset != "judges"  # the operator is told


@pytest.mark.parametrize(
    "recorded, told",
    [
        ("", ""),
        ("cancelled by a caller", "cancelled by a caller"),
        ("the budget is spent: $1.00 of $1", "the budget is spent: $1.00 of $1"),
        ("CircuitOpen: 5 calls failed ← ModelAuthFailed: key of /etc/x", "CircuitOpen: 5 calls failed"),
        ("20 attempts in a row failed alike (ValueError): hidden", "20 attempts in a row failed alike (ValueError)"),
        ("StoreFailed: /srv/benchhost.db is full", WITHHELD),
    ],
)
def test_of_a_reason_callers_are_told_what_is_known_to_be_safe(recorded, told):
    assert public_reason(recorded) == told


@pytest.mark.parametrize(
    "status, recorded, told",
    [
        ("infra_error", "ModelUnavailable: no answer ← OSError: /etc", "ModelUnavailable: no answer"),
        ("infra_error", "HookRaised: hidden", WITHHELD),
        ("error", "ValueError: hidden ← ModelUnavailable: no answer", WITHHELD),
        ("judge_error", "Grading failed. Quote 7 to the operator.", "Grading failed. Quote 7 to the operator."),
        ("cancelled", "", ""),
    ],
)
def test_of_an_error_callers_are_told_what_is_known_to_be_safe(status, recorded, told):
    assert public_message(status, recorded) == told


# Ends and beginnings of the host.


def killed(serve, state, make_client, model, **fields):
    """Kill a host in the middle of a run; return the run's id and the tasks that were finished."""
    with serve(state) as server:
        runs = Runs(make_client(server.url))
        run_id = runs.begin(model, max_connections=2, **fields)
        runs.done(run_id, 6)
        server.kill()
    return run_id


def test_a_run_whose_host_was_killed_is_marked_when_it_starts_again(serve, tmp_path, make_client):
    run_id = killed(serve, tmp_path, make_client, "openai/double?latency=0.1&for=marked")
    with serve(tmp_path) as server:
        runs = Runs(make_client(server.url))
        run = runs.show(run_id)
        assert (run["status"], run["progress"]) == ("incomplete", None)
        assert run["reason"] == "the host ended while the run was under way"
        assert 6 <= run["summary"]["attempted"] < 40
        assert run["summary"]["coverage"] == run["summary"]["scored"] / 40
        assert runs.events(run_id) == [("ended", run)]
        assert runs.list().json["runs"][0]["status"] == "incomplete"


def test_a_run_whose_host_was_killed_is_carried_on_by_one_worker_when_the_operator_wants_it(
    serve, tmp_path, make_client, provider
):
    model = "openai/double?latency=0.1&for=resumed"
    run_id = killed(serve, tmp_path, make_client, model, epochs=1)
    with serve(tmp_path, "--resume-runs", "--workers", "2") as server:
        runs = Runs(make_client(server.url))
        *progress, (_, run) = runs.events(run_id)
        assert all(data["earlier"] >= 6 for _, data in progress)
        assert (run["status"], run["summary"]["score"], run["summary"]["coverage"]) == ("complete", 0.5, 1.0)
    assert set(attempts(tmp_path, run_id).values()) == {1}
    assert 40 <= asked_for(provider, model) <= 42  # what was under way is asked for again


def test_a_host_that_stops_ends_its_runs_and_those_who_follow_them_at_once(serve, tmp_path, make_client, provider):
    model = "openai/double?latency=0.1&for=stopped"
    with serve(tmp_path) as server:
        runs = Runs(make_client(server.url))
        run_id = runs.begin(model, max_connections=2)
        runs.done(run_id, 4)
        followed = []
        following = threading.Thread(target=lambda: followed.extend(runs.events(run_id)))
        following.start()
        time.sleep(0.5)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        following.join(DEADLINE)
        assert {name for name, _ in followed} <= {"progress"}
    with serve(tmp_path) as server:
        run = Runs(make_client(server.url)).show(run_id)
        assert (run["status"], run["reason"]) == ("incomplete", "the host was stopped")
    with serve(tmp_path, "--resume-runs") as server:
        run = Runs(make_client(server.url)).ended(run_id)
        assert (run["status"], run["summary"]["score"]) == ("complete", 0.5)
    assert set(attempts(tmp_path, run_id).values()) == {1}
    assert asked_for(provider, model) == 40


def test_a_run_that_was_cancelled_is_not_carried_on(serve, tmp_path, make_client):
    with serve(tmp_path) as server:
        runs = Runs(make_client(server.url))
        run_id = runs.begin("openai/double?latency=50&for=over", max_connections=2)
        until(lambda: runs.show(run_id)["progress"])
        runs.cancel(run_id)
        server.kill()
    with serve(tmp_path, "--resume-runs") as server:
        run = Runs(make_client(server.url)).show(run_id)
        assert run["status"] == "incomplete"


# Several workers, and other plugins.


def test_every_worker_shows_and_cancels_the_runs_of_every_other(serve, tmp_path, make_client):
    with serve(tmp_path, "--workers", "2", "--max-runs", "4") as server:
        runs = Runs(make_client(server.url))  # each request has a connection of its own
        begun = [runs.begin("openai/double?latency=0.2&for=workers", max_connections=1) for _ in range(4)]
        for run_id in begun:
            runs.done(run_id, 1)
            assert {runs.show(run_id)["status"] for _ in range(12)} == {"running"}
        for run_id in begun:
            runs.cancel(run_id)
        for run_id in begun:
            assert runs.ended(run_id)["reason"] == "cancelled by a caller"
            assert {name for name, _ in runs.events(run_id)} == {"ended"}
        assert all(set(attempts(tmp_path, run_id).values()) == {1} for run_id in begun)


def test_a_run_goes_on_across_a_reload_unless_what_it_is_about_has_changed(tmp_path, provider, make_client):
    plugins = tmp_path / "plugins"
    install_numbers(plugins)
    flags = ("--only", "numbers", "--allow-runs", "--run-models", MODELS, "--drain-timeout", "20")
    with serving(tmp_path / "state", *flags, plugins=[plugins], environ=provider) as server:
        runs = Runs(make_client(server.url))

        def reload(model):
            run_id = runs.begin(model, max_connections=2)
            runs.done(run_id, 4)
            said = server.said().count("plugins reloaded")
            server.process.send_signal(1)
            until(lambda: server.said().count("plugins reloaded") > said)
            return runs.events(run_id)[-1][1]

        same = reload("openai/double?latency=0.15&for=reloaded")
        assert (same["status"], same["summary"]["score"]) == ("complete", 0.5)
        assert set(attempts(server.state, same["run_id"]).values()) == {1}
        install_numbers(plugins, "2")
        other = reload("openai/double?latency=0.15&for=changed")
        assert other["status"] == "incomplete"
        assert other["reason"] == "it cannot be carried on: these have changed: evaluator_version"


def test_a_run_that_has_ended_is_sealed_as_the_engine_has_recorded_it(runs, server, make_client):
    client = make_client(server.url)
    key = PublicKey.of_pem(client.get("/v1/receipts/key").json["pem"].encode())
    run_id = runs.begin(limit=6, epochs=2)
    runs.ended(run_id)
    answer = client.post("/b/numbers/v1/receipts", {"run_id": run_id})
    assert (answer.status, verify(answer.body, key).faults) == (200, [])
    said = answer.json["statement"]
    assert (said["kind"], said["model"], said["score"]) == ("run", "scripted/echo", 0.5)
    assert (said["tasks"], said["given"], said["scored"], said["results"]) == (12, 12, 12, 12)
    assert {(each["task"], each["epoch"]) for each in answer.json["entries"]} == {
        (f"n{n}", epoch) for n in range(6) for epoch in (1, 2)
    }


def test_a_run_that_is_under_way_is_not_sealed(runs, server, make_client):
    run_id = runs.begin("openai/double?latency=20", limit=2)
    answer = make_client(server.url).post("/b/numbers/v1/receipts", {"run_id": run_id})
    assert (answer.status, answer.json["type"]) == (409, "urn:benchhost:problem:conflict")
    runs.cancel(run_id)
    runs.cancel(run_id)
    runs.ended(run_id)
