"""Uploads in a folder of this machine, which all workers of the host share.

Each tenant has a folder, and in it a file for each key, under the digest of its name: nothing of what a caller says
becomes a path. What is still arriving lies beside them in full length, so that it counts, and its lock is held by
who writes it: the kernel lets go of that whatever ends the process, and the next sweep deletes the file.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import msgspec

from benchhost.errors import Malformed, UploadsFailed, UploadSpaceFull
from benchhost.uploads.places import tenant_of
from benchhost.uploads.protocol import EXPIRES_IN, Announced, must_fit
from benchhost.uploads.signing import Permit

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATH = "/v1/uploads"
"""Where the host takes what is put to a signed URL."""

AT_ONCE = 1024 * 1024
"""Bytes that are held of an upload before they are written."""

LEAST = 64 * 1024
"""Bytes as which each file counts at least, so that many small ones are not free."""

SPARE = 256 * 1024 * 1024
"""Bytes of the disk that uploads leave to others, such as the database."""

THREADS = 8
"""Files that are worked on at once: however many uploads come, the threads of others, such as sandboxes, stay free."""

_ARRIVING = ".part"
_LOCK = "lock"


class Received(msgspec.Struct, frozen=True):
    """What has been uploaded."""

    size: int
    sha256: str


class Spool:
    """Keeps uploads of at most ``largest`` bytes for ``kept`` seconds, of each tenant at most ``per_tenant`` bytes."""

    def __init__(self, folder: Path, secret: bytes, *, largest: int, per_tenant: int, kept: float) -> None:
        self.largest = largest
        self._folder = folder
        self._secret = secret
        self._per_tenant = per_tenant
        self._kept = kept
        self._threads = anyio.CapacityLimiter(THREADS)

    @property
    def sweeps_every(self) -> float:
        """Seconds between two sweeps."""
        return min(max(self._kept / 10, 1.0), 600.0)

    async def url(self, announced: Announced, base: str) -> str:
        if announced.size is not None:
            must_fit(announced.size, self.largest)
        permit = Permit(
            announced.benchmark,
            announced.key,
            int(time.time()) + EXPIRES_IN,
            self.largest,
            announced.size,
            announced.sha256,
        )
        return f"{base}{PATH}?{permit.query(self._secret)}"

    def check(self, permit: Permit, signature: str, length: int) -> None:
        """Make sure that so many bytes may be put.

        Raises :class:`~benchhost.errors.UploadRefused`, :class:`~benchhost.errors.TooLarge` and
        :class:`~benchhost.errors.Malformed`.
        """
        permit.check(self._secret, signature, time.time())
        must_fit(length, min(self.largest, permit.limit))
        if permit.size not in (None, length):
            raise Malformed(f"{permit.size} bytes were announced", ("header", "content-length"))

    async def receive(self, permit: Permit, length: int, pieces: AsyncIterator[bytes]) -> Received:
        """Keep what arrives, in the place of what was there; it is there whole, or not at all.

        The permit must have been checked. Raises :class:`~benchhost.errors.Malformed` when it is not what was
        announced, :class:`~benchhost.errors.UploadSpaceFull`, and what ``pieces`` raises.
        """
        tenant = self._folder_of(permit.key)
        arriving = await self._in_thread(_Arriving, tenant, length, self._per_tenant)
        try:
            waiting = bytearray()
            async for piece in pieces:
                waiting += piece
                if len(waiting) >= AT_ONCE:
                    await self._in_thread(arriving.write, waiting)
                    waiting = bytearray()
            await self._in_thread(arriving.write, waiting)
            received = arriving.received
            if received.size != length:
                raise Malformed("the body ended early")
            if permit.sha256 not in (None, received.sha256):
                raise Malformed("its SHA-256 is not the one that was announced")
            await self._in_thread(arriving.keep_as, _name_of(permit.benchmark, permit.key))
        finally:
            arriving.close()
        return received

    async def digest(self, benchmark: str, key: str) -> str | None:
        return await self._of_file(benchmark, key, _digested)

    async def read(self, benchmark: str, key: str) -> bytes | None:
        return await self._of_file(benchmark, key, BufferedReader.read)

    async def _of_file(self, benchmark: str, key: str, take: Callable[[BufferedReader], T]) -> T | None:
        """Take something from the file of an upload, if there is one."""
        path, since = self._folder_of(key) / _name_of(benchmark, key), time.time() - self._kept
        file = await self._in_thread(_opened, path, since)
        if file is None:
            return None
        with file:
            must_fit(os.fstat(file.fileno()).st_size, self.largest)  # nobody writes to what has its name
            return await self._in_thread(take, file)

    async def sweep(self) -> int:
        """Delete what was kept long enough, and what will never be whole; return how many files those were."""
        return await self._in_thread(self._sweep)

    def _sweep(self) -> int:
        if not self._folder.is_dir():
            return 0
        until = time.time() - self._kept
        return sum(_sweep(tenant, until) for tenant in self._folder.iterdir() if tenant.is_dir())

    async def _in_thread(self, call: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Call what blocks, and wait for its end, also when the request is cancelled, before its file is closed."""
        return await anyio.to_thread.run_sync(call, *arguments, limiter=self._threads)

    def _folder_of(self, key: str) -> Path:
        return self._folder / _name_of(tenant_of(key))


class _Arriving:
    """A file that is being written, from its first byte to its last.

    ``folder`` is the tenant's. Raises :class:`~benchhost.errors.UploadSpaceFull` when so much has no room.
    """

    def __init__(self, folder: Path, length: int, per_tenant: int) -> None:
        self._folder = folder
        self._path = folder / f"{secrets.token_hex(16)}{_ARRIVING}"
        self._length = length
        self._size = 0
        self._digest = hashlib.sha256()
        with _told(), _alone(folder):
            if _used(folder) + _charged(length) > per_tenant:
                raise UploadSpaceFull(
                    f"This one and your uploads that are kept have more than {per_tenant} bytes together, which is all "
                    "that this host keeps for you. The oldest are deleted by themselves."
                )
            _must_have_room(folder, length)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX)
                _reserve(self._file, length)
                _must_have_room(folder, 0)  # there may not be, where several tenants looked at the same room before
            except BaseException:
                self.close()
                raise

    @property
    def received(self) -> Received:
        """What there is of it."""
        return Received(self._size, self._digest.hexdigest())

    def write(self, data: bytearray) -> None:
        """Write what has come; more than was announced is malformed."""
        if self._size + len(data) > self._length:
            raise Malformed("the body is longer than its content-length")
        self._digest.update(data)
        with _told():
            while data:
                written = os.write(self._file, data)
                self._size += written
                data = data[written:]

    def keep_as(self, name: str) -> None:
        """Give it its name, in the place of what has it, once it would outlive a power cut."""
        with _told():
            os.fsync(self._file)
            with _alone(self._folder):
                self._path.replace(self._folder / name)
                _sync(self._folder)

    def close(self) -> None:
        """Let go of it, and delete it unless it has its name."""
        try:
            self._path.unlink(missing_ok=True)
        finally:
            os.close(self._file)


def _must_have_room(folder: Path, length: int) -> None:
    if shutil.disk_usage(folder).free < length + SPARE:
        raise UploadSpaceFull("The host has no room for uploads at the moment.")


def _reserve(file: int, length: int) -> None:
    """Take so much of the disk before any of it is written, so that whoever looks sees that it is gone."""
    if length and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, length)
    else:
        os.ftruncate(file, length)


def _opened(path: Path, since: float) -> BufferedReader | None:
    """Open an upload to be read, unless there is none that was put after a time."""
    with _told():
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        if os.fstat(file.fileno()).st_mtime < since:
            file.close()
            return None
        return file


def _digested(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _told() -> Iterator[None]:
    """Say of an error of the system what it means for an upload."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UploadSpaceFull("The host has no room for uploads at the moment.") from error
        raise UploadsFailed(f"the folder of uploads cannot be used: {error}") from error


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _used(folder: Path) -> int:
    """Say how many bytes there are of a tenant, what is arriving included."""
    return sum(_charged(size) for size in map(_size_of, folder.iterdir()) if size is not None)


def _size_of(path: Path) -> int | None:
    if path.name == _LOCK:
        return None
    try:
        return path.stat().st_size
    except FileNotFoundError:  # what was arriving is given up
        return None


def _charged(size: int) -> int:
    return max(size, LEAST)


def _sweep(folder: Path, until: float) -> int:
    swept = 0
    with _alone(folder):
        for path in folder.iterdir():
            if path.name == _LOCK:
                continue
            try:
                gone = _nobody_writes(path) if path.suffix == _ARRIVING else path.stat().st_mtime < until
            except FileNotFoundError:
                continue
            if gone:
                path.unlink(missing_ok=True)
                swept += 1
    return swept


def _nobody_writes(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only one, of all workers, who changes what is in the folder of a tenant; it is made if need be."""
    for each in (folder.parent, folder):
        each.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _name_of(*parts: str) -> str:
    """Make a name of a file that tells nothing and cannot be chosen."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()
