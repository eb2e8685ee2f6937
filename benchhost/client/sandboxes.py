"""Sandboxes that a host makes for its callers, by its routes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Literal
from urllib.parse import quote, urlencode

import msgspec

from benchhost.client.faults import Request, problem_of
from benchhost.client.transport import Answer, Transport
from benchhost.errors import ClientError
from benchhost.wire.sandboxes import CommandOutput, CommandRequest, SandboxAnswer, SandboxList, SandboxRequest

OCTETS = "application/octet-stream"

LONGER = 60.0
"""Seconds that a host may be silent longer than a command may take."""

LONGEST = 86_400.0
"""Seconds that a host may be silent while a command runs that may take as long as it likes."""

_encode = msgspec.json.Encoder().encode
_output: msgspec.json.Decoder[CommandOutput] = msgspec.json.Decoder(CommandOutput)


class Sandboxes:
    """The caller's sandboxes at a host; :attr:`benchhost.client.Client.sandboxes`.

    Every method raises :class:`~benchhost.errors.ClientError`: with the status 404 when the sandbox is gone, 403 when
    the host makes none for callers, and 422 when it makes no such one.
    """

    def __init__(self, root: str, transport: Transport, secrets: Mapping[str, str], timeout: float) -> None:
        self._root = f"{root}/v1/sandboxes"
        self._transport = transport
        self._secrets = secrets
        self._timeout = timeout

    async def create(self, wanted: SandboxRequest) -> SandboxAnswer:
        """Have a sandbox made. It is asked for once: whether a request was lost, or its answer, cannot be known."""
        request = self._request("Making a sandbox", "POST", "", body=_encode(wanted), success=201)
        async with self._transport.send(request) as response:
            return Answer(response.headers, await response.read()).read(request, SandboxAnswer)

    async def list(self) -> list[SandboxAnswer]:
        """List the caller's sandboxes."""
        request = self._request("Listing sandboxes", "GET", "")
        return (await self._transport.ask(request)).read(request, SandboxList).sandboxes

    async def show(self, sandbox_id: str) -> SandboxAnswer:
        """Say what is known of a sandbox."""
        request = self._request("Looking at a sandbox", "GET", _path(sandbox_id))
        return (await self._transport.ask(request)).read(request, SandboxAnswer)

    async def delete(self, sandbox_id: str) -> None:
        """Delete a sandbox. One that is gone is no error."""
        try:
            await self._transport.ask(
                self._request("Deleting a sandbox", "DELETE", _path(sandbox_id), success=204, timeout=LONGER)
            )
        except ClientError as error:
            if error.problem != "unknown-sandbox":
                raise

    async def run(self, sandbox_id: str, command: CommandRequest) -> AsyncGenerator[CommandOutput, None]:
        """Run a command, and yield what it says. It is ended when this is closed; it is never sent twice."""
        silence = LONGEST if command.timeout is None else command.timeout + LONGER
        path = f"{_path(sandbox_id)}/exec"
        request = self._request("Running a command", "POST", path, body=_encode(command), timeout=silence)
        async with self._transport.send(request) as response:
            rest = bytearray()
            async for chunk in response.content.iter_any():
                *lines, last = chunk.split(b"\n")
                for line in lines:
                    yield self._said(request, bytes(rest) + line)
                    rest.clear()
                rest += last

    async def read(self, sandbox_id: str, path: str, most: int | None = None) -> bytes:
        """Read a file, or its first ``most`` bytes."""
        request = self._request("Reading a file of a sandbox", "GET", _file(sandbox_id, path=path), most=most)
        return (await self._transport.ask(request)).body

    async def write(self, sandbox_id: str, path: str, data: bytes, mode: int) -> None:
        """Write a file."""
        where = _file(sandbox_id, path=path, mode=f"{mode:03o}")
        request = self._request("Writing a file of a sandbox", "PUT", where, body=data, success=204, content=OCTETS)
        await self._transport.ask(request)

    def _said(self, request: Request, line: bytes) -> CommandOutput:
        try:
            return _output.decode(line)
        except msgspec.MsgspecError:
            raise problem_of(request, line, self._secrets) from None

    def _request(
        self,
        what: str,
        method: Literal["GET", "POST", "PUT", "DELETE"],
        path: str,
        *,
        body: bytes | None = None,
        content: str = "application/json",
        success: int = 200,
        timeout: float | None = None,
        most: int | None = None,
    ) -> Request:
        return Request(
            what=what,
            method=method,
            url=self._root + path,
            timeout=self._timeout if timeout is None else timeout,
            accept="*/*",
            body=body,
            content=content,
            success=success,
            most=most,
        )


def _path(sandbox_id: str) -> str:
    return f"/{quote(sandbox_id, safe='')}"


def _file(sandbox_id: str, **query: str) -> str:
    return f"{_path(sandbox_id)}/files?{urlencode(query)}"
