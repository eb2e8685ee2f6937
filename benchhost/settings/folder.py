"""The folder of all that a host keeps."""

from __future__ import annotations

from pathlib import Path

from benchhost.errors import UsageError
from benchhost.settings.declaration import Settings


def state_folder(settings: Settings) -> Path:
    """Make the state folder, unless it is there, and return it.

    Raises :class:`~benchhost.errors.UsageError` when it cannot be made.
    """
    state = settings.state
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"the state folder {state} cannot be made: {why}; choose another with --state") from error
    return state
