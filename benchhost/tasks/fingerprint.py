"""Digests by which it is known whether a task, or a whole dataset, is still the same.

A digest covers the hidden fields too. When an answer is one of a few, whoever knows the rest of a task
could find it by trying each against the digest; so digests are keyed with a secret of the host (HMAC,
RFC 2104), and what is derived from them may be shown.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

import msgspec

from benchhost.contract import Task

_encode = msgspec.json.Encoder(order="deterministic").encode


def task_digest(task: Task, key: bytes = b"") -> str:
    """Return the keyed sha256, in hex, of everything in a task, whatever the order of its dicts and sets.

    Raises what msgspec raises when the task cannot be encoded as JSON: ``TypeError``,
    ``UnicodeEncodeError``, ``RecursionError``.
    """
    try:
        content = _encode(task)
    except TypeError:  # msgspec orders dicts in place only when their keys are strings
        content = _encode(msgspec.to_builtins(task, str_keys=True, order="deterministic"))
    return hmac.digest(key, content, "sha256").hex()


def dataset_fingerprint(digests: Iterable[tuple[str, str]]) -> str:
    """Return the sha256, in hex, of a dataset: of each task's id and digest, in the dataset's order."""
    fingerprint = hashlib.sha256()
    for pair in digests:
        fingerprint.update(msgspec.msgpack.encode(pair))  # says its own lengths, so no two datasets read alike
    return fingerprint.hexdigest()
