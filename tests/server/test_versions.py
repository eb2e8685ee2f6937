"""Versions of a dataset: declared by the plugin, chosen by a header that is echoed or refused, never ignored."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest

from benchhost import Benchmark, Result, Task, Versions, registry
from benchhost.client import Client
from benchhost.errors import ClientError, PluginFault
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

PINNED = "X-Benchmark-Dataset-Version"

PLUGIN = '''
from benchhost import Benchmark, Result, Task, Versions


class Sum(Task, kw_only=True):
    answer: str


class Plugin(Benchmark[Sum]):
    """What is two and two? One version had it wrong, and lacked a task."""

    version = "7"

    def load_datasets(self):
        wrong = [Sum(id="two", question="2 + 2?", answer="5")]
        right = [Sum(id="two", question="2 + 2?", answer="4"), Sum(id="three", question="3 + 3?", answer="6")]
        return {
            "default": Versions({"1.0": wrong, "1.1": iter(right)}),
            "older": Versions({"a": right, "b": wrong}, current="a"),
            "plain": right,
        }

    def evaluate_response(self, task, response):
        return Result(score=float(response.text == task.answer))

    def calculate_final_score(self, results, dataset):
        return None
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "sums", PLUGIN)
    with serving(tmp_path_factory.mktemp("state"), "--only", "sums", plugins=[plugins]) as running:
        yield running


@pytest.fixture(scope="module")
def host(server, make_documented_client):
    return make_documented_client(server.url)


@pytest.fixture
def pinned(host):
    """Ask a route with the header; it is echoed exactly once if the answer is good, and else not at all."""

    def ask(method, path, version, body=None, **query):
        answer = host.request(method, f"/b/sums{path}", body, {PINNED: version, **_as_json(body)}, **query)
        echoes = answer.all_headers(PINNED)
        assert echoes == ([version] if answer.status == 200 else []), answer
        return answer

    return ask


def sent_twice(url, path, version):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest("GET", path)
    connection.putheader(PINNED, version)
    connection.putheader(PINNED, version)
    connection.endheaders()
    answer = connection.getresponse()
    detail = json.load(answer)["detail"]
    connection.close()
    return answer.status, detail


def _as_json(body):
    return {} if body is None else {"Content-Type": "application/json"}


def _body(value):
    return json.dumps(value).encode()


def submission(task="two", response="5", run="r"):
    return _body({"run_id": run, "task_id": task, "payload": {"type": "text", "schema": "text", "data": response}})


def test_without_the_header_the_last_version_answers_and_nothing_is_echoed(host):
    answer = host.get("/b/sums/verify-task-ids")
    assert (answer.json, answer.all_headers(PINNED)) == ({"task_ids": ["two", "three"]}, [])
    assert host.get("/b/sums/verify-task-ids", dataset="older").json == {"task_ids": ["two", "three"]}


def test_each_version_has_its_tasks(pinned):
    for path in ("/verify-task-ids", "/verify-task-ids/"):
        assert pinned("GET", path, "1.0").json == {"task_ids": ["two"]}
        assert pinned("GET", path, "1.1").json == {"task_ids": ["two", "three"]}
    assert pinned("GET", "/verify-task-ids", "b", dataset="older").json == {"task_ids": ["two"]}
    answer = pinned("GET", "/verify-task-ids", "1.0", task_ids="three")
    assert (answer.status, answer.detail) == (400, "Task ID not found: three")


def test_the_task_list_shows_the_version_that_was_asked_for(host, pinned):
    first, second = (pinned("GET", "/v1/datasets/default/tasks", version).json for version in ("1.0", "1.1"))
    assert (first["dataset_version"], second["dataset_version"]) == ("1.0", "1.1")
    assert first["dataset_fingerprint"] != second["dataset_fingerprint"]
    assert [len(each["tasks"]) for each in (first, second)] == [1, 2]
    assert host.get("/b/sums/v1/datasets/default/tasks").json == second


def test_version_tells_the_current_label_and_whether_another_can_be_chosen(host):
    said = host.get("/b/sums/version", dataset="default").json
    assert (said["dataset_version"], said["dataset_version_selection"]) == ("1.1", True)
    assert len(said["dataset_fingerprint"]) == 64
    plain = host.get("/b/sums/version", dataset="plain").json
    assert (plain["dataset_version"], plain["dataset_version_selection"]) == (plain["dataset_fingerprint"], False)
    exempt = host.request("GET", "/b/sums/version", headers={PINNED: "1.0"})
    assert (exempt.status, exempt.json["dataset_version"], exempt.all_headers(PINNED)) == (200, "1.1", [])


def test_a_response_is_judged_against_the_version_and_the_record_says_which(host, pinned):
    judged = {}
    for version in ("1.0", "1.1"):
        answer = pinned("POST", "/v1/evaluate", version, submission())
        judged[version] = answer.json["result"]["score"]
        found = host.get(f"/b/sums/v1/evaluations/{answer.headers['x-evaluation-id']}").json
        listed = pinned("GET", "/v1/datasets/default/tasks", version).json
        assert (found["dataset"], found["dataset_version"]) == ("default", version)
        assert found["dataset_fingerprint"] == listed["dataset_fingerprint"]
    assert judged == {"1.0": 1.0, "1.1": 0.0}
    assert pinned("POST", "/evaluate-response/", "1.0", _body({"task_id": "two", "response": "5"})).json["score"] == 1
    assert pinned("POST", "/v1/evaluate", "1.0", submission("three")).status == 404
    batch = _body({"run_id": "b", "submissions": [{"task_id": "two", "response": "5"}]})
    scores = [
        pinned("POST", "/v1/evaluate-batch", version, batch).json["evaluations"][0]["result"]["score"]
        for version in judged
    ]
    assert scores == [1.0, 0.0]


def test_scores_are_of_the_tasks_of_the_version(host, pinned):
    results = _body({"evaluation_results": {"two": {"score": 1.0}, "three": None}})
    assert pinned("POST", "/final-score/", "1.1", results).status == 200
    answer = pinned("POST", "/final-score/", "1.0", results)
    assert (answer.status, answer.detail) == (400, "Task ID not found: three")
    verdicts = _body({"run_id": "r", "evaluation_results": {"two": None}})
    assert pinned("POST", "/v1/score", "1.0", verdicts).status == 200
    smuggled = _body({"evaluation_results": {"two": None}, "dataset": "default\n1.0"})
    assert host.request("POST", "/b/sums/final-score", smuggled, _as_json(smuggled)).status == 400


def test_a_version_is_chosen_by_its_fingerprint_too(host, pinned):
    fingerprint = pinned("GET", "/v1/datasets/default/tasks", "1.0").json["dataset_fingerprint"]
    assert pinned("GET", "/verify-task-ids", fingerprint).json == {"task_ids": ["two"]}
    resolved = _body({"dataset": "default", "version": fingerprint})
    answer = host.request("POST", "/b/sums/resolve-dataset", resolved, _as_json(resolved))
    assert answer.json == {"dataset": "default", "version": {"id": fingerprint, "label": "1.0"}}


@pytest.mark.parametrize(
    "body, status, said",
    [
        ({"dataset": "default", "version": None}, 200, {"id": "1.1", "label": "1.1"}),
        ({"dataset": "default", "version": "1.0"}, 200, {"id": "1.0", "label": "1.0"}),
        ({"dataset": "older", "version": None}, 200, {"id": "a", "label": "a"}),
        ({"dataset": "plain", "version": None}, 400, "Dataset version selection is not supported"),
        ({"dataset": "plain", "version": "1"}, 400, "Dataset version selection is not supported"),
        ({"dataset": "default", "version": "2"}, 404, "The dataset default has no version 2. It has: 1.1, 1.0"),
    ],
)
def test_a_dataset_is_resolved(host, body, status, said):
    answer = host.request("POST", "/b/sums/resolve-dataset", _body(body), _as_json(body))
    assert answer.status == status
    if status == 200:
        assert answer.json == {"dataset": body["dataset"], "version": said}
    else:
        assert answer.detail == said
    assert answer.all_headers(PINNED) == []


@pytest.mark.parametrize(
    "body",
    [{"dataset": "default"}, {"version": None}, {"dataset": "", "version": None}, {"dataset": "d", "version": ""}],
)
def test_to_resolve_a_dataset_both_must_be_said(host, body):
    assert host.request("POST", "/b/sums/resolve-dataset", _body(body), _as_json(body)).status == 422


def test_what_cannot_be_honoured_is_refused(host, pinned):
    unknown = pinned("GET", "/verify-task-ids", "9")
    assert (unknown.status, unknown.detail) == (404, "The dataset default has no version 9. It has: 1.1, 1.0")
    plain = pinned("GET", "/verify-task-ids", "1.0", dataset="plain")
    assert (plain.status, plain.detail) == (400, "Dataset version selection is not supported")
    for unfit in ("", "1 0", "é".encode().decode("latin-1"), "x" * 1025):
        answer = pinned("GET", "/verify-task-ids", unfit)
        assert (answer.status, answer.detail) == (400, f"Invalid {PINNED}"), unfit
    runs = pinned("GET", "/v1/runs", "1.0")
    assert (runs.status, runs.detail) == (400, "Dataset version selection is not supported")
    body = _body({"dataset": "default", "version": "1.0"})
    assert pinned("POST", "/resolve-dataset", "1.0", body).status == 400
    assert sent_twice(host.url, "/b/sums/verify-task-ids", "1.0") == (400, f"Supply {PINNED} only once")


async def test_a_socket_names_the_version_before_anything_else(server, vals):
    frame = json.dumps({"task_id": "two", "response": "5", "eval_resume_state": None, "dataset": None})
    for version, score in (("1.0", 1.0), ("1.1", 0.0)):
        client = vals.ValsClient(f"{server.url}/b/sums", {PINNED: version})
        async with client.connect("/ws/evaluate-response") as socket:
            await socket.send(frame)
            chunks = [json.loads(text) async for text in socket]
        assert chunks[0] == {"type": "dataset_version", "data": {"id": version, "label": version}}
        assert (chunks[-1]["type"], chunks[-1]["data"]["score"]) == ("result", score)
    client = vals.ValsClient(f"{server.url}/b/sums", {PINNED: "9"})
    async with client.connect("/ws/evaluate-response") as socket:
        await socket.send(frame)
        [only] = [json.loads(text) async for text in socket]
    assert (only["type"], only["status_code"]) == ("error", 404)


TASKS = [Task(id="t", question="?")]


@pytest.mark.parametrize(
    "versions, problem",
    [
        (Versions({}), "its current version is ''"),
        (Versions({"1": TASKS}, current="2"), "its current version is '2'; expected one of: 1"),
        (Versions({"1 0": TASKS}), "a version is called '1 0'"),
        (Versions({"x" * 257: TASKS}), "expected 1 to 256 visible characters"),
        (Versions({1: TASKS}), "a version is called 1"),
        (Versions({"1": [*TASKS, *TASKS]}), "both have the id 't'"),
    ],
)
async def test_versions_that_cannot_be_served_are_a_fault_of_the_plugin(versions, problem):
    class Plugin(Benchmark[Task]):
        def load_datasets(self):
            return {"default": versions}

        def evaluate_response(self, task, response):
            return Result(score=1.0)

    with pytest.raises(PluginFault, match="dataset 'default'") as fault:
        await registry.of(plugin=Plugin)
    assert problem in str(fault.value)


def test_what_was_submitted_to_one_version_is_sealed_as_of_that_version(pinned):
    payload = {"type": "text", "schema": "", "data": "5"}
    body = {"run_id": "sealed", "task_id": "two", "payload": payload}
    for version in ("1.0", "1.1"):
        assert pinned("POST", "/v1/evaluate", version, json.dumps(body).encode()).status == 200
    sealed = {each: pinned("POST", "/v1/receipts", each, b'{"run_id": "sealed"}').json for each in ("1.0", "1.1")}
    assert [each["statement"]["score"] for each in sealed.values()] == [1.0, 0.0]
    assert [each["statement"]["tasks"] for each in sealed.values()] == [1, 2]
    assert len({each["statement"]["dataset_version"] for each in sealed.values()}) == 2


async def test_our_client_pins_a_version_on_every_way_and_is_told_that_it_is_honoured(server):
    async with Client(server.url, "sums", dataset_version="1.0") as client:
        assert await client.task_ids() == ["two"]
        assert (await client.tasks()).dataset_version == "1.0"
        assert (await client.evaluate("r", "two", "5")).result["score"] == 1.0
        assert (await client.watch_response("two", "5")).result["score"] == 1.0
        [(_, outcome)] = [each async for each in client.evaluate_batch("r", [("two", "5")])]
        assert outcome.evaluation_id == (await client.evaluate("r", "two", "5")).evaluation_id
        assert (await client.evaluation(outcome.evaluation_id)).task_id == "two"
        assert (await client.score("r", {"two": outcome})).final_score is not None
        assert [plugin.name for plugin in await client.plugins()] == ["sums"]
    async with Client(server.url, "sums", dataset_version="9") as client:
        with pytest.raises(ClientError, match="has no version 9"):
            await client.task_ids()
        assert "has no version 9" in (await client.watch_response("two", "5")).errors[0]
