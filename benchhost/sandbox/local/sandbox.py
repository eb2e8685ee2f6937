"""A sandbox on this machine, by way of its holder."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from benchhost.contract import Command, Process, Sandbox, SandboxInfo
from benchhost.contract.sandbox import COMMAND_TIMEOUT, MAX_FILE, MAX_OUTPUT
from benchhost.errors import SandboxError, SandboxNotFound
from benchhost.sandbox.local import messages
from benchhost.sandbox.local.files import Files
from benchhost.sandbox.local.keeping import ask, connected, received
from benchhost.sandbox.local.labels import read_label
from benchhost.sandbox.local.messages import Closed
from benchhost.sandbox.local.process import LocalProcess, Pipes


class LocalSandbox(Sandbox):
    """A sandbox whose holder listens in a folder."""

    provider = "local"

    def __init__(self, id: str, folder: Path) -> None:  # noqa: A002 - what it is called everywhere
        self.id = id
        self._folder = folder

    async def info(self) -> SandboxInfo:
        return read_label(self._folder) or SandboxInfo(id=self.id, provider=self.provider, state="gone")

    @asynccontextmanager
    async def start(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = COMMAND_TIMEOUT,
        max_output: int = MAX_OUTPUT,
    ) -> AsyncIterator[Process]:
        request = {
            "op": "run",
            "command": command if isinstance(command, str) else _program(command),
            "cwd": cwd,
            "env": dict(env or {}),
            "timeout": timeout,
        }
        with contextlib.ExitStack() as undoing:
            connection = undoing.enter_context(await self._connected())
            try:
                pipes = Pipes(stdin)
                undoing.callback(pipes.close)
                process = LocalProcess(connection, pipes, timeout, max_output)
            except OSError as error:
                raise SandboxError(f"no command can be started from here: {error.strerror}") from error
            undoing.pop_all()
        try:
            try:
                messages.send(connection, request, pipes.theirs)
            except ConnectionError:
                raise SandboxNotFound(f"the sandbox {self.id} is gone") from None
            except OSError as error:
                raise SandboxError(f"the command cannot be sent to the sandbox: {error.strerror}") from error
            finally:
                pipes.give_away()
            yield process
        finally:
            await process.close()
            if process.lost:
                with anyio.CancelScope(shield=True), contextlib.suppress(SandboxError):
                    await ask(self._folder.parents[1], {"op": "delete", "id": self.id})

    async def read(self, path: str, limit: int = MAX_FILE) -> bytes:
        with await self._connected() as connection:
            return await Files(connection).read(path, limit)

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        with await self._connected() as connection:
            await Files(connection).write(path, data, mode)

    async def upload(self, source: Path, path: str) -> None:
        with await self._connected() as connection:
            await Files(connection).upload(source, path)

    async def download(self, path: str, target: Path, limit: int = MAX_FILE) -> None:
        with await self._connected() as connection:
            await Files(connection).download(path, target, limit)

    async def freeze(self) -> tuple[socket.socket, int]:
        """Have everything in it stand still until the socket is closed; return the directory of its own files, too.

        Raises :class:`~benchhost.errors.SandboxNotFound`.
        """
        connection = await self._connected()
        try:
            messages.send(connection, {"op": "freeze"})
            _, (layer,) = await received(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, (Closed, ConnectionError)):
                raise SandboxNotFound(f"the sandbox {self.id} is gone") from None
            raise
        return connection, layer

    async def listen(self, port: int) -> socket.socket:
        with await self._connected() as connection:
            return await Files(connection).listen(port)

    async def _connected(self) -> socket.socket:
        try:
            return await connected(self._folder)
        except (FileNotFoundError, ConnectionRefusedError):
            raise SandboxNotFound(f"the sandbox {self.id} is gone") from None
        except OSError as error:
            raise SandboxError(f"the sandbox {self.id} cannot be reached from here: {error.strerror}") from error


def _program(command: object) -> list[str]:
    assert isinstance(command, (list, tuple))
    return [str(each) for each in command]
