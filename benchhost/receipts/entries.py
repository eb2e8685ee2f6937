"""What is sealed of one task, as one leaf of a tree."""

from __future__ import annotations

import secrets

import msgspec

from benchhost.receipts.merkle import leaf_hash

_encode = msgspec.json.Encoder(order="deterministic").encode


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of a task.

    ``epoch`` counts from 1. ``status`` is ``evaluated`` when there is a ``score``, and else says why there is
    none. ``result`` and ``response`` are SHA-256, in hexadecimal, of the public result as JSON and of
    the response. ``responses`` is how many different responses to the task were judged, of which this is one.
    """

    task: str
    epoch: int
    status: str
    score: float | None
    result: str | None
    response: str | None
    responses: int


class Entry(Outcome, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An outcome as it is sealed.

    ``salt`` is random, so that whoever is shown the proof for one task cannot find out, by trying, what came
    of its neighbours. ``digest`` is the hash of the leaf, in hexadecimal: that of the fields before it.
    """

    salt: str
    digest: str

    @property
    def name(self) -> str:
        """How an entry is called when something is said of it."""
        return self.task if self.epoch == 1 else f"{self.task}, epoch {self.epoch}"

    def hashed(self) -> bytes:
        """Hash the fields, as they are now."""
        return leaf_hash(_encode(msgspec.structs.astuple(self)[:-1]))


def entry(outcome: Outcome, salt: str | None = None) -> Entry:
    """Make the entry of an outcome, with a fresh salt unless one is given."""
    made = Entry(**msgspec.structs.asdict(outcome), salt=salt or secrets.token_hex(16), digest="")
    return msgspec.structs.replace(made, digest=made.hashed().hex())
