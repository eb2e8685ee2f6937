"""From a name to a model that can be asked."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from benchhost.contract import Model
from benchhost.discovery import Entry, entries, object_of
from benchhost.errors import UnknownModel
from benchhost.models.anthropic_messages import AnthropicMessages
from benchhost.models.any_llm import any_llm_model
from benchhost.models.breaker import Breaker
from benchhost.models.cache import Cached
from benchhost.models.concurrency import Limiter
from benchhost.models.dialect import Dialect
from benchhost.models.endpoint import Endpoint
from benchhost.models.location import Location, locate, split_name
from benchhost.models.openai_chat import OpenAIChat
from benchhost.models.providers import PROVIDERS, variable
from benchhost.models.resilient import Resilient
from benchhost.models.retry import RetryPolicy
from benchhost.models.scripted import scripted
from benchhost.models.transport import Transport

MODELS = "benchhost.models"
"""The entry-point group of model providers. An entry is named after its provider; its object is called with
the part of the model's name after the first slash, and returns a :class:`~benchhost.contract.Model`."""

TIMEOUT = 600.0
"""Seconds that one exchange may take, unless told otherwise."""


def resolve(
    name: str,
    environ: Mapping[str, str],
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    limiter: Limiter | None = None,
    policy: RetryPolicy | None = None,
    breaker: Breaker | None = None,
    timeout: float = TIMEOUT,
    cache: Path | None = None,
) -> Model:
    """Make the model ``provider/name``. Nothing is connected until it is asked.

    ``environ`` is where base URLs, keys and proxies are looked up (:func:`~benchhost.models.locate`).
    ``limiter`` says how many calls run at once; pass one to share it or to watch it. ``cache`` is a file
    of completions that are not asked for again.

    Raises :class:`~benchhost.errors.UnknownModel` or :class:`~benchhost.errors.UsageError` when the name,
    the key or the address is wrong.
    """
    provider, rest = split_name(name)
    if provider == "scripted":
        return scripted(rest)
    limiter = limiter or Limiter()
    located = locate(name, environ, base_url=base_url, api_key=api_key)
    if located is not None:
        location, key = located
        asked: Model = _endpoint(location, key, limiter, timeout, environ)
        where = location.base_url
    else:
        asked, where = _plugged_in(provider, rest), provider
    model: Model = Resilient(asked, limiter=limiter, policy=policy, breaker=breaker)
    return model if cache is None else Cached(model, cache, where)


def for_one_question(model: Model, policy: RetryPolicy) -> Model:
    """Make a model that was resolved one to be asked once, under another policy: not from the cache, nor for the run.

    It shares the connections, and is not to be closed. What fails here opens no circuit there.
    """
    if isinstance(model, Cached):
        model = model.asked
    return model.under(policy) if isinstance(model, Resilient) else model


def _endpoint(
    location: Location, key: str | None, limiter: Limiter, timeout: float, environ: Mapping[str, str]
) -> Endpoint:
    dialect: Dialect = (
        AnthropicMessages(location.model)
        if location.dialect == "anthropic"
        else OpenAIChat(location.model, legacy_limit=not (location.provider == "openai" and location.own_url))
    )
    transport = Transport(
        dialect.url(location.base_url),
        dialect.headers(key),
        connections=limiter.most,
        timeout=timeout,
        proxy=_proxy(location.base_url, environ),
    )
    return Endpoint(location.name, dialect, transport, key)


def _plugged_in(provider: str, rest: str) -> Model:
    found = entries(MODELS)
    for entry in found:
        if entry.name == provider:
            return _load(entry, rest)
    if (model := any_llm_model(provider, rest)) is not None:
        return model
    raise UnknownModel(
        f"no provider is named {provider!r}. Known are {', '.join(sorted({*PROVIDERS, *(e.name for e in found)}))} and "
        f"scripted; pip install 'benchhost[models]' brings more. Any OpenAI-compatible server becomes one: set "
        f"{variable(provider, 'BASE_URL')}, and {variable(provider, 'API_KEY')} if it wants a key"
    )


def _load(entry: Entry, rest: str) -> Model:
    try:
        model = object_of(entry)(rest)
    except Exception as error:
        raise UnknownModel(f"the model plugin {entry} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, Model):
        raise UnknownModel(f"the model plugin {entry} made {model!r}, which has no name, complete and aclose")
    return model


def _proxy(url: str, environ: Mapping[str, str]) -> str | None:
    """Choose the proxy that the environment names for an address (``https_proxy``, ``no_proxy``)."""
    proxies = {name.lower()[:-6]: value for name, value in environ.items() if name.lower().endswith("_proxy") and value}
    parts = urlsplit(url)
    if urllib.request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined]
        return None
    return proxies.get(parts.scheme) or proxies.get("all")
