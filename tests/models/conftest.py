"""The provider that the tests of this folder talk to, in a process of its own."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from benchhost.models import Breaker, Limiter, RetryPolicy, resolve

HERE = Path(__file__).resolve().parent
KEY = "sk-double-0123456789abcdef"
QUICK = RetryPolicy(first=0.005, longest=0.02)


@pytest.fixture(scope="session")
def provider():
    """The base URL of a running double."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--no-ws", "--log-level", "critical", "--working-dir", str(HERE), "double:app"],
        env={**os.environ, "DOUBLE_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(url, process):
    for _ in range(600):
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{url}/seen"):
            return
        assert process.poll() is None, "the double did not start"
        time.sleep(0.05)
    pytest.fail("the double did not answer within 30 s")


@pytest.fixture(scope="session")
def key():
    """The only key that the double takes."""
    return KEY


@pytest.fixture
def environ(provider):
    """An environment in which both protocols lead to the double."""
    return {
        "OPENAI_BASE_URL": f"{provider}/v1",
        "OPENAI_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": provider,
        "ANTHROPIC_API_KEY": KEY,
    }


@pytest.fixture(scope="session")
def impatient():
    """A policy that tries once."""
    return RetryPolicy(retries=0, throttle_retries=0)


@pytest.fixture
async def model(environ):
    """Make models at the double, with quick retries; they are closed at the end of the test."""
    made = []

    def make(name, **options):
        options = {"policy": QUICK, "limiter": Limiter(8), "breaker": Breaker(1000), "timeout": 10.0} | options
        made.append(resolve(name, environ, **options))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.fixture
def seen(provider):
    """Ask the double how often a name was asked for."""

    def ask(name, what="seen"):
        with urllib.request.urlopen(f"{provider}/seen") as answer:
            return json.load(answer)[what].get(name.partition("/")[2], 0)

    return ask
