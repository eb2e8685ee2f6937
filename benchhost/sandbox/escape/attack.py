"""An attack: a program that tries to get out of a sandbox, and a trap on the host that shows whether it did.

The verdict is made outside. What is lured with lies on the host, in a neighbouring sandbox or in another process: a
secret that nobody in the sandbox was told, a socket that nobody else connects to, a process that nobody else ends. So
an attack whose program is broken proves nothing, and is found out twice: its program says when it fails for another
reason than being refused, and the tests let it succeed where nothing confines it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal

import msgspec

from benchhost.contract import Exited
from benchhost.sandbox.escape.scene import Scene

Verdict = Literal["stopped", "escaped", "unclear", "not applicable"]
"""``unclear``: the attack failed for another reason than being refused, so nothing is known."""

Needs = Literal["nothing", "root", "harm"]
"""What an attack needs to succeed where it is not confined: to be the superuser; or it does harm, and is not tried."""


class NotApplicable(Exception):
    """An attack cannot be tried on this machine, or with this provider; the message says why."""


class Heard(msgspec.Struct, frozen=True):
    """What a program said, and how it ended."""

    said: str
    errors: str
    exited: Exited

    def lines(self, word: str) -> list[str]:
        """Return what follows a word at the beginnings of lines."""
        return [line.removeprefix(word).strip() for line in self.said.splitlines() if line.startswith(word)]


Evidence = Callable[[Heard], Awaitable[str | None]]
"""Looks at what an attack has left on the host; says what it did there, or ``None``."""


class Trap(msgspec.Struct, frozen=True):
    """What is laid out for an attack: what its program is told, and how one sees that it succeeded."""

    evidence: Evidence
    told: dict[str, str] = {}


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """One way that might lead out.

    ``tries`` and ``kept_by`` say for people what it tries and what keeps it. ``program`` is Python, for which
    :mod:`~benchhost.sandbox.escape.program` has some words. ``lay`` lays out the trap, and may do on the host what
    belongs to the attack. ``timeout`` is in seconds. ``violent`` says that the program is to be ended rather than to
    end, so that it need not say how it fared.
    """

    name: str
    tries: str
    kept_by: str
    program: str
    lay: Callable[[Scene], AbstractAsyncContextManager[Trap]]
    needs: Needs = "nothing"
    timeout: float = 10.0
    violent: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attack; ``why`` is the evidence, or what kept it."""

    name: str
    tries: str
    verdict: Verdict
    why: str
    seconds: float = 0.0
