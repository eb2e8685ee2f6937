"""How a run, or the command that ran it, ended."""

from __future__ import annotations

import enum
from typing import Literal

RunStatus = Literal["running", "complete", "errors", "incomplete", "failed"]
"""``complete``: every attempt has its verdict, or was given up by the model. ``errors``: finished, some with errors.
``incomplete``: stopped before its end. ``failed``: the engine itself failed. One that is ``running`` and
that no process has locked was interrupted (:func:`benchhost.runner.lock.is_locked`)."""


class ExitCode(enum.IntEnum):
    """The exit codes of commands that run or change runs."""

    COMPLETE = 0
    HARNESS_FAILURE = 1
    USAGE = 2
    TASK_ERRORS = 3
    INCOMPLETE = 4
    REFUSED = 5

    @classmethod
    def of(cls, status: RunStatus) -> ExitCode:
        """Return the exit code of a command that leaves a run in a status."""
        return _CODES[status]


_CODES: dict[RunStatus, ExitCode] = {
    "running": ExitCode.INCOMPLETE,
    "complete": ExitCode.COMPLETE,
    "errors": ExitCode.TASK_ERRORS,
    "incomplete": ExitCode.INCOMPLETE,
    "failed": ExitCode.HARNESS_FAILURE,
}
