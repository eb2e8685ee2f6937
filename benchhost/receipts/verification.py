"""Whether a receipt, or a proof, is what was sealed; and if not, what of it is not.

Three things must agree: what is said, the digests of that, and the signature over their root. If the
signature is that of what is said, then what is said is genuine, and a digest that differs was changed; if it is
that of the digests, then what differs from its digest was changed. If it is that of neither, the signature
or the key is another, or more than one thing was changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from benchhost.receipts.entries import Entry
from benchhost.receipts.keys import PublicKey
from benchhost.receipts.merkle import Tree, root_of_path
from benchhost.receipts.receipt import Proof, Receipt, encoded, signed_bytes

MOST_FAULTS = 20
"""How many faults are told."""

_receipt = msgspec.json.Decoder(Receipt)
_proof = msgspec.json.Decoder(Proof)
_BYTE = re.compile(r"\(byte (\d+)\)")
_AT_ENTRY = re.compile(r"\$\.entries\[(\d+)\]")


class Fault(msgspec.Struct, frozen=True):
    """Something that is not as it was sealed, and where: ``statement.score``, ``entries[3].score (addition-0003)``."""

    place: str
    said: str


class Verification(msgspec.Struct, frozen=True):
    """What came of a look at a document; ``document`` is ``None`` when it could not be read at all."""

    document: Receipt | Proof | None
    faults: list[Fault]

    @property
    def ok(self) -> bool:
        """Whether it is what was sealed."""
        return not self.faults


def verify(data: bytes, key: PublicKey) -> Verification:
    """Look at a receipt or a proof, as it was kept in a file."""
    try:
        document: Receipt | Proof = (_proof if b'"format":"benchhost-proof-' in data else _receipt).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Verification(None, [_unreadable(data, error)])
    faults = list(_statement(document, key))
    if isinstance(document, Proof):
        faults += _proven(document)
    elif document.entries is not None:
        faults += _entries(document.entries, document.statement.results, document.statement.results_root)
    if not faults and encoded(document).strip() != data.strip():
        faults.append(
            Fault(
                _near(data, _first_difference(encoded(document), data)),
                "it says what was sealed, but is not spelled as it was: keep the file as it came",
            )
        )
    return Verification(document, faults[:MOST_FAULTS])


def _statement(document: Receipt | Proof, key: PublicKey) -> Iterator[Fault]:
    hashed = document.statement.hashed()
    said, listed = list(hashed.values()), _listed(document.digests, list(hashed))
    if key.has_signed(document.signature, signed_bytes(said)):
        for name in _differing(document.digests, hashed):
            yield Fault(f"digests.{name}", "it is not the digest of that field")
        if document.key != key.id:
            yield Fault("key", f"it names {document.key}, and the signature is that of {key.id}")
        if list(document.digests) != list(hashed):
            yield Fault("digests", "their names are not those of the fields")
    elif listed is not None and key.has_signed(document.signature, signed_bytes(listed)):
        for name in _differing(document.digests, hashed):
            yield Fault(f"statement.{name}", "it is not what was sealed")
    elif document.key != key.id:
        yield Fault("key", f"it was signed with the key {document.key}, and the one that was given is {key.id}")
    else:
        differing = _differing(document.digests, hashed)
        yield Fault(
            "signature", "it is not that of the host" + (", and neither do all digests fit" if differing else "")
        )
        for name in differing:
            yield Fault(f"statement.{name}", "it and its digest do not go together")


def _listed(digests: Mapping[str, str], names: Sequence[str]) -> list[bytes] | None:
    """Read the digests of a statement; ``None`` when they are not those of its fields."""
    if list(digests) != list(names):
        return None
    try:
        return [bytes.fromhex(digest) for digest in digests.values()]
    except ValueError:
        return None


def _differing(digests: Mapping[str, str], hashed: Mapping[str, bytes]) -> list[str]:
    return [name for name, digest in hashed.items() if digests.get(name) != digest.hex()]


def _entries(entries: Sequence[Entry], size: int, root: str) -> Iterator[Fault]:
    if len(entries) != size:
        yield Fault("entries", f"there are {len(entries)}, and {size} were sealed")
        return
    hashed = [each.hashed() for each in entries]
    differing = [index for index, each in enumerate(entries) if each.digest != hashed[index].hex()]
    genuine = Tree(hashed).root.hex() == root
    listed = [_of_hex(each.digest) for each in entries]
    by_digests = not genuine and all(listed) and Tree([each for each in listed if each]).root.hex() == root
    for index in differing:
        if genuine:
            yield Fault(f"entries[{index}].digest ({entries[index].name})", "it is not the digest of that entry")
        elif by_digests:
            yield Fault(f"entries[{index}] ({entries[index].name})", "it is not what was sealed")
        else:
            yield Fault(f"entries[{index}] ({entries[index].name})", "it and its digest do not go together")
    if not genuine and not by_digests:
        yield Fault("entries", "their root is not the one that was sealed: some were changed, left out or reordered")


def _proven(proof: Proof) -> Iterator[Fault]:
    size, root = proof.statement.results, proof.statement.results_root
    path = [_of_hex(each) for each in proof.path]
    hashed, digest = proof.entry.hashed(), _of_hex(proof.entry.digest)
    place = f"entry ({proof.entry.name})"
    if None in path:
        yield Fault(f"path[{path.index(None)}]", "it is no digest")
        return
    steps = [each for each in path if each is not None]
    if _leads_to(root, hashed, proof.index, size, steps):
        if proof.entry.digest != hashed.hex():
            yield Fault(f"entry.digest ({proof.entry.name})", "it is not the digest of that entry")
    elif digest is not None and _leads_to(root, digest, proof.index, size, steps):
        yield Fault(place, "it is not what was sealed")
    elif digest == hashed:
        yield Fault("path", f"it does not lead from {proof.entry.name}, at index {proof.index}, to the sealed root")
    else:
        yield Fault(place, "neither it nor its digest leads to the sealed root")


def _leads_to(root: str, leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bool:
    found = root_of_path(leaf, index, size, path)
    return found is not None and found.hex() == root


def _of_hex(text: str) -> bytes | None:
    """Read a digest, which is spelled in one way."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return None
    return digest if digest.hex() == text and len(digest) == 32 else None


def _unreadable(data: bytes, error: Exception) -> Fault:
    """Say where a document cannot be read, and of which task that is."""
    said = str(error)
    if found := _AT_ENTRY.search(said):
        return Fault(f"entries[{found[1]}] ({_task_at(data, int(found[1]))})", f"it cannot be read: {said}")
    if isinstance(error, UnicodeDecodeError) or (found := _BYTE.search(said)) is None:
        try:
            data.decode()
        except UnicodeDecodeError as wrong:
            return Fault(_near(data, wrong.start), "it is not UTF-8")
        return Fault("document", f"it cannot be read: {said}")
    return Fault(_near(data, int(found[1])), f"it cannot be read: {said}")


def _near(data: bytes, position: int) -> str:
    """Say what stands at a byte: the last task and the last field that were named before it."""
    before = data[: position + 1]
    names, tasks = re.findall(rb'"(\w+)":', before), re.findall(rb'"task":"([^"]*)', before)
    name = names[-1].decode() if names else "the beginning"
    if not tasks or b'"entries":[' not in before:
        return f"byte {position}, near {name}"
    return f"byte {position}, near entries[{len(tasks) - 1}].{name} ({tasks[-1].decode(errors='replace')})"


def _task_at(data: bytes, index: int) -> str:
    try:
        entries: list[Any] = msgspec.json.decode(data)["entries"]
        return str(entries[index].get("task", "unknown task"))
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, IndexError, AttributeError, TypeError):
        return "unknown task"


def _first_difference(expected: bytes, data: bytes) -> int:
    pairs = zip(expected, data, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(data)))
