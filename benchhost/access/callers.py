"""Who calls, and what they may use."""

from __future__ import annotations

from typing import Literal

import msgspec

from benchhost.access.datasets import EVERY, Datasets
from benchhost.store import EVERYBODY, OPERATOR

NO_TENANT = ""
"""What stands in the place of a tenant where nobody says whom a caller belongs to."""

RESERVED = frozenset({NO_TENANT, OPERATOR, EVERYBODY, "_legacy", "unauthenticated"})
"""What services of the Vals contract and we call no tenant, the operator or all tenants: never the name of one."""

LONGEST_NAME = 128

Mode = Literal["open", "bearer", "keys", "descope", "oidc"]
"""A way to be let in."""


class Caller(msgspec.Struct, frozen=True):
    """Somebody who was let in.

    ``granted`` is what the tenant may use, and ``scope`` what the credential narrows that to. A
    ``trial`` tenant sees little of what it may use.
    """

    tenant: str = NO_TENANT
    granted: Datasets = EVERY
    scope: Datasets = EVERY
    trial: bool = False

    def may_use(self, benchmark: str, dataset: str) -> bool:
        """Whether a dataset may be used, as far as the host's own rules go."""
        granted, scope = self.granted, self.scope
        return (granted is EVERY or granted.has(benchmark, dataset)) and (
            scope is EVERY or scope.has(benchmark, dataset)
        )

    @property
    def may_use_all(self) -> bool:
        """Whether there is no dataset that may not be used, as far as the host's own rules go."""
        return self.granted is EVERY and self.scope is EVERY

    def knows_of(self, benchmark: str) -> bool:
        """Whether there may be a dataset of a benchmark that may be used."""
        return self.granted.names(benchmark) and self.scope.names(benchmark)


def is_tenant(name: object) -> bool:
    """Whether this can be the name of a tenant: a text without spaces at its ends, that is not reserved."""
    return (
        isinstance(name, str)
        and name not in RESERVED
        and len(name) <= LONGEST_NAME
        and name.isprintable()
        and name == name.strip()
    )
