"""Routes that read and write bytes.

A handler of Litestar that is given a decoded body and returns a struct costs 130 to 170 microseconds
more per request than one that is given the connection, which is more than judging a response costs
here; and finding that handler, through the layers that may answer in its place, costs as much again as
reading the request. So the routes that take a body are written as functions from bytes to bytes.
:func:`raw_post` dresses each as a Litestar handler, by which it has its place in the OpenAPI document
and its answers to other methods; a POST is answered by :class:`RawRoute`, before Litestar is asked.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar, cast

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from benchhost.errors import Busy, Malformed, TooLarge
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.auth import Admitted, served
from benchhost.server.bodies import Room, discard_rest
from benchhost.server.documented import documented
from benchhost.server.host import Host
from benchhost.server.problems import send_problem
from benchhost.server.refused import Encoded, LengthRequired, TooSlow
from benchhost.wire.bodies import decode

T = TypeVar("T")

JSON = "application/json"
EVENTS = "text/event-stream"
OCTETS = "application/octet-stream"

JSON_LINES = ("application/jsonl", "application/x-ndjson", "application/ndjson")
"""The media types by which a caller asks for one line per evaluation, as they finish; answered with the first."""


class Call(msgspec.Struct):
    """A request with a body, for a benchmark that is ready."""

    host: Host
    benchmark: HostedBenchmark
    admitted: Admitted
    accept: str
    body: bytes
    scope: HTTPScope

    @property
    def tenant(self) -> str:
        """The tenant of the caller."""
        return self.admitted.tenant

    def decoded(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Decode the body, and let go of it: what comes of it may be held for as long as a hook takes.

        Raises :class:`~benchhost.errors.Malformed`.
        """
        body, self.body = self.body, b""
        return decode(decoder, body)


class Reply(msgspec.Struct):
    """A body, whole or in parts as they are made."""

    body: bytes | AsyncIterator[bytes]
    media_type: str = JSON
    headers: dict[str, str] = {}


Route = Callable[[Call], Awaitable[Reply]]


_UNENCODED = {b"content-encoding": b"identity", b"transfer-encoding": b"chunked"}


READING: tuple[type[Exception], ...] = (TooLarge, Busy, Encoded, TooSlow)
"""What reading a body may raise, beside what is said of its content."""


class RawRoute(msgspec.Struct, frozen=True):
    """A function of bytes at its path below a benchmark; ``status`` is that of a good answer."""

    route: Route
    status: int

    async def answer(self, host: Host, admitted: Admitted, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer a request that was let in."""
        room, call = host.bodies.room(admitted.tenant), None
        try:
            benchmark = await served(host, admitted)
            accept = checked_headers(scope, room)
            call = Call(host, benchmark, admitted, accept, await host.bodies.read(receive, room), scope)
            reply = await self.route(call)
        except Exception as error:
            if call is None and not isinstance(error, TooSlow):
                await discard_rest(scope, receive, begun=room.begun)
            await send_problem(send, error)
        else:
            await _send(send, self.status, reply)
        finally:
            room.let_go()


def raw_post(path: str, *, tags: list[str], status: int = 200, **what: Any) -> Callable[[Route], HTTPRouteHandler]:
    """Make a POST handler of a function of bytes; ``status`` is that of a good answer, ``what`` is documented of it."""

    def dress(route: Route) -> HTTPRouteHandler:
        @functools.wraps(route, assigned=("__name__", "__qualname__", "__doc__"))
        async def handler() -> None:
            raise AssertionError("it is answered before Litestar is asked")

        del handler.__wrapped__  # whose arguments Litestar would want to fill
        opt = documented(**what) | {"raw": RawRoute(route, status)}
        return post(path, status_code=status, tags=tags, opt=opt)(handler)

    return dress


def raw_routes(handlers: Iterable[Any]) -> dict[str, RawRoute]:
    """Find those of the handlers that :func:`raw_post` has made, by their paths."""
    return {path: each.opt["raw"] for each in handlers if "raw" in each.opt for path in each.paths}


def from_memory(what: str, dataset_of: Callable[[HTTPScope], str | None]) -> Callable[..., ASGIApp]:
    """Make the middleware of a route that answers what the benchmark remembers of a dataset, if it does.

    Finding the arguments of a handler costs twice what sending the ids of ten thousand tasks does.
    """

    def middleware(app: ASGIApp) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            scope = cast("HTTPScope", scope)  # a GET handler gets no other
            admitted: Admitted = scope["state"]["admitted"]
            dataset = dataset_of(scope) if scope["method"] == "GET" else None
            benchmark = admitted.benchmark
            as_usual = admitted.pinned is None and not admitted.caller.trial
            if dataset is not None and benchmark is not None and as_usual:
                body = benchmark.memo.get(f"{what} {dataset}")
                if body is not None and admitted.may_use_at_once(benchmark, dataset):
                    await _send(send, 200, Reply(body))
                    return
            await app(scope, receive, send)

        return answer

    return middleware


def checked_headers(scope: HTTPScope, room: Room, *, json: bool = True) -> str:
    """Refuse a body that does not fit the room, is encoded or, where it has to be, no JSON before it is read.

    Returns what the caller accepts. Raises :class:`~benchhost.errors.TooLarge`, :class:`~benchhost.errors.Busy`,
    :class:`~benchhost.server.problems.Encoded` and :class:`~benchhost.errors.Malformed`.
    """
    accept = content_type = b""
    for name, value in scope["headers"]:
        if name == b"content-length":
            room.expect(int(value))
        elif name == b"content-type":
            content_type = value
        elif name == b"accept":
            accept = value
        else:
            _must_be_unencoded(name, value)
    if json and content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Malformed("expected a body of the content type application/json", ("header", "content-type"))
    return accept.decode("latin-1")


def announced_length(scope: HTTPScope) -> int:
    """Say how long a body is that is not held in memory, before it is read.

    Raises :class:`~benchhost.server.refused.LengthRequired` and :class:`~benchhost.server.refused.Encoded`.
    """
    length = None
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        else:
            _must_be_unencoded(name, value)
    if length is None:
        raise LengthRequired("Send the header content-length: room is made for an upload before it is read.")
    return length


def _must_be_unencoded(name: bytes, value: bytes) -> None:
    if _UNENCODED.get(name, value) != value and value.strip().lower() != _UNENCODED[name]:
        raise Encoded(f"Send the body as it is: this host decodes nothing that {name.decode()} may say.")


async def _send(send: Send, status: int, reply: Reply) -> None:
    headers = [(b"content-type", reply.media_type.encode())]
    headers += [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    if isinstance(reply.body, bytes):
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    async for part in reply.body:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
