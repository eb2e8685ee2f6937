"""How long to measure, and what a command costs that is run to its end."""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psutil


class Effort(NamedTuple):
    """How long to measure: ``rounds``, each of ``seconds`` for each contender, in a new ``folder``.

    ``quick`` is for seeing that it works: whatever has a size of its own is made small then.
    """

    folder: Path
    rounds: int
    seconds: float
    quick: bool

    def fresh(self) -> Path:
        """Name a folder that does not exist yet."""
        return next(path for index in itertools.count() if not (path := self.folder / str(index)).exists())


class Cost(NamedTuple):
    """What a command took, in seconds of CPU (user and system, with all processes that it started) and of time."""

    cpu: float
    seconds: float
    output: bytes


def cost_of(command: list[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end. Raises ``RuntimeError`` with what it said when it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env={**os.environ, **(environment or {})}, capture_output=True, check=False)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}: {(done.stderr or done.stdout).decode()[-4000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, seconds, done.stdout)


def peak_of(command: list[str], environment: Mapping[str, str]) -> float:
    """Run a command to its end and return the most MB of memory (PSS) that all its processes together took.

    Looks ten times a second, so a peak that is shorter may be missed. Raises ``RuntimeError`` when it fails.
    """
    peak = 0.0
    with tempfile.TemporaryFile() as log:
        process = psutil.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        while process.poll() is None:
            try:
                tree = [process, *process.children(recursive=True)]
                peak = max(peak, sum(each.memory_full_info().pss for each in tree) / 1e6)
            except psutil.NoSuchProcess:  # one ended between the two looks
                continue
            time.sleep(0.1)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {log.read().decode()[-4000:]}")
    return peak
