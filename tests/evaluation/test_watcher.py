"""Whatever a hook has started ends with its grader, and whatever it did to be left alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchhost.sandbox.local.execution import children
from benchhost.testing import install_plugin

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets orphans be adopted"),
]

SOURCE = """
import os
import subprocess
import sys
import time

from benchhost import Benchmark, Result, Task


def session():
    subprocess.Popen(["sleep", "120"], start_new_session=True)


def group():
    subprocess.Popen(["sleep", "120"], process_group=0)


def daemon():
    if between := os.fork():
        os.waitpid(between, 0)  # and the daemon has another parent
    else:
        os.setsid()
        if os.fork() == 0:
            time.sleep(120)
        os._exit(0)


def stubborn():
    program = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(120)"
    subprocess.Popen([sys.executable, "-c", program], start_new_session=True)


def storm():
    \"\"\"Three that flee: each has a child that begins a session of its own, and ends, as soon as it is there.\"\"\"
    until = time.monotonic() + 60
    trace = os.open(os.path.join(os.path.dirname(__file__), "trace"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    for _ in range(3):
        if os.fork() == 0:
            while time.monotonic() < until:
                os.setsid()
                os.write(trace, b".")
                if os.fork():
                    os._exit(0)
            os._exit(0)


def tree():
    \"\"\"Parents that have children as long as they live, the children too, up to a hundred in all.\"\"\"
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            for _ in range(4):
                if os.fork() == 0:
                    for _ in range(5):
                        os.fork() or time.sleep(120)
            time.sleep(120)


class Plugin(Benchmark):
    version = "1"
    evaluation_timeout = 20.0

    def load_datasets(self):
        return {"default": [Task(id="0", question="?")]}

    def evaluate_response(self, task, response):
        globals()[response.text]()
        return Result(score=1.0)
"""

DEEDS = ["session", "group", "daemon", "stubborn", "storm", "tree"]


@pytest.fixture
async def hub(open_hub, tmp_path):
    install_plugin(tmp_path / "plugins", "leaving", SOURCE)
    async with open_hub(tmp_path / "hub", tmp_path / "plugins", only=["leaving"]) as hub:
        await hub.roster.loaded()
        yield hub


def left(folder: Path, *known: int) -> list[int]:
    """Every process that has come of a hub, wherever it belongs by now: told by where its plugins are."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or belongs to somebody else
            told = each.environ().get("PYTHONPATH") == str(folder / "plugins")
            if told and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each.pid)
    return sorted(set(found) - {os.getpid(), *known})


async def something_is_left(folder: Path, *known: int) -> None:
    end = time.monotonic() + 20
    while not (traces(folder) or left(folder, *known)):  # what is between two parents may be overlooked once
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def nothing_is_left(folder: Path, *known: int) -> None:
    end = time.monotonic() + 20
    before = -1
    while (found := left(folder, *known)) or traces(folder) != before:  # what flees may not be seen, but leaves traces
        assert time.monotonic() < end, found
        before = traces(folder)
        await asyncio.sleep(0.1)


def traces(folder: Path) -> int:
    trace = folder / "plugins" / "trace"
    return trace.stat().st_size if trace.exists() else 0


def mother(hub) -> int:
    return hub.roster._installation._mother._process.pid


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_a_hook_has_started_ends_when_its_grader_does(hub, tmp_path, deed):
    assert (await hub.judge("leaving", deed)).status == "scored"
    [watcher], [grader, *_] = hub.watchers(), hub.graders()
    await something_is_left(tmp_path, mother(hub), watcher, grader)
    os.kill(grader, signal.SIGKILL)
    await nothing_is_left(tmp_path, mother(hub))
    assert (await hub.judge("leaving", "session", run="again")).status == "scored"


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_a_hook_has_started_ends_when_the_host_ends_its_grader(hub, tmp_path, deed):
    assert (await hub.judge("leaving", deed)).status == "scored"
    [process] = hub.roster.get("leaving")._graders.processes
    process.kill()
    await nothing_is_left(tmp_path, mother(hub))


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_a_hook_has_started_ends_with_the_host(open_hub, tmp_path, deed):
    install_plugin(tmp_path / "plugins", "leaving", SOURCE)
    async with open_hub(tmp_path / "hub", tmp_path / "plugins", only=["leaving"]) as hub:
        await hub.roster.loaded()
        assert (await hub.judge("leaving", deed)).status == "scored"
    await nothing_is_left(tmp_path)


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_a_hook_has_started_ends_when_the_watcher_is_killed(hub, tmp_path, deed):
    assert (await hub.judge("leaving", deed)).status == "scored"
    [watcher] = hub.watchers()
    os.kill(watcher, signal.SIGKILL)
    await nothing_is_left(tmp_path, mother(hub))


@pytest.mark.parametrize("deed", DEEDS)
async def test_what_a_hook_has_started_ends_when_the_zygote_is_killed(hub, tmp_path, deed):
    assert (await hub.judge("leaving", deed)).status == "scored"
    os.kill(mother(hub), signal.SIGKILL)
    await nothing_is_left(tmp_path)


async def test_what_others_have_started_stays(hub, tmp_path, open_hub):
    install_plugin(tmp_path / "others" / "plugins", "leaving", SOURCE)
    async with open_hub(tmp_path / "other hub", tmp_path / "others" / "plugins", only=["leaving"]) as others:
        await others.roster.loaded()
        await others.judge("leaving", "daemon")
        await hub.judge("leaving", "daemon")
        known = [mother(others), *others.watchers(), *others.graders()]
        assert left(tmp_path / "others", *known) == []  # graders() has the daemon too: the watcher has adopted it
        [watcher] = hub.watchers()
        os.kill(watcher, signal.SIGUSR1)
        await nothing_is_left(tmp_path, mother(hub))
        assert set(known) <= set(left(tmp_path / "others"))


async def test_a_dead_orphan_is_reaped_while_the_grader_lives(hub):
    """A hook that starts many programs in the background must not use up the machine's processes."""
    assert (await hub.judge("leaving", "daemon")).status == "scored"
    [watcher] = hub.watchers()
    grader, daemon = children(watcher)
    os.kill(daemon, signal.SIGKILL)
    end = time.monotonic() + 10
    while psutil.pid_exists(daemon):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    assert children(watcher) == [grader]
