"""The provider of sandboxes on this machine."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio.to_thread

from benchhost.contract import Capabilities, Provider, Sandbox, SandboxInfo, SandboxSpec
from benchhost.errors import SandboxNotFound, SandboxUnavailable, SandboxUnsupported
from benchhost.sandbox.local import snapshots
from benchhost.sandbox.local.config import LocalConfig, read_config
from benchhost.sandbox.local.image_store import ImageStore
from benchhost.sandbox.local.image_users import find_user
from benchhost.sandbox.local.images import HOST, resolve_image
from benchhost.sandbox.local.keeper import SANDBOXES
from benchhost.sandbox.local.keeping import ask, attach
from benchhost.sandbox.local.labels import is_id, labelled
from benchhost.sandbox.local.messages import Message
from benchhost.sandbox.local.sandbox import LocalSandbox

SNAPSHOTS = "snapshots"

MOST_GB = 1_000_000
"""The most memory, and the most disk, that a sandbox may be asked for: of more, the kernel could not keep the limit."""


class LocalProvider(Provider):
    """Sandboxes of a folder on this machine, opened with what :mod:`benchhost.sandbox.local.config` says."""

    name = "local"

    def __init__(self, config: LocalConfig, connection: socket.socket, kind: Message) -> None:
        self._config = config
        self._folder = config.place
        self._images = ImageStore(Path(config.images) if config.images else self._folder / "images")
        self._connection = connection
        self._kind = kind

    @classmethod
    async def open(cls, config: Mapping[str, str]) -> LocalProvider:
        if sys.platform != "linux":
            raise SandboxUnavailable("sandboxes on this machine need Linux; take another provider, such as daytona")
        read = read_config(config)
        request = {"op": "attach", "isolation": read.isolation, "weakest": read.min_isolation}
        return cls(read, *await attach(read.place, request))

    @property
    def without_cgroups(self) -> str | None:
        """Why no cgroup keeps the limits of sandboxes here; ``None`` when some do."""
        reason: str | None = self._kind["cgroups"]
        return reason

    async def capabilities(self) -> Capabilities:
        return Capabilities(
            isolation=self._kind["tier"],
            limits=self._kind["limits"],
            snapshots=self._has_roots,
            why=tuple(self._kind["why"]),
        )

    @property
    def _has_roots(self) -> bool:
        return bool(self._kind["tier"] == "namespaces")

    async def create(self, spec: SandboxSpec) -> Sandbox:
        if spec.network != "none":
            raise SandboxUnsupported(
                'sandboxes on this machine reach no network; network="open" is to be had at daytona'
            )
        if spec.resources.gpu:
            raise SandboxUnsupported("sandboxes on this machine have no GPUs")
        if min(spec.resources.vcpu, spec.resources.memory, spec.resources.disk) < 1:
            raise SandboxUnsupported("a sandbox on this machine has a core, a GB of memory and one of disk at least")
        if max(spec.resources.memory, spec.resources.disk) > MOST_GB:
            raise SandboxUnsupported(f"a sandbox on this machine has {MOST_GB:,} GB of memory and of disk at most")
        name, layer = spec.image or HOST, None
        if spec.snapshot is not None:
            kept = await anyio.to_thread.run_sync(snapshots.find, self._folder / SNAPSHOTS, spec.snapshot)
            name, layer = kept.image, str(kept.layer)
        image = await anyio.to_thread.run_sync(resolve_image, name, self._images)
        if not self._has_roots and (image.root is not None or layer is not None):
            raise SandboxUnsupported(
                f"images and snapshots need the isolation namespaces, and here is {self._kind['tier']}: "
                + "; ".join(self._kind["why"] or ["that was asked for"])
            )
        user = None if image.root is None else await anyio.to_thread.run_sync(find_user, image.root, image.user)
        asked = {
            "op": "create",
            "tier": self._kind["tier"],
            "most": self._config.max_sandboxes,
            "stays": self._config.stay,
            "image": name,
            "root": None if image.root is None else str(image.root),
            "user": None if user is None else [user.user, user.group, user.name, user.home],
            "env": {**image.env, **spec.env},
            "cwd": spec.cwd or image.cwd or ("/work" if image.root is None else "/"),
            "labels": spec.labels,
            "vcpu": spec.resources.vcpu,
            "memory": spec.resources.memory,
            "disk": spec.resources.disk,
            "idle_timeout": spec.idle_timeout,
            "lifetime": spec.lifetime,
            "layer": layer,
        }
        made = await ask(self._folder, asked)
        return self._sandbox(made["id"])

    async def get(self, id: str) -> Sandbox:  # noqa: A002 - what it is called everywhere
        sandbox = self._sandbox(id) if is_id(id) else None
        if sandbox is None or (await sandbox.info()).state == "gone":
            raise SandboxNotFound(f"no sandbox on this machine has the id {id!r}")
        return sandbox

    async def list(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxInfo]:
        found = await anyio.to_thread.run_sync(labelled, self._folder / SANDBOXES)
        wanted = (labels or {}).items()
        return [info for info in found if wanted <= info.labels.items()]

    async def delete(self, id: str) -> None:  # noqa: A002 - likewise
        if is_id(id):
            await ask(self._folder, {"op": "delete", "id": id})

    async def snapshot(self, id: str, name: str) -> str:  # noqa: A002 - likewise
        if not self._has_roots:
            raise SandboxUnsupported(f"snapshots need the isolation namespaces, and here is {self._kind['tier']}")
        place = snapshots.place_of(self._folder / SNAPSHOTS, name)
        await self.get(id)
        sandbox = self._sandbox(id)
        image = (await sandbox.info()).image or HOST
        connection, layer = await sandbox.freeze()
        with connection:
            try:
                await anyio.to_thread.run_sync(snapshots.keep, place, layer, image)
            finally:
                os.close(layer)
        return name

    async def aclose(self) -> None:
        self._connection.close()

    def _sandbox(self, id: str) -> LocalSandbox:  # noqa: A002 - likewise
        return LocalSandbox(id, self._folder / SANDBOXES / id)
