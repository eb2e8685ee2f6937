"""One sandbox at Daytona: its commands and its files."""

from __future__ import annotations

import os
import posixpath
import re
import socket
import stat
import tempfile
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread

from benchhost.contract import Command, Process, Sandbox, SandboxInfo
from benchhost.contract.sandbox import COMMAND_TIMEOUT, MAX_FILE, MAX_OUTPUT
from benchhost.errors import SandboxFileError, SandboxNotFound, SandboxUnavailable, SandboxUnsupported
from benchhost.sandbox.daytona import script
from benchhost.sandbox.daytona.clients import Client
from benchhost.sandbox.daytona.process import DaytonaProcess
from benchhost.sandbox.daytona.states import info_of, state_of, word_of
from benchhost.sandbox.trees import pack, unpack

FILE_TIMEOUT = 60.0
"""Seconds that moving one file may take, and more for a large one."""

SLOWEST = 256 * 1024
"""Bytes that are moved in a second at least."""

NO_TIMEOUT = 0
"""What the SDK is told of times that are our own matter."""

_NO_FILES = ("D", "c", "p", "S")
"""With what Daytona, as Go does, begins the modes of devices, pipes and sockets: reading them may never end."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""What cannot stand in the header of an upload."""

NO_DATA = "No file data received"
"""What the SDK says of a file that is empty."""


class DaytonaSandbox(Sandbox):
    """A sandbox at Daytona. Paths that are not absolute begin where commands start."""

    provider = "daytona"

    def __init__(self, client: Client, found: Any, *, cwd: str | None) -> None:
        self.id = found.id
        self._client = client
        self._found = found
        self._cwd = cwd

    async def info(self) -> SandboxInfo:
        return info_of(await self._look())

    async def _look(self) -> Any:
        # Another object of the SDK: where this one sends the key to has been looked at, and stays.
        found = await self._client.ask(f"find the sandbox {self.id}", lambda: self._client.daytona.get(self.id))
        if state_of(found) == "gone":
            raise SandboxNotFound(f"the sandbox {self.id} at daytona is gone")
        return found

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
        name = uuid.uuid4().hex
        line = script.run(name, command, cwd=self._at(cwd) if cwd else self._cwd, env=env or {}, stdin=bool(stdin))
        if stdin:
            await self._put(stdin, script.input_file(name))
        if isinstance(command, str) and script.too_long(command):
            await self._put(command.encode(), script.command_file(name))
        process = DaytonaProcess(self._client, self._found.process, name, timeout=timeout, max_output=max_output)
        try:
            await process.begin(line)
            yield process
        finally:
            await process.close()

    async def listen(self, port: int) -> socket.socket:
        raise SandboxUnsupported("a sandbox at Daytona is on another machine: nothing here can listen in it")

    async def read(self, path: str, limit: int = MAX_FILE) -> bytes:
        data = bytearray()

        async def fetch() -> None:
            data.clear()
            async with aclosing(self._pieces(self._at(path))) as pieces:
                async for piece in pieces:
                    data.extend(piece)
                    if len(data) > limit:
                        raise _too_large(path, limit)

        found = await self._file_info(path)
        if found.is_dir or found.mode.startswith(_NO_FILES):
            raise SandboxFileError(f"{path} is not a file")
        if found.size > limit:
            raise _too_large(path, limit)
        await self._with_file("read", path, fetch, found.size)
        return bytes(data)

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        await self._put(data, path)
        await self._set_mode(path, mode)

    async def upload(self, source: Path, path: str) -> None:
        kind = await anyio.to_thread.run_sync(_kind_of, source)
        if not stat.S_ISDIR(kind.st_mode):
            await self._put(str(source), path, size=kind.st_size)
            await self._set_mode(path, stat.S_IMODE(kind.st_mode) & 0o777)
            return
        at = self._at(path)
        theirs = f"{script.folder(uuid.uuid4().hex)}.tar"
        with tempfile.NamedTemporaryFile(suffix=".tar") as ours:
            size = await anyio.to_thread.run_sync(_pack, source, ours.name)
            await self._put(ours.name, theirs, size=size)
        line = 'mkdir -p -- "$1" && tar -xpf "$0" -C "$1"; s=$?; rm -f -- "$0"; exit $s'
        await self._move(line, theirs, at, path, size)

    async def download(self, path: str, target: Path, limit: int = MAX_FILE) -> None:
        at = self._at(path)
        if await anyio.Path(target).exists() or await anyio.Path(target).is_symlink():
            raise SandboxFileError(f"{target.name} is there already")
        if not (await self._file_info(path)).is_dir:
            data = await self.read(path, limit)
            await anyio.to_thread.run_sync(_keep, target, data)
            return
        theirs = f"{script.folder(uuid.uuid4().hex)}.tar"
        try:
            await self._move('umask 077; tar -cf "$0" -C "$1" .', theirs, at, path, limit)
            with tempfile.TemporaryFile() as ours:

                async def fetch() -> None:
                    ours.seek(0)
                    ours.truncate()
                    async with aclosing(self._pieces(theirs)) as pieces:
                        async for piece in pieces:
                            ours.write(piece)
                            if ours.tell() > 2 * limit + 2**24:  # the archive has a frame around each file
                                raise _too_large(path, limit)

                await self._with_file("read", path, fetch, limit)
                ours.seek(0)
                await anyio.to_thread.run_sync(unpack, ours, target, limit)
        finally:
            self._client.later(self._remove(theirs))

    def _at(self, path: str) -> str:
        if not path or "\0" in path:
            raise SandboxFileError(f"{path!r} cannot be a path")
        return posixpath.join(self._cwd or "", path)

    async def _file_info(self, path: str) -> Any:
        at = self._at(path)
        found: Any = None

        async def look() -> None:
            nonlocal found
            found = await self._found.fs.get_file_info(at)

        await self._with_file("read", path, look)
        return found

    async def _pieces(self, at: str) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(await self._found.fs.download_file_stream(at, NO_TIMEOUT)) as pieces:
                async for piece in pieces:
                    yield piece
        except self._client.sdk.DaytonaError as error:
            if NO_DATA not in str(error):
                raise

    async def _put(self, source: bytes | str, path: str, *, size: int | None = None) -> None:
        """Write a file from bytes, or from the file of this machine that a name means."""
        at = self._at(path)
        size = len(source) if size is None else size
        sent = f"{script.folder(uuid.uuid4().hex)}.new" if _CONTROL.search(at) else at
        await self._with_file("write", path, lambda: self._found.fs.upload_file(source, sent, NO_TIMEOUT), size)
        if sent != at:
            line = 'mkdir -p -- "$(dirname -- "$1")" && mv -f -- "$0" "$1"; s=$?; rm -f -- "$0"; exit $s'
            await self._move(line, sent, at, path, size)

    async def _set_mode(self, path: str, mode: int) -> None:
        at = self._at(path)
        await self._with_file("write", path, lambda: self._found.fs.set_file_permissions(at, mode=f"{mode:o}"))

    async def _with_file(self, verb: str, path: str, call: Callable[[], Awaitable[None]], size: int = 0) -> None:
        try:
            await self._client.ask(f"{verb} {path}", call, timeout=_time_for(size), of_file=True)
        except SandboxFileError:
            found = await self._look()  # whose fault is it? Where there is no sandbox, there is no file
            if state_of(found) != "running":
                raise SandboxUnavailable(f"the sandbox {self.id} at daytona is {word_of(found)}") from None
            raise

    async def _move(self, line: str, theirs: str, at: str, path: str, size: int) -> None:
        """Run a line of shell that moves something between a file of ours in the sandbox and its place."""
        done = await self.run(["/bin/sh", "-c", line, theirs, at], timeout=_time_for(size))
        if not done.ok:
            said = done.stderr.decode("utf-8", "replace").strip()[:500]
            raise SandboxFileError(f"{path!r} cannot be moved: {said or done.exited.reason}")

    async def _remove(self, at: str) -> None:
        await self._client.ask("tidy up", lambda: self._found.fs.delete_file(at))


def _time_for(size: int) -> float:
    return FILE_TIMEOUT + size / SLOWEST


def _too_large(path: str, limit: int) -> SandboxFileError:
    return SandboxFileError(f"{path} is larger than {limit} bytes")


def _kind_of(source: Path) -> os.stat_result:
    try:
        kind = source.stat()
    except OSError as error:
        raise SandboxFileError(f"{source.name} cannot be read here: {error.strerror}") from error
    if not (stat.S_ISDIR(kind.st_mode) or stat.S_ISREG(kind.st_mode)):
        raise SandboxFileError(f"{source.name} is neither a file nor a directory")
    return kind


def _pack(source: Path, archive: str) -> int:
    with Path(archive).open("wb") as file:
        pack(source, file)
        return file.tell()


def _keep(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise SandboxFileError(f"{target.name} cannot be written here: {error.strerror}") from error
