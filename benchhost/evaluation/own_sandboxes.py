"""The host's own sandboxes: those that callers asked it for, and those in which it judges submissions.

Each carries labels that say whose it is. A sandbox for judging is lent to the process that judges, and deleted when
that is done. What a process leaves behind that is killed meanwhile is found by its labels and deleted by another, so
that there is no moment at which a sandbox exists and nobody knows of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import Provider, Sandbox, SandboxInfo, SandboxSpec
from benchhost.errors import CommandFailed, SandboxBusy, SandboxError, SandboxNotFound, SandboxUnavailable
from benchhost.evaluation.frames import InSandbox
from benchhost.evaluation.owners import Owner
from benchhost.log import get_logger
from benchhost.sandbox import open_provider

_log = get_logger()

HOST, TENANT, OWNER = "benchhost-host", "benchhost-tenant", "benchhost-owner"
"""The labels of a sandbox: of which host, for which tenant, and lent to which process, if it is."""

LOOKS_EVERY = 60.0
"""Seconds between two looks at what was left behind."""

LOOKS_FOR = 900.0
"""Seconds for which it is looked for: a provider may still have been making a sandbox when who asked was killed."""

DELETES_WITHIN = 120.0
"""Seconds that deleting a sandbox may take."""

CREATES_WITHIN = 60.0
"""Seconds that are waited at the end for sandboxes that are still being made, so that they can be deleted."""

RENEWALS = 3
"""How often, within the time after which it would count as idle, a sandbox that is needed is given a command."""

WAITS, PAUSE = 30.0, 0.5
"""Seconds for which a provider that can make no more is asked again, and between two times that it is asked."""


@asynccontextmanager
async def kept_alive(sandbox: Sandbox, idle_timeout: float | None) -> AsyncIterator[None]:
    """Have a sandbox not taken for idle while it is needed: there may be a long queue before it is judged.

    Should this process be killed, it is idle from then on, and ends by itself.
    """
    if idle_timeout is None:
        yield
        return
    renewing = asyncio.create_task(_renew(sandbox, idle_timeout / RENEWALS))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


async def _renew(sandbox: Sandbox, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        with contextlib.suppress(SandboxError):  # whoever works in it will hear of it
            await sandbox.run("true", cwd="/", timeout=every)


class OwnSandboxes:
    """The sandboxes of the provider ``name``, which is opened with ``config`` when one is first wanted.

    Without a name there are none. ``folder`` is shared by all processes of the host: there, each that sandboxes are
    lent to has a file of the name of its :class:`~benchhost.evaluation.owners.Owner`. ``key`` is the host's secret,
    by which its sandboxes are told from those of other hosts at the same provider. ``opener`` opens one that no
    configuration opens.
    """

    def __init__(
        self,
        name: str | None,
        config: Mapping[str, str],
        owner: Owner,
        folder: Path,
        key: bytes,
        *,
        opener: Callable[[], Coroutine[Any, Any, Provider]] | None = None,
    ) -> None:
        self.name = name
        self._config = dict(config)
        self._opener = opener
        self._owner = owner
        self._folder = folder
        self._host = hashlib.sha256(b"sandboxes\0" + key).hexdigest()[:32]
        self._opening: asyncio.Task[Provider] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._creating: set[asyncio.Future[Sandbox]] = set()
        self._deleting: set[asyncio.Task[None]] = set()
        self._lent: set[str] = set()
        self._left: set[str] = set()

    async def provider(self) -> Provider:
        """Open the provider, if it is not open yet.

        Raises :class:`~benchhost.errors.SandboxUnavailable`.
        """
        if self.name is None:
            raise SandboxUnavailable("this host has no sandboxes of its own: its setting `sandbox` is none")
        if self._opening is None or (self._opening.done() and self._opening.exception() is not None):
            opening = self._opener() if self._opener else open_provider(self.name, self._config)
            self._opening = asyncio.create_task(opening)
        return await asyncio.shield(self._opening)

    def place(self, sandbox_id: str) -> InSandbox:
        """Say how a grader reaches a sandbox."""
        assert self.name is not None
        return InSandbox(self.name, self._config, sandbox_id)

    async def create(self, tenant: str, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox for a tenant.

        Raises what :meth:`~benchhost.contract.Provider.create` raises.
        """
        labels = {**spec.labels, HOST: self._host, TENANT: tenant}
        return await (await self.provider()).create(msgspec.structs.replace(spec, labels=labels))

    async def get(self, tenant: str, sandbox_id: str) -> Sandbox:
        """Find a sandbox of a tenant.

        Raises :class:`~benchhost.errors.SandboxNotFound`, also for what belongs to another or is lent.
        """
        sandbox = await (await self.provider()).get(sandbox_id)
        labels = (await sandbox.info()).labels
        if labels.get(HOST) != self._host or labels.get(TENANT) != tenant or OWNER in labels:
            raise SandboxNotFound(f"the sandbox {sandbox_id} is not this caller's")
        return sandbox

    async def list(self, tenant: str) -> list[SandboxInfo]:
        """List the sandboxes of a tenant."""
        found = await (await self.provider()).list({HOST: self._host, TENANT: tenant})
        return [info for info in found if OWNER not in info.labels and info.state != "gone"]

    async def delete(self, tenant: str, sandbox_id: str) -> None:
        """Delete a sandbox of a tenant.

        Raises :class:`~benchhost.errors.SandboxNotFound`.
        """
        await self.get(tenant, sandbox_id)
        await (await self.provider()).delete(sandbox_id)

    @asynccontextmanager
    async def lent(self, tenant: str, spec: SandboxSpec) -> AsyncIterator[Sandbox]:
        """Make a sandbox that is deleted at the end, whatever that is. The directory that commands start in is made.

        Raises what :meth:`~benchhost.contract.Provider.create` raises, and
        :class:`~benchhost.errors.CommandFailed` when there can be no such directory.
        """
        labels = {**spec.labels, HOST: self._host, TENANT: tenant, OWNER: self._owner.id}
        self._be_known()
        sandbox = await self._created(msgspec.structs.replace(spec, labels=labels))
        self._lent.add(sandbox.id)
        try:
            if spec.cwd is not None:
                made = (await sandbox.run(["mkdir", "-p", spec.cwd], cwd="/")).exited
                if not made.ok:
                    raise CommandFailed(made.code, made.reason)
            async with kept_alive(sandbox, spec.idle_timeout):
                yield sandbox
        finally:
            await asyncio.shield(self._begin_to_delete(sandbox.id))

    async def _created(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox; if we are cancelled meanwhile, it is deleted as soon as it is there."""
        creating = asyncio.ensure_future(self._create(spec))
        self._creating.add(creating)
        creating.add_done_callback(self._creating.discard)
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            creating.add_done_callback(self._delete_made)
            raise

    async def _create(self, spec: SandboxSpec) -> Sandbox:
        provider = await self.provider()
        end = time.monotonic() + WAITS
        while True:
            try:
                return await provider.create(spec)
            except SandboxBusy:
                if time.monotonic() > end:
                    raise
            await asyncio.sleep(PAUSE)

    def _be_known(self) -> None:
        """Let others know, should this process be killed, that it may have left sandboxes behind."""
        self._owner.hold()
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / self._owner.id).touch()

    def _delete_made(self, creating: asyncio.Future[Sandbox]) -> None:
        if not creating.cancelled() and creating.exception() is None:
            self._begin_to_delete(creating.result().id)

    def _begin_to_delete(self, sandbox_id: str) -> asyncio.Task[None]:
        deleting = asyncio.create_task(self._delete(sandbox_id))
        self._deleting.add(deleting)
        deleting.add_done_callback(self._deleting.discard)
        return deleting

    async def _delete(self, sandbox_id: str) -> None:
        try:
            async with asyncio.timeout(DELETES_WITHIN):
                await (await self.provider()).delete(sandbox_id)
        except (SandboxError, TimeoutError) as error:  # it is tried again, and has a lifetime
            self._left.add(sandbox_id)
            _log.warning("a sandbox could not be deleted", sandbox=sandbox_id, cause=str(error) or "timeout")
        else:
            self._left.discard(sandbox_id)
            self._lent.discard(sandbox_id)

    def open(self) -> None:
        """Begin to look, again and again, for what was left behind."""
        if self.name is not None:
            self._looking = asyncio.create_task(self._look_again_and_again())

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                if reaped := await self.reap():
                    _log.warning("sandboxes were left behind by a worker that is gone", sandboxes=reaped)
            except (SandboxError, OSError) as error:
                _log.warning("sandboxes that were left behind could not be looked for", cause=str(error))
            await asyncio.sleep(LOOKS_EVERY)

    async def reap(self) -> int:
        """Delete what was lent to processes that are gone; return how many sandboxes those were.

        The provider is asked only when there is such a process. What this one could not delete is tried again.
        """
        for sandbox_id in list(self._left):
            await self._begin_to_delete(sandbox_id)
        known = list(self._folder.iterdir()) if self._folder.exists() else []
        gone = [path for path in known if not self._owner.is_alive(path.name)]
        if not gone:
            return 0
        found = await (await self.provider()).list({HOST: self._host})
        lent = [info for info in found if OWNER in info.labels and not self._owner.is_alive(info.labels[OWNER])]
        for info in lent:
            await self._begin_to_delete(info.id)
        for path in gone:
            with contextlib.suppress(FileNotFoundError):  # another worker was faster
                if time.time() - path.stat().st_mtime > LOOKS_FOR:
                    path.unlink()
        return len(lent)

    async def close(self) -> None:
        """Delete what is lent or still to be deleted, and close the provider."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        for sandbox_id in list(self._lent):
            self._begin_to_delete(sandbox_id)
        if self._creating:  # for who is not there any more: they are deleted as soon as they are there
            await asyncio.wait(self._creating, timeout=CREATES_WITHIN)
            await asyncio.sleep(0)
        while self._deleting:
            await asyncio.gather(*self._deleting)
        if not (self._left or self._creating):
            (self._folder / self._owner.id).unlink(missing_ok=True)
        if self._opening is not None:
            self._opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, SandboxError):
                await (await self._opening).aclose()
