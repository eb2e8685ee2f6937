"""Starts the contenders, and says what they cost: CPU time and memory of the whole tree of processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import plugin_site
import psutil
from effort import cost_of
from load import Plan, Report

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
START_TIMEOUT = 60.0


class Server:
    """A contender in a process of its own, from ``with`` until its end.

    ``base`` is where its benchmark lies. ``command`` may contain ``{port}``. Callers show the ``token``, if any.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: list[str],
        base: str,
        environment: Mapping[str, str],
        token: str = "",
    ) -> None:
        self.name, self.base, self.token = name, base, token
        self.port = free_port()
        self.log = folder / f"{name}-{self.port}.log"
        self.command = [part.format(port=self.port) for part in command]
        self.environment = {**os.environ, **environment}

    def __enter__(self) -> Self:
        self.began = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.is_running():
            tree = self.tree()
            self.process.terminate()
            _, alive = psutil.wait_procs(tree, timeout=10)
            for process in alive:
                process.kill()

    def tree(self) -> list[psutil.Process]:
        """Return every process of this server."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        """Return the seconds of CPU, user and system, of all its processes, also of those that have ended."""
        for _ in range(20):
            try:
                return sum(sum(process.cpu_times()[:4]) for process in self.tree())
            except psutil.NoSuchProcess:  # ended between the two looks; by now its parent has its seconds
                continue
        raise RuntimeError(f"{self.name}: the processes change faster than they can be counted")

    def memory(self) -> float:
        """Return the MB of memory that all its processes take, each shared page divided among those that share it."""
        return sum(process.memory_full_info().pss for process in self.tree()) / 1e6

    def call(self, path: str, body: object = None) -> tuple[int, object]:
        """Make one request and return the status and the decoded answer. A body makes it a POST."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", content, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, msgspec.json.decode(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait(self, path: str = "/health", body: object = None) -> tuple[float, float]:
        """Repeat a request until it is answered with 200. Return the seconds, and the CPU seconds, since the start.

        Raises ``RuntimeError`` with the end of its log when it ends, or does not answer, in time.
        """
        last: object = None
        while time.perf_counter() < self.began + START_TIMEOUT and self.process.poll() is None:
            try:
                status, last = self.call(path, body)
                if status == 200:
                    return time.perf_counter() - self.began, self.cpu()
            except OSError as error:
                last = error
            time.sleep(0.005)
        raise RuntimeError(f"{self.name} did not answer {path}: {last}\n{self.log.read_text()[-4000:]}")

    def load(
        self, request: str, size: int, connections: int, seconds: float, pause: float = 0.0, token: str = ""
    ) -> Load:
        """Begin to apply load from a process of its own (:mod:`load`), as the usual caller or with another token."""
        plan = Plan(
            port=self.port,
            base=self.base,
            request=request,
            size=size,
            connections=connections,
            seconds=seconds,
            pause=pause,
            token=token or self.token,
        )
        return Load(self.name, plan)


class Load:
    """A load that is being applied."""

    def __init__(self, name: str, plan: Plan) -> None:
        self.name, self.plan = name, plan
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / ("watchers.py" if plan.request == "stream" else "load.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(plan))
        self.process.stdin.close()
        self.process.stdin = None

    def report(self) -> Report:
        """Wait for its end. Raises ``RuntimeError`` when an answer was not what it should be."""
        output, errors = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"{self.name}, {self.plan}: {errors.decode()[-4000:]}")
        return msgspec.json.decode(output, type=Report)


def benchhost(folder: Path, benchmarks: Mapping[str, str] | None = None) -> Server:
    """benchhost, recording every evaluation, with plugins ``{name: class in plugin.py}``; the last one is loaded."""
    benchmarks = dict(benchmarks or {"ten-thousand": "TenThousand"})
    folder.mkdir()
    site = plugin_site.install(folder, benchmarks)
    command = [str(BIN / "benchhost"), "serve", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"]
    return Server(
        "benchhost",
        folder,
        [*command, "--state", str(folder / "state")],
        f"/b/{list(benchmarks)[-1]}",
        {"PYTHONPATH": str(site), "BENCHHOST_LOG_LEVEL": "warning"},
    )


def benchhost_with_keys(folder: Path, benchmarks: Mapping[str, str] | None = None) -> Server:
    """benchhost, for tenants with keys of their own; the one that calls may use one dataset."""
    server = benchhost(folder, benchmarks)
    server.name = "benchhost, keys"
    server.environment["BENCHHOST_AUTH"] = "keys"
    server.token = key_for(server, "acme")
    return server


def key_for(server: Server, tenant: str) -> str:
    """Make a key of a tenant for the benchmark that a host with keys serves."""
    dataset, state = f"{server.base.rpartition('/')[2]}/default", server.command[-1]
    create = [str(BIN / "benchhost"), "keys", "create", "--tenant", tenant, "--datasets", dataset, "--state", state]
    return cost_of(create, server.environment).output.decode().strip()


def fastapi(folder: Path, count: int = 10_000, recording: bool = False) -> Server:
    """The FastAPI service of :mod:`peer` with ``count`` tasks."""
    folder.mkdir()
    environment = {"PYTHONPATH": str(HERE), "PEER_TASKS": str(count)}
    if recording:
        environment["PEER_DATABASE"] = str(folder / "evaluations.db")
    command = [str(BIN / "uvicorn"), "--port", "{port}", "--workers", "1", "--no-access-log", "--log-level", "warning"]
    name = "FastAPI, SQLAlchemy" if recording else "FastAPI"
    return Server(name, folder, [*command, "peer:app"], "", environment)


def limit(folder: Path, count: int = 10_000) -> Server:
    """The bare limit of :mod:`limit` with ``count`` tasks."""
    folder.mkdir()
    command = [str(BIN / "granian"), "--interface", "rsgi", "--port", "{port}", "--workers", "1", "--no-access-log"]
    environment = {"PYTHONPATH": str(HERE), "PEER_TASKS": str(count)}
    return Server("bare limit", folder, [*command, "--log-level", "warning", "limit:app"], "", environment)


def model_server(folder: Path) -> Server:
    """The provider of :mod:`model_server`; ``base`` is what follows its address in the base URL of a client."""
    folder.mkdir()
    command = [str(BIN / "granian"), "--interface", "rsgi", "--port", "{port}", "--workers", "1", "--no-access-log"]
    environment = {"PYTHONPATH": str(HERE), "MODEL_LATENCY": "0.2"}
    return Server("model server", folder, [*command, "--log-level", "warning", "model_server:app"], "/v1", environment)


def free_port() -> int:
    """Find a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
