"""Bytes to one URL and bytes back, over kept connections."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from benchhost.errors import ModelUnavailable

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT = 20.0
"""Seconds to establish a connection."""

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4))


class Reply(NamedTuple):
    """What came back: whatever the status, a whole body, ``seconds`` after the request was begun."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


class Transport:
    """Posts JSON to one URL. ``connections`` may be open at once; an exchange may take ``timeout`` seconds.

    Redirects are not followed: the headers hold a key that is meant for this URL alone.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout: float,
        proxy: str | None = None,
    ) -> None:
        self._address = url
        self._headers = {**headers, "Content-Type": "application/json", "Accept": "application/json"}
        self._connections = connections
        self._timeout = timeout
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> Reply:
        """Send a body and read the answer whole.

        Raises :class:`~benchhost.errors.ModelUnavailable` when there is none, or only a part of one.
        """
        session = self._session or self._open()
        began = time.perf_counter()
        try:
            async with session.post(self._url, data=body, allow_redirects=False) as answer:
                return Reply(answer.status, answer.headers, await answer.read(), time.perf_counter() - began)
        except self._unreachable as error:
            raise self._no_connection(error) from error
        except TimeoutError as error:
            raise ModelUnavailable(f"no whole answer within {self._timeout:g} s from {self._address}") from error
        except self._failures as error:
            failed = ModelUnavailable(
                f"{type(error).__name__} from {self._address}: {str(error) or 'no further reason'}"
            )
            failed.retriable = not isinstance(error, self._hopeless)
            raise failed from error

    def _no_connection(self, error: Exception) -> ModelUnavailable:
        errno = getattr(error, "errno", None)
        if errno is not None and errno > 0:
            said = os.strerror(errno)
        else:  # a name that nobody knows, or several addresses of which each refused
            said = getattr(getattr(error, "os_error", None), "strerror", None) or str(error)
        if isinstance(error, TimeoutError):
            said = f"not within {CONNECT_TIMEOUT:g} s"
        failed = ModelUnavailable(f"there is no connection to {self._address}: {said}")
        failed.retriable = not isinstance(error, self._hopeless)
        return failed

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp  # only a real model needs it, and it costs 0.2 s to import
        import yarl

        self._url = yarl.URL(self._address)
        self._failures = (aiohttp.ClientError, OSError)
        self._unreachable = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
        self._hopeless = (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, keepalive_timeout=60, ttl_dns_cache=300, socket_factory=_socket
            ),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=CONNECT_TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=self._proxy,
        )
        return self._session


def _socket(info: tuple[int, int, int, str, object]) -> socket.socket:
    """Make a socket that stays known to the routers on the way while a model thinks for minutes."""
    made = socket.socket(*info[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
