"""The allowlist of tenants that an operator writes down, as services of the Vals contract read it.

::

    tenants:
      acme:
        datasets: [my-bench/validation, test]
        trial_mode: true
        evaluation_quota: {limit: 2500, period: week}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from benchhost.access.callers import is_tenant
from benchhost.access.datasets import Datasets, of_service
from benchhost.errors import SettingsError, UsageError
from benchhost.store import Period


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many evaluations at each benchmark in each calendar period (UTC)."""

    limit: Annotated[int, Meta(gt=0)]
    period: Literal["day", "week", "month", "year"]


class Listed(msgspec.Struct, frozen=True):
    """A tenant that is known, and what it may use."""

    datasets: Datasets = Datasets()
    trial: bool = False
    quota: Quota | None = None


class _Tenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    datasets: list[str] = []
    trial_mode: bool = False
    evaluation_quota: Quota | None = None


class _Allowlist(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tenants: dict[str, _Tenant]


def read_allowlist(text: str | None, path: Path | None) -> dict[str, Listed]:
    """Read the tenants from JSON, or else from a file of YAML; from neither, there are none.

    Raises :class:`~benchhost.errors.SettingsError` when it is malformed.
    """
    if text is not None:
        try:
            return _tenants(msgspec.json.decode(text), "the allowlist in JSON")
        except msgspec.DecodeError as error:
            raise SettingsError(f"the allowlist in JSON is no JSON: {error}") from None
        except RecursionError:
            raise SettingsError("the allowlist in JSON is nested too deeply") from None
    if path is None:
        return {}
    import yaml

    try:
        return _tenants(yaml.safe_load(path.read_text(encoding="utf-8")), f"the allowlist {path}")
    except OSError as error:
        raise SettingsError(f"the allowlist {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the allowlist {path} is not UTF-8") from None
    except RecursionError:
        raise SettingsError(f"the allowlist {path} is nested too deeply") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"the allowlist {path} is no YAML: {' '.join(str(error).split())}") from None


def quotas_of(listed: Mapping[str, Listed]) -> dict[str, tuple[int, Period]]:
    """Say which tenants have quotas: how many evaluations in which period."""
    return {name: (each.quota.limit, each.quota.period) for name, each in listed.items() if each.quota is not None}


def _tenants(content: Any, where: str) -> dict[str, Listed]:
    try:
        found = msgspec.convert(content, _Allowlist)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {error}") from None
    tenants = {}
    for name, tenant in found.tenants.items():
        if not is_tenant(name):
            raise SettingsError(f"{where}: {name!r} can be no name of a tenant")
        try:
            datasets = Datasets(frozenset(of_service(dataset) for dataset in tenant.datasets))
        except UsageError as error:
            raise SettingsError(f"{where}: tenant {name}: {error}") from None
        tenants[name] = Listed(datasets, tenant.trial_mode, tenant.evaluation_quota)
    return tenants
