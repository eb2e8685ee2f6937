"""One process at a time carries out a run."""

from __future__ import annotations

import fcntl
import itertools
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchhost.errors import RunLocked
from benchhost.runner.config import checked_run_id

LOOKS = 5
"""How often, in steps of 10 ms, a lock is tried again."""


class RunLock:
    """Holds a run for this process; the kernel lets it go when the process ends, whatever ended it.

    ``state`` is the folder that all processes share that use one store. Raises :class:`~benchhost.errors.RunLocked`
    on entry when somebody else has it.
    """

    def __init__(self, state: Path, run_id: str) -> None:
        self._path = _path(state, run_id)
        self._run_id = run_id
        self._file: int | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for turn in itertools.count():
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                if turn < LOOKS:  # somebody may only have looked whether it is locked
                    time.sleep(0.01)
                    continue
                raise RunLocked(
                    f"the run {self._run_id} is under way in another process. Wait for it, or stop it, and try again"
                ) from None
            if _is(file, self._path):  # not removed by whoever had it, between our opening and locking it
                self._file = file
                break
            os.close(file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None


def is_locked(state: Path, run_id: str) -> bool:
    """Say whether a process carries out a run at the moment."""
    try:
        file = os.open(_path(state, run_id), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def _path(state: Path, run_id: str) -> Path:
    return state / "locks" / f"{checked_run_id(run_id)}.lock"


def _is(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
