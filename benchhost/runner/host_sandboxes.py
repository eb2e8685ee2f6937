"""The sandboxes of another host, as a provider: what is done in them goes over its routes."""

from __future__ import annotations

import io
import socket
import tempfile
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio.to_thread

from benchhost.client import Client
from benchhost.contract import (
    Capabilities,
    Command,
    Exited,
    Output,
    Process,
    Provider,
    Sandbox,
    SandboxInfo,
    SandboxSpec,
)
from benchhost.contract.sandbox import COMMAND_TIMEOUT, MAX_FILE, MAX_OUTPUT
from benchhost.errors import (
    ClientError,
    HostBusy,
    SandboxBusy,
    SandboxError,
    SandboxFileError,
    SandboxNotFound,
    SandboxRefused,
    SandboxUnavailable,
    SandboxUnsupported,
    TokenRefused,
)
from benchhost.sandbox.trees import pack, unpack
from benchhost.wire.sandboxes import CommandRequest, SandboxAnswer, SandboxRequest

_OURS, _THEIRS = "benchhost-", "client-"
"""How our labels begin, and how they do at a host, which keeps that beginning to itself."""

_UNPACK = 'mkdir -p -- "$1" && tar -xpf "$0" -C "$1"; s=$?; rm -f -- "$0"; exit $s'
_PACK = 'umask 077; tar -cf "$0" -C "$1" .'


class HostSandboxes(Provider):
    """The sandboxes that a host makes for the caller whose ``client`` this is."""

    name = "host"

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def open(cls, config: Mapping[str, str]) -> Provider:  # noqa: ARG003 - part of the protocol
        raise SandboxUnavailable("the sandboxes of another host are reached by its client, not by a configuration")

    async def capabilities(self) -> Capabilities:
        return Capabilities(isolation="that of the host")

    async def create(self, spec: SandboxSpec) -> Sandbox:
        wanted = SandboxRequest(
            image=spec.image,
            snapshot=spec.snapshot,
            resources=spec.resources,
            env=spec.env,
            network=spec.network,
            cwd=spec.cwd,
            labels=_renamed(spec.labels, _OURS, _THEIRS),
            idle_timeout=spec.idle_timeout,
            **({} if spec.lifetime is None else {"lifetime": spec.lifetime}),
        )
        with _told():
            made = await self._client.sandboxes.create(wanted)
        return HostSandbox(self._client, made.id)

    async def get(self, id: str) -> Sandbox:  # noqa: A002 - what it is called everywhere
        with _told():
            await self._client.sandboxes.show(id)
        return HostSandbox(self._client, id)

    async def list(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxInfo]:
        with _told():
            found = [_info(each) for each in await self._client.sandboxes.list()]
        wanted = (labels or {}).items()
        return [info for info in found if wanted <= info.labels.items()]

    async def delete(self, id: str) -> None:  # noqa: A002 - likewise
        with _told():
            await self._client.sandboxes.delete(id)

    async def snapshot(self, id: str, name: str) -> str:  # noqa: A002 - likewise
        raise SandboxUnsupported("a host makes no snapshots for callers")

    async def aclose(self) -> None:
        """Do nothing: the client is closed by who has opened it."""


class HostSandbox(Sandbox):
    """A sandbox at a host."""

    provider = "host"

    def __init__(self, client: Client, id: str) -> None:  # noqa: A002 - what it is called everywhere
        self.id = id
        self._sandboxes = client.sandboxes

    async def info(self) -> SandboxInfo:
        with _told():
            return _info(await self._sandboxes.show(self.id))

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
        try:
            given = stdin.decode()
        except UnicodeDecodeError:
            raise SandboxUnsupported("a command at another host can only be given text as its input") from None
        asked = CommandRequest(
            command=command if isinstance(command, str) else list(command),
            cwd=cwd,
            env=dict(env or {}),
            stdin=given,
            timeout=timeout,
            max_output=max_output,
        )
        async with aclosing(self._sandboxes.run(self.id, asked)) as said:
            process = HostProcess(said)
            try:
                yield process
            finally:
                await process.kill()

    async def read(self, path: str, limit: int = MAX_FILE) -> bytes:
        with _told():
            data = await self._sandboxes.read(self.id, path, limit + 1)
        if len(data) > limit:
            raise SandboxFileError(f"{path} is larger than {limit} bytes")
        return data

    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        with _told():
            await self._sandboxes.write(self.id, path, data, mode)

    async def upload(self, source: Path, path: str) -> None:
        if not await anyio.Path(source).is_dir():
            content, mode = await anyio.to_thread.run_sync(_file_of, source)
            await self.write(path, content, mode)
            return
        archive = _archive()
        await self.write(archive, await anyio.to_thread.run_sync(_packed, source), 0o600)
        await self._move(_UNPACK, archive, path)

    async def download(self, path: str, target: Path, limit: int = MAX_FILE) -> None:
        if await anyio.Path(target).exists():
            raise SandboxFileError(f"{target.name} is there already")
        if not (await self.run(["test", "-d", path])).ok:
            data = await self.read(path, limit)
            await anyio.to_thread.run_sync(_keep, target, data)
            return
        archive = _archive()
        try:
            await self._move(_PACK, archive, path)
            packed = io.BytesIO(await self.read(archive, 2 * limit + 2**24))  # with a frame around each file
        finally:
            with suppress(SandboxError):
                await self.run(["rm", "-f", "--", archive])
        await anyio.to_thread.run_sync(unpack, packed, target, limit)

    async def listen(self, port: int) -> socket.socket:
        raise SandboxUnsupported("a sandbox at another host is on another machine: nothing here can listen in it")

    async def _move(self, line: str, archive: str, path: str) -> None:
        done = await self.run(["/bin/sh", "-c", line, archive, path])
        if not done.ok:
            said = done.stderr.decode("utf-8", "replace").strip()[:500]
            raise SandboxFileError(f"{path!r} cannot be moved: {said or done.exited.reason}")


class HostProcess(Process):
    """A command at a host, which ends it when nobody listens any more."""

    def __init__(self, said: AsyncGenerator[Output, None]) -> None:
        self._said = said
        self._killed = self._over = False

    async def __aiter__(self) -> AsyncIterator[Output]:
        try:
            with _told():
                async for output in self._said:
                    self._over = isinstance(output, Exited)
                    yield output
        except SandboxNotFound:
            self._over = True
            yield Exited(code=None, reason="sandbox_gone")
        if not self._over:
            yield Exited(code=None, reason="cancelled" if self._killed else "sandbox_gone")

    async def kill(self) -> None:
        self._killed = True
        with suppress(RuntimeError):  # it is being read from: then whoever reads it leaves
            await self._said.aclose()


@contextmanager
def _told() -> Iterator[None]:
    """Say what a host answers in the words of sandboxes."""
    try:
        yield
    except HostBusy as error:
        raise (SandboxBusy if error.status == 429 else SandboxUnavailable)(str(error)) from error
    except TokenRefused as error:
        raise SandboxRefused(str(error)) from error
    except ClientError as error:
        kinds = {"unknown-sandbox": SandboxNotFound, "file-refused": SandboxFileError}
        kind = kinds.get(error.problem or "", SandboxUnsupported if error.status == 422 else SandboxUnavailable)
        raise kind(str(error)) from error


def _info(answer: SandboxAnswer) -> SandboxInfo:
    return SandboxInfo(
        id=answer.id,
        provider=HostSandboxes.name,
        state=answer.state,
        labels=_renamed(answer.labels, _THEIRS, _OURS),
        image=answer.image,
        created_at=answer.created_at,
    )


def _renamed(labels: Mapping[str, str], beginning: str, other: str) -> dict[str, str]:
    return {
        other + name.removeprefix(beginning) if name.startswith(beginning) else name: word
        for name, word in labels.items()
    }


def _archive() -> str:
    return f"/tmp/.benchhost-{uuid.uuid4().hex}.tar"  # noqa: S108 - in a sandbox


def _packed(source: Path) -> bytes:
    with tempfile.TemporaryFile() as archive:
        pack(source, archive)
        archive.seek(0)
        return archive.read()


def _file_of(source: Path) -> tuple[bytes, int]:
    try:
        return source.read_bytes(), source.stat().st_mode & 0o777
    except OSError as error:
        raise SandboxFileError(f"{source.name} cannot be read here: {error.strerror}") from error


def _keep(target: Path, data: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise SandboxFileError(f"{target.name} cannot be written here: {error.strerror}") from error
