"""Benchmarks that are not sound, each in a way of its own."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from benchhost.integrity.opening import opened_benchmark
from benchhost.settings import Settings
from benchhost.testing import install_plugin

HEAD = """
import time, asyncio
from benchhost import *
from benchhost.errors import *


class Question(Task, kw_only=True):
    subject: Public[str] = "sums"
    answer: str


class Sound(Benchmark[Question]):
    version = "7"
    evaluation_timeout = 5.0

    def load_datasets(self):
        return {"default": [Question(id=f"q{n}", question=f"{n} and {n}?", answer=f"{2 * n}") for n in range(12)]}

    def evaluate_response(self, task, response):
        return Result(score=float(response.text == task.answer), passed=response.text == task.answer)

    def reference_response(self, task):
        return Response(task.answer)


class Plugin(Sound):
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a benchmark, given by what its class says beyond that of a sound one."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))

    @asynccontextmanager
    async def open_(body: str = "pass", name: str = "questions", before: str = ""):
        lines = "\n".join(f"    {line}" for line in body.splitlines())
        install_plugin(tmp_path / "plugins", name, f"{HEAD.replace('class Plugin', before + 'class Plugin')}{lines}\n")
        async with opened_benchmark(Settings(state=tmp_path / "state"), name) as benchmark:
            yield benchmark

    return open_
