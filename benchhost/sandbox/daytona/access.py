"""With whose key, and where: what opens Daytona, and which addresses a caller may name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

import msgspec

from benchhost.errors import SandboxRefused, SandboxUnavailable

DEFAULT_API_URL = "https://app.daytona.io/api"
DEFAULT_TARGET = "us"
DEFAULT_HOSTS = ("app.daytona.io",)
"""Where callers may have their own credentials sent, unless the operator names other hosts."""

_FIELDS = ("api_key", "api_url", "target", "organization_id", "hosts")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """A key and where it opens. ``target`` is the region in which sandboxes are made. Never shows the key.

    ``hosts``, separated by commas, are those that may be sent the key beside what is near to ``api_url``.
    """

    api_key: str
    api_url: str = DEFAULT_API_URL
    target: str = DEFAULT_TARGET
    organization_id: str | None = None
    hosts: str = ""

    @classmethod
    def of(cls, config: Mapping[str, str]) -> Access:
        """Read what a provider is opened with: ``api_key``, and the others if need be.

        Raises :class:`~benchhost.errors.SandboxUnavailable` when there is no key, or something unknown, and
        :class:`~benchhost.errors.SandboxRefused` when the key cannot be one.
        """
        if unknown := sorted(config.keys() - set(_FIELDS)):
            raise SandboxUnavailable(f"daytona is opened with {', '.join(_FIELDS)}, not with {', '.join(unknown)}")
        given = {name: value.strip() for name, value in config.items() if value and value.strip()}
        if "api_key" not in given:
            raise SandboxUnavailable(
                "daytona needs an API key: set DAYTONA_API_KEY where the host runs, or send it with the request"
            )
        for name, value in given.items():  # each becomes a header or a part of an address
            if not (value.isascii() and value.isprintable()) or " " in value:
                raise SandboxRefused(f"the {name} given for daytona cannot be one: it has odd characters in it")
        return msgspec.convert(given, cls)

    @property
    def digest(self) -> str:
        """Tells one access from another without holding the key."""
        parts = (self.api_key, self.api_url.rstrip("/"), self.target, self.organization_id or "", self.hosts)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def hide(self, text: str) -> str:
        """Take the key out of a text."""
        return text.replace(self.api_key, "***") if len(self.api_key) >= 4 else text  # shorter ones are words

    def check_toolbox(self, url: str) -> None:
        """Check where the sandbox of an answer is to be reached, for the key is sent there too.

        It must be at the host of ``api_url``, or in the domain of that, as ``proxy.app.daytona.io`` is to
        ``app.daytona.io``; or be one of the ``hosts``. Raises :class:`~benchhost.errors.SandboxRefused`.
        """
        api, toolbox = _split(self.api_url), _split(url)
        if api is None or toolbox is None:
            raise SandboxRefused("daytona names an address for the sandbox that cannot be one")
        near = api.scheme == toolbox.scheme and _is_near(_origin(api)[1], _origin(toolbox)[1])
        if not near and _origin(toolbox) not in _origins(self.hosts.split(",")):
            raise SandboxRefused(
                f"daytona names {toolbox.scheme}://{_origin(toolbox)[1]} for the sandbox, which is not near to its "
                "api_url: whoever runs this host may add it to the setting daytona_hosts"
            )

    def __repr__(self) -> str:
        return f"Access(api_key='***', api_url={self.api_url!r}, target={self.target!r})"


def allowed_api_url(api_url: str, hosts: Iterable[str] = DEFAULT_HOSTS) -> str:
    """Return the address, in plain form, when credentials that a caller sent may be used there.

    A caller says where their key is to be sent, and the server would connect to any address of its own network.
    ``hosts`` are the ones that are allowed: ``app.daytona.io``, with its port when it is not 443, and reached by
    HTTPS; or with the scheme, such as ``http://10.0.0.5:3000``, to allow just that.

    Raises :class:`~benchhost.errors.SandboxRefused`.
    """
    hosts = tuple(hosts)
    asked = _split(api_url)
    if asked is None or _origin(asked) not in _origins(hosts):
        shown = ", ".join(hosts) or "none"
        raise SandboxRefused(f"that api_url is not allowed on this host: use one of {shown}, by HTTPS")
    scheme, host, port = _origin(asked)
    plain = host if port == {"https": 443, "http": 80}[scheme] else f"{host}:{port}"
    return f"{scheme}://{plain}{asked.path.rstrip('/')}"


def _origins(hosts: Iterable[str]) -> set[tuple[str, str, int]]:
    found = (_split(host if "://" in host else f"https://{host}") for host in hosts)
    return {_origin(host) for host in found if host is not None}


def _is_near(api: str, toolbox: str) -> bool:
    """Say whether it is the same host, or one below it or beside it; what has an address for a name has no domain."""
    if api == toolbox:
        return True
    above = api.partition(".")[2]
    domain = above if "." in above and not api.rpartition(".")[2].isdigit() and not api.startswith("[") else None
    return toolbox.endswith(f".{api}") or (domain is not None and toolbox.endswith(f".{domain}"))


def _split(url: str) -> SplitResult | None:
    """Take an address apart; ``None`` when others might read it in another way."""
    if not url.isascii() or not url.isprintable() or any(mark in url for mark in " \\@?#%"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or ".." in parts.path.split("/"):
        return None
    return parts


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    return parts.scheme, host, parts.port or {"https": 443, "http": 80}[parts.scheme]
