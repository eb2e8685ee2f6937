"""Routes by which callers upload what they then submit by its key."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from litestar import Request, put
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from litestar.types import HTTPScope

from benchhost.errors import (
    Malformed,
    TooLarge,
    UnknownDataset,
    UnknownTask,
    UploadRefused,
    UploadsFailed,
    UploadSpaceFull,
)
from benchhost.server.bodies import discard_rest
from benchhost.server.documented import documented
from benchhost.server.host import Host
from benchhost.server.problems import NotFound, UploadsNotConfigured
from benchhost.server.raw import Call, Reply, announced_length, raw_post
from benchhost.server.refused import Encoded, HeadRefused, LengthRequired, TooSlow
from benchhost.settings import Settings
from benchhost.uploads import EXPIRES_IN, PATH, Announced, Permit, Place, Spool
from benchhost.wire.native import Uploaded
from benchhost.wire.vals import UploadRequest, UploadUrl

NOT_CONFIGURED = (
    "Submission uploads are not configured on this deployment; set SUBMISSION_ARTIFACT_BUCKET and AWS_REGION"
)
"""What create-benchmark-service says where there is no bucket. Here it is the operator's wish that there be none."""

_AUTHORITY = re.compile(r"[A-Za-z0-9.:\[\]_-]+")

Said = Annotated[str, QueryParameter(description="What the URL is for.")]


def _number(description: str) -> QueryParameter:
    """Make a parameter that is a number which can be signed: of 63 bits, as those of this host are."""
    return QueryParameter(description=description, ge=0, le=2**63 - 1)


_request = msgspec.json.Decoder(UploadRequest)
_encode = msgspec.json.Encoder().encode


@raw_post(
    "/v1/submissions/upload-url",
    tags=["evaluation"],
    body=UploadRequest,
    answer=UploadUrl,
    raises=[UnknownDataset, UnknownTask, TooLarge, HeadRefused, UploadsFailed, UploadsNotConfigured],
)
async def upload_url(call: Call) -> Reply:
    """Say where to put what is to be submitted, and the key by which it is submitted then."""
    request = call.decoded(_request)
    catalogue = await call.admitted.catalogue(call.benchmark, request.dataset)
    if call.host.uploads is None:
        raise UploadsNotConfigured(NOT_CONFIGURED)
    if request.task_id not in catalogue.positions:
        raise UnknownTask(f"Task ID not found: {request.task_id}")
    key = Place(call.tenant, catalogue.name, request.run_id, request.task_id).key(request.filename)
    announced = Announced(call.benchmark.name, key, request.size, request.sha256)
    url = await call.host.uploads.url(announced, base_of(call.scope, call.host.settings))
    return Reply(_encode(UploadUrl(key, url, EXPIRES_IN)))


@put(
    PATH,
    tags=["evaluation"],
    status_code=200,
    opt=documented(
        takes_bytes=True,
        raises=[
            UploadRefused,
            NotFound,
            TooSlow,
            LengthRequired,
            TooLarge,
            Encoded,
            Malformed,
            UploadsFailed,
            UploadSpaceFull,
        ],
    ),
)
async def upload(
    host: NamedDependency[Host],
    request: Request[Any, Any, Any],
    benchmark: Said,
    key: Said,
    expires: Annotated[int, _number("When the URL expires, in seconds since 1970.")],
    limit: Annotated[int, _number("The most bytes that it takes.")],
    signature: Annotated[str, QueryParameter(description="By which all of this is known to be the host's word.")],
    size: Annotated[int | None, _number("The bytes that were announced.")] = None,
    sha256: Annotated[str | None, QueryParameter(description="The SHA-256 that was announced.")] = None,
) -> Uploaded:
    """Take an upload, at a URL that `upload-url` gave: its signature is all the credential there is.

    What was put there before is replaced.
    """
    if not isinstance(host.uploads, Spool):
        raise NotFound("This host keeps no uploads itself.")
    permit = Permit(benchmark, key, expires, limit, size, sha256)
    begun = False
    try:
        length = announced_length(request.scope)
        host.uploads.check(permit, signature, length)
        begun = True
        received = await host.uploads.receive(permit, length, host.bodies.arriving(request.receive))
    except (UploadRefused, TooLarge, Malformed, UploadSpaceFull, UploadsFailed):
        await discard_rest(request.scope, request.receive, begun=begun)  # of which there may be much
        raise
    return Uploaded(key, received.size, received.sha256)


def base_of(scope: HTTPScope, settings: Settings) -> str:
    """Say how the caller addresses this host, unless the operator says it; what a caller makes up fools nobody else.

    Raises :class:`~benchhost.server.refused.HeadRefused` when that could be no part of a URL.
    """
    if settings.public_url is not None:
        return settings.public_url.rstrip("/")
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host") or f"{settings.host}:{settings.port}"
    if not _AUTHORITY.fullmatch(host):
        raise HeadRefused("The header host is none that a URL could have.")
    said = headers.get(b"x-forwarded-proto")  # by a proxy that speaks TLS for this host
    return f"{said if said in ('http', 'https') else scope['scheme']}://{host}"
