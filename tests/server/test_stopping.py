"""How a server ends, and how another one begins."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
import pytest

from benchhost.testing import install_plugin, serving

SOURCE = """
import time
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    def load_datasets(self):
        return {"default": [Task(id="1", question="?")]}
    def evaluate_response(self, task, response):
        time.sleep(float(response.text))
        return Result(score=1.0)
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "sleepy", SOURCE)
    return folder


class Submission(threading.Thread):
    """A request on a thread of its own, and what came of it."""

    def __init__(self, server, seconds: float) -> None:
        super().__init__()
        self._request = urllib.request.Request(
            f"{server.url}/b/sleepy/evaluate-response",
            json.dumps({"task_id": "1", "response": str(seconds)}).encode(),
            {"content-type": "application/json"},
        )
        self.outcome: object = None
        self.start()

    def run(self) -> None:
        try:
            with urllib.request.urlopen(self._request, timeout=30) as answer:
                self.outcome = answer.status
        except OSError as error:
            self.outcome = error


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("everybody", [False, True], ids=["the server", "the whole group"])
def test_requests_in_flight_are_finished_and_the_exit_code_is_0(plugins, tmp_path, how, everybody):
    """A terminal's Ctrl-C, and some service managers, signal each process of the group."""
    with serving(tmp_path, "--only", "sleepy", "--drain-timeout", "15", plugins=[plugins]) as server:
        submission = Submission(server, 1.0)
        time.sleep(0.5)
        family = psutil.Process(server.process.pid).children(recursive=True)
        began = time.monotonic()
        (os.killpg if everybody else os.kill)(server.process.pid, how)
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 10
        submission.join()
        assert submission.outcome == 200
        assert not any(process.is_running() and process.status() != "zombie" for process in family)
        assert not (tmp_path / "benchhost.pid").exists()


def test_what_takes_longer_than_the_drain_timeout_is_given_up(plugins, tmp_path):
    with serving(tmp_path, "--only", "sleepy", "--drain-timeout", "1", plugins=[plugins]) as server:
        submission = Submission(server, 60)
        time.sleep(0.5)
        family = psutil.Process(server.process.pid).children(recursive=True)
        began = time.monotonic()
        server.process.terminate()
        server.process.wait(20)
        assert time.monotonic() - began < 8
        submission.join()
        assert isinstance(submission.outcome, OSError)
        end = time.monotonic() + 5
        while any(process.is_running() and process.status() != "zombie" for process in family):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_signal_that_comes_while_the_workers_start_is_not_lost(plugins, tmp_path):
    for delay in (0.0, 0.1, 0.25):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchhost", "serve", "--only", "sleepy", "--port", "0", "--state", tmp_path],
            env=os.environ | {"PYTHONPATH": str(plugins)},
            stderr=subprocess.PIPE,
        )
        try:
            for line in process.stderr:
                if b"Spawning worker-1" in line:
                    break
            time.sleep(delay)
            process.terminate()
            process.stderr.read()
            assert process.wait(10) in (0, 1)  # 1 when the worker had not begun to serve
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            process.stderr.close()


def serve(state, plugins) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchhost", "serve", "--only", "sleepy", "--port", "0", "--state", state],
        env=os.environ | {"PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_second_server_on_the_same_state_folder_is_refused(plugins, tmp_path):
    with serving(tmp_path, "--only", "sleepy", plugins=[plugins]) as server:
        done = serve(tmp_path, plugins)
        assert done.returncode == 2
        assert f"a server with the process id {server.process.pid} uses the state folder {tmp_path}" in done.stderr
        assert "--state" in done.stderr
        assert server.process.poll() is None
        assert (tmp_path / "benchhost.pid").read_text() == str(server.process.pid)


@pytest.mark.parametrize("content", ["1", str(os.getpid()), "torn"], ids=["1", "another", "torn"])
def test_a_pid_file_that_was_left_behind_is_no_hindrance(plugins, tmp_path, content):
    """Also when its number is by now that of another process, as in a container that was replaced."""
    (tmp_path / "benchhost.pid").write_text(content)
    with serving(tmp_path, "--only", "sleepy", plugins=[plugins]) as server:
        assert (tmp_path / "benchhost.pid").read_text() == str(server.process.pid)


def test_a_store_that_cannot_be_opened_ends_the_server_with_its_reason(plugins, tmp_path):
    (tmp_path / "benchhost.db").write_bytes(b"no database" * 1000)
    done = serve(tmp_path, plugins)
    assert done.returncode == 1
    assert "benchhost.db" in done.stderr
    assert "Traceback" not in done.stderr.splitlines()[-1]


def test_an_address_that_cannot_be_listened_on_is_refused_with_what_to_try(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "benchhost", "serve", "--state", str(tmp_path), "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use; choose others with --host and --port"
    )


WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
from granian.asgi import LifespanProtocol
from benchhost.server.serve import Worker
from benchhost.settings import Settings

kind, number, state = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
loop = __import__(kind).new_event_loop()
asyncio.set_event_loop(loop)
worker = Worker(Settings(state=state, only=()))
lifespan = LifespanProtocol(worker)
told = asyncio.Event()
for each in (signal.SIGINT, signal.SIGTERM):  # as granian does it, which makes its server before the loop runs on
    loop.add_signal_handler(each, told.set)
loop.run_until_complete(lifespan.startup())
os.kill(os.getpid(), number)
wanted = told if number != signal.SIGHUP else worker._wanted
loop.run_until_complete(asyncio.wait_for(wanted.wait(), 20))
loop.run_until_complete(lifespan.shutdown())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("kind", ["uvloop", "asyncio"])
def test_a_signal_that_comes_while_a_worker_begins_to_serve_is_not_lost(kind, number, tmp_path):
    subprocess.run([sys.executable, "-c", WORKER, kind, str(int(number)), str(tmp_path)], check=True, timeout=60)
