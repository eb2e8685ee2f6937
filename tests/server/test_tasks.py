"""What a benchmark tells of itself and of its tasks."""

from __future__ import annotations

import pytest

import benchhost

TEN = [f"q{n}" for n in range(10)]


def test_the_host_and_its_benchmarks_say_that_they_are_well(host):
    for path in ("/health", "/b/q/health", "/b/boxes/health"):
        answer = host.get(path)
        assert (answer.status, answer.json) == (200, {"status": "ok"})
        assert answer.headers["content-type"] == "application/json"


def test_version_tells_of_the_host_the_plugin_and_the_dataset(host):
    answer = host.get("/b/q/version").json
    assert len(answer["dataset_version"]) == 64
    assert answer.pop("dataset_version") == answer.pop("dataset_fingerprint")
    assert answer == {
        "framework_version": benchhost.__version__,
        "service_name": "plugin-q",
        "service_version": "1.0",
        "dataset_version_selection": False,
        "eval_mode": "text",
    }
    assert host.get("/b/boxes/version").json["eval_mode"] == "sandbox"


def test_each_dataset_has_a_version_of_its_own(host):
    versions = {host.get("/b/q/version", dataset=name).json["dataset_version"] for name in ("", "odd names", "empty")}
    assert len(versions) == 3


@pytest.mark.parametrize(
    "text, chosen",
    [
        ("0:3", slice(0, 3)),
        ("3:10:2", slice(3, 10, 2)),
        ("-2:", slice(-2, None)),
        ("::-1", slice(None, None, -1)),
        (":", slice(None)),
        ("", slice(None)),
        ("3", slice(3, None)),
        ("0:0", slice(0, 0)),
        ("5:2", slice(5, 2)),
        ("8:1000", slice(8, 1000)),
        ("1000:", slice(1000, None)),
        ("0: 2", slice(0, 2)),
        ("1_0:", slice(10, None)),
        ("+1:4", slice(1, 4)),
        (f"0:{10**30}", slice(0, 10**30)),
    ],
)
def test_a_slice_means_what_python_means_by_it(host, text, chosen):
    answer = host.get("/b/q/verify-task-ids", slice=text)
    assert (answer.status, answer.json) == (200, {"task_ids": TEN[chosen]})


@pytest.mark.parametrize(
    "text, detail",
    [
        ("::0", "slice step cannot be zero"),
        ("1:2:3:4", "Invalid slice format"),
        ("a:b", "invalid literal for int() with base 10: 'a'"),
        ("1.5", "invalid literal for int() with base 10: '1.5'"),
        (" ", "invalid literal for int() with base 10: ' '"),
    ],
)
def test_what_is_no_slice_is_refused_in_the_words_of_the_contract(host, text, detail):
    answer = host.get("/b/q/verify-task-ids", slice=text)
    assert (answer.status, answer.detail) == (400, detail)


def test_a_refused_slice_is_not_repeated_at_any_length(host):
    answer = host.get("/b/q/verify-task-ids", slice="9" * 6000)
    assert answer.status == 400
    assert len(answer.body) < 400


def test_without_a_filter_every_task_is_named_in_order(host):
    for query in ({}, {"dataset": ""}, {"dataset": "default"}):
        assert host.get("/b/q/verify-task-ids", **query).json == {"task_ids": TEN}


def test_ids_are_answered_once_each_in_the_order_of_the_caller(host):
    answer = host.get("/b/q/verify-task-ids", task_ids=["q7", "q1", "q7"])
    assert (answer.status, answer.json) == (200, {"task_ids": ["q7", "q1"]})


def test_ids_win_over_a_slice(host):
    answer = host.get("/b/q/verify-task-ids", task_ids=["q7"], slice="not even a slice")
    assert (answer.status, answer.json) == (200, {"task_ids": ["q7"]})


def test_ids_may_hold_whatever_a_url_must_quote(host):
    odd = ["a/b", "ü", "a b", 'say "x"', "a&b=c"]
    assert host.get("/b/q/verify-task-ids", dataset="odd names", task_ids=odd).json == {"task_ids": odd}


@pytest.mark.parametrize("task_id", ["nope", "", "Q1", " q1"])
def test_an_id_that_is_not_in_the_dataset_is_refused(host, task_id):
    answer = host.get("/b/q/verify-task-ids", task_ids=["q1", task_id])
    assert (answer.status, answer.detail) == (400, f"Task ID not found: {task_id}")


@pytest.mark.parametrize("query", ["task_ids=%FF", "task_ids=%ED%A0%80", "slice=%FF", "dataset=%ED%A0%80"])
def test_a_query_that_is_no_utf_8_is_refused_like_any_unknown_name(host, query):
    answer = host.get(f"/b/q/verify-task-ids?{query}")
    assert answer.status == 400
    assert isinstance(answer.detail, str)


@pytest.mark.parametrize("path", ["/verify-task-ids", "/version"])
def test_an_unknown_dataset_is_refused_with_those_that_there_are(host, path):
    answer = host.get(f"/b/q{path}", dataset="nope")
    assert answer.status == 400
    assert answer.detail == "Dataset 'nope' not found. Available datasets: default, odd names, empty"


def test_the_task_list_shows_what_is_public_and_nothing_else(host):
    answer = host.get("/b/q/v1/datasets/default/tasks")
    assert answer.status == 200
    assert answer.json["dataset"] == "default"
    assert answer.json["dataset_version"] == host.get("/b/q/version").json["dataset_version"]
    assert answer.json["tasks"] == [
        {"id": f"q{n}", "question": f"What is {n} + {n}?", "timeout": None, "subject": "arithmetic"} for n in range(10)
    ]


def test_a_dataset_may_be_empty_and_have_a_name_that_a_url_must_quote(host):
    assert host.get("/b/q/v1/datasets/empty/tasks").json["tasks"] == []
    assert len(host.get("/b/q/v1/datasets/odd%20names/tasks").json["tasks"]) == 5


def test_the_list_of_an_unknown_dataset_is_not_found(host):
    answer = host.get("/b/q/v1/datasets/nope/tasks")
    assert (answer.status, answer.detail) == (404, "Dataset not found: nope")


def test_a_benchmark_that_is_not_listed_says_so(host):
    answer = host.get("/b/scored/v1/datasets/default/tasks")
    assert (answer.status, answer.detail) == (501, "The benchmark scored does not list its tasks.")


def test_a_task_is_attempted_in_the_image_that_its_benchmark_names(host):
    answer = host.get("/b/boxes/retrieve-task/", task_id="image", skip_validation="true")
    assert answer.status == 200
    assert answer.json == {
        "docker_image": "python:3.12",
        "source": {"type": "image", "image": "python:3.12"},
        "problem_path": "/problem.md",
        "cwd": "/work",
        "agent_timeout": 60.0,
        "resources": {"vcpu": 4, "memory": 8, "disk": 20, "gpu": 0, "gpu_type": None},
    }


def test_a_snapshot_is_told_to_older_clients_in_their_way(host):
    answer = host.get("/b/boxes/retrieve-task/", task_id="snapshot").json
    assert answer["source"] == {"type": "snapshot", "snapshot": "snap-1"}
    assert answer["docker_image"] == "snapshot:snap-1"
    assert answer["agent_timeout"] is None


@pytest.mark.parametrize("word", ["true", "True", "1", "yes", "on", "false", "0", "no", "OFF"])
def test_skip_validation_may_be_said_in_many_words(host, word):
    assert host.get("/b/boxes/retrieve-task/", task_id="image", skip_validation=word).status == 200


def test_skip_validation_must_be_one_of_them(host):
    answer = host.get("/b/boxes/retrieve-task/", task_id="image", skip_validation="perhaps")
    assert answer.status == 422
    assert answer.detail == [
        {"type": "malformed", "loc": ["query", "skip_validation"], "msg": "expected true or false"}
    ]


def test_a_missing_parameter_is_named(host):
    answer = host.get("/b/boxes/retrieve-task/")
    assert answer.status == 422
    assert answer.detail == [{"type": "malformed", "loc": ["query", "task_id"], "msg": "the parameter is required"}]


def test_an_unknown_task_is_attempted_nowhere(host):
    answer = host.get("/b/boxes/retrieve-task/", task_id="nope")
    assert (answer.status, answer.detail) == (400, "Task ID not found: nope")


def test_a_text_benchmark_has_no_sandboxes(host):
    answer = host.get("/b/q/retrieve-task/", task_id="q1")
    assert (answer.status, answer.detail) == (501, "The benchmark q does not implement retrieve_task.")


@pytest.mark.parametrize("task_id", ["raises", "nonsense", "half a core", "says no to the caller"])
def test_a_hook_that_fails_to_name_a_sandbox_is_an_error_of_ours(host, server, task_id):
    answer = host.get("/b/boxes/retrieve-task/", task_id=task_id)
    assert (answer.status, answer.detail) == (500, "Internal server error")
    assert b"hidden" not in answer.body
    assert answer.json["error_id"] in server.said()


def test_a_version_of_a_dataset_is_refused_rather_than_ignored(host):
    pinned = {"X-Benchmark-Dataset-Version": "2026-01"}
    answer = host.request("GET", "/b/q/verify-task-ids", headers=pinned)
    assert (answer.status, answer.detail) == (400, "Dataset version selection is not supported")
    assert host.request("GET", "/b/q/v1/datasets/default/tasks", headers=pinned).status == 400
    assert host.request("GET", "/b/q/health", headers=pinned).status == 200
