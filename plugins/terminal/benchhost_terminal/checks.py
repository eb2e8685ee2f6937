"""What must be so in a sandbox when a job is done.

A check runs a command there, or reads a file; what that should give never goes in. So an agent that has changed its
own tools can spoil what is read, and cannot know what to answer.
"""

from __future__ import annotations

import msgspec

from benchhost.contract import Sandbox
from benchhost.errors import SandboxFileError

TIMEOUT = 20.0
"""Seconds that the command of a check may take."""

LONGEST = 300
"""Characters of what was found that are recorded."""


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``run`` a command in the directory of the job, or read a ``file`` of it: what it says ``equals`` a text.

    White space at the end of lines and of the text does not count. Without ``equals`` it is enough that the command
    ends with the exit code 0, or that the file is there. ``$TESTS`` is where the hidden tests are.
    """

    name: str
    run: str | None = None
    file: str | None = None
    equals: str | None = None

    def __post_init__(self) -> None:
        if (self.run is None) == (self.file is None):
            raise ValueError(f"the check {self.name!r} either runs a command or reads a file")


async def passes(check: Check, sandbox: Sandbox, *, cwd: str, tests: str) -> str | None:
    """Return ``None`` when a check passes, and else what was found."""
    if check.run is not None:
        done = await sandbox.run(check.run, cwd=cwd, env={"TESTS": tests}, timeout=TIMEOUT, max_output=1024 * 1024)
        if not done.ok:
            return f"{done.exited.reason}, code {done.exited.code}: {done.stderr.decode('utf-8', 'replace')[:LONGEST]}"
        found = done.text
    else:
        try:
            found = (await sandbox.read(f"{cwd}/{check.file}")).decode("utf-8", "replace")
        except SandboxFileError as error:
            return str(error)[:LONGEST]
    if check.equals is not None and _lines(found) != _lines(check.equals):
        return f"found {found[:LONGEST]!r}"
    return None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
