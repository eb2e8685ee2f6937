"""Whatever hooks do, the host answers in time, others are served, and no cause is on the wire."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import aiohttp
import pytest

from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

DEEDS = [
    *("raise", "exit", "interrupt", "cancel", "half a character", "unspeakable", "long", "end", "kill", "fault"),
    *("sleep", "spin", "block", "none", "dict", "nan", "text for a score", "unencodable private", "close", "print"),
]
SCORED = {"print"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    source = (Path(__file__).parents[1] / "evaluation" / "misbehaving.py").read_text()
    install_plugin(folder, "plain", source, attribute="Plain")
    install_plugin(folder, "coroutine", source, attribute="Coroutine")
    with serving(tmp_path_factory.mktemp("state"), "--only", "plain,coroutine", plugins=[folder]) as server:
        yield server


async def test_the_host_answers_in_time_and_innocent_responses_are_scored_whatever_hooks_do(server):
    wire: list[str] = []
    finished = asyncio.Event()
    latencies: list[float] = []

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def submit(name: str, run: str, response: str, task: int) -> dict:
            body = {
                "run_id": run,
                "task_id": str(task),
                "payload": {"type": "text", "schema": "text", "data": response},
            }
            async with session.post(f"{server.url}/b/{name}/v1/evaluate", json=body) as answer:
                wire.append(str(answer.headers) + await answer.text())
                assert answer.status == 200
                return await answer.json() | {"id": answer.headers["x-evaluation-id"]}

        async def watch() -> None:
            while not finished.is_set():
                began = time.monotonic()
                async with session.get(f"{server.url}/health") as answer:
                    assert answer.status == 200
                latencies.append(time.monotonic() - began)
                await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        guilty = [(name, deed) for name in ("plain", "coroutine") for deed in DEEDS]
        deeds = [asyncio.create_task(submit(name, "guilty", deed, 1)) for name, deed in guilty]
        innocents = []
        for number in range(20):
            innocents += [submit(name, "innocent", "good", number) for name in ("plain", "coroutine")]
        innocent = await asyncio.gather(*innocents)
        verdicts = await asyncio.gather(*deeds)
        finished.set()
        await watching

        assert {verdict["status"] for verdict in innocent} == {"evaluated"}
        said = server.said()
        for (name, deed), verdict in zip(guilty, verdicts, strict=True):
            if deed in SCORED:
                assert verdict["status"] == "evaluated", (name, deed)
                continue
            assert (verdict["status"], verdict["result"]) == ("error", None), (name, deed)
            assert verdict["id"] in verdict["errors"][0], (name, deed)
            assert verdict["id"] in said, (name, deed)
            async with session.get(f"{server.url}/b/{name}/v1/evaluations/{verdict['id']}") as answer:
                wire.append(await answer.text())
    assert "the answer is 42" in said
    for text in wire:
        assert "the answer is 42" not in text
        assert "Traceback" not in text
    assert len(latencies) > 50
    assert max(latencies) < 1.0, sorted(latencies)[-5:]


async def test_a_log_that_nobody_reads_any_more_fails_no_request_and_no_hook_that_prints(tmp_path):
    source = """
from benchhost import Benchmark, Result, Task

class Loud(Benchmark):
    def load_datasets(self):
        return {"default": [Task(id="1", question="?")]}

    def evaluate_response(self, task, response):
        print(response.text)
        return Result(score=1 / len(response.text))
"""
    install_plugin(tmp_path / "plugins", "loud", source, attribute="Loud")
    state = tmp_path / "state"
    state.mkdir()
    os.mkfifo(state / "log")
    reader = os.open(state / "log", os.O_RDONLY | os.O_NONBLOCK)
    with serving(state, "--only", "loud", plugins=[tmp_path / "plugins"]) as server:
        os.close(reader)
        async with aiohttp.ClientSession() as session:
            for text, status in (("said", "evaluated"), ("", "error"), ("again", "evaluated")):
                body = {"run_id": "", "task_id": "1", "payload": {"type": "text", "schema": "", "data": text}}
                async with session.post(f"{server.url}/b/loud/v1/evaluate", json=body) as answer:
                    assert (answer.status, (await answer.json())["status"]) == (200, status)
