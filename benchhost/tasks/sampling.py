"""A sample of a dataset that is the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def sample(ids: Sequence[str], n: int, seed: int) -> list[str]:
    """Choose ``n`` of the ``ids``, evenly at random by ``seed``, and return them in their own order.

    An id is chosen by the rank of a hash of the seed and itself, so the sample is the same on every
    machine and Python, does not depend on the order of ``ids``, and a larger ``n`` only adds to it. When
    there are fewer than ``n`` ids, all are returned. Ids are unique, as they are in a dataset.

    Raises ``ValueError`` when ``n`` is negative.
    """
    if n < 0:
        raise ValueError(f"a sample has 0 tasks or more, not {n}")
    chosen = set(sorted(ids, key=lambda task_id: _rank(task_id, seed))[:n])
    return [task_id for task_id in ids if task_id in chosen]


def _rank(task_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{task_id}".encode(errors="surrogatepass")).digest()
