"""A reload takes up what was installed, upgraded and removed, and drops nobody."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import aiohttp
import psutil
import pytest

from benchhost.access import Caller
from benchhost.evaluation.roster import Hosting, Roster
from benchhost.server.auth import admit
from benchhost.server.policy import policy_of
from benchhost.settings import Settings
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

SOURCE = """
import time
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    version = {version!r}
    def load_datasets(self):
        time.sleep({loading})
        return {{"default": [Task(id=str(number), question="?") for number in range(100)]}}
    def evaluate_response(self, task, response):
        if response.text.startswith("slow"):
            time.sleep(3)
        return Result(score={score}, feedback={version!r})
"""


def install(folder, name: str, version: str, *, score: float = 1.0, loading: float = 0.0) -> None:
    uninstall(folder, name)
    source = SOURCE.format(version=version, score=score, loading=loading)
    install_plugin(folder, name, source + "# " + version * 50, version=version)


def uninstall(folder, name: str) -> None:
    for metadata in folder.glob(f"plugin_{name}-*.dist-info"):
        shutil.rmtree(metadata)
    (folder / f"plugin_{name}.py").unlink(missing_ok=True)


@pytest.fixture(params=["1", "2"], ids=["one worker", "two workers"])
def server(tmp_path, request):
    folder = tmp_path / "plugins"
    install(folder, "upgraded", "1.0")
    install(folder, "removed", "1.0")
    with serving(
        tmp_path / "state",
        *("--workers", request.param, "--drain-timeout", "10"),
        plugins=[folder],
        environ={"PYTHONDONTWRITEBYTECODE": "1"},
    ) as server:
        server.folder = folder
        server.workers = int(request.param)
        yield server


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as session:
        yield session


async def submit(session, server, name: str, response: str, task: int = 0) -> tuple[int, dict]:
    body = {"task_id": str(task), "response": response}
    async with session.post(f"{server.url}/b/{name}/evaluate-response", json=body) as answer:
        return answer.status, await answer.json()


def reload(server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchhost", "reload", "--state", server.state], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert str(server.process.pid) in done.stdout


async def reloads(server, times: int) -> None:
    end = time.monotonic() + 30
    while server.said().count("plugins reloaded") < times * server.workers:
        assert time.monotonic() < end, server.said()
        await asyncio.sleep(0.05)


async def test_a_reload_takes_up_new_upgraded_and_removed_plugins_and_drops_nobody(server, session):
    folder = server.folder
    assert (await submit(session, server, "upgraded", "before"))[1]["feedback"] == "1.0"
    slow = [asyncio.create_task(submit(session, server, "upgraded", "slow", n)) for n in range(3)]
    slow += [asyncio.create_task(submit(session, server, "removed", "slow", n)) for n in range(3)]
    await asyncio.sleep(0.5)
    install(folder, "upgraded", "2.0", score=0.5, loading=0.5)
    install(folder, "fresh", "1.0")
    uninstall(folder, "removed")

    finished = asyncio.Event()
    seen: list[tuple[int, str]] = []

    async def keep_asking(who: int, session) -> None:
        number = 0
        while not finished.is_set():
            number += 1
            status, result = await submit(session, server, "upgraded", f"{who} {number}", number % 100)
            seen.append((status, result["feedback"]))
            async with session.get(f"{server.url}/b/upgraded/verify-task-ids?slice=0:3") as answer:
                assert answer.status == 200

    async with aiohttp.ClientSession() as kept_alive:
        asking = [asyncio.create_task(keep_asking(who, kept_alive if who % 2 else session)) for who in range(6)]
        reload(server)
        await reloads(server, 1)
        await asyncio.sleep(1.0)
        finished.set()
        await asyncio.gather(*asking)
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {"1.0", "2.0"}
    assert len(seen) > 100

    answers = await asyncio.gather(*slow)
    assert [(status, result["feedback"]) for status, result in answers] == [(200, "1.0")] * 6
    assert (await submit(session, server, "upgraded", "after"))[1] == {
        "score": 0.5, "passed": None, "metrics": {}, "feedback": "2.0"
    }  # fmt: skip
    assert (await submit(session, server, "upgraded", "before"))[1]["feedback"] == "2.0"
    assert (await submit(session, server, "fresh", "x"))[0] == 200
    assert (await submit(session, server, "removed", "x"))[0] == 404
    async with session.get(f"{server.url}/openapi.json") as answer:
        assert answer.status in (200, 404)
    await only_new_graders(server, plugins=4)  # with the two that are installed where the tests run


async def only_new_graders(server, plugins: int) -> None:
    """Each worker has a process that starts graders, and for each plugin a grader and what watches over it."""

    def number() -> int:
        return len(psutil.Process(server.process.pid).children(recursive=True))

    served = server.workers * (1 + 1 + 2 * plugins)
    end = time.monotonic() + 15
    while number() > served:
        assert time.monotonic() < end, psutil.Process(server.process.pid).children(recursive=True)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("server", ["1"], indirect=True)
async def test_a_plugin_that_becomes_faulty_is_a_fault_and_the_others_are_reloaded(server, session):
    (server.folder / "plugin_removed.py").write_text("raise RuntimeError('SECRET')")
    install(server.folder, "upgraded", "2.0")
    reload(server)
    await reloads(server, 1)
    assert (await submit(session, server, "upgraded", "x"))[1]["feedback"] == "2.0"
    status, problem = await submit(session, server, "removed", "x")
    assert status == 503
    assert "SECRET" not in str(problem)
    assert "SECRET" in server.said()


@pytest.mark.parametrize("server", ["1"], indirect=True)
async def test_many_reloads_at_once_end_with_the_newest_plugins(server, session):
    for number in range(2, 7):
        install(server.folder, "upgraded", f"{number}.0", loading=0.2)
        os.kill(server.process.pid, 1)
        await asyncio.sleep(0.05)
        assert (await submit(session, server, "removed", f"meanwhile {number}"))[0] == 200
    end = time.monotonic() + 20
    # A reload may come upon a plugin that is half installed; the last one does not.
    while (await submit(session, server, "upgraded", "newest?"))[1].get("feedback") != "6.0":
        assert time.monotonic() < end
        await asyncio.sleep(0.1)
    assert server.said().count("plugins reloaded") <= 5
    await only_new_graders(server, plugins=4)
    assert server.stop() == 0


@pytest.mark.parametrize("server", ["1"], indirect=True)
async def test_a_socket_that_says_what_it_wants_after_a_reload_is_served_by_the_new_plugin(server, vals):
    async with vals.ValsClient(f"{server.url}/b/upgraded").connect("/ws/evaluate-response") as socket:
        install(server.folder, "upgraded", "2.0")
        reload(server)
        await reloads(server, 1)
        await asyncio.sleep(2.0)  # by now, what nobody uses is gone
        await socket.send(json.dumps({"task_id": "0", "response": "x"}))
        chunk = json.loads(await socket.recv())
    assert (chunk["type"], chunk["data"]["feedback"]) == ("result", "2.0")
    await only_new_graders(server, plugins=4)


async def test_a_reload_waits_for_those_of_whom_it_is_not_known_yet_who_they_are():
    known = asyncio.Event()

    class SlowToKnow:
        policy = policy_of(Settings())

        async def identify(self, headers) -> Caller:
            await known.wait()
            return Caller()

    roster = Roster(Hosting(only=["arithmetic"]))
    await roster.open()
    await roster.loaded()
    benchmark = roster.get("arithmetic")
    host = SimpleNamespace(roster=roster, gatekeeper=SlowToKnow())
    admitting = asyncio.create_task(admit({"path": "/b/arithmetic/v1/evaluate", "headers": []}, host))
    await asyncio.sleep(0)
    draining = asyncio.create_task(benchmark.drain(10.0))
    await asyncio.sleep(0.1)
    assert not draining.done()
    known.set()
    assert (await admitting).benchmark is benchmark
    await draining
    await roster.close()


def test_there_must_be_a_server_to_reload(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchhost", "reload", "--state", tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"no server is running with the state folder {tmp_path}" in done.stderr
    assert "or name its state folder with --state" in done.stderr


def test_a_table_of_settings_that_no_plugin_reads_is_told_of_at_the_start(tmp_path):
    environ = {"BENCHHOST_BENCHMARKS__ARITHMETICS__DATA": "SECRET"}
    with serving(tmp_path / "state", "--only", "arithmetic", environ=environ) as server:
        said = server.said()
    assert '"table": "[benchmarks.arithmetics]"' in said
    assert "arithmetic" in said.partition('"installed": ')[2]
    assert "SECRET" not in said
