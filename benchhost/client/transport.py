"""Requests to a host, and sending them again where that is safe."""

from __future__ import annotations

import asyncio
import errno
import io
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from benchhost.client.faults import Request, fault_of, must_echo
from benchhost.errors import ClientError, HostUnreachable
from benchhost.wire.sockets import LARGEST_FRAME
from benchhost.wire.vals import VERSION_HEADER

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

CONNECT_TIMEOUT = 20.0
"""Seconds to establish a connection."""

IDLE = {True: 60.0, False: 3.0}
"""Seconds that an unused connection is kept, if requests may be sent again, and if not.

uvicorn hangs up after 5 seconds. A request that meets this on its way is lost, which matters where it
cannot be sent again.
"""


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """How often a request is sent again, and after how long.

    The wait before the nth time is drawn evenly from the upper half of ``first * 2**n`` seconds, at most
    ``longest`` ("equal jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter).
    A ``Retry-After`` is honoured instead, with jitter on top, unless it is more than ``patience`` seconds.

    ``posts`` says whether a POST may be sent again after the host may have got it: judging a response
    twice costs time and money, and where it is counted, of a quota. ``None`` leaves it to what the host
    is: benchhost, to which the same evaluation is the same one however often it is asked for, or another
    service. A POST that never left, or that was answered with a ``Retry-After``, is always sent again.
    """

    times: int = 5
    first: float = 0.5
    longest: float = 30.0
    patience: float = 300.0
    posts: bool | None = None

    def delay(self, n: int, asked: float | None = None) -> float:
        """Draw the seconds to wait before the request is sent again for the nth time, from 0."""
        if asked:  # a host that asks for 0 seconds says nothing useful
            return asked + random.random() * self.first
        return min(self.longest, self.first * 2.0 ** min(n, 60)) * (1 + random.random()) / 2


class Answer(NamedTuple):
    """What a host answered."""

    headers: Mapping[str, str]
    body: bytes

    def read(self, request: Request, shape: type[T]) -> T:
        """Read it as something of a shape; what cannot be read is no answer of a benchmark service.

        Raises :class:`~benchhost.errors.ClientError`.
        """
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            kind = self.headers.get("content-type", "something without a type")
            raise ClientError(
                f"{request.what} failed: {request.method} {request.shown} answered {kind} that cannot be read "
                f"({error}). Is this the URL of a benchmark service?",
                status=200,
            ) from error


class Transport:
    """Sends requests. ``headers`` go with each; ``resends`` says whether a POST may be sent again.

    Redirects are not followed: the headers may hold a token that is meant for this host alone.
    """

    def __init__(self, headers: Mapping[str, str], *, retries: Retries, resends: bool, connections: int) -> None:
        self._headers = headers
        self._retries = retries
        self._resends = resends
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._answered = False

    async def open(self) -> None:
        """Get ready to send."""
        import aiohttp  # takes 0.2 s

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=IDLE[self._resends]),
            headers={"User-Agent": "benchhost", **self._headers},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, request: Request) -> Answer:
        """Send a request, again if need be, and return the answer to one that was done.

        Raises :class:`~benchhost.errors.ClientError`.
        """
        tried = 0
        while True:
            try:
                async with self.send(request) as response:
                    return Answer(response.headers, await _body(response, request.most))
            except ClientError as error:
                await self.pause(request, error, tried)
            tried += 1

    @asynccontextmanager
    async def send(self, request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request once, and have the answer to one that was done, to be read.

        Raises :class:`~benchhost.errors.ClientError`, also from the block that reads.
        """
        import aiohttp
        import yarl

        if self._session is None:
            raise RuntimeError("the client is not open: use it in `async with Client(...) as client`")
        headers = {**request.headers, "Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content
        if request.version is not None:
            headers[VERSION_HEADER] = request.version
        try:
            async with self._session.request(
                request.method,
                yarl.URL(request.url, encoded=True),
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=request.timeout),
            ) as response:
                self._answered = True
                if response.status != request.success:
                    body, secrets = await response.read(), self._secrets(request)
                    raise fault_of(request, response.status, response.headers, body, secrets)
                if request.version is not None:
                    must_echo(request, response.headers.getall(VERSION_HEADER, []))
                yield response
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise self._unreachable(request, error) from error

    async def put(self, request: Request, content: bytes | Path) -> None:
        """Put bytes, or a file, to a signed URL, again if need be. It gets no header of the client: it is no host's.

        Raises :class:`~benchhost.errors.ClientError`.
        """
        tried = 0
        while True:
            try:
                await self._put(request, content)
            except ClientError as error:
                await self.pause(request, error, tried)
            else:
                return
            tried += 1

    async def _put(self, request: Request, content: bytes | Path) -> None:
        import aiohttp
        import yarl

        headers = {"User-Agent": "benchhost", "Content-Type": "application/octet-stream"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=request.timeout)
        try:
            async with aiohttp.ClientSession(
                headers=headers, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout
            ) as session:
                with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as data:
                    async with session.put(
                        yarl.URL(request.url, encoded=True), data=data, allow_redirects=False
                    ) as response:
                        if response.status not in (200, 201, 204):  # also when it is sent elsewhere
                            body = await response.read()
                            raise fault_of(request, response.status, response.headers, body, {}, signed=True)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise self._unreachable(request, error) from error

    @asynccontextmanager
    async def connect(self, request: Request) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Open a WebSocket, and have it for as long as the context lasts. It takes one of the connections.

        Raises :class:`~benchhost.errors.ClientError`, also from the block that reads.
        """
        import aiohttp
        import yarl

        if self._session is None:
            raise RuntimeError("the client is not open: use it in `async with Client(...) as client`")
        try:
            headers = {**request.headers, **({} if request.version is None else {VERSION_HEADER: request.version})}
            async with asyncio.timeout(CONNECT_TIMEOUT):
                socket = await self._session.ws_connect(
                    yarl.URL(request.url, encoded=True), max_msg_size=LARGEST_FRAME, headers=headers
                )
            self._answered = True
            async with socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            raise fault_of(request, error.status, error.headers or {}, b"", self._secrets(request)) from error
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise self._unreachable(request, error) from error

    def _secrets(self, request: Request) -> dict[str, str]:
        """Return what must not be repeated, whatever is said of a request."""
        return {**self._headers, **request.headers}

    async def pause(self, request: Request, error: ClientError, tried: int) -> None:
        """Wait until a request that failed may be sent again; or raise the error, if it may not.

        ``tried`` is how often it was sent again already.
        """
        safe = self._resends or request.method != "POST" or error.retry_after is not None
        if isinstance(error, HostUnreachable) and not error.sent:
            safe = self._answered  # a host that was never there is not waited for
        if not (error.retriable and safe) or tried >= self._retries.times:
            raise error
        if (error.retry_after or 0) > self._retries.patience:
            raise error
        await asyncio.sleep(self._retries.delay(tried, error.retry_after))

    def _unreachable(self, request: Request, error: Exception) -> HostUnreachable:
        import aiohttp

        host = f"{request.what} failed: {request.method} {request.shown}"
        if isinstance(error, aiohttp.ClientSSLError):
            return HostUnreachable(
                f"{host}: the connection is not secure ({_reason(error)}). Is it https, with a valid certificate?",
                sent=False,
                retriable=False,
            )
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return HostUnreachable(f"{host}: no connection within {CONNECT_TIMEOUT:g} s.", sent=False)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return HostUnreachable(f"{host}: there is no host of that name ({_reason(error)}).", sent=False)
        if isinstance(error, aiohttp.ClientConnectorError):
            refused = error.os_error.errno == errno.ECONNREFUSED
            reason = "the connection was refused" if refused else f"there is no connection ({_reason(error)})"
            return HostUnreachable(
                f"{host}: {reason}. Is the server running, and is this its port? `benchhost serve` starts one.",
                sent=False,
            )
        if isinstance(error, TimeoutError):
            return HostUnreachable(f"{host}: the host said nothing for {request.timeout:g} s.", sent=True)
        return HostUnreachable(f"{host}: the connection was cut ({_reason(error)}).", sent=True)


def _reason(error: Exception) -> str:
    inner = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    return getattr(inner, "strerror", None) or f"{type(inner).__name__}: {inner}".removesuffix(": ")


async def _body(response: aiohttp.ClientResponse, most: int | None) -> bytes:
    """Read an answer, up to ``most`` bytes of it: a connection of which more is to come is closed."""
    if most is None:
        return await response.read()
    body = bytearray()
    while len(body) < most and (part := await response.content.read(most - len(body))):
        body += part
    return bytes(body)
