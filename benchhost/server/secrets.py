"""Secrets of the host that all of its workers share, and that outlive it: files of the state folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from benchhost.log import get_logger

_log = get_logger()


def secret(path: Path) -> bytes:
    """Read a secret of 32 bytes; the first process that needs it makes it."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    if not path.exists():
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())  # a name without content would be an empty secret, for ever
        try:
            os.link(fresh, path)  # whole or not at all, and only if nobody was faster
        except FileExistsError:
            _log.debug("another worker made the secret first", file=path.name)
        finally:
            fresh.unlink()
    return path.read_bytes()
