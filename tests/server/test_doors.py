"""Who is let in while plugins change, what plugins are given of the host, and how much is held at once."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import Busy, TooLarge
from benchhost.server.bodies import TIMES, Bodies
from benchhost.testing import install_plugin, serving

OPEN = """
import os
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    def load_datasets(self):
        return {"default": [Task(id="1", question="?")], "hidden-holdout": []}

    def evaluate_response(self, task, response):
        return Result(score=1.0, feedback=" ".join(sorted(os.environ)))
"""

CLOSED = OPEN + "    def check_auth(self, headers):\n        return False\n"


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_request_is_answered_by_the_plugin_that_let_it_in(tmp_path):
    install_plugin(tmp_path / "plugins", "own", OPEN)
    body = json.dumps({"task_id": "1", "response": "x"}).encode()
    with serving(tmp_path / "state", "--only", "own", plugins=[tmp_path / "plugins"]) as server:
        host, port = server.url.removeprefix("http://").split(":")
        assert get(f"{server.url}/b/own/version")[0] == 200
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            head = ["POST /b/own/evaluate-response HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
            slow.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body[:5])
            time.sleep(0.3)  # until it is let in
            install_plugin(tmp_path / "plugins", "own", CLOSED, version="1.0")
            server.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 30
            while get(f"{server.url}/b/own/verify-task-ids")[0] != 401:
                assert time.monotonic() < end
                time.sleep(0.05)
            slow.sendall(body[5:])
            assert b" 200 " in slow.recv(65536).split(b"\r\n")[0]


def test_a_plugin_is_not_given_the_settings_of_the_host_or_of_other_plugins(tmp_path):
    install_plugin(tmp_path / "plugins", "own", OPEN)
    environ = {"BENCHMARK_API_KEY": "k" * 20, "BENCHHOST_BENCHMARKS__OTHER__TOKEN": "t" * 20, "MY_OWN": "1"}
    headers = {"authorization": f"bearer {'k' * 20}", "content-type": "application/json"}
    with serving(tmp_path / "state", "--only", "own", plugins=[tmp_path / "plugins"], environ=environ) as server:
        body = json.dumps({"task_id": "1", "response": "x"}).encode()
        request = urllib.request.Request(f"{server.url}/b/own/evaluate-response", body, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            names = json.loads(answer.read())["feedback"].split()
        assert "MY_OWN" in names
        assert not [name for name in names if name.startswith(("BENCHHOST_", "BENCHMARK_"))]
        strangers = json.loads(get(f"{server.url}/b/own/version?dataset=hidden-holdout")[1])
        assert strangers["dataset_version"] is None
        assert get(f"{server.url}/b/own/version?dataset=nope")[0] == 200
        known = json.loads(get(f"{server.url}/b/own/version?dataset=hidden-holdout", headers)[1])
        assert known["dataset_version"]


def test_bodies_have_room_until_there_is_none():
    bodies = Bodies(largest=10, patience=1)
    rooms = [bodies.room() for _ in range(TIMES)]
    for room in rooms:
        room.take(9)
        room.take(1)
    other = bodies.room()
    with pytest.raises(Busy):
        other.must_fit(1)
    with pytest.raises(Busy):
        other.take(1)
    with pytest.raises(TooLarge):
        rooms[0].take(1)
    rooms[0].let_go()
    other.take(10)
    assert other.size == 10


TENANTS = st.sampled_from(["acme", "initech", "umbrella", "hooli"])


@given(st.lists(st.tuples(TENANTS, st.integers(1, 10), st.booleans())))
def test_a_tenant_never_holds_more_of_the_room_for_bodies_than_it_leaves_free(steps):
    bodies, rooms = Bodies(largest=10, patience=1), []
    for tenant, size, ends in steps:
        room = bodies.room(tenant)
        with contextlib.suppress(Busy):
            room.take(size)
            rooms.append(room)
            free = TIMES * 10 - bodies.held
            assert bodies.held_by[tenant] <= free
        bodies.room("another").must_fit(1)
        if ends and rooms:
            rooms.pop(0).let_go()
    for room in rooms:
        room.let_go()
    assert (bodies.held, bodies.held_by) == (0, {})


def test_a_tenant_that_is_alone_has_half_of_the_room_and_who_is_of_none_all_that_is_free():
    bodies = Bodies(largest=10, patience=1)
    for tenant, most in (("acme", TIMES // 2), ("", TIMES)):
        rooms = [bodies.room(tenant) for _ in range(most)]
        for room in rooms:
            room.take(10)
        with pytest.raises(Busy):
            bodies.room(tenant).take(1)
        for room in rooms:
            room.let_go()


@pytest.mark.parametrize("broken", ["state", "database", "endless"])
def test_what_would_fail_in_every_worker_is_said_in_a_sentence_before_any_starts(tmp_path, broken):
    state, flags = tmp_path / "state", []
    if broken == "state":
        state.write_text("a file")
    else:
        state.mkdir()
    if broken == "database":
        (state / "benchhost.db").write_bytes(b"no database" * 1000)
    if broken == "endless":
        flags = ["--drain-timeout", "inf"]
    command = [sys.executable, "-m", "benchhost", "serve", "--state", str(state), "--port", "0", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode in (1, 2)
    assert ended.stderr.startswith("Error: ")
    assert len(ended.stderr.splitlines()) == 1
