"""Completions that need not be paid for twice."""

from __future__ import annotations

import hashlib
import sqlite3
import warnings
from pathlib import Path

import msgspec

from benchhost.contract import Call, Completion, Model, Prompt, Sampling
from benchhost.contract.model import NO_CALL, conversation_of
from benchhost.errors import UsageError

_canonical = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Completion).decode


def request_digest(where: str, name: str, prompt: Prompt, sampling: Sampling, epoch: int) -> str:
    """Return the SHA-256 of everything that a completion depends on.

    The epoch is a part of it, so that the repeated attempts of a run stay independent draws.
    """
    asked = conversation_of(prompt)
    parts: list[object] = [where, name, list(asked.messages), sampling, epoch]
    if asked.tools:
        parts += [asked.tools, asked.tool_choice, asked.parallel]
    return hashlib.sha256(_canonical(parts)).hexdigest()


class Cached:
    """A model whose completions are kept in an SQLite file, by the digest of the request.

    ``asked`` is the model that is asked for what the file does not have, and is closed with this one.
    ``where`` is the address of the model: the same name elsewhere is another model. Only completions are
    kept, never failures. Several processes may share a file.

    A cache that fails later (disk full, file damaged) warns once and is not used any more: what was
    paid for is not lost over it.

    Raises :class:`~benchhost.errors.UsageError` when the file is not such a cache.
    """

    def __init__(self, model: Model, path: Path, where: str) -> None:
        self.name = model.name
        self.asked = model
        self._where = where
        self._works = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
            try:
                self._store.execute("PRAGMA journal_mode=WAL")
                self._store.execute("PRAGMA synchronous=NORMAL")  # a completion lost with the power is asked for again
                self._store.execute(
                    "CREATE TABLE IF NOT EXISTS completions (digest TEXT PRIMARY KEY, completion BLOB) WITHOUT ROWID"
                )
            except BaseException:
                self._store.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"{path} cannot be used as a cache of completions: {error}") from error

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Answer from the file, or ask and keep the answer."""
        digest = request_digest(self._where, self.name, prompt, sampling or Sampling(), call.epoch)
        rows = self._execute("SELECT completion FROM completions WHERE digest = ?", digest)
        if rows:
            kept = _decode(rows[0][0])
            kept.cached, kept.latency, kept.retries, kept.waited = True, 0.0, 0, 0.0
            return kept
        completion = await self.asked.complete(prompt, sampling, call)
        self._execute("INSERT OR REPLACE INTO completions VALUES (?, ?)", digest, _encode(completion))
        return completion

    def _execute(self, statement: str, *values: str | bytes) -> list[tuple[bytes]]:
        if not self._works:
            return []
        try:
            return self._store.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            self._works = False
            warnings.warn(f"completions are no longer cached: {error}", RuntimeWarning, stacklevel=3)
            return []

    async def aclose(self) -> None:
        """Close the file and the model."""
        self._store.close()
        await self.asked.aclose()
