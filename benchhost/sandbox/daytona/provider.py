"""Daytona as a provider: making sandboxes, finding them again, and ending them."""

from __future__ import annotations

import asyncio
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from benchhost.contract import Capabilities, Provider, Sandbox, SandboxInfo, SandboxSpec
from benchhost.errors import SandboxError, SandboxNotFound, SandboxUnavailable, SandboxUnsupported
from benchhost.sandbox.daytona.access import Access
from benchhost.sandbox.daytona.clients import Client, clients
from benchhost.sandbox.daytona.failures import not_done, transient
from benchhost.sandbox.daytona.sandbox import DaytonaSandbox
from benchhost.sandbox.daytona.states import CWD, MADE, STARTABLE, info_of, state_of, word_of

CREATE_TIMEOUT = 600.0
"""Seconds until a new sandbox must be ready: an image may have to be fetched and built."""

START_TIMEOUT = 180.0
"""Seconds until a stopped sandbox must be ready."""

CREATE_TRIES = 3
"""How often a sandbox is asked for, when it is known that the time before made none."""

LOOKS = 3
"""How often it is looked whether a creation that was not heard of made a sandbox."""

LOOK_WAIT = 1.0
"""Seconds between two such looks."""

POLL = 0.5
"""Seconds between two looks at a sandbox that is on its way."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LOCAL_IMAGE = re.compile(r"host$|dir:|oci:")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,511}")


class DaytonaProvider(Provider):
    """Sandboxes of one account at Daytona, made in one region.

    Those that others have made in the account are found too. Daytona itself deletes what is made here, when it
    has been idle, or has lived, for as long as its spec says, in whole minutes.
    """

    name: ClassVar[str] = "daytona"

    def __init__(self, client: Client) -> None:
        self._client = client
        self._open = True

    @classmethod
    async def open(cls, config: Mapping[str, str]) -> DaytonaProvider:
        return cls(await clients().lease(Access.of(config)))

    async def capabilities(self) -> Capabilities:
        return Capabilities(
            isolation="daytona",
            networks=("none", "open"),
            limits={"vcpu": "hard", "memory": "hard", "disk": "hard"},
            snapshots=True,
        )

    async def create(self, spec: SandboxSpec) -> Sandbox:
        made = uuid.uuid4().hex
        params = self._params(spec, made)
        found = None
        try:
            found = await self._make(params, made)
            return self._sandbox(found, spec.cwd)
        except asyncio.CancelledError:
            self._client.later(self._unmake(made, LOOKS))
            raise
        except SandboxError as error:
            if found is not None or isinstance(error, SandboxUnavailable):  # it may be there, and is paid for
                await asyncio.shield(self._client.later(self._unmake(made, 1)))
            raise

    def _sandbox(self, found: Any, cwd: str | None) -> Sandbox:
        self._client.access.check_toolbox(found.toolbox_proxy_url)
        return DaytonaSandbox(self._client, found, cwd=cwd)

    def _params(self, spec: SandboxSpec, made: str) -> Any:
        sdk = self._client.sdk
        if spec.image is not None and _LOCAL_IMAGE.match(spec.image):
            raise SandboxUnsupported(
                f"{spec.image!r} is an image of the local provider: for daytona, name an image of a registry, such as "
                "debian:12, or a snapshot"
            )
        if spec.image is not None and not _IMAGE.fullmatch(spec.image):  # it goes into a Dockerfile
            raise SandboxUnsupported("that cannot be the name of an image; one such as debian:12 is expected")
        common: dict[str, Any] = {
            "env_vars": dict(spec.env),
            "labels": {**spec.labels, MADE: made} | ({} if spec.cwd is None else {CWD: spec.cwd}),
            "network_block_all": spec.network == "none",
            "auto_stop_interval": _minutes(spec.idle_timeout),
            "auto_delete_interval": 0,  # at once when it stops, which is what it does when it is idle
            "ttl_minutes": _minutes(spec.lifetime),
        }
        if spec.image is None:
            return sdk.CreateSandboxFromSnapshotParams(snapshot=spec.snapshot, **common)
        asked = spec.resources
        gpu = {"gpu": asked.gpu, "gpu_type": asked.gpu_type} if asked.gpu else {}
        try:
            resources = sdk.Resources(cpu=asked.vcpu, memory=asked.memory, disk=asked.disk, **gpu)
            return sdk.CreateSandboxFromImageParams(image=spec.image, resources=resources, **common)
        except ValueError as error:
            raise SandboxUnsupported(f"daytona cannot make a sandbox of {spec.image!r}: {error}") from None

    async def _make(self, params: Any, made: str) -> Any:
        """Ask for a sandbox. When it is not known whether one was made, look for it before asking again."""
        doing = "make a sandbox"
        attempt = 0
        while True:
            try:
                return await self._client.daytona.create(params, timeout=CREATE_TIMEOUT)
            except Exception as error:
                failed = error
            attempt += 1
            if not transient(failed):
                raise self._client.failure(failed, doing)
            if not not_done(failed) and (found := await self._made(made, LOOKS)) is not None:
                return await self._ready(found, doing, CREATE_TIMEOUT)
            if attempt == CREATE_TRIES:
                raise self._client.failure(failed, doing)
            await self._client.wait(attempt, failed)

    async def _made(self, made: str, looks: int) -> Any | None:
        for look in range(looks):
            if look:
                await asyncio.sleep(LOOK_WAIT)
            for found in await self._all({MADE: made}):
                return found
        return None

    async def _unmake(self, made: str, looks: int) -> None:
        if (found := await self._made(made, looks)) is not None:
            await self._end(found)

    async def get(self, id: str) -> Sandbox:  # noqa: A002 - what it is called everywhere
        found = await self._find(id)
        await self._ready(found, f"start the sandbox {id}", START_TIMEOUT)
        return self._sandbox(found, found.labels.get(CWD))

    async def _find(self, id: str) -> Any:  # noqa: A002 - likewise
        if not _ID.fullmatch(id):
            raise SandboxNotFound("daytona has no sandbox of that id")
        found = await self._client.ask(f"find the sandbox {id}", lambda: self._client.daytona.get(id))
        if state_of(found) == "gone":
            raise SandboxNotFound(f"the sandbox {id} at daytona is gone")
        return found

    async def _ready(self, found: Any, doing: str, timeout: float) -> Any:
        """Wait until a sandbox is ready for commands; start it when it is stopped."""
        ends = asyncio.get_running_loop().time() + timeout
        while (state := state_of(found)) != "running":
            left = ends - asyncio.get_running_loop().time()
            if state == "gone":
                raise SandboxNotFound(f"the sandbox {found.id} at daytona is gone")
            if state == "failed":
                why = self._client.access.hide(found.error_reason or "it does not say why")
                raise SandboxUnavailable(f"the sandbox {found.id} at daytona has failed: {why}")
            if left <= 0:
                raise SandboxUnavailable(f"the sandbox {found.id} at daytona was not ready within {timeout:g} s")
            if word_of(found) in STARTABLE:
                await self._client.ask(doing, partial(found.start, left), timeout=left)
            else:  # on its way to being started, or stopped
                await asyncio.sleep(POLL)
                await self._client.ask(doing, found.refresh_data)
        return found

    async def list(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxInfo]:
        found = [info_of(each) for each in await self._all(labels or {})]
        return sorted(found, key=lambda info: info.created_at or 0.0)

    async def _all(self, labels: Mapping[str, str]) -> Sequence[Any]:
        query = self._client.sdk.ListSandboxesQuery(labels=dict(labels) or None)

        async def collect() -> Sequence[Any]:
            return [found async for found in self._client.daytona.list(query) if state_of(found) != "gone"]

        return await self._client.ask("list sandboxes", collect)

    async def delete(self, id: str) -> None:  # noqa: A002 - likewise
        try:
            found = await self._find(id)
        except SandboxNotFound:
            return
        await self._end(found)

    async def _end(self, found: Any) -> None:
        try:
            await self._client.ask(f"delete the sandbox {found.id}", found.delete)
        except SandboxNotFound:
            return

    async def snapshot(self, id: str, name: str) -> str:  # noqa: A002 - likewise
        found = await self._find(id)
        await self._client.ask(
            f"keep a snapshot of the sandbox {id}",
            lambda: found.create_snapshot(name, timeout=CREATE_TIMEOUT),
            timeout=CREATE_TIMEOUT,
            repeatable=False,
        )
        return name

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            try:
                await self._client.tidied_up()  # the event loop may end next
            finally:
                clients().give_back(self._client)


def _minutes(seconds: float | None) -> int:
    """Daytona counts in minutes, and 0 means for ever."""
    return 0 if seconds is None else max(1, math.ceil(seconds / 60))
