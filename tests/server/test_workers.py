"""Several workers on one machine are one host."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from contextlib import closing, suppress

import aiohttp
import psutil
import pytest

from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

RUNNING = 3

SOURCE = """
import os, re, time
from pathlib import Path
from benchhost import Benchmark, Result, Task

CALLS = Path(__file__).with_name("calls")

def say(*words):
    with CALLS.open("a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

class Plugin(Benchmark):
    version = "1"
    evaluation_timeout = 20.0
    def load_datasets(self):
        return {"default": [Task(id=str(number), question="?") for number in range(1000)]}
    def evaluate_response(self, task, response):
        seconds, _, name = response.text.partition(" ")
        say("+", time.monotonic_ns(), task.id, name, os.getpid())
        if name == "block":
            re.match(r"(a+)+$", "a" * 60 + "!")
        time.sleep(float(seconds))
        say("-", time.monotonic_ns(), task.id, name, os.getpid())
        return Result(score=1.0)
"""


class Calls:
    """What the hook has said since the test began."""

    def __init__(self, file) -> None:
        self._file = file
        file.touch()
        self._before = len(file.read_text().splitlines())

    def __call__(self) -> list[list[str]]:
        return [line.split(" ") for line in self._file.read_text().splitlines()[self._before :]]

    def begun(self) -> list[str]:
        return [words[2] for words in self() if words[0] == "+"]

    def most_at_once(self) -> int:
        now = most = 0
        for _, sign in sorted((int(words[1]), words[0]) for words in self()):
            now += 1 if sign == "+" else -1
            most = max(most, now)
        return most


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "counted", SOURCE)
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    with serving(
        tmp_path_factory.mktemp("state"),
        *("--only", "counted", "--workers", "2", "--max-running", str(RUNNING), "--drain-timeout", "10"),
        plugins=[folder],
    ) as server:
        yield server


@pytest.fixture
def calls(folder):
    return Calls(folder / "calls")


@pytest.fixture
async def session():
    # Each request has a connection of its own, so that both workers get some.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        yield session


async def submit(session, server, task: int, response: str) -> tuple[int, str | None, dict]:
    body = {"task_id": str(task), "response": response}
    async with session.post(f"{server.url}/b/counted/evaluate-response", json=body) as answer:
        return answer.status, answer.headers.get("x-evaluation-id"), await answer.json()


def workers(server) -> list[psutil.Process]:
    """The processes that answer requests: each has started one that starts graders."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it has ended since it was listed
            if child.children():
                found.append(child)
    return found


async def test_identical_requests_to_several_workers_run_the_hook_once(server, session, calls):
    answers = await asyncio.gather(*(submit(session, server, 1, "0.3 same") for _ in range(40)))
    assert {status for status, _, _ in answers} == {200}
    assert len({id_ for _, id_, _ in answers}) == 1
    assert calls.begun() == ["1"]


async def test_what_one_worker_has_finished_the_others_replay(server, session, calls):
    for _ in range(20):
        assert (await submit(session, server, 2, "0 replay"))[0] == 200
    assert calls.begun() == ["2"]


async def test_a_batch_joins_what_the_other_worker_runs(server, session, calls):
    batch = {"submissions": [{"task_id": str(n), "response": "0.1 batch"} for n in range(10, 20)]}

    async def submit_batch() -> dict:
        async with session.post(f"{server.url}/b/counted/v1/evaluate-batch", json=batch) as answer:
            assert answer.status == 200
            return await answer.json()

    answers = await asyncio.gather(
        *(submit_batch() for _ in range(6)), *(submit(session, server, 15, "0.1 batch") for _ in range(6))
    )
    assert sorted(calls.begun()) == [str(n) for n in range(10, 20)]
    for answer in answers[:6]:
        assert [each["status"] for each in answer["evaluations"]] == ["evaluated"] * 10


async def test_all_workers_together_keep_to_the_limit(server, session, calls):
    answers = await asyncio.gather(*(submit(session, server, n, "0.02 limit") for n in range(100, 160)))
    assert {status for status, _, _ in answers} == {200}
    assert len({words[4] for words in calls()}) == 2, "only one worker was given requests"
    assert calls.most_at_once() == RUNNING
    assert len(calls.begun()) == 60


async def test_a_killed_worker_is_replaced_and_what_it_ran_is_judged_when_it_is_asked_for_again(server, session, calls):
    before = workers(server)
    assert len(before) == 2
    lost = [asyncio.create_task(submit(session, server, n, "1 lost")) for n in range(200, 203)]
    await eventually(lambda: len(calls.begun()) == 3)
    graders = {int(words[4]) for words in calls()}
    guilty = next(worker for worker in before if graders & {child.pid for child in worker.children(recursive=True)})
    family = guilty.children(recursive=True)
    guilty.kill()
    await asyncio.wait(lost, timeout=15)
    assert [task for task in lost if task.exception() is not None], "nobody was connected to the worker that was killed"
    await eventually(lambda: guilty not in workers(server) and len(workers(server)) == 2)
    for process in family:
        await eventually(lambda process=process: not alive(process))
    answers = await asyncio.gather(*(submit(session, server, n, "1 lost") for n in range(200, 203)))
    assert {status for status, _, _ in answers} == {200}
    attempts = []
    for _, id_, _ in answers:
        async with session.get(f"{server.url}/b/counted/v1/evaluations/{id_}") as answer:
            attempts.append((await answer.json())["attempt"])
    assert max(attempts) == 2


async def test_what_a_killed_worker_ran_is_interrupted_and_its_blocked_grader_ends(folder, tmp_path, session):
    with serving(tmp_path, "--only", "counted", plugins=[folder]) as server:
        calls = Calls(folder / "calls")
        blocked = asyncio.create_task(submit(session, server, 400, "0 block"))
        # What is left of other tests may still say something.
        await eventually(lambda: any(words[0] == "+" and words[3] == "block" for words in calls()))
        [grader] = [psutil.Process(int(words[4])) for words in calls() if words[3] == "block"]
        [worker] = workers(server)
        assert grader in worker.children(recursive=True)

        def statuses() -> list[str]:
            with closing(sqlite3.connect(server.state / "benchhost.db")) as connection:
                return [row[0] for row in connection.execute("SELECT status FROM evaluation")]

        await eventually(lambda: statuses() == ["running"])
        worker.kill()
        await asyncio.wait([blocked])
        assert blocked.exception() is not None
        await eventually(lambda: not alive(grader))
        await eventually(lambda: statuses() == ["interrupted"])


async def test_when_the_server_itself_is_killed_its_workers_end(folder, tmp_path, session):
    with serving(tmp_path, "--only", "counted", "--workers", "2", "--drain-timeout", "2", plugins=[folder]) as server:
        assert (await submit(session, server, 1, "0 before"))[0] == 200
        await eventually(lambda: len(workers(server)) == 2)
        family = psutil.Process(server.process.pid).children(recursive=True)
        os.kill(server.process.pid, signal.SIGKILL)
        await eventually(lambda: not any(map(alive, family)))
        server.process.wait()
        with serving(tmp_path, "--only", "counted", plugins=[folder]) as again:
            assert (await submit(session, again, 1, "0 before"))[0] == 200


def alive(process: psutil.Process) -> bool:
    """Whether a process runs: one that has ended may wait for somebody to take note of it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def eventually(is_so, within: float = 60) -> None:
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
