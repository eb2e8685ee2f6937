"""The command line: called in this process, or as the command that a person gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from benchhost.cli import main


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which must be one JSON document and nothing else."""
        return json.loads(self.out)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of every command in this test."""
    for name in os.environ:
        if name.startswith(("BENCHHOST_", "BENCHMARK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BENCHHOST_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def benchhost(state: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Gives a command, in this process."""

    def give(*arguments: object) -> Said:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Said(int(ended.value.code or 0), said.out, said.err)

    return give


@pytest.fixture
def launch(state: Path) -> Callable[..., subprocess.Popen[str]]:
    """Begins the real command, in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchhost", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def responses(tmp_path: Path) -> Callable[[dict[str, str]], str]:
    """Writes recorded responses, and returns the name of the model that replays them."""

    def write(texts: dict[str, str]) -> str:
        file = tmp_path / "responses.jsonl"
        lines = [json.dumps({"task_id": task_id, "response": text}) for task_id, text in texts.items()]
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return f"scripted/file:{file}"

    return write


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installs the benchmark ``slow`` and its runner, which takes ``seconds`` for a task and notes who began it.

    What is returned is the folder with a file for each attempt that was begun.
    """
    begun = tmp_path / "begun"
    begun.mkdir()
    install(
        tmp_path / "plugins",
        "slow",
        f"""
        import asyncio, pathlib, msgspec
        from benchhost import Benchmark, Response, Result, Runner, Task

        class Plugin(Benchmark[Task]):
            def load_datasets(self):
                tasks = [Task(id=f"t{{n}}", question=str(n)) for n in range(40)]
                return {{"default": tasks, "hurried": [Task(id="h", question="?", timeout=0.01)]}}

            def evaluate_response(self, task, response):
                if response.text == "break the judge":
                    raise RuntimeError("the judge is broken")
                return Result(score=float(response.text == task.question))

        class Params(msgspec.Struct):
            seconds: float = 0.0
            raises: bool = False
            closing: float = 0.0

        class Slow(Runner):
            version = "3"
            Params = Params

            async def generate(self, task, model, context):
                pathlib.Path({str(begun)!r}, f"{{task.id}}-{{context.attempt}}").touch()
                await asyncio.sleep(self.params.seconds)
                if self.params.raises:
                    raise ValueError("cannot do this")
                return (await model.complete(await context.prompt())).text

            async def close(self):
                await asyncio.sleep(self.params.closing)
        """,
        runner="Slow",
    )
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "plugins"), os.environ.get("PYTHONPATH", "")]))
    yield begun
    sys.modules.pop("plugin_slow", None)


def install(folder: Path, name: str, source: str, *, runner: str) -> None:
    """Install a plugin with a benchmark and a runner of one name."""
    module = f"plugin_{name}"
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[benchhost.benchmarks]\n{name} = {module}:Plugin\n\n[benchhost.runners]\n{name} = {module}:{runner}\n"
    )
