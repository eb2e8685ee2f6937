"""How a run, or the command that ran it, ended."""

from __future__ import annotations

import enum
from typing import Literal

RunStatus = Literal["running", "complete", "generated", "errors", "incomplete", "failed"]
"""``complete``: every attempt has its verdict, or was given up by the model. ``generated``:
every attempt has its response, and none was to be evaluated. ``errors``: finished, some with errors, or
without a single score.
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
