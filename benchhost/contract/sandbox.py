"""A sandbox, what makes one, and what a command that runs in it says."""

from __future__ import annotations

import abc
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, ClassVar, Literal

import msgspec

from benchhost.contract.environment import Resources

if TYPE_CHECKING:  # importing these takes an eighth of the time that importing all of benchhost does
    import socket
    from pathlib import Path

COMMAND_TIMEOUT = 300.0
"""Seconds that a command may take, unless another time is given."""

MAX_OUTPUT = 10 * 1024 * 1024
"""Bytes that a command may write to both its outputs together, unless another number is given."""

MAX_FILE = 64 * 1024 * 1024
"""Bytes that are read of one file, unless another number is given."""

Command = str | Sequence[str]
"""A line for ``/bin/sh -c``, or a program with its arguments."""

Network = Literal["none", "open"]
"""What a sandbox may reach: nothing, or what its provider lets it reach."""

SandboxState = Literal["starting", "running", "stopped", "failed", "gone"]

ExitReason = Literal[
    "exited", "signal", "timeout", "output_limit", "memory_limit", "disk_limit", "sandbox_gone", "cancelled"
]
"""Why a command ended: by itself, by a signal, or ended by the sandbox for what the word says."""


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox is made of.

    ``image`` or ``snapshot`` says what lies in it; with neither, the provider's default does. ``env`` are
    variables of every command, ``cwd`` the directory that commands start in, which is not made: a command that finds
    none there does not run. Without it, they start where the image says, or the provider. ``idle_timeout`` and
    ``lifetime`` are the seconds after the last command, and after its creation, when it is deleted.

    Raises ``ValueError`` when both an image and a snapshot are given, and for seconds that are not more than 0 and
    finite: what is to have no end has ``None``.
    """

    image: str | None = None
    snapshot: str | None = None
    resources: Resources = Resources()
    env: dict[str, str] = {}
    network: Network = "none"
    labels: dict[str, str] = {}
    cwd: str | None = None
    idle_timeout: float | None = 1800.0
    lifetime: float | None = 86_400.0

    def __post_init__(self) -> None:
        if self.image is not None and self.snapshot is not None:
            raise ValueError("a sandbox is made from an image or from a snapshot: give at most one of the two")
        for name, seconds in (("idle_timeout", self.idle_timeout), ("lifetime", self.lifetime)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise ValueError(f"the {name} of a sandbox must be more than 0 seconds and finite, not {seconds}")


class SandboxInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a sandbox without asking it. ``created_at`` is in seconds since 1970."""

    id: str
    provider: str
    state: SandboxState
    labels: dict[str, str] = {}
    image: str | None = None
    created_at: float | None = None


class Stdout(msgspec.Struct, frozen=True, tag="stdout"):
    """Bytes that a command has written to its standard output."""

    data: bytes


class Stderr(msgspec.Struct, frozen=True, tag="stderr"):
    """Bytes that a command has written to its standard error."""

    data: bytes


class Exited(msgspec.Struct, frozen=True, kw_only=True, tag="exited"):
    """The end of a command; always the last that is heard of it.

    ``code`` is the exit code, or minus the number of the signal that ended it; ``None`` when it is not known.
    ``seconds`` is the time that it took, ``dropped`` the bytes of its output that were not passed on, and
    ``peak_memory`` the most memory in bytes, where the provider knows it.
    """

    code: int | None
    reason: ExitReason = "exited"
    seconds: float = 0.0
    dropped: int = 0
    peak_memory: int | None = None

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with the code 0."""
        return self.reason == "exited" and self.code == 0


Output = Stdout | Stderr | Exited
"""What is heard of a running command."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """A command that has ended, with all it wrote, up to the limit."""

    stdout: bytes
    stderr: bytes
    exited: Exited

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with the code 0."""
        return self.exited.ok

    @property
    def text(self) -> str:
        """The standard output as text; what is not UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")


class Process(abc.ABC):
    """A command while it runs: iterate over it to hear what it says. The last that comes is :class:`Exited`."""

    @abc.abstractmethod
    def __aiter__(self) -> AsyncIterator[Output]:
        """Hear what the command says, as it says it."""

    @abc.abstractmethod
    async def kill(self) -> None:
        """End the command, and what it has started, at once. :class:`Exited` then comes with ``cancelled``."""


class Sandbox(abc.ABC):
    """A machine of its own, in which nothing of the host can be seen or reached.

    Files stay and processes in the background go on from one command to the next, until it is deleted. A
    command that fails is no exception. Whatever the sandbox itself cannot do raises
    :class:`~benchhost.errors.SandboxError`: :class:`~benchhost.errors.SandboxNotFound` when it is gone,
    :class:`~benchhost.errors.SandboxUnavailable` when its provider fails.
    """

    id: str
    """What :meth:`Provider.get` finds it by. It cannot be guessed."""
    provider: str
    """The name of its provider."""

    @abc.abstractmethod
    async def info(self) -> SandboxInfo:
        """Ask what has become of it."""

    @abc.abstractmethod
    def start(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = COMMAND_TIMEOUT,
        max_output: int = MAX_OUTPUT,
    ) -> AbstractAsyncContextManager[Process]:
        """Run a command and hear what it says while it runs.

        ``timeout`` is in seconds, ``max_output`` in bytes of both outputs together: beyond either, the
        command and what it has started are ended, as they are when the context is left.
        """

    @abc.abstractmethod
    async def read(self, path: str, limit: int = MAX_FILE) -> bytes:
        """Read a file.

        Raises :class:`~benchhost.errors.SandboxFileError` when there is no such file, or when it is larger than
        ``limit`` bytes.
        """

    @abc.abstractmethod
    async def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file; directories that are missing are made.

        Raises :class:`~benchhost.errors.SandboxFileError` when it cannot be written.
        """

    @abc.abstractmethod
    async def upload(self, source: Path, path: str) -> None:
        """Copy a file or a directory of this machine into the sandbox, symbolic links as they are.

        Raises :class:`~benchhost.errors.SandboxFileError`.
        """

    @abc.abstractmethod
    async def download(self, path: str, target: Path, limit: int = MAX_FILE) -> None:
        """Copy a file or a directory of the sandbox to ``target``, which must not be there yet.

        Symbolic links that lead out of the directory, devices and the like are left out; ``limit`` is in bytes of
        all files together. Raises :class:`~benchhost.errors.SandboxFileError`.
        """

    @abc.abstractmethod
    async def listen(self, port: int) -> socket.socket:
        """Listen at a TCP port of the sandbox's own loopback, for whoever is inside.

        What connects to ``127.0.0.1:port`` in there is accepted here. So a sandbox that reaches nothing can be
        lent one thing. The port 0 is one that is free, which ``getsockname`` of the socket says. The socket does not
        block, and is the caller's to close.

        Raises :class:`~benchhost.errors.SandboxUnsupported` where the provider cannot do that, and
        :class:`~benchhost.errors.SandboxError` when the port is taken.
        """

    async def run(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = COMMAND_TIMEOUT,
        max_output: int = MAX_OUTPUT,
    ) -> Completed:
        """Run a command to its end, as :meth:`start` does, and return all that it said."""
        out: list[bytes] = []
        err: list[bytes] = []
        exited = Exited(code=None, reason="sandbox_gone")
        async with self.start(
            command, cwd=cwd, env=env, stdin=stdin, timeout=timeout, max_output=max_output
        ) as process:
            async for said in process:
                if isinstance(said, Exited):
                    exited = said
                else:
                    (out if isinstance(said, Stdout) else err).append(said.data)
        return Completed(stdout=b"".join(out), stderr=b"".join(err), exited=exited)


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider can do here.

    ``isolation`` names how sandboxes are kept apart. ``limits`` says of each resource whether it is kept
    ``hard``, is ``polled`` (looked at again and again), or is not limited (``none``). ``why`` says, where
    something stronger is not to be had, what to change.
    """

    isolation: str
    networks: tuple[Network, ...] = ("none",)
    limits: dict[str, Literal["hard", "polled", "none"]] = {}
    snapshots: bool = False
    why: tuple[str, ...] = ()


class Provider(abc.ABC):
    """What makes sandboxes and finds them again. Registered in the entry-point group ``benchhost.sandboxes``.

    Any process that opens a provider with the same ``config`` finds the same sandboxes. Beside what is said
    below, everything may raise :class:`~benchhost.errors.SandboxUnavailable` when the provider fails and
    :class:`~benchhost.errors.SandboxRefused` when it does not let us in.
    """

    name: ClassVar[str]

    @classmethod
    @abc.abstractmethod
    async def open(cls, config: Mapping[str, str]) -> Provider:
        """Open the provider. ``config`` is all that it needs to know: credentials, addresses, folders.

        Raises :class:`~benchhost.errors.SandboxUnavailable` when it cannot be had here, and says what to change.
        """

    @abc.abstractmethod
    async def capabilities(self) -> Capabilities:
        """Say what can be had here."""

    @abc.abstractmethod
    async def create(self, spec: SandboxSpec) -> Sandbox:
        """Make a sandbox that is ready for commands.

        Raises :class:`~benchhost.errors.SandboxUnsupported` when the provider cannot make such a one, and
        :class:`~benchhost.errors.SandboxBusy` when it can make no more of them now.
        """

    @abc.abstractmethod
    async def get(self, id: str) -> Sandbox:  # noqa: A002 - what it is called everywhere
        """Find a sandbox; one that is stopped is started.

        Raises :class:`~benchhost.errors.SandboxNotFound`.
        """

    @abc.abstractmethod
    async def list(self, labels: Mapping[str, str] | None = None) -> Sequence[SandboxInfo]:
        """List the sandboxes that have all these labels, oldest first."""

    @abc.abstractmethod
    async def delete(self, id: str) -> None:  # noqa: A002 - likewise
        """End everything in a sandbox and forget it. One that is gone already is no error."""

    @abc.abstractmethod
    async def snapshot(self, id: str, name: str) -> str:  # noqa: A002 - likewise
        """Keep the files of a sandbox; return the name by which a :class:`SandboxSpec` restores them.

        Raises :class:`~benchhost.errors.SandboxUnsupported` where there are no snapshots.
        """

    @abc.abstractmethod
    async def aclose(self) -> None:
        """Let go of connections. Sandboxes stay."""
