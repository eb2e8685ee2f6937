"""What the head of a request must be before anything else of it is looked at.

Most of what a head can do wrong is refused by the server process itself (a length that is none, a line that is
folded, more than a hundred headers). What is left is what two readers may read in two ways, what costs memory, and
a name that is not this host's.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING

from benchhost.server.policy import is_loopback, modes_of
from benchhost.server.refused import HeadRefused, HeadTooLarge, WrongHost
from benchhost.settings import Settings

if TYPE_CHECKING:
    from litestar.types import Scope

LARGEST_HEAD = 32 * 1024
"""The most bytes of the headers of a request, together."""

_ONCE = frozenset({b"host", b"content-type", b"content-length", b"transfer-encoding"})


class Heads:
    """Looks at heads, by the names that the settings give to this host."""

    def __init__(self, settings: Settings) -> None:
        self._names = names_of(settings)
        self._is_ours = functools.lru_cache(maxsize=256)(self._look_up)

    def check(self, scope: Scope) -> None:
        """Make sure that the head of a request can be gone by.

        Raises :class:`~benchhost.server.problems.HeadRefused`, :class:`~benchhost.server.problems.HeadTooLarge` and
        :class:`~benchhost.server.problems.WrongHost`.
        """
        size, host, found = 0, b"", set()
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name in _ONCE:
                if name in found:
                    raise HeadRefused(f"The header {name.decode()} is there twice.")
                found.add(name)
                if name == b"host":
                    host = value
        if size > LARGEST_HEAD:
            raise HeadTooLarge(f"The headers are larger than the {LARGEST_HEAD // 1024} KiB that this host reads.")
        if not host:  # which granian fills in, with nothing
            if scope["http_version"] not in ("1.0", "1"):
                raise HeadRefused("The header host is missing.")
        elif self._names is not None and not self._is_ours(host):
            raise WrongHost(
                "This host is not known by the name to which the request is addressed. Its operator can name it: "
                "benchhost serve --hosts NAME"
            )

    def _look_up(self, host: bytes) -> bool:
        assert self._names is not None
        return is_address(name := name_in(host)) or name in self._names


def names_of(settings: Settings) -> frozenset[str] | None:
    """Say by which names a host may be addressed, beside addresses; ``None`` for any.

    A page that is open in a browser can have a name of its own mean this machine, and then read what a host says
    that asks for no credential (DNS rebinding). So a host that is open and meant for this machine alone goes by the
    names that only this machine can mean.
    """
    local = frozenset({"localhost"})
    if settings.hosts is not None:
        return local | {name.lower() for name in settings.hosts}
    return local if "open" in modes_of(settings) and is_loopback(settings.host) else None


def name_in(host: bytes) -> str:
    """Take the name out of a header ``Host``: without the port, in lower case."""
    text = host.decode("latin-1").lower()
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address if not port or port.startswith(":") else text
    return text.partition(":")[0].removesuffix(".")


def is_address(name: str) -> bool:
    """Whether a name is an address, which nobody else can have mean another machine."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
