"""Requests and answers of the routes by which callers have sandboxes of the host."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from benchhost.contract import Exited, Network, Resources, SandboxState, Stderr, Stdout

Seconds = Annotated[float, Meta(gt=0)]


class SandboxRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a sandbox is to be made of: an ``image`` or a ``snapshot``, or what the provider takes of itself.

    ``env`` are variables of every command, ``cwd`` is where commands start. ``idle_timeout`` and ``lifetime`` are the
    seconds after the last command, and after its creation, when it is deleted. ``labels`` are words of your own.
    """

    image: str | None = None
    snapshot: str | None = None
    resources: Resources = Resources()
    env: dict[str, str] = {}
    network: Network = "none"
    cwd: str | None = None
    labels: dict[str, str] = {}
    idle_timeout: Seconds | None = 1800.0
    lifetime: Annotated[float, Meta(gt=0, le=7 * 86_400)] = 86_400.0


class SandboxAnswer(msgspec.Struct):
    """A sandbox. ``id`` is also its ``instance_id`` at the WebSockets. ``created_at`` is in seconds since 1970."""

    id: str
    provider: str
    state: SandboxState
    image: str | None
    labels: dict[str, str]
    created_at: float | None


class SandboxList(msgspec.Struct):
    """The sandboxes of the caller's tenant, the oldest first."""

    sandboxes: list[SandboxAnswer]


class CommandRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A command: a line for ``/bin/sh -c``, or a program with its arguments. It is ended after ``timeout`` seconds.

    It is ended, too, when it has written more than ``max_output`` bytes, or when the caller hangs up.
    """

    command: str | list[str]
    cwd: str | None = None
    env: dict[str, str] = {}
    stdin: str = ""
    timeout: Seconds | None = 300.0
    max_output: Annotated[int, Meta(ge=0)] = 10 * 1024 * 1024


CommandOutput = Stdout | Stderr | Exited
"""One line of what a command says; ``data`` is in Base64."""
