"""The folder of all that a host keeps."""

from __future__ import annotations

import os
from pathlib import Path

from benchhost.errors import UsageError
from benchhost.settings.declaration import Settings


def state_folder(settings: Settings) -> Path:
    """Make the state folder, unless it is there, and return it.

    Raises :class:`~benchhost.errors.UsageError` when it cannot be made, or this user may not write there.
    """
    state = settings.state
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
        raise UsageError(f"the state folder {state} cannot be made: {why}; choose another with --state") from error
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError(
            f"the state folder {state} cannot be written by this user (id {os.geteuid()}); give it to them, or choose "
            "another with --state"
        )
    return state
