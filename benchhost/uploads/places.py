"""The keys of uploads: each says for whose evaluation of what it is."""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

FIRST = "submission-artifacts"
"""How every key begins."""

_UNAUTHENTICATED = "unauthenticated"
"""What stands in a key for callers of no tenant; no tenant can be called so."""

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Place(msgspec.Struct, frozen=True):
    """What something is uploaded for; ``tenant`` is empty for callers of none."""

    tenant: str
    dataset: str
    run: str
    task: str

    def key(self, filename: str) -> str:
        """Make the key of an upload; none of its parts may have a slash."""
        return "/".join((*self._parts, filename))

    def has(self, key: str) -> bool:
        """Whether a key is one of this place: part by part, so that no part can pass for two."""
        *parts, filename = key.split("/")
        return parts == [*self._parts] and _FILENAME.fullmatch(filename) is not None

    @property
    def _parts(self) -> tuple[str, ...]:
        return FIRST, _segment(self.tenant), self.dataset, self.run, self.task


def _segment(tenant: str) -> str:
    """Make one segment of a path of the name of a tenant, which may hold anything; two never have the same."""
    if not tenant:
        return _UNAUTHENTICATED
    return quote(tenant, safe="") if tenant.strip(".") else tenant.replace(".", "%2E")


def tenant_of(key: str) -> str:
    """Read the segment of the tenant off a key."""
    return key.split("/", 2)[1]
