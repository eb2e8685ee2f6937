"""`benchhost run --host`: a benchmark at a real server, judged there."""

from __future__ import annotations

import pytest

from benchhost.testing import install_plugin, serving

TOKEN = "open-sesame-0123456789"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(
        plugins,
        "unlisted",
        """
        from benchhost import Benchmark, Result, Task

        class Plugin(Benchmark[Task]):
            listed = False

            def load_datasets(self):
                return {"default": [Task(id="a", question="?")]}

            def evaluate_response(self, task, response):
                return Result(score=1.0)
        """,
    )
    state = tmp_path_factory.mktemp("host")
    flags = ("--only", "arithmetic,unlisted")
    with serving(state, *flags, plugins=[plugins], environ={"BENCHHOST_API_KEY": TOKEN}) as server:
        yield server


def test_a_run_against_a_remote_host_is_judged_there_and_carried_on(benchhost, host, responses, monkeypatch) -> None:
    monkeypatch.setenv("BENCHHOST_TOKEN", TOKEN)
    model = responses({"addition-0000": "not a number"})
    call = ("run", "arithmetic", "--limit", "3", "--host", host.url, "--model", model, "--run-id", "far")
    said = benchhost(*call, "--json")
    assert said.code == 3, said.err
    assert (said.json["summary"]["scored"], said.json["summary"]["attempted"]) == (1, 3)
    config = benchhost("runs", "show", "far", "--json").json["config"]
    assert (config["source"], config["host"]) == ("host", f"{host.url}/b/arithmetic")
    responses(dict.fromkeys(("addition-0000", "subtraction-0001", "multiplication-0002"), "0"))
    resumed = benchhost("runs", "resume", "far", "--json")
    assert (resumed.code, resumed.json["summary"]["scored"]) == (0, 3)
    assert TOKEN not in benchhost("runs", "show", "far", "--json").out, "the token is recorded nowhere"


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_token_that_is_not_allowed_is_told_before_the_first_task(benchhost, host, token) -> None:
    flags = [] if token is None else ["--token", token]
    said = benchhost("run", "arithmetic", "--host", host.url, "--model", "scripted/echo", *flags)
    assert (said.code, said.out) == (1, "")
    assert "token" in said.err
    assert benchhost("runs", "list", "--json").json == {"runs": []}


def test_a_host_that_cannot_be_reached_is_told(benchhost) -> None:
    said = benchhost("run", "arithmetic", "--host", "http://127.0.0.1:9", "--model", "scripted/echo")
    assert (said.code, said.out) == (1, "")
    assert "127.0.0.1:9" in said.err


def test_the_gold_answers_stay_at_their_host(benchhost, host) -> None:
    said = benchhost("run", "arithmetic", "--host", host.url, "--token", TOKEN, "--model", "scripted/reference")
    assert (said.code, said.out) == (2, "")
    assert f"the host {host.url}/b/arithmetic keeps them" in said.err


def test_a_benchmark_that_the_host_does_not_have_is_told_with_those_that_it_has(benchhost, host) -> None:
    said = benchhost("run", "gsm8k", "--host", host.url, "--token", TOKEN, "--model", "scripted/echo")
    assert said.code == 1
    assert "arithmetic" in said.err


def test_a_benchmark_that_does_not_list_its_tasks_is_told_and_judges_tasks_that_are_brought(
    benchhost, host, tmp_path
) -> None:
    call = ("run", "unlisted", "--host", host.url, "--token", TOKEN, "--model", "scripted/echo")
    said = benchhost(*call)
    assert (said.code, said.out) == (1, "")
    assert "list" in said.err
    assert "Traceback" not in said.err
    (tmp_path / "tasks.jsonl").write_text('{"id": "a", "question": "my own"}\n')
    brought = benchhost(*call, "--dataset-file", "tasks.jsonl", "--json")
    assert (brought.code, brought.json["summary"]["score"]) == (0, 1.0), brought.err
    (tmp_path / "q.txt").write_text("my own")
    problem = benchhost(*call, "a", "--problem", "q.txt", "--json")
    assert (problem.code, problem.json["summary"]["score"]) == (0, 1.0), problem.err
