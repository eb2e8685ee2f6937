"""Where a host is, and how it is told who asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from benchhost.errors import UsageError
from benchhost.wire.vals import VERSION

TokenHeader = Literal["authorization", "x-descope-api-key"]
"""How a token is sent: as ``Authorization: Bearer``, or as services that Vals hosts want it."""

_BENCHMARK = re.compile(r"(?P<root>.*)/b/(?P<name>[^/]+)")


def located(url: str, benchmark: str | None) -> tuple[str, str | None]:
    """Part a URL into the host's, and the name of the benchmark, if it has one or one is given.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        parts, sound = urlsplit(""), False
    if not sound:
        raise UsageError(f"the URL of a host is like http://localhost:8000 or https://host/b/name, not {_shown(url)!r}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise UsageError(
            f"the URL of a host has no user, password, query or fragment, as {_shown(url)!r} has: give a token instead"
        )
    root = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    if found := _BENCHMARK.fullmatch(root):
        root, name = found["root"], unquote(found["name"])
        if benchmark not in (None, name):
            raise UsageError(f"the URL {url} is that of the benchmark {name}, not of {benchmark}")
        benchmark = name
    if benchmark is not None and (not benchmark or "/" in benchmark):
        raise UsageError(f"{benchmark!r} is not the name of a benchmark")
    return root, benchmark


def _shown(url: str) -> str:
    """Leave out of a URL what may be secret: what stands before an @, and behind a ? or #."""
    return re.sub(r"[?#].*", "?…", re.sub(r"//[^/]*@", "//…@", url))


def credential(token: str | None, header: TokenHeader) -> dict[str, str]:
    """Make the header that a token is sent in.

    Raises :class:`~benchhost.errors.UsageError`, without the token.
    """
    if token is None:
        return {}
    token = token.strip()  # a token that is read from a file ends with a new line
    if not token or not token.isascii() or not token.isprintable():
        raise UsageError("the token is empty, or has characters that a header cannot have")
    return {header: f"Bearer {token}" if header == "authorization" else token}


def daytona_headers(provider: Mapping[str, Any] | None) -> dict[str, str]:
    """Make the headers in which older services want what others read in a frame: the credentials for Daytona."""
    if provider is None or provider.get("type") != "daytona":
        return {}
    given = {header: provider[name] for name, header in _DAYTONA.items() if provider.get(name)}
    return {"x-sandbox-provider": "daytona", **given}


_DAYTONA = {
    "DAYTONA_API_KEY": "x-api-key",
    "DAYTONA_API_URL": "x-api-url",
    "DAYTONA_TARGET": "x-target",
    "DAYTONA_ORGANIZATION_ID": "x-organization-id",
}


def checked_version(version: str | None) -> str | None:
    """Return the version of a dataset that is pinned, if it can be told to a host.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    if version is not None and not VERSION.fullmatch(version):
        raise UsageError(
            f"{version[:100]!r} can be no version that a host is asked for: expected visible letters of ASCII, without "
            "spaces. The fingerprint of the version will do as well"
        )
    return version
