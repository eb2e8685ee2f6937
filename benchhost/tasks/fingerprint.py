"""Digests by which it is known whether a task, or a whole dataset, is still the same.

A digest covers the hidden fields too. When an answer is one of a few, whoever knows the rest of a task
could find it by trying each against the digest; so digests are keyed with a secret of the host (HMAC,
RFC 2104), and what is derived from them may be shown.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import PurePath

import msgspec

from benchhost.contract import Task


def _without_paths(value: object) -> None:
    if not isinstance(value, PurePath):
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encode = msgspec.json.Encoder(order="deterministic", enc_hook=_without_paths).encode


def task_digest(task: Task, key: bytes = b"") -> str:
    """Return the keyed sha256, in hex, of everything in a task, whatever the order of its dicts and sets.

    Raises what msgspec raises when the task cannot be encoded as JSON: ``TypeError``,
    ``UnicodeEncodeError``, ``RecursionError``.
    """
    return keyed_digest(task, key)


def keyed_digest(value: object, key: bytes) -> str:
    """Return the keyed sha256, in hex, of whatever JSON can say, whatever the order of its dicts and sets.

    Paths do not count: what matters is what lies there.
    """
    try:
        content = _encode(value)
    except TypeError:  # msgspec orders dicts in place only when their keys are strings
        content = _encode(msgspec.to_builtins(value, str_keys=True, order="deterministic", enc_hook=_without_paths))
    return hmac.digest(key, content, "sha256").hex()


def dataset_fingerprint(digests: Iterable[tuple[str, str]], settings: str = "") -> str:
    """Return the sha256, in hex, of a dataset: of each task's id and digest, in the dataset's order.

    ``settings`` is the digest of the benchmark's settings, which may change how responses are judged.
    """
    fingerprint = hashlib.sha256(settings.encode())
    for pair in digests:
        fingerprint.update(msgspec.msgpack.encode(pair))  # says its own lengths, so no two datasets read alike
    return fingerprint.hexdigest()
