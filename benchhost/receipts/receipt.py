"""What a receipt is, and how one is sealed.

Two trees: one over the outcomes of the tasks, whose root is a field of the statement; and one over the
fields of the statement, whose root is signed. Every digest of a leaf is in the receipt too, so that it can
be said *which* field or task is not what was sealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from benchhost.receipts.entries import Entry, Outcome, entry
from benchhost.receipts.keys import SigningKey
from benchhost.receipts.merkle import Tree, leaf_hash

FORMAT: Literal["benchhost-receipt-1"] = "benchhost-receipt-1"
PROOF: Literal["benchhost-proof-1"] = "benchhost-proof-1"

_encode = msgspec.json.Encoder(order="deterministic").encode


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a receipt says.

    ``kind`` is ``run`` where the host asked the model itself, and ``score`` where responses were submitted
    to it. ``judged_by`` is empty where the host that signs has judged, and else the address of the one that
    did. ``tasks`` outcomes were wanted, ``given`` of them were attempted or submitted, and ``scored`` have a
    score: their share is the ``coverage``. ``responses`` were judged in all. ``results`` is the number of
    leaves under ``results_root``. ``sealed_at`` is in seconds since 1970, UTC.
    """

    kind: Literal["run", "score"]
    run_id: str
    tenant: str
    benchmark: str
    dataset: str
    dataset_version: str
    evaluator_version: str
    judged_by: str
    model: str
    score: float | None
    tasks: int
    given: int
    scored: int
    coverage: float | None
    responses: int
    results: int
    results_root: str
    sealed_at: float

    def hashed(self) -> dict[str, bytes]:
        """Hash each field, as it is now, with its name."""
        return {name: leaf_hash(_encode((name, getattr(self, name)))) for name in self.__struct_fields__}


class _Signed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every sealed document has: ``digests`` are the hashes of the statement's fields, in hexadecimal.

    ``key`` is the id of the key that has made the ``signature``.
    """

    statement: Statement
    digests: dict[str, str]
    key: str
    signature: str


class Receipt(_Signed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement with the outcomes of all tasks; or without them, where they are nobody's business."""

    format: Literal["benchhost-receipt-1"]
    entries: list[Entry] | None


class Proof(_Signed, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A statement with the outcome of one task, and the ``path`` by which that leads to the root."""

    format: Literal["benchhost-proof-1"]
    entry: Entry
    index: int
    path: list[str]


def seal(statement: Statement, outcomes: Iterable[Outcome], key: SigningKey, *, entries: bool = True) -> Receipt:
    """Seal a statement, whose ``results`` and ``results_root`` are filled in here; ``entries`` may be left out."""
    made = [entry(outcome) for outcome in outcomes]
    root = Tree([bytes.fromhex(each.digest) for each in made]).root
    statement = msgspec.structs.replace(statement, results=len(made), results_root=root.hex())
    hashed = statement.hashed()
    return Receipt(
        format=FORMAT,
        statement=statement,
        digests={name: digest.hex() for name, digest in hashed.items()},
        entries=made if entries else None,
        key=key.public.id,
        signature=key.sign(signed_bytes(list(hashed.values()))),
    )


def signed_bytes(fields: Sequence[bytes]) -> bytes:
    """Say what is signed: the format, and the root over the hashes of the statement's fields."""
    return FORMAT.encode() + b"\x00" + Tree(fields).root


def prove(receipt: Receipt, index: int) -> Proof:
    """Make the proof of one entry of a receipt that has entries."""
    entries = receipt.entries or []
    tree = Tree([bytes.fromhex(each.digest) for each in entries])
    return Proof(
        format=PROOF,
        statement=receipt.statement,
        digests=receipt.digests,
        key=receipt.key,
        signature=receipt.signature,
        entry=entries[index],
        index=index,
        path=[each.hex() for each in tree.path(index)],
    )


def encoded(document: Receipt | Proof) -> bytes:
    """Write a document as it is kept: one line of JSON."""
    return msgspec.json.encode(document) + b"\n"
