"""From a model's name to where it is: address, protocol and key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from benchhost.errors import UnknownModel, UsageError
from benchhost.models.providers import PROVIDERS, Provider, variable


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model is. All of it may be recorded: the key is no part of it, and travels apart.

    ``own_url`` says that ``base_url`` is the provider's own address.
    """

    provider: str
    model: str
    base_url: str
    dialect: Literal["openai", "anthropic"]
    own_url: bool

    @property
    def name(self) -> str:
        """The name that the model was asked for by."""
        return f"{self.provider}/{self.model}"


def split_name(name: str) -> tuple[str, str]:
    """Split ``provider/name`` at the first slash; the rest is the provider's business, slashes and all."""
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise UnknownModel(
            f"a model is named provider/name, such as openai/gpt-5.4-mini or scripted/echo, not {name!r}"
        )
    return provider, model


def locate(
    name: str, environ: Mapping[str, str], *, base_url: str | None = None, api_key: str | None = None
) -> tuple[Location, str | None] | None:
    """Find a model and the key for it; ``None`` when its provider is neither known nor defined by the environment.

    The address is ``base_url``, else ``<PROVIDER>_BASE_URL``, else the provider's own. **A key goes only
    where it belongs**: to an address given here goes the key given here; to one from the environment
    ``<PROVIDER>_API_KEY``, its neighbour; the other variables of a provider are for its own address.

    Raises :class:`~benchhost.errors.UsageError` when a provider's key is missing or the address is none.
    """
    provider, model = split_name(name)
    known = PROVIDERS.get(provider)
    neighbour = variable(provider, "API_KEY")
    own_url = False
    if base_url is not None:
        address, key = base_url, api_key
    elif address := environ.get(variable(provider, "BASE_URL"), ""):
        key = api_key or environ.get(neighbour)
    elif known is not None:
        address, own_url = known.base_url, True
        key = api_key or _held_key(known, neighbour, environ)
    else:
        return None
    location = Location(
        provider=provider,
        model=model,
        base_url=_address(address, name),
        dialect=known.dialect if known else "openai",
        own_url=own_url,
    )
    return location, _checked(key, name)


def key_variables(name: str, environ: Mapping[str, str]) -> list[str]:
    """Return the variables in which :func:`locate` finds a key when it is given neither one nor an address."""
    provider, _ = split_name(name)
    neighbour, known = variable(provider, "API_KEY"), PROVIDERS.get(provider)
    if known is None or environ.get(variable(provider, "BASE_URL")):
        return [neighbour]
    return list(dict.fromkeys((*known.keys, neighbour)))


def _held_key(provider: Provider, neighbour: str, environ: Mapping[str, str]) -> str | None:
    key = next((environ[name] for name in (*provider.keys, neighbour) if environ.get(name)), None)
    if key is None and provider.keys:
        raise UsageError(f"{provider.name} needs a key: set {' or '.join(provider.keys)} in the environment")
    return key


def _checked(key: str | None, name: str) -> str | None:
    """Return a key as a header can carry it: files and pastes often end it with a line break."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"the key for {name} holds characters that a key cannot have; was it pasted whole?")
    return key or None


def _address(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:  # so are brackets without an end, and a port that is none
        raise UsageError(f"the base URL of {name} must be an http or https address, not {url!r}") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"the base URL of {name} must hold no credential, query or fragment; pass the key as "
            f"{variable(name.partition('/')[0], 'API_KEY')}"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
