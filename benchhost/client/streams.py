"""What is watched over a WebSocket, and taken up again when it drops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from benchhost.client.faults import Request, about_the_token, must_echo
from benchhost.errors import ClientError, HostBusy, HostUnreachable, TokenRefused

if TYPE_CHECKING:
    import aiohttp

    from benchhost.client.transport import Transport

OnMessage = Callable[[str], None]
"""Is told each text of progress: one line, or several."""

OnState = Callable[[dict[str, Any]], None]
"""Is told how far the benchmark has come, each time that it says so."""

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
"""Codes with which a host closes a socket that it refuses, and one that is to come back."""

COME_BACK = 5.0
"""Seconds after which it is tried again at a limit of the host's."""

_encode = msgspec.json.Encoder().encode


class Said(ClientError):
    """The stream ended with an error chunk: ``detail`` is what the host said."""


class Chunk(msgspec.Struct):
    """One text frame of a host."""

    type: str
    data: Any = None


async def watch(
    transport: Transport,
    request: Request,
    frame: Mapping[str, Any],
    secrets: Mapping[str, str],
    on_message: OnMessage | None = None,
    on_state: OnState | None = None,
) -> Any:
    """Send a frame, read to the end of the stream, and return the data of the result.

    A connection that drops is made anew, and the frame sent again, where that joins what is under way. Raises
    :class:`Said` when the host says that there is no result, and :class:`~benchhost.errors.ClientError`.
    """
    secrets = {**secrets, **request.headers}
    tried = 0
    while True:
        heard = False
        try:
            async with transport.connect(request) as socket:
                await socket.send_str(_encode(frame).decode())
                honoured = request.version is None
                while True:
                    chunk = await _next(socket, request, secrets)
                    if chunk.type == "dataset_version":
                        must_echo(request, [str(chunk.data.get("id"))] if isinstance(chunk.data, dict) else [])
                        honoured = True
                        continue  # a host says so before it knows whether it is too busy
                    heard = True
                    if not honoured and chunk.type != "error":
                        must_echo(request, [])
                    if chunk.type == "result":
                        return chunk.data
                    if chunk.type == "error":
                        detail = str(chunk.data)
                        raise Said(f"{request.what} failed: {detail}", detail=detail)
                    if chunk.type == "message" and on_message is not None:
                        on_message(str(chunk.data))
                    elif chunk.type == "eval_resume_state" and on_state is not None:
                        on_state(chunk.data)
        except Said:
            raise
        except ClientError as error:
            tried = 0 if heard else tried
            await transport.pause(request, error, tried)
            tried += 1


async def _next(socket: aiohttp.ClientWebSocketResponse, request: Request, secrets: Mapping[str, str]) -> Chunk:
    """Read the next chunk."""
    import aiohttp

    message = await socket.receive(timeout=request.timeout)
    if message.type is not aiohttp.WSMsgType.TEXT:
        _ended(request, socket.close_code, str(message.extra or ""), secrets)
    try:
        return msgspec.json.decode(message.data, type=Chunk)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ClientError(f"{request.what} failed: {request.shown} sent what is no chunk ({error}).") from error


def _ended(request: Request, code: int | None, reason: str, secrets: Mapping[str, str]) -> NoReturn:
    """Raise the error of a stream that ended without a result."""
    ended = (
        f"{request.what} failed: {request.shown} closed the connection (code {code}{f', {reason}' if reason else ''})."
    )
    if code == POLICY_VIOLATION:
        advice = about_the_token(401 if reason == "Unauthorized" else 403, secrets)
        raise TokenRefused(f"{ended} {advice}", detail=reason)
    if code == TRY_AGAIN_LATER:
        raise HostBusy(f"{ended} Try again later.", detail=reason, retriable=True, retry_after=COME_BACK)
    raise HostUnreachable(ended, sent=True)
