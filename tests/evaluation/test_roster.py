"""Plugins that are replaced while they are used."""

from __future__ import annotations

import asyncio

import pytest
import structlog.testing

from benchhost.errors import UsageError
from benchhost.evaluation import roster as roster_module
from benchhost.log import configure
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

SOURCE = """
import time
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    def load_datasets(self):
        time.sleep(1)
        return {"default": [Task(id="0", question="?")]}
    def evaluate_response(self, task, response):
        if response.text == "slow":
            time.sleep(1)
        return Result(score=1.0)
"""


@pytest.fixture
async def hub(open_hub, tmp_path):
    install_plugin(tmp_path / "plugins", "late", SOURCE)
    async with open_hub(tmp_path / "hub", tmp_path / "plugins", only=["late"]) as hub:
        yield hub


async def test_who_waits_for_a_plugin_to_load_is_answered_although_it_is_replaced_meanwhile(hub, monkeypatch):
    monkeypatch.setattr(roster_module, "LINGER", 0.0)
    waiting = [asyncio.create_task(hub.judge("late", f"{number}")) for number in range(5)]
    await asyncio.sleep(0.1)
    old = hub.roster.get("late")
    assert old.state == "loading"
    await hub.roster.reload()
    assert hub.roster.get("late") is not old
    assert {evaluation.status for evaluation in await asyncio.gather(*waiting)} == {"scored"}


async def test_who_has_found_a_plugin_may_use_it_a_moment_after_it_was_replaced(hub):
    await hub.roster.loaded()
    old = hub.roster.get("late")
    await hub.roster.reload()
    await asyncio.sleep(0.1)
    assert (await old.call("evaluate_response", dataset="default", task="0", body=b"slow")).data


async def test_when_the_plugins_cannot_be_looked_for_the_old_ones_stay(hub, tmp_path):
    await hub.roster.loaded()
    for metadata in (tmp_path / "plugins").glob("*.dist-info/*"):
        metadata.unlink()
    with pytest.raises(UsageError):
        await hub.roster.reload()
    assert (await hub.judge("late", "still here")).status == "scored"


async def test_a_roster_that_is_closed_waits_for_what_is_under_way(hub):
    await hub.roster.loaded()
    slow = asyncio.create_task(hub.judge("late", "slow"))
    await asyncio.sleep(0.1)
    await hub.roster._installation.close(5.0)
    assert slow.done()
    assert (await slow).status == "scored"


async def test_after_it_is_closed_a_call_is_a_failure_of_ours_and_hangs_nobody(hub):
    await hub.roster.loaded()
    await hub.roster._installation.close(0)
    evaluation = await asyncio.wait_for(hub.judge("late", "too late"), 5)
    assert evaluation.status == "error"


async def test_when_all_are_loaded_the_log_says_what_is_served_and_after_a_reload_in_the_same_words(open_hub, tmp_path):
    install_plugin(tmp_path / "plugins", "late", SOURCE)
    install_plugin(tmp_path / "plugins", "broken", "raise RuntimeError")
    configure("info", "json")  # another test may have left less to be logged
    with structlog.testing.capture_logs() as log:
        async with open_hub(tmp_path / "hub", tmp_path / "plugins", only=["late", "broken"], announce=True) as hub:
            assert log == []
            await hub.roster.loaded()
            await asyncio.sleep(0)
            await hub.roster.reload()
    said = {"benchmarks": {"late": {"default": 1}}, "faulty": 1, "log_level": "info"}
    assert log == [{"event": "plugins loaded"} | said, {"event": "plugins reloaded"} | said]


async def test_who_stops_before_all_are_loaded_says_nothing_of_it(open_hub, tmp_path):
    install_plugin(tmp_path / "plugins", "late", SOURCE)
    with structlog.testing.capture_logs() as log:
        async with open_hub(tmp_path / "hub", tmp_path / "plugins", only=["late"], announce=True):
            await asyncio.sleep(0.1)
    assert log == []
