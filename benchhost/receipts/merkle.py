"""Merkle trees as Certificate Transparency has them (RFC 6962, section 2.1; RFC 9162).

Leaves and nodes are hashed with a byte before them that says which they are, so that a node cannot be passed
off as a leaf. A node without a neighbour is taken to the level above as it is: were it doubled, two lists of
different lengths would have one root.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

LEAF, NODE = b"\x00", b"\x01"


def leaf_hash(data: bytes) -> bytes:
    """Hash what stands at a leaf."""
    return hashlib.sha256(LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbours."""
    return hashlib.sha256(NODE + left + right).digest()


class Tree:
    """The tree over the hashes of ``leaves``, in their order."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(below := self._levels[-1]) > 1:
            pairs = [node_hash(below[place], below[place + 1]) for place in range(0, len(below) - 1, 2)]
            self._levels.append(pairs + below[len(below) - len(below) % 2 :])

    @property
    def root(self) -> bytes:
        """What stands for all of them; of no leaves, the hash of nothing."""
        top = self._levels[-1]
        return top[0] if top else hashlib.sha256().digest()

    def path(self, index: int) -> list[bytes]:
        """Return the hashes by which :func:`root_of_path` finds the root from the leaf at ``index``.

        Raises ``IndexError`` when there is no such leaf.
        """
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(f"there is no leaf {index} among {len(self._levels[0])}")
        path = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                path.append(level[index ^ 1])
            index //= 2
        return path


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Find the root of a tree of ``size`` leaves from one of them; ``None`` when the path can be none of its."""
    if not 0 <= index < size:
        return None
    found, rest = leaf, list(path)
    while size > 1:
        if index ^ 1 < size:
            if not rest:
                return None
            neighbour = rest.pop(0)
            found = node_hash(neighbour, found) if index % 2 else node_hash(found, neighbour)
        index, size = index // 2, (size + 1) // 2
    return None if rest else found
