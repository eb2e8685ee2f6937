"""A host whose callers show keys, and how long it is fuzzed: shortly with all tests, longer with ``make fuzz``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import settings

from benchhost.testing import install_plugin, serving

LONG = bool(os.environ.get("FUZZ_LONG"))

BENCH = '''
from benchhost import Benchmark, Environment, Result, Task


class Plugin(Benchmark[Task]):
    """It offers everything, and no hook fails."""

    def load_datasets(self):
        return {"default": [Task(id=f"t{n}", question="?") for n in range(3)]}

    def evaluate_response(self, task, response):
        return Result(score=1.0 / (1 + len(response.text)))

    def retrieve_task(self, task):
        return Environment(image="python", problem_path="/problem", cwd="/")
'''

settings.register_profile("long", settings.get_profile("shared"), max_examples=5000)
settings.register_profile("short", settings.get_profile("shared"), max_examples=60)


@pytest.fixture(autouse=True, scope="session")
def how_long():
    """Load the profile, for this folder alone."""
    before = settings.get_current_profile_name()
    settings.load_profile("long" if LONG else "short")
    yield
    settings.load_profile(before)


@pytest.fixture(scope="session")
def examples():
    """How many examples schemathesis tries of each operation."""
    return 300 if LONG else 10


@pytest.fixture(scope="session")
def keyed(tmp_path_factory):
    """A host with two workers whose callers show keys, and a key."""
    folder = tmp_path_factory.mktemp("keyed")
    install_plugin(folder / "plugins", "whole", BENCH)
    command = [sys.executable, "-m", "benchhost", "keys", "create", "--tenant", "acme", "--datasets", "whole/default"]
    key = subprocess.run(
        [*command, "--state", str(folder / "state")],
        env={**os.environ, "BENCHHOST_AUTH": "keys"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()[-1]
    flags = ["--only", "whole", "--auth", "keys", "--socket-timeout", "5"]
    with serving(folder / "state", *flags, plugins=[folder / "plugins"]) as running:
        yield running, key
