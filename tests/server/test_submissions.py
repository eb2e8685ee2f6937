"""Submissions that are judged in a fresh sandbox of the host's."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from http.client import HTTPException

import psutil
import pytest

from benchhost.testing import install_plugin, serving

PATCHES = """
import asyncio

from benchhost import Benchmark, Environment, Error, Message, Resources, Result, Task

PLACE = "/work"


class Plugin(Benchmark[Task]):
    evaluation_timeout = 30.0
    accepted_submission_schemas = {"text": {"patch"}, "artifact": {"zip", "tar"}}

    def load_datasets(self):
        names = ("good", "declines", "set up badly", "no image", "hangs", "dies")
        return {"default": [Task(id=name, question="?") for name in names]}

    def retrieve_task(self, task):
        image = "none" if task.id == "no image" else "python:3.11"
        return Environment(image=image, problem_path=f"{PLACE}/problem", cwd=PLACE, resources=Resources(vcpu=2))

    async def setup_task(self, task, sandbox):
        await sandbox.write(f"{PLACE}/problem", b"as set up")
        if task.id == "set up badly":
            raise ValueError("the hidden cause")

    async def place_submission(self, task, submission, sandbox):
        if task.id == "declines":
            yield Error("the patch does not apply")
        yield Message("placing it")
        await sandbox.write(f"{PLACE}/{submission.type}.{submission.schema}", submission.data)

    async def evaluate_instance(self, task, sandbox):
        listed = (await sandbox.run("ls; cat problem", cwd=PLACE)).text.split("\\n")
        if task.id == "hangs":
            await asyncio.sleep(60)
        if task.id == "dies":
            import os
            os._exit(1)
        yield Result(score=1.0, feedback=" ".join(listed))
"""

INSTANCES = """
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="good", question="?")]}

    async def evaluate_instance(self, task, sandbox):
        return Result(score=1.0)
"""


@pytest.fixture(scope="module")
def patches(tmp_path_factory, folders):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "patches", PATCHES)
    install_plugin(folder, "instances", INSTANCES)
    folders.install(folder)
    return folder


FLAGS = ["--only", "patches,instances", "--sandbox", "folders"]


@pytest.fixture(scope="module")
def server(tmp_path_factory, patches):
    with serving(tmp_path_factory.mktemp("state"), *FLAGS, plugins=[patches]) as running:
        yield running


@pytest.fixture
def client(server, make_client):
    return make_client(server.url)


def submit(client, task="good", *, run="r", kind="text", schema="patch", data="diff", benchmark="patches"):
    payload = {"type": kind, "schema": schema, "data": data}
    return client.post(f"/b/{benchmark}/v1/evaluate", {"run_id": run, "task_id": task, "payload": payload})


def there_are(server):
    """The sandboxes that are there."""
    return [path for path in (server.state / "sandboxes").glob("*") if path.is_dir()]


def log(server):
    path = server.state / "sandboxes" / "log"
    return path.read_text().splitlines() if path.exists() else []


def test_each_is_judged_in_a_sandbox_of_its_own_that_is_deleted(server, client):
    before = len(log(server))
    first, second = submit(client, data="one"), submit(client, data="two")
    for answer in (first, second):
        assert answer.status == 200
        assert answer.json["status"] == "evaluated", answer
        assert answer.json["result"]["feedback"] == "problem text.patch as set up"
    made, gone = ([line for line in log(server)[before:] if line.startswith(word)] for word in ("created", "deleted"))
    assert [line.split()[2:] for line in made] == [["none", "python:3.11"]] * 2, "they reach no network"
    assert {line.split()[1] for line in made} == {line.split()[1] for line in gone}
    assert there_are(server) == []


def test_one_that_is_sent_again_is_answered_from_the_record(server, client):
    first = submit(client, data="once")
    before = len(log(server))
    again = submit(client, data="once")
    assert (again.json, again.headers["x-evaluation-id"]) == (first.json, first.headers["x-evaluation-id"])
    assert len(log(server)) == before


def test_an_artifact_may_be_in_the_request(client):
    data = "data:application/zip;base64," + base64.b64encode(b"PK\x00\xff").decode()
    answer = submit(client, kind="artifact", schema="zip", data=data)
    assert answer.json["result"]["feedback"] == "artifact.zip problem as set up"


@pytest.mark.parametrize(
    "what, status, said",
    [
        ({"schema": "diff"}, 400, "This benchmark does not accept text schema diff. Use one of: patch."),
        (
            {"kind": "artifact", "schema": "patch", "data": "data:;base64,"},
            400,
            "This benchmark does not accept artifact schema patch. Use one of: tar, zip.",
        ),
        ({"kind": "artifact", "schema": "zip", "data": ""}, 400, "An artifact submission needs data"),
        ({"kind": "artifact", "schema": "zip", "data": "data:;base64,???"}, 400, "not in Base64"),
        (
            {"kind": "artifact", "schema": "zip", "data": "submission-artifacts/a/b/c"},
            404,
            "Submission artifact not found for this evaluation.",
        ),
        ({"task": "nope", "schema": "diff"}, 404, "Task not found: nope"),
        ({"benchmark": "instances"}, 501, "/ws/evaluate-instance"),
    ],
)
def test_what_is_not_taken_is_refused_before_there_is_a_sandbox(what, status, said, server, client):
    before = len(log(server))
    answer = submit(client, **what)
    assert answer.status == status, answer
    assert said in answer.detail
    assert len(log(server)) == before


@pytest.mark.parametrize(
    "task, said",
    [
        ("declines", "the patch does not apply"),
        ("set up badly", "The benchmark's hook raised an exception. The response was not scored"),
        ("no image", "No such sandbox can be made. The response was not scored"),
        ("dies", "The grading process ended. The response was not scored"),
    ],
)
def test_a_failure_is_an_answer_and_leaves_no_sandbox(task, said, server, client):
    answer = submit(client, task)
    assert (answer.status, answer.json["status"], answer.json["result"]) == (200, "error", None)
    assert said in answer.json["errors"][0]
    assert "hidden" not in answer.json["errors"][0]
    assert there_are(server) == []


def test_the_mode_is_told(client):
    assert client.get("/b/patches/version").json["eval_mode"] == "sandbox"
    assert client.get("/b/instances/version").json["eval_mode"] == "sandbox"


def wait_until(happened, what):
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def in_background(client, *arguments):
    def ask():
        try:
            submit(client, *arguments)
        except (OSError, HTTPException):
            return

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_host_that_is_killed_leaves_sandboxes_that_the_next_one_deletes(tmp_path, patches, make_client):
    with serving(tmp_path, *FLAGS, plugins=[patches]) as server:
        asking = in_background(make_client(server.url), "hangs")
        wait_until(lambda: there_are(server), "a sandbox is made")
        server.kill()
        asking.join()
        [left] = there_are(server)
    other = left.with_name("another-hosts")
    (other / "files").mkdir(parents=True)
    labels = {"benchhost-host": "another", "benchhost-owner": "gone"}
    (other / "info.json").write_text(json.dumps({"labels": labels, "image": None, "created_at": 0.0}))
    with serving(tmp_path, *FLAGS, plugins=[patches]) as server:
        wait_until(lambda: there_are(server) == [other], "what was left behind is deleted, and nothing of others")
        assert "left behind" in server.said()


def test_a_worker_that_is_killed_leaves_sandboxes_that_are_deleted(tmp_path, patches, make_client):
    with serving(tmp_path, *FLAGS, plugins=[patches]) as server:
        asking = in_background(make_client(server.url), "hangs")
        wait_until(lambda: there_are(server), "a sandbox is made")
        [worker] = [child for child in psutil.Process(server.process.pid).children() if child.ppid()]
        os.kill(worker.pid, signal.SIGKILL)
        asking.join()
        wait_until(lambda: not there_are(server), "the worker that takes its place deletes it")


def test_a_host_that_is_stopped_leaves_no_sandbox_either(tmp_path, patches, make_client):
    flags = [*FLAGS, "--drain-timeout", "1"]
    with serving(tmp_path, *flags, plugins=[patches]) as server:
        asking = in_background(make_client(server.url), "hangs")
        wait_until(lambda: there_are(server), "a sandbox is made")
        server.stop()
        asking.join()
    with serving(tmp_path, *flags, plugins=[patches]) as server:
        wait_until(lambda: not there_are(server), "it is deleted, at the latest by the next one")


def test_a_host_without_sandboxes_says_so(tmp_path, patches, make_client):
    with serving(tmp_path, "--only", "patches", "--sandbox", "none", plugins=[patches]) as server:
        answer = submit(make_client(server.url))
        assert answer.status == 503
        assert answer.detail == "The sandbox provider is not available"
