"""What every test may use."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import structlog
from hypothesis import HealthCheck, settings

# Tests share the machine, so how long an example took says nothing about what was tested.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# A job that a shell has put into the background ignores Ctrl-C, and so would every command that is tried here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DOUBLE = Path(__file__).resolve().parent / "models"
KEY = "sk-double-0123456789abcdef"


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    """Undo what is set of the log by a command that is run in the process of the tests."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session")
def folders() -> ModuleType:
    """The provider of sandboxes of ``folders.py``."""
    return _module("folders")


@pytest.fixture(scope="session")
def vals() -> ModuleType:
    """The client of ``vals_client.py``."""
    return _module("vals_client")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real benchmark data that lies beside a checkout."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    assert folder.is_dir(), f"the tests need the real benchmark data in {folder}"
    return folder


@pytest.fixture(scope="session")
def provider() -> Iterator[str]:
    """The base URL of a running double of a provider of models, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--no-ws", "--log-level", "critical", "--working-dir", str(DOUBLE), "double:app"],
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


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(f"{url}/seen"):
            return
        assert process.poll() is None, "the double did not start"
        time.sleep(0.05)
    pytest.fail("the double did not answer within 30 s")


@pytest.fixture(scope="session")
def key() -> str:
    """The only key that the double takes."""
    return KEY
