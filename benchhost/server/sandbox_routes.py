"""Routes by which callers have sandboxes of the host: make them, run commands in them, read and write their files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from benchhost.contract import Exited, Resources, Sandbox, SandboxInfo, SandboxSpec
from benchhost.errors import (
    Busy,
    ImageUnavailable,
    Malformed,
    SandboxBusy,
    SandboxFileError,
    SandboxNotFound,
    SandboxUnavailable,
    SandboxUnsupported,
    TooLarge,
    UnknownSandbox,
)
from benchhost.evaluation.own_sandboxes import HOST, TENANT, OwnSandboxes
from benchhost.sandbox.local.images import is_path
from benchhost.server.auth import Admitted
from benchhost.server.bodies import discard_rest
from benchhost.server.documented import documented
from benchhost.server.host import Host
from benchhost.server.problems import FileRefused, SandboxesNotAllowed, answer_to
from benchhost.server.raw import JSON_LINES, OCTETS, READING, checked_headers
from benchhost.server.sandbox_access import own_sandbox, public_id
from benchhost.wire import sandboxes as wire
from benchhost.wire.bodies import decode

COME_BACK = 5.0
"""Seconds after which it may be tried again to make a sandbox, when there were too many."""

AnyRequest = Request[Any, Any, Any]

MOST = Resources(vcpu=8, memory=32, disk=100)
"""What a caller's sandbox may be given at most."""

_sandbox = msgspec.json.Decoder(wire.SandboxRequest)
_command = msgspec.json.Decoder(wire.CommandRequest)
_line = msgspec.json.Encoder().encode

_EACH = (SandboxesNotAllowed, SandboxUnavailable)
_ONE = (*_EACH, UnknownSandbox)

Path = Annotated[str, QueryParameter(description="The file, by its absolute path in the sandbox.", min_length=1)]


@post(
    "/v1/sandboxes",
    tags=["sandboxes"],
    status_code=201,
    opt=documented(body=wire.SandboxRequest, raises=[*_EACH, SandboxUnsupported, ImageUnavailable]),
)
async def create_sandbox(
    host: NamedDependency[Host], tenant: NamedDependency[str], request: AnyRequest
) -> wire.SandboxAnswer:
    """Make a sandbox. It is yours until you delete it, or until its time is up."""
    own = _own(host)
    spec = _wanted(decode(_sandbox, await _json(request, host)), host.settings.sandbox_images)
    most = host.settings.max_sandboxes_per_tenant
    too_many = Busy(f"There are {most} sandboxes of yours, as many as may be; delete one first.", COME_BACK)
    if len(await own.list(tenant)) >= most:
        raise too_many
    try:
        made = await own.create(tenant, spec)
    except SandboxBusy as error:
        raise Busy("The host can make no more sandboxes at the moment; retry later.", COME_BACK) from error
    there = [info.id for info in await own.list(tenant)]
    if made.id in there[most:]:  # others were made at the same time, perhaps by other workers
        await own.delete(tenant, made.id)
        raise too_many
    return _shown(own, await made.info())


@get("/v1/sandboxes", tags=["sandboxes"], opt=documented(raises=_EACH))
async def sandboxes(host: NamedDependency[Host], tenant: NamedDependency[str]) -> wire.SandboxList:
    """List your sandboxes."""
    own = _own(host)
    return wire.SandboxList([_shown(own, info) for info in await own.list(tenant)])


@get("/v1/sandboxes/{sandbox_id:str}", tags=["sandboxes"], opt=documented(raises=_ONE))
async def sandbox(
    host: NamedDependency[Host], tenant: NamedDependency[str], sandbox_id: FromPath[str]
) -> wire.SandboxAnswer:
    """Show a sandbox."""
    own = _own(host)
    return _shown(own, await (await own_sandbox(own, tenant, sandbox_id)).info())


@delete("/v1/sandboxes/{sandbox_id:str}", tags=["sandboxes"], status_code=204, opt=documented(raises=_ONE))
async def delete_sandbox(host: NamedDependency[Host], tenant: NamedDependency[str], sandbox_id: FromPath[str]) -> None:
    """Delete a sandbox, with all that runs in it."""
    own = _own(host)
    found = await own_sandbox(own, tenant, sandbox_id)
    await own.delete(tenant, found.id)


@post(
    "/v1/sandboxes/{sandbox_id:str}/exec",
    tags=["sandboxes"],
    status_code=200,
    opt=documented(body=wire.CommandRequest, lines=wire.CommandOutput, raises=_ONE),
)
async def run_command(
    host: NamedDependency[Host], tenant: NamedDependency[str], sandbox_id: FromPath[str], request: AnyRequest
) -> Stream:
    """Run a command, and hear what it says as it says it. It is ended if you hang up."""
    given = decode(_command, await _json(request, host))
    if not given.command:
        raise Malformed("expected a command", ("body", "command"))
    found = await own_sandbox(_own(host), tenant, sandbox_id)
    return Stream(_heard(found, given), media_type=JSON_LINES[0])


@get(
    "/v1/sandboxes/{sandbox_id:str}/files",
    tags=["sandboxes"],
    opt=documented(gives_bytes=True, raises=[*_ONE, FileRefused]),
)
async def read_file(
    host: NamedDependency[Host], tenant: NamedDependency[str], sandbox_id: FromPath[str], path: Path
) -> Response[bytes]:
    """Read a file of a sandbox."""
    found = await own_sandbox(_own(host), tenant, sandbox_id)
    try:
        content = await found.read(path, host.largest_body)
    except SandboxFileError as error:
        raise FileRefused(str(error)) from error
    return Response(content, media_type=OCTETS)


@put(
    "/v1/sandboxes/{sandbox_id:str}/files",
    tags=["sandboxes"],
    status_code=204,
    opt=documented(takes_bytes=True, raises=[*_ONE, FileRefused, *READING]),
)
async def write_file(
    host: NamedDependency[Host],
    tenant: NamedDependency[str],
    sandbox_id: FromPath[str],
    request: AnyRequest,
    path: Path,
    mode: Annotated[
        str, QueryParameter(description="Its permissions, in octal digits.", pattern="^[0-7]{3,4}$")
    ] = "644",
) -> None:
    """Write a file of a sandbox; the body is its content. Directories that are missing are made."""
    found = await own_sandbox(_own(host), tenant, sandbox_id)
    async with _body(request, host, json=False) as content:
        try:
            await found.write(path, content, int(mode, 8))
        except SandboxFileError as error:
            raise FileRefused(str(error)) from error


def _own(host: Host) -> OwnSandboxes:
    if not host.settings.allow_sandboxes or host.sandboxes.name is None:
        raise SandboxesNotAllowed(
            "This host makes no sandboxes for callers. Its operator can allow it: benchhost serve --allow-sandboxes"
        )
    return host.sandboxes


def _wanted(given: wire.SandboxRequest, images: Sequence[str]) -> SandboxSpec:
    """Read what a caller wants, and refuse what only the operator may have."""
    try:
        spec = msgspec.convert(given, SandboxSpec, from_attributes=True)
    except msgspec.ValidationError as error:
        raise Malformed(str(error)) from None
    if is_path(spec.image):
        raise Malformed("an image is named here, and not where it lies on the host", ("body", "image"))
    for field in ("image", "snapshot"):
        name = getattr(spec, field)
        if name is not None and not any(fnmatchcase(name, pattern) for pattern in images):
            usable = ", ".join(images) or "none"
            raise Malformed(f"callers may not have this one here; they may have: {usable}", ("body", field))
    for name in ("vcpu", "memory", "disk"):
        wanted, most = getattr(spec.resources, name), getattr(MOST, name)
        if not 0 < wanted <= most:
            raise Malformed(f"expected 1 to {most}", ("body", "resources", name))
    if any(name.startswith("benchhost-") for name in spec.labels):
        raise Malformed("names that begin with benchhost- are the host's", ("body", "labels"))
    return spec


def _shown(own: OwnSandboxes, info: SandboxInfo) -> wire.SandboxAnswer:
    labels = {name: word for name, word in info.labels.items() if name not in (HOST, TENANT)}
    return wire.SandboxAnswer(public_id(own, info.id), info.provider, info.state, info.image, labels, info.created_at)


async def _json(request: AnyRequest, host: Host) -> bytes:
    """Read a body that must be declared to be JSON: a page of another site may not send that unasked."""
    async with _body(request, host, json=True) as body:
        return body


@asynccontextmanager
async def _body(request: AnyRequest, host: Host, *, json: bool) -> AsyncIterator[bytes]:
    """Read a body, and have room for it until the end of the ``async with``."""
    admitted: Admitted = request.scope["state"]["admitted"]
    room = host.bodies.room(admitted.tenant)
    try:
        try:
            checked_headers(request.scope, room, json=json)
            body = await host.bodies.read(request.receive, room)
        except (TooLarge, Busy):
            await discard_rest(request.scope, request.receive, begun=room.begun)
            raise
        yield body
    finally:
        room.let_go()


async def _heard(sandbox: Sandbox, given: wire.CommandRequest) -> AsyncIterator[bytes]:
    """Say what a command says, each piece a line; the last says how it ended, or is a problem."""
    try:
        async with sandbox.start(
            given.command,
            cwd=given.cwd,
            env=given.env,
            stdin=given.stdin.encode(),
            timeout=given.timeout,
            max_output=given.max_output,
        ) as process:
            async for said in process:
                yield _line(said) + b"\n"
                if isinstance(said, Exited):
                    return
    except SandboxFileError as error:
        yield answer_to(FileRefused(str(error))).body + b"\n"
    except SandboxNotFound:
        yield answer_to(UnknownSandbox("The sandbox is gone.")).body + b"\n"
    except Exception as error:  # whatever a provider raises: the status is sent already, and the last line says it
        yield answer_to(error).body + b"\n"
