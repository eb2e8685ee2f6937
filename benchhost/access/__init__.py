"""Who may call, and what they may use: modes, keys, tenants, datasets. It knows nothing of HTTP but headers."""

from __future__ import annotations

from benchhost.access.allowlist import Listed, Quota, quotas_of, read_allowlist
from benchhost.access.callers import NO_TENANT, Caller, Mode, is_tenant
from benchhost.access.datasets import EVERY, Datasets, is_benchmark, pattern
from benchhost.access.descope import DescopeOptions
from benchhost.access.gatekeeper import TENANT_MODES, Gatekeeper, Policy
from benchhost.access.keys import NewKey, new_key
from benchhost.access.oidc import OidcOptions
from benchhost.access.register import together

__all__ = [
    "EVERY",
    "NO_TENANT",
    "TENANT_MODES",
    "Caller",
    "Datasets",
    "DescopeOptions",
    "Gatekeeper",
    "Listed",
    "Mode",
    "NewKey",
    "OidcOptions",
    "Policy",
    "Quota",
    "is_benchmark",
    "is_tenant",
    "new_key",
    "pattern",
    "quotas_of",
    "read_allowlist",
    "together",
]
