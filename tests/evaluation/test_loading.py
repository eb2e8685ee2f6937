"""A faulty plugin is a fault with its cause, and the others are served."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from benchhost.errors import PluginFault, Unavailable, UnknownBenchmark, UsageError
from benchhost.evaluation import hosted
from benchhost.registry import REASONS
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

HEAD = """
import os, sys, time
from benchhost import Benchmark, Result, Task, Public
import msgspec

class Good(Benchmark):
    def load_datasets(self):
        return {"default": [Task(id="1", question="?")]}
    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""

FAULTS = {
    "raises": ("import-failed", "SECRET", "raise RuntimeError('SECRET')"),
    "exits": ("import-failed", "SystemExit", "sys.exit('SECRET')"),
    "ends": ("load-died", "ended while it was loading", "os._exit(0)"),
    "crashes": ("load-died", "ended while it was loading", "import ctypes; ctypes.string_at(0)"),
    "syntax": ("import-failed", "SyntaxError", "def ("),
    "missing": ("import-failed", "plugin_missing has no Plugin; did you mean Plugin_?", "Plugin_ = Good"),
    "function": ("not-a-benchmark", "not a subclass", "def Plugin(): pass"),
    "instance": ("not-a-benchmark", "not a subclass", "Plugin = Good()"),
    "stranger": ("not-a-benchmark", "not a subclass", "class Plugin: pass"),
    "abstract": ("not-a-benchmark", "load_datasets", "class Plugin(Benchmark): pass"),
    "sleeps": ("load-timeout", "within 3 s", "time.sleep(300)"),
    "spins": ("load-timeout", "within 3 s", "while True: pass"),
    "blocks": ("load-timeout", "within 3 s", "import re; re.match(r'(a+)+$', 'a' * 60 + '!')"),
    "version": ("wrong-attribute", "version is 2", "class Plugin(Good): version = 2"),
    "half": ("wrong-attribute", "version is", "class Plugin(Good): version = '\\ud800'"),
    "timeout": ("wrong-attribute", "'soon'", "class Plugin(Good): evaluation_timeout = 'soon'"),
    "negative": ("wrong-attribute", "-1", "class Plugin(Good): evaluation_timeout = -1"),
    "forever": ("wrong-attribute", "inf", "class Plugin(Good): evaluation_timeout = float('inf')"),
    "listed": ("wrong-attribute", "listed", "class Plugin(Good): listed = 'no'"),
    "needs": (
        "wrong-settings",
        "the setting folder of the benchmark needs is missing. Its settings are: folder.",
        "class S(msgspec.Struct):\n    folder: str\nclass Plugin(Good): Settings = S",
    ),
    "makes": (
        "wrong-settings",
        "SECRET",
        "class Plugin(Good):\n    def __init__(self, settings=None): raise OSError('SECRET')",
    ),
    "datasets": (
        "datasets-failed",
        "SECRET",
        "class Plugin(Good):\n    def load_datasets(self): raise ValueError('SECRET')",
    ),
    "leaves": ("datasets-failed", "SystemExit", "class Plugin(Good):\n    def load_datasets(self): sys.exit()"),
    "nothing": ("datasets-failed", "NoneType", "class Plugin(Good):\n    def load_datasets(self): pass"),
    "listing": ("datasets-failed", "list", "class Plugin(Good):\n    def load_datasets(self): return []"),
    "unnamed": (
        "datasets-failed",
        "expected a text",
        "class Plugin(Good):\n    def load_datasets(self): return {1: []}",
    ),
    "slashed": (
        "datasets-failed",
        "'org/part'; expected a text without '/'",
        "class Plugin(Good):\n    def load_datasets(self): return {'org/part': []}",
    ),
    "lazy": (
        "datasets-failed",
        "SECRET",
        (
            "class Plugin(Good):\n    def load_datasets(self): return {'d': self.lazy()}\n"
            "    def lazy(self):\n        yield Task(id='1', question='?')\n        raise KeyError('SECRET')"
        ),
    ),
    "dicts": (
        "invalid-task",
        "not a benchhost.Task",
        "class Plugin(Good):\n    def load_datasets(self): return {'d': [{'id': '1'}]}",
    ),
    "twice": (
        "duplicate-task-id",
        "'1'",
        "class Plugin(Good):\n    def load_datasets(self): return {'d': [Task(id='1', question='?')] * 2}",
    ),
    "objects": (
        "unserialisable-task",
        "'thing'",
        (
            "class T(Task):\n    thing: Public[object] = object()\n"
            "class Plugin(Good):\n    def load_datasets(self): return {'d': [T(id='1', question='?')]}"
        ),
    ),
}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    install_plugin(folder, "good", HEAD, attribute="Good")
    for name, (_, _, source) in FAULTS.items():
        install_plugin(folder, name, HEAD + source + "\n")
    install_plugin(folder, "no spaces", HEAD, attribute="Good", module="spaced")
    install_plugin(folder, "_private", HEAD, attribute="Good", module="dashed")
    install_plugin(folder, "double", HEAD, attribute="Good", module="double_one")
    install_plugin(folder, "double", HEAD, attribute="Good", module="double_two", version="2.0")
    (folder / "nameless-1.0.dist-info").mkdir()
    (folder / "nameless-1.0.dist-info" / "entry_points.txt").write_text(
        "[benchhost.benchmarks]\nnameless = plugin_good:Good\n"
    )
    (folder / "torn-1.0.dist-info").mkdir()
    (folder / "torn-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1.0\n")
    (folder / "torn-1.0.dist-info" / "entry_points.txt").write_text("[console_scripts]\ntorn\n")
    return folder


REASON_OF = {name: reason for name, (reason, _, _) in FAULTS.items()} | {
    "no spaces": "invalid-name",
    "_private": "invalid-name",
    "double": "duplicate-name",
}


@pytest.fixture(scope="module")
async def hub(open_hub, plugins, tmp_path_factory):
    async with open_hub(tmp_path_factory.mktemp("hub"), plugins, load_timeout=3.0) as hub:
        assert (await hub.judge("good", "x", task="1")).status == "scored"
        assert hub.roster.get("sleeps").state == "loading", "the good one waits for the bad ones"
        await hub.roster.loaded()
        yield hub


@pytest.mark.parametrize("name", FAULTS)
async def test_a_faulty_plugin_is_a_fault_with_its_reason_and_cause(hub, name):
    reason, cause, _ = FAULTS[name]
    [fault] = [fault for fault in hub.roster.faults() if fault.entry.name == name]
    assert fault.reason == reason, fault.cause
    assert cause in fault.cause
    assert fault.entry.distribution == f"plugin-{name}"
    assert (fault.entry.version, fault.entry.object) == ("1.0", f"plugin_{name}:Plugin")
    with pytest.raises(Unavailable) as unavailable:
        await hub.roster.get(name).ready()
    assert REASONS[reason] in str(unavailable.value)
    assert "SECRET" not in str(unavailable.value)


async def test_two_of_one_name_are_both_faulty(hub):
    faults = [fault for fault in hub.roster.faults() if fault.entry.name == "double"]
    assert [(fault.reason, fault.entry.version) for fault in faults] == [
        ("duplicate-name", "1.0"),
        ("duplicate-name", "2.0"),
    ]
    assert "double_two:Good" in faults[0].cause
    with pytest.raises(Unavailable):
        hub.roster.get("double")


@pytest.mark.parametrize("name", ["no spaces", "_private"])
async def test_an_invalid_name_is_a_fault(hub, name):
    [fault] = [fault for fault in hub.roster.faults() if fault.entry.name == name]
    assert fault.reason == "invalid-name"
    assert "a letter or digit first" in fault.cause


async def test_a_distribution_with_damaged_metadata_stops_nobody(hub):
    """Its plugin can be served all the same, under the name of the entry point."""
    assert (await hub.judge("nameless", "x", task="1")).status == "scored"
    assert hub.roster.get("nameless").entry.version == "unknown"


async def test_a_name_that_is_not_installed_is_unknown(hub):
    with pytest.raises(UnknownBenchmark):
        hub.roster.get("nowhere")


async def test_a_faulty_plugin_leaves_no_process_behind(hub):
    mother = psutil.Process(hub.roster._installation._mother._process.pid)
    end = time.monotonic() + 5
    serving = [benchmark for benchmark in hub.roster if benchmark.state == "serving"]
    while len(mother.children(recursive=True)) > 2 * len(serving):  # each grader has a watcher
        assert time.monotonic() < end, mother.children(recursive=True)
        await asyncio.sleep(0.05)


async def test_strictness_names_a_fault(hub):
    with pytest.raises(PluginFault, match=r"from plugin-"):
        hub.roster.check()


async def test_a_plugin_that_is_to_be_served_must_be_installed(open_hub, plugins, tmp_path):
    with pytest.raises(UsageError, match=r"no installed plugin is called nowhere; installed are: .*good"):
        async with open_hub(tmp_path, plugins, only=["good", "nowhere"]):
            raise AssertionError("it was opened")


async def test_a_grader_that_dies_at_every_later_load_makes_errors_and_no_processes(open_hub, tmp_path):
    folder = tmp_path / "plugins"
    install_plugin(
        folder,
        "once",
        HEAD
        + "from pathlib import Path\n"
        + "mark = Path(__file__).with_name('mark')\n"
        + "if mark.exists(): os._exit(1)\n"
        + "mark.touch()\n"
        + "class Plugin(Good):\n    def evaluate_response(self, task, response): os._exit(1)\n",
    )
    async with open_hub(tmp_path / "hub", folder, only=["once"]) as hub:
        await hub.roster.loaded()
        evaluations = await asyncio.gather(*(hub.judge("once", str(number), task="1") for number in range(20)))
        evaluations += await hub.judge_all("once", *(("1", f"batch {number}") for number in range(20)))
        assert {evaluation.status for evaluation in evaluations} == {"error"}
        for evaluation in evaluations:
            assert "could not be started again" in evaluation.cause or "ended during" in evaluation.cause
        assert hub.evaluator._running == {}
        (folder / "mark").unlink()
        again = await hub.judge("once", "0", task="1")
        assert (again.status, again.attempt) == ("error", 2)
        mother = psutil.Process(hub.roster._installation._mother._process.pid)
        end = time.monotonic() + 5
        while mother.children():
            assert time.monotonic() < end
            await asyncio.sleep(0.05)


async def test_what_waits_for_a_grader_when_the_plugin_is_let_go_of_is_an_error_and_not_cancelled(open_hub, tmp_path):
    install_plugin(
        tmp_path / "plugins",
        "later",
        HEAD
        + "from pathlib import Path\n"
        + "mark = Path(__file__).with_name('mark')\n"
        + "if mark.exists(): time.sleep(60)\n"
        + "mark.touch()\n"
        + "Plugin = Good\n",
    )
    async with open_hub(tmp_path, tmp_path / "plugins", only=["later"]) as hub:
        await hub.roster.loaded()
        benchmark = hub.roster.get("later")
        [grader] = benchmark._graders.processes
        grader.kill()
        judging = asyncio.create_task(hub.judge("later", "x", task="1"))
        await asyncio.sleep(0.5)
        benchmark.close()
        evaluation = await judging
        assert evaluation.status == "error"
        assert "no longer served" in evaluation.cause


def benchhost(*arguments: str, plugins: Path, **kwargs) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchhost", *arguments],
        env=os.environ | {"PYTHONPATH": str(plugins)},
        capture_output=True,
        text=True,
        timeout=60,
        **kwargs,
    )


def test_the_command_lists_everything_with_causes(plugins):
    done = benchhost("plugins", "--json", "--load-timeout", "3", plugins=plugins)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["plugins"]
    faulty = {plugin["name"]: plugin["reason"] for plugin in told if plugin["state"] == "faulty"}
    assert {name: faulty[name] for name in REASON_OF} == REASON_OF
    [raises] = [plugin for plugin in told if plugin["name"] == "raises"]
    assert "RuntimeError: SECRET" in raises["cause"]
    assert (raises["distribution"], raises["distribution_version"]) == ("plugin-raises", "1.0")
    [good] = [plugin for plugin in told if plugin["name"] == "good"]
    assert (good["state"], good["datasets"], good["cause"]) == ("serving", {"default": 1}, None)
    assert len([plugin for plugin in told if plugin["name"] == "double"]) == 2


def test_the_strict_command_fails(plugins):
    done = benchhost("plugins", "--strict", "--only", "good,raises", plugins=plugins)
    assert done.returncode == 1
    assert "RuntimeError: SECRET" in done.stdout
    assert "1 of 2 plugins are faulty" in done.stderr
    assert benchhost("plugins", "--strict", "--only", "good", plugins=plugins).returncode == 0


def test_a_strict_server_does_not_start_and_says_why_of_every_faulty_plugin(plugins, tmp_path):
    flags = ["--only", "good,raises,double", "--state", str(tmp_path), "--port", "0"]
    done = benchhost("serve", "--strict", *flags, plugins=plugins)
    assert done.returncode == 1
    assert "RuntimeError: SECRET" in done.stderr
    assert "plugin-raises 1.0" in done.stderr
    assert "3 plugins are faulty" in done.stderr
    assert done.stderr.count("the name is also taken by") == 2


def test_a_server_that_is_to_serve_what_is_not_installed_does_not_start(plugins, tmp_path):
    done = benchhost("serve", "--only", "nowhere", "--state", str(tmp_path), "--port", "0", plugins=plugins)
    assert done.returncode == 2
    assert "no installed plugin is called nowhere" in done.stderr


def get(url: str, timeout: float = 30) -> bytes:
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


def test_the_server_answers_while_plugins_load_and_tells_no_cause(tmp_path):
    folder = tmp_path / "plugins"
    install_plugin(folder, "late", HEAD + "time.sleep(2)\nPlugin = Good\n")
    install_plugin(folder, "raises", HEAD + "raise RuntimeError('SECRET')\n")
    with serving(tmp_path / "state", "--only", "late,raises", plugins=[folder]) as server:
        began = time.monotonic()
        get(f"{server.url}/health", timeout=1)
        plugins = json.loads(get(f"{server.url}/v1/plugins"))["plugins"]
        assert {plugin["name"]: plugin["state"] for plugin in plugins}["late"] == "loading"
        get(f"{server.url}/b/late/verify-task-ids")
        assert 0.5 < time.monotonic() - began < 10
        told = get(f"{server.url}/v1/plugins")
        states = {plugin["name"]: (plugin["state"], plugin["reason"]) for plugin in json.loads(told)["plugins"]}
        assert states == {"late": ("serving", None), "raises": ("faulty", "import-failed")}
        assert b"SECRET" not in told
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{server.url}/b/raises/verify-task-ids")
        assert refused.value.code == 503
        assert b"SECRET" not in refused.value.read()
        refused.value.close()
        assert "SECRET" in server.said()


SHORT_OF_PROCESSES = """
import errno, os
from pathlib import Path

fork, short = os.fork, Path(__file__).with_name("short")
zygote = os.getpid()

def _fork():
    if not WHERE:
        return fork()
    try:
        tries = os.open(short, os.O_WRONLY | os.O_APPEND)  # which does not bring back what was just removed
    except FileNotFoundError:
        return fork()
    os.write(tries, b"tried ")
    os.close(tries)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

os.fork = _fork
"""


WATCHERS = {"no watcher": "os.getpid() == zygote", "no grader": "os.getpid() != zygote"}
"""What a zygote lacks the processes for: a watcher, or the grader that the watcher forks."""


@pytest.fixture(params=WATCHERS.values(), ids=WATCHERS)
def short(tmp_path, request):
    """A file; while it exists, no process that finds ``good`` and ``other`` in its folder can fork."""
    folder = tmp_path / "plugins"
    for name in ("good", "other"):
        install_plugin(folder, name, HEAD, attribute="Good")
    (folder / "sitecustomize.py").write_text(SHORT_OF_PROCESSES.replace("WHERE", request.param))
    return folder / "short"


async def test_a_want_of_processes_at_the_start_is_waited_out(open_hub, short, tmp_path):
    short.touch()
    async with open_hub(tmp_path / "hub", short.parent, only=["good", "other"]) as hub:
        end = time.monotonic() + 10
        while short.read_text().count("tried") < 3:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        short.unlink()
        await hub.roster.loaded()
        assert hub.roster.faults() == []
        assert (await hub.judge("good", "x", task="1")).status == "scored"


async def test_a_lasting_want_of_processes_is_a_fault_that_says_so(open_hub, short, tmp_path, monkeypatch):
    monkeypatch.setattr(hosted, "PAUSES", (0.01, 0.01))
    short.touch()
    async with open_hub(tmp_path / "hub", short.parent, only=["good"]) as hub:
        await hub.roster.loaded()
        [fault] = hub.roster.faults()
        assert fault.cause == "no grader could be started: [Errno 11] Resource temporarily unavailable"
        assert short.read_text().count("tried") == 3


async def test_a_grader_that_cannot_be_forked_later_touches_no_other(open_hub, short, tmp_path):
    async with open_hub(tmp_path / "hub", short.parent, only=["good", "other"]) as hub:
        await hub.roster.loaded()
        before = hub.graders()
        mother = psutil.Process(hub.roster._installation._mother._process.pid)
        open_files = mother.num_fds()
        short.touch()
        [grader] = hub.roster.get("other")._graders.processes
        os.kill(grader._pid, 9)
        end = time.monotonic() + 10
        while grader.usable:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        failed = await hub.judge("other", "x", task="1")
        assert (failed.status, "could be started" in failed.cause) == ("error", True)
        assert (await hub.judge("good", "x", task="1")).status == "scored"
        assert mother.num_fds() <= open_files
        short.unlink()
        assert (await hub.judge("other", "x", task="1")).status == "scored"
        assert set(hub.graders()) & set(before), "the other grader was ended too"


TABLE = (
    HEAD
    + """
class Settings(msgspec.Struct):
    aliases: dict[str, str] = {}

class Plugin(Good):
    Settings = Settings

    def load_datasets(self):
        return {"default": [Task(id=str(len(self.settings.aliases)), question="?")]}
"""
)


async def test_a_table_of_settings_may_be_larger_than_a_datagram(open_hub, tmp_path):
    install_plugin(tmp_path / "plugins", "table", TABLE)
    aliases = {str(number): "x" * 1000 for number in range(5000)}
    async with open_hub(
        tmp_path / "hub", tmp_path / "plugins", only=["table"], settings_of=lambda _: {"aliases": aliases}
    ) as hub:
        await hub.roster.loaded()
        assert hub.roster.faults() == []
        assert (await hub.judge("table", "x", task="5000")).status == "scored"


async def test_settings_that_cannot_be_passed_on_are_a_fault_of_the_settings(open_hub, tmp_path):
    install_plugin(tmp_path / "plugins", "table", TABLE)
    async with open_hub(
        tmp_path / "hub", tmp_path / "plugins", only=["table"], settings_of=lambda _: {"number": 2**70}
    ) as hub:
        await hub.roster.loaded()
        [fault] = hub.roster.faults()
        assert (fault.reason, "settings cannot be passed on" in fault.cause) == ("wrong-settings", True)


async def test_a_want_of_descriptors_at_the_start_is_waited_out(open_hub, short, tmp_path, monkeypatch):
    pair, wanting = socket.socketpair, 2

    def scarce(*kind):
        nonlocal wanting
        if not kind and wanting:  # the pair for a grader; that of the process that starts them is of another kind
            wanting -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return pair(*kind)

    monkeypatch.setattr(socket, "socketpair", scarce)
    async with open_hub(tmp_path / "hub", short.parent, only=["good"]) as hub:
        await hub.roster.loaded()
        assert (wanting, hub.roster.faults()) == (0, [])
        assert (await hub.judge("good", "x", task="1")).status == "scored"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_to_the_whole_group_ends_nothing_that_is_just_starting(open_hub, short, tmp_path, sent):
    (short.parent / "sitecustomize.py").write_text(f"import os; os.kill(os.getpid(), {int(sent)})")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    async with open_hub(tmp_path / "hub", short.parent, only=["good"]) as hub:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
        assert (await hub.judge("good", "x", task="1")).status == "scored"
        [grader] = hub.graders()
        assert int(blocked_in(grader), 16) == 0, "what hooks start could not be stopped by anybody"


def blocked_in(process: int) -> str:
    [mask] = [line.split()[1] for line in Path(f"/proc/{process}/status").read_text().splitlines() if "SigBlk" in line]
    return mask
