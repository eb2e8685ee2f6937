"""A server that is killed at any moment has lost nothing that it had acknowledged."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

SOURCE = """
import os, random, time
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    version = "1"
    def load_datasets(self):
        return {"default": [Task(id=str(number), question="?") for number in range(1000)]}
    def evaluate_response(self, task, response):
        time.sleep(random.random() / 50)
        while response.text.startswith("held") and os.path.exists(GATE):
            time.sleep(0.05)
        return Result(score=float(task.id), feedback=response.text)
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "slowly", f"GATE = {str(gate(folder))!r}\n{SOURCE}")
    return folder


def gate(folder: Path) -> Path:
    """What holds responses that begin so up, as long as it is there."""
    return folder / "gate"


async def submit(session, url: str, task: int, response: str) -> tuple[str, dict]:
    body = {"task_id": str(task), "response": response}
    async with session.post(f"{url}/b/slowly/evaluate-response", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers["x-evaluation-id"], await answer.json()


class Goal:
    """A number to be reached."""

    def __init__(self) -> None:
        self.set(10**9)

    def set(self, number: int) -> None:
        self._number = number
        self.reached = asyncio.Event()

    def look_at(self, number: int) -> None:
        if number >= self._number:
            self.reached.set()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_kill_at_any_moment_loses_nothing_acknowledged_and_doubles_nothing(plugins, tmp_path, workers):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    acknowledged: dict[str, tuple[int, str, dict]] = {}
    asked: set[tuple[int, str]] = set()
    goal = Goal()
    interrupted = 0
    for round_ in range(3):
        with serving(tmp_path, "--only", "slowly", "--workers", workers, plugins=[plugins]) as server:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                for id_, (_, _, result) in acknowledged.items():
                    async with session.get(f"{server.url}/b/slowly/v1/evaluations/{id_}") as answer:
                        found = await answer.json()
                    assert (found["status"], found["result"]) == ("evaluated", result), seed
                statuses = dict(read(tmp_path, "SELECT status, count(*) FROM evaluation GROUP BY status"))
                assert "running" not in statuses, (seed, statuses)
                interrupted += statuses.get("interrupted", 0)
                again = [each for each in asked if each not in {(t, r) for t, r, _ in acknowledged.values()}]

                async def one(task: int, response: str) -> None:
                    asked.add((task, response))
                    try:
                        id_, result = await submit(session, server.url, task, response)
                    except aiohttp.ClientError:
                        return
                    assert result["feedback"] == response
                    acknowledged[id_] = (task, response, result)
                    goal.look_at(len(acknowledged))

                gate(plugins).unlink(missing_ok=True)
                await asyncio.wait_for(asyncio.gather(*(one(*each) for each in again)), 30)
                gate(plugins).touch()
                goal.set(len(acknowledged) + chance.randrange(1, 150))
                load = [asyncio.create_task(one(n, f"round {round_}")) for n in range(300)]
                load += [asyncio.create_task(one(n, f"held {round_}")) for n in range(3)]
                await asyncio.wait_for(goal.reached.wait(), 30)
                end = time.monotonic() + 30
                held = hashlib.sha256(f"held {round_}".encode()).hexdigest()  # none of these ends before the kill
                running = f"SELECT 1 FROM evaluation WHERE status = 'running' AND response_digest = '{held}'"
                while not read(tmp_path, running):
                    assert time.monotonic() < end
                    await asyncio.sleep(0.01)
                server.kill()
                await asyncio.wait_for(asyncio.gather(*load), 10)
    assert interrupted > 0, "nothing was under way when the server was killed"
    rows = read(tmp_path, "SELECT id, count(*), max(status) FROM evaluation GROUP BY task, response_digest")
    found = {id_: (number, status) for id_, number, status in rows}
    assert all(found[id_] == (1, "scored") for id_ in acknowledged), seed


def read(state, query: str) -> list[tuple]:
    with closing(sqlite3.connect(state / "benchhost.db")) as connection:
        return connection.execute(query).fetchall()
