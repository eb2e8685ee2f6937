"""What Daytona says of a sandbox, in our words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from benchhost.contract import SandboxInfo, SandboxState

MADE = "benchhost-made"
"""The label that tells one creation from all others."""

CWD = "benchhost-cwd"
"""The label that keeps where commands start."""

STARTABLE = ("stopped", "archived", "paused")

_NOT_THEIRS = (MADE, CWD, "code-toolbox-language")
_STATES: dict[str, SandboxState] = {
    "started": "running",
    "snapshotting": "running",
    "resizing": "running",
    "forking": "running",
    "stopping": "stopped",
    "stopped": "stopped",
    "archiving": "stopped",
    "archived": "stopped",
    "pausing": "stopped",
    "paused": "stopped",
    "error": "failed",
    "build_failed": "failed",
    "destroying": "gone",
    "destroyed": "gone",
}


def word_of(found: Any) -> str:
    """Return what Daytona itself calls the state of a sandbox."""
    return str(getattr(found.state, "value", found.state))


def state_of(found: Any) -> SandboxState:
    """Return the state of a sandbox; any that is not known is on the way to being started."""
    return _STATES.get(word_of(found), "starting")


def info_of(found: Any) -> SandboxInfo:
    """Return what is known of a sandbox. As its image counts the snapshot that it was made from."""
    return SandboxInfo(
        id=found.id,
        provider="daytona",
        state=state_of(found),
        labels={name: value for name, value in found.labels.items() if name not in _NOT_THEIRS},
        image=found.snapshot,
        created_at=_seconds(found.created_at),
    )


def _seconds(moment: str | None) -> float | None:
    try:
        return datetime.fromisoformat(moment or "").timestamp()
    except ValueError:
        return None
