"""Runs that callers start of a benchmark whose tasks are done in sandboxes, by a real server and real agents."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time

import pytest

from benchhost.testing import serving
from benchhost_terminal.jobs import jobs

DEADLINE = 60.0
DONE, NOT_DONE = "nested-archive", "merge-configs"
SOLUTION = next(job.solution for job in jobs() if job.id == DONE)
ASK = """
port=${OPENAI_BASE_URL#http://127.0.0.1:}
body='{"model": "scripted/echo", "messages": [{"role": "user", "content": "go on"}]}'
exec 3<>/dev/tcp/127.0.0.1/${port%/v1}
printf 'POST /v1/chat/completions HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' >&3
printf 'Content-Length: %s\\r\\n\\r\\n%s' ${#body} "$body" >&3
cat <&3 | grep -q 'go on' || exit 9
"""
CONTRACT = {"name": "sent", "run_cmd": "bash /bundle/sent/agent.sh {problem_statement_path} {task_id}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    flags = ["--only", "terminal", "--allow-runs", "--allow-sandboxes", "--max-sandboxes-per-tenant", "2"]
    with serving(tmp_path_factory.mktemp("state"), *flags, environ={"HOST_SECRET": "never-lent-12345"}) as running:
        yield running


@pytest.fixture
def runs(server, make_client):
    client = make_client(server.url)

    def start(**request):
        return client.post("/b/terminal/v1/runs", {"model": "scripted/echo"} | request)

    def ended(answer):
        assert answer.status == 202, answer
        end = time.monotonic() + DEADLINE
        while (run := client.get(f"/b/terminal/v1/runs/{answer.json['run_id']}").json)["status"] == "running":
            assert time.monotonic() < end
            time.sleep(0.1)
        return run

    start.ended = ended
    return start


def sent(script, **contract):
    return {"contract": CONTRACT | contract, "files": {"agent.sh": {"text": script}}}


def test_an_agent_that_is_sent_does_a_job_and_asks_the_model_of_the_run(runs):
    script = f'{ASK}\nif [ "$2" = {DONE} ]; then sh /bundle/sent/more/solution.sh; fi\n'
    agent = sent(script)
    agent["files"]["more/solution.sh"] = {"base64": base64.b64encode(SOLUTION.encode()).decode(), "executable": True}
    run = runs.ended(runs(agent=agent, task_ids=[DONE, NOT_DONE]))
    summary = run["summary"]
    assert (run["status"], run["runner"]) == ("complete", "agent sent"), run
    assert (summary["score"], summary["scored"]) == (0.75, 2)
    assert summary["spend"]["calls"] == 2


def test_the_files_of_an_agent_are_gone_when_its_run_has_ended(runs, server):
    runs.ended(runs(agent=sent("exit 1"), task_ids=[DONE]))
    [own] = (server.state / "agents").iterdir()
    end = time.monotonic() + DEADLINE
    while list(own.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_host_alone_carries_on_what_an_agent_does_that_was_sent_to_it(runs, server):
    run = runs.ended(runs(agent=sent("exit 1"), task_ids=[DONE]))
    command = [sys.executable, "-m", "benchhost", "runs", "resume", run["run_id"], "--state", str(server.state)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "the agent sent was sent to the host by a caller" in said.stderr
    command[4:6] = ["show", run["run_id"], "--json"]
    shown = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    [asked] = [event["data"] for event in shown["events"] if event["kind"] == "requested"]
    assert asked["agent"] == {"contract": CONTRACT, "files": ["agent.sh"]}


def test_a_runner_that_works_in_sandboxes_needs_no_agent(runs):
    run = runs.ended(runs(task_ids=[NOT_DONE], params={"turns": 1}))
    assert run["summary"]["attempted"] == 1, run


def test_an_agent_that_is_sent_is_given_nothing_of_the_host_and_its_sender_hears_what_it_said(runs):
    run = runs.ended(runs(agent=sent("env; ls /bundle/sent; exit 3", final_output="/o"), task_ids=[DONE]))
    [error] = run["summary"]["errors"]
    assert "the agent failed (exit 3)" in error["message"]
    assert "agent.sh" in error["message"]
    assert "never-lent" not in error["message"]


def test_an_agent_whose_model_never_answered_is_not_judged(runs):
    run = runs.ended(runs(agent=sent(ASK.replace("scripted/echo", "another") + "\nexit 0"), task_ids=[DONE]))
    assert (run["status"], run["summary"]["scored"]) == ("errors", 0)


@pytest.mark.parametrize(
    "request_, told",
    [
        ({"agent": sent("", secrets={"OPENAI_API_KEY": "x"})}, "wants OPENAI_API_KEY as secrets"),
        ({"agent": sent("", run_cmd="true")}, "never says where the problem is"),
        ({"agent": sent(""), "runner": "terminal"}, "takes the place of a runner"),
        ({"agent": sent(""), "params": {"x": 1}}, "has no parameter x"),
        ({"agent": sent("", kwargs={"__slots__": {}})}, "no name of a parameter"),
        ({"agent": sent("", kwargs={"x": {"type": "dict", "default": "[" * 100_000}})}, "must be dict"),
        ({"agent": sent("", defaults={"model": {"choices": 1}})}, "Expected `array | null`"),
        ({"agent": sent("", final_output="/a b")}, "expected one path"),
        ({"agent": sent("", unheard_of=1)}, "unknown field `unheard_of`"),
        ({"agent": {"contract": CONTRACT, "files": {"../x": {"text": ""}}}}, "below the folder of the agent"),
        ({"agent": {"contract": CONTRACT, "files": {"a": {}}}}, "expected its content"),
        ({"agent": {"contract": CONTRACT, "files": {"a": {"text": ""}, "a/b": {"text": ""}}}}, "cannot be, beside"),
        ({"runner": "default"}, "judges what is done in a sandbox"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_made(runs, request_, told):
    answer = runs(**request_)
    assert answer.status == 422, answer
    assert told in str(answer.json)


def test_agents_are_taken_only_where_callers_may_have_sandboxes(tmp_path, make_client):
    with serving(tmp_path, "--only", "terminal", "--allow-runs") as running:
        answer = make_client(running.url).post(
            "/b/terminal/v1/runs", {"model": "scripted/echo", "agent": sent(""), "task_ids": [DONE]}
        )
    assert (answer.status, answer.json["type"]) == (403, "urn:benchhost:problem:sandboxes-not-allowed")


def test_a_host_without_sandboxes_runs_nothing_that_is_done_in_them(tmp_path, make_client):
    with serving(tmp_path, "--only", "terminal", "--allow-runs", "--sandbox", "none") as running:
        answer = make_client(running.url).post("/b/terminal/v1/runs", {"model": "scripted/echo"})
    assert answer.status == 501, answer
