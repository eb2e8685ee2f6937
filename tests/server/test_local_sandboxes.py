"""Sandboxes on the machine of a real server: its workers share them, and none outlives it."""

from __future__ import annotations

import http.client
import os
import signal
import time
from pathlib import Path

import pytest

from benchhost.testing import install_plugin, serving

PLAIN = """
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="good", question="?")]}

    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "plain", PLAIN)
    return folder


def running(word):
    """Whether something that was started with a word still runs on this machine."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in place.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def until(true):
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def begin(server, client, word):
    """Make a sandbox in which something runs on in the background."""
    made = client.post("/v1/sandboxes", {})
    assert made.status == 201, (made, server.said())
    command = f"setsid sleep {word} > /dev/null 2>&1 &"
    assert client.post(f"/v1/sandboxes/{made.json['id']}/exec", {"command": command}).status == 200
    until(lambda: running(word))
    return made.json["id"]


@pytest.mark.parametrize("who", ["everything", "server", "stopped"])
def test_no_sandbox_outlives_the_server(who, here, tmp_path, make_client):
    word = f"{5 * 10**6 + os.getpid()}"
    flags = ["--only", "plain", "--allow-sandboxes", "--drain-timeout", "2"]
    with serving(tmp_path, *flags, plugins=[here]) as server:
        begin(server, make_client(server.url), word)
        if who == "everything":
            server.kill()
        elif who == "server":
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
        else:
            server.stop()
        until(lambda: not running(word))
        if who != "stopped":
            with serving(tmp_path, *flags, plugins=[here]) as again:
                assert make_client(again.url).get("/v1/sandboxes").json == {"sandboxes": []}
                assert list((tmp_path / "sandboxes" / "sandboxes").iterdir()) == []
                begin(again, make_client(again.url), word)
            until(lambda: not running(word))


def test_every_worker_finds_a_sandbox_and_none_takes_it_along(here, tmp_path, make_client):
    word = f"{6 * 10**6 + os.getpid()}"
    with serving(tmp_path, "--only", "plain", "--allow-sandboxes", "--workers", "2", plugins=[here]) as server:
        client = make_client(server.url)
        id_ = begin(server, client, word)
        for _ in range(20):  # connections are spread over the workers
            answer = make_client(server.url).get(f"/v1/sandboxes/{id_}")
            assert answer.status == 200, answer
        for worker in children(server.process.pid):
            os.kill(worker, signal.SIGKILL)
        until(lambda: answers(make_client(server.url), id_))
        assert running(word)
    until(lambda: not running(word))


def answers(client, id_):
    """Whether a command can be run in a sandbox; a connection to a worker that was killed is no answer."""
    try:
        answer = client.post(f"/v1/sandboxes/{id_}/exec", {"command": "echo still here"})
    except (OSError, http.client.HTTPException):
        return False
    assert answer.status == 200, answer
    return True


def children(pid):
    """The workers, which hold the folder's lock as their parent does."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in found if b"serve" in Path(f"/proc/{each}/cmdline").read_bytes()]
