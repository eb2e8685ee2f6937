"""A real server, for as long as a test needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STARTS_WITHIN = 60.0
"""Seconds until the server must answer."""


class RunningServer:
    """A server that runs: its ``url``, its ``state`` folder, the ``log`` file of what it says, its ``process``."""

    def __init__(self, url: str, state: Path, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self.state = state
        self.log = log
        self.process = process

    def said(self) -> str:
        """Return what it has logged so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill it and everything that it started, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STARTS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextmanager
def serving(
    state: Path, *flags: str, plugins: Sequence[Path] = (), environ: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """Run ``benchhost serve`` with these flags, its state in ``state``, on a free port.

    ``plugins`` are folders in which plugins are installed (:func:`benchhost.testing.install_plugin`).
    Only plugins found there are served, beside those that are installed where the test runs. Raises
    ``RuntimeError`` with the log when the server does not start.
    """
    port = _free_port()
    state.mkdir(parents=True, exist_ok=True)
    log = state / "log"
    path = os.pathsep.join([*map(str, plugins), os.environ.get("PYTHONPATH", "")])
    ours = ("BENCHHOST_", "BENCHMARK_", "AUTH_REQUIRED", "DESCOPE_", "SUBMISSION_ARTIFACT_", "AWS_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchhost", "serve", "--port", str(port), "--state", str(state), *flags],
            env={**clean, "PYTHONPATH": path, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    server = RunningServer(f"http://127.0.0.1:{port}", state, log, process)
    try:
        _wait_until_it_answers(server)
        yield server
        server.stop()
    finally:
        if process.poll() is None:
            server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(server: RunningServer) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended with {server.process.returncode}:\n{server.said()}")
        try:
            urllib.request.urlopen(f"{server.url}/health", timeout=STARTS_WITHIN).close()  # noqa: S310
        except urllib.error.URLError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"the server did not answer within {STARTS_WITHIN:g} s:\n{server.said()}")
