"""Providers by name: those of the house and those that plugins bring, found by their entry points."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from benchhost.contract import Provider
from benchhost.discovery import entries, object_of
from benchhost.errors import SandboxUnavailable

PROVIDERS = "benchhost.sandboxes"
"""The entry-point group of providers."""


async def open_provider(name: str, config: Mapping[str, str]) -> Provider:
    """Open a provider. Its module is imported now: what it needs is not loaded before it is used.

    Raises :class:`~benchhost.errors.SandboxUnavailable` when there is none of that name, and what
    :meth:`~benchhost.contract.Provider.open` raises.
    """
    return await provider_class(name).open(config)


def provider_names() -> list[str]:
    """Return the names of the installed providers. None of them is imported."""
    return sorted({entry.name for entry in entries(PROVIDERS)})


@functools.cache
def provider_class(name: str) -> type[Provider]:
    """Import the class of a provider.

    Raises :class:`~benchhost.errors.SandboxUnavailable`.
    """
    found = {entry.name: entry for entry in entries(PROVIDERS)}
    entry = found.get(name)
    if entry is None:
        installed = ", ".join(sorted(found)) or "none"
        raise SandboxUnavailable(f"no installed provider of sandboxes is called {name!r}; installed are: {installed}")
    try:
        provider = object_of(entry)
    except Exception as error:
        raise SandboxUnavailable(f"the provider {entry} cannot be loaded: {type(error).__name__}: {error}") from error
    if not (isinstance(provider, type) and issubclass(provider, Provider)):
        raise SandboxUnavailable(f"the provider {entry} is no subclass of benchhost.Provider")
    return provider
