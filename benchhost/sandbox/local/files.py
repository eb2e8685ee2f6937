"""Files and sockets of a sandbox, as the host has them: by descriptors that the holder has opened in there."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import anyio.to_thread

from benchhost.errors import SandboxError, SandboxFileError, SandboxNotFound, SandboxUnsupported
from benchhost.sandbox import trees
from benchhost.sandbox.local import messages
from benchhost.sandbox.local.keeping import received
from benchhost.sandbox.local.messages import Closed, Message

CHUNK = 1 << 20


class _Entry(NamedTuple):
    """A file or directory of this machine, or, without a ``mode``, a link; ``name`` is from where it was looked for."""

    name: str
    place: Path
    is_folder: bool
    mode: int | None


class Files:
    """A conversation with a holder about what it is to open."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def read(self, path: str, limit: int, *, follow: bool = True) -> bytes:
        """Read a file of at most ``limit`` bytes."""
        with self._opened(path, await self._ask({"op": "read", "path": path, "follow": follow})) as file:
            data = await anyio.to_thread.run_sync(_read, file, limit + 1)
        if len(data) > limit:
            raise SandboxFileError(f"{path} is larger than {limit} bytes")
        return data

    async def write(self, path: str, data: bytes, mode: int) -> None:
        """Write a file, and make the directories above it."""
        with self._opened(path, await self._ask({"op": "write", "path": path, "mode": mode})) as file:
            try:
                await anyio.to_thread.run_sync(_write, file, data)
            except OSError as error:
                raise SandboxFileError(f"{path} cannot be written: {error.strerror}") from error

    async def upload(self, source: Path, path: str) -> None:
        """Copy a file or a directory of this machine."""
        try:
            for each in await anyio.to_thread.run_sync(_entries, source):
                place = f"{path}/{each.name}" if each.name else path
                if each.mode is None:
                    target = await anyio.to_thread.run_sync(os.readlink, each.place)
                    await self._plain({"op": "symlink", "path": place, "to": target})
                elif each.is_folder:
                    await self._plain({"op": "mkdir", "path": place, "mode": each.mode})
                else:
                    await self.write(place, await anyio.to_thread.run_sync(each.place.read_bytes), each.mode)
        except OSError as error:
            raise SandboxFileError(f"{source.name} cannot be read: {error.strerror}") from error

    async def download(self, path: str, target: Path, limit: int) -> None:
        """Copy a file or a directory of the sandbox, which is trusted with nothing."""
        entry = (await self._plain({"op": "look", "path": path}))["entry"]
        if entry["kind"] != "folder":
            data = await self.read(path, limit)
            try:
                with await anyio.to_thread.run_sync(target.open, "xb") as file:
                    await anyio.to_thread.run_sync(file.write, data)
            except FileExistsError:
                raise SandboxFileError(f"{target.name} is there already") from None
            except OSError as error:
                raise SandboxFileError(f"{target.name} cannot be written: {error.strerror}") from error
            return
        with tempfile.TemporaryFile() as archive:
            await self._pack(path, archive, limit)
            archive.seek(0)
            await anyio.to_thread.run_sync(trees.unpack, archive, target, limit)

    async def _pack(self, path: str, archive: IO[bytes], limit: int) -> None:
        left = limit
        seen = 0
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
            async for name, entry in self._walk(path):
                seen += 1
                if seen > trees.MOST_ENTRIES:
                    raise SandboxFileError(f"{path} has more than {trees.MOST_ENTRIES} entries")
                info = tarfile.TarInfo(name)
                info.mode = int(entry["mode"])
                if entry["kind"] == "folder":
                    info.type = tarfile.DIRTYPE
                    tar.addfile(info)
                elif entry["kind"] == "link":
                    info.type, info.linkname = tarfile.SYMTYPE, str(entry["to"])
                    tar.addfile(info)
                elif entry["kind"] == "file":
                    asked = {"op": "read", "path": f"{path}/{name}", "follow": False}
                    try:
                        opened = await self._ask(asked)
                    except SandboxFileError:  # it has gone, or cannot be read by who it belongs to
                        continue
                    with self._opened(path, opened) as file:
                        info.size = os.fstat(file).st_size
                        left -= info.size
                        if left < 0:
                            raise SandboxFileError(f"the files of {path} are larger than {limit} bytes together")
                        await anyio.to_thread.run_sync(_add, tar, info, file)

    async def _walk(self, path: str) -> AsyncIterator[tuple[str, Message]]:
        folders = [""]
        while folders:
            folder = folders.pop()
            if folder.count("/") > trees.DEEPEST:
                raise SandboxFileError(f"{path} has more than {trees.DEEPEST} directories within each other")
            try:
                entries = await self._listed(f"{path}/{folder}")
            except SandboxFileError:
                if not folder:
                    raise
                continue  # it has gone, or nobody may read it
            for entry in entries:
                name = f"{folder}/{entry['name']}".lstrip("/")
                yield name, entry
                if entry["kind"] == "folder":
                    folders.append(name)

    async def _listed(self, path: str) -> list[Message]:
        self._send({"op": "list", "path": path})
        entries: list[Message] = []
        more = True
        while more and len(entries) <= trees.MOST_ENTRIES:
            answer, _ = await self._answer(path)
            entries += answer["entries"]
            more = answer.get("more", False)
        return entries

    async def listen(self, port: int) -> socket.socket:
        """Have the holder listen at a port, and take the socket over."""
        self._send({"op": "listen", "path": "", "port": port})
        _, files = await self._answer(f"port {port}")
        given = [socket.socket(fileno=file) for file in files if stat.S_ISSOCK(os.fstat(file).st_mode)]
        if len(given) != 1 or not given[0].getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            for each in given:
                each.close()
            raise SandboxError(f"the sandbox does not listen at port {port}")
        given[0].setblocking(False)
        return given[0]

    async def _plain(self, request: Message) -> Message:
        answer, files = await self._ask(request)
        for file in files:
            os.close(file)
        return answer

    async def _ask(self, request: Message) -> tuple[Message, list[int]]:
        self._send(request)
        return await self._answer(request["path"])

    def _send(self, request: Message) -> None:
        if "\0" in request["path"]:
            raise SandboxFileError("a path has no NUL in it")
        try:
            messages.send(self._connection, request)
        except ConnectionError:
            raise SandboxNotFound("the sandbox is gone") from None
        except OSError as error:
            raise SandboxFileError(f"the path is no path: {error.strerror}") from error

    async def _answer(self, path: str) -> tuple[Message, list[int]]:
        try:
            answer, files = await received(self._connection)
        except Closed:
            raise SandboxNotFound("the sandbox is gone") from None
        if answer.get("errno") == errno.EAFNOSUPPORT:
            raise SandboxUnsupported("a sandbox that has no network of its own cannot be listened in")
        if "error" in answer:
            raise SandboxFileError(f"{path}: {answer['error']}")
        return answer, files

    @contextlib.contextmanager
    def _opened(self, path: str, answer: tuple[Message, list[int]]) -> Iterator[int]:
        file, *more = answer[1]
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise SandboxFileError(f"{path} is no file")
            yield file
        finally:
            for each in (file, *more):
                os.close(each)


def _entries(source: Path) -> list[_Entry]:
    """Find what is to be copied, directories before what is in them. Pipes and the like are left out."""
    status = source.stat()
    found = [_Entry("", source, stat.S_ISDIR(status.st_mode), stat.S_IMODE(status.st_mode))]
    for folder, folders, files in os.walk(source):
        for each in sorted(folders + files):
            place = Path(folder, each)
            mode = place.lstat().st_mode
            name = str(place.relative_to(source))
            if stat.S_ISLNK(mode):
                found.append(_Entry(name, place, is_folder=False, mode=None))
            elif stat.S_ISDIR(mode) or stat.S_ISREG(mode):
                found.append(_Entry(name, place, stat.S_ISDIR(mode), stat.S_IMODE(mode)))
    return found


def _read(file: int, most: int) -> bytes:
    parts = []
    while most > 0 and (data := os.read(file, min(most, CHUNK))):
        parts.append(data)
        most -= len(data)
    return b"".join(parts)


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _add(tar: tarfile.TarFile, info: tarfile.TarInfo, file: int) -> None:
    with open(file, "rb", closefd=False) as source:
        tar.addfile(info, source)
