"""How far runs have come: noted by the worker that carries a run out, in a small file that every worker can read.

The files lie in the folder ``state`` that the workers share. One says what a caller may see, and no more.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from benchhost.log import get_logger
from benchhost.runner.run import Run
from benchhost.server.run_views import progress_of
from benchhost.wire.runs import RunProgress

_log = get_logger()

PUBLISH_EVERY = 1.0
"""Seconds between two notes of how far a run has come."""

_progress = msgspec.json.Decoder(RunProgress)
_encode = msgspec.json.Encoder().encode


async def publish(state: Path, run: Run) -> None:
    """Note how far a run has come for as long as it is under way in this process; then forget it.

    A note that cannot be written is logged: the run goes on without.
    """
    path = _note(state, run.id)
    fresh = path.with_name(f"{path.name}~{os.getpid()}")
    noted = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        async for snapshot in run.progress.watch(PUBLISH_EVERY):
            if snapshot.phase not in ("planning", "ended"):  # it may be another worker's, or be over
                fresh.write_bytes(_encode(progress_of(snapshot)))
                fresh.replace(path)
                noted = True
    except OSError as error:
        _log.warning("how far a run has come cannot be noted", run=run.id, cause=str(error))
    finally:
        if noted:
            forget(state, run.id)


def read(state: Path, run_id: str) -> RunProgress | None:
    """Return how far a run has come; ``None`` when nothing is noted of it."""
    try:
        return _progress.decode(_note(state, run_id).read_bytes())
    except FileNotFoundError:
        return None


def forget(state: Path, run_id: str) -> None:
    """Forget what is noted of a run, which a process that was killed may have left behind."""
    _note(state, run_id).unlink(missing_ok=True)


def _note(state: Path, run_id: str) -> Path:
    return state / "progress" / run_id
