"""`benchhost run --dataset-version`: the version is pinned, here and at a host, kept with the run, and sealed."""

from __future__ import annotations

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from benchhost.testing import install_plugin, serving

PLUGIN = '''
from benchhost import Benchmark, Response, Result, Task, Versions


class Sum(Task, kw_only=True):
    answer: str


class Plugin(Benchmark[Sum]):
    """What is two and two? One version had it wrong, and lacked a task."""

    version = "7"

    def load_datasets(self):
        wrong = [Sum(id="two", question="2 + 2, wrongly?", answer="5")]
        right = [Sum(id="two", question="2 + 2?", answer="4"), Sum(id="three", question="3 + 3?", answer="6")]
        return {"default": Versions({"1.0": wrong, "1.1": right}), "plain": right}

    def prompt(self, task):
        return f"Say the answer: {task.question}"

    def evaluate_response(self, task, response):
        return Result(score=float(response.text == task.answer))

    def reference_response(self, task):
        return Response(task.answer)

    def calculate_final_score(self, results, dataset):
        return None
'''


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "sums", PLUGIN)
    return plugins


@pytest.fixture
def here(plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.setenv("PYTHONPATH", str(plugins))


@pytest.fixture(scope="module")
def host(plugins, tmp_path_factory):
    flags = ("--only", "sums", "--allow-runs", "--run-models", "scripted/echo")
    with serving(tmp_path_factory.mktemp("host"), *flags, plugins=[plugins]) as server:
        yield server


def test_a_run_of_a_pinned_version_is_of_its_tasks_and_answers_and_another_version_is_drift(here, benchhost, state):
    call = ("run", "sums", "--model", "scripted/reference", "--run-id", "pinned", "--json")
    said = benchhost(*call, "--dataset-version", "1.0")
    assert (said.code, said.json["summary"]["scored"], said.json["summary"]["score"]) == (0, 1, 1.0), said.err
    assert benchhost("runs", "show", "pinned", "--json").json["config"]["task_count"] == 1
    assert benchhost("runs", "resume", "pinned", "--json").code == 0  # which knows the version
    drifted = benchhost(*call)
    assert drifted.code == 5
    assert "dataset_version" in drifted.err


def test_a_receipt_names_the_version_that_was_run(here, benchhost, state, tmp_path):
    labels = {"1.0": "first", "1.1": "second"}
    for label, run in labels.items():
        benchhost("run", "sums", "--model", "scripted/reference", "--run-id", run, "--dataset-version", label)
    benchhost("run", "sums", "--model", "scripted/reference", "--run-id", "current")
    config = {run: benchhost("runs", "show", run, "--json").json["config"] for run in (*labels.values(), "current")}
    sealed = {}
    for run in config:
        assert benchhost("runs", "seal", run, "--to", tmp_path / f"{run}.json").code == 0
        sealed[run] = json.loads((tmp_path / f"{run}.json").read_text())["statement"]["dataset_version"]
    assert sealed == {run: each["dataset_version"] for run, each in config.items()}
    assert sealed["first"] != sealed["second"] == sealed["current"]


def test_a_version_that_is_not_there_is_told_with_those_that_are(here, benchhost, state):
    said = benchhost("run", "sums", "--model", "scripted/reference", "--dataset-version", "2.0")
    assert (said.code, "The dataset default has no version 2.0. It has: 1.1, 1.0" in said.err) == (2, True), said
    said = benchhost("run", "sums", "--model", "scripted/reference", "--dataset", "plain", "--dataset-version", "1.0")
    assert (said.code, "Dataset version selection is not supported" in said.err) == (2, True), said


def test_a_host_is_asked_for_the_pinned_version_and_judges_by_it(benchhost, host, responses):
    model = responses({"two": "5", "three": "6"})
    call = ("run", "sums", "--host", host.url, "--model", model, "--json")
    scored = {}
    for label in ("1.0", "1.1"):
        said = benchhost(*call, "--dataset-version", label, "--run-id", f"far-{label}")
        assert said.code == 0, said.err
        scored[label] = (said.json["summary"]["scored"], said.json["summary"]["score"])
    assert scored == {"1.0": (1, 1.0), "1.1": (2, 0.5)}
    versions = {
        benchhost("runs", "show", f"far-{label}", "--json").json["config"]["dataset_version"] for label in scored
    }
    assert len(versions) == 2
    assert benchhost("runs", "resume", "far-1.0", "--json").code == 0
    drifted = benchhost(*call, "--run-id", "far-1.0")
    assert (drifted.code, "dataset_version" in drifted.err) == (5, True)
    unknown = benchhost(*call, "--dataset-version", "9")
    assert (unknown.code, "has no version 9" in unknown.err) == (1, True), unknown
    spaced = benchhost(*call, "--dataset-version", "one point oh")
    assert (spaced.code, "can be no version that a host is asked for" in spaced.err) == (2, True), spaced


def test_callers_say_which_version_their_run_is_of(host):
    def start(version):
        body = json.dumps({"model": "scripted/echo", "dataset_version": version}).encode()
        request = Request(f"{host.url}/b/sums/v1/runs", body, {"content-type": "application/json"})
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)

    assert start("1.0")["dataset_version"] != start("1.1")["dataset_version"]
    with pytest.raises(HTTPError) as refused:
        start("9")
    assert json.load(refused.value)["type"] == "urn:benchhost:problem:unknown-version"
