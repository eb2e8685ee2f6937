"""Files that commands are asked to write."""

from __future__ import annotations

from pathlib import Path

from benchhost.errors import UsageError


def written(path: Path, data: bytes) -> Path:
    """Write a file, and return where it is.

    Raises :class:`~benchhost.errors.UsageError` when it cannot be written.
    """
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return path


def contents(path: Path) -> bytes:
    """Read a file.

    Raises :class:`~benchhost.errors.UsageError` when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
