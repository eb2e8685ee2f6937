"""The OpenAPI document: what Litestar reads off the handlers, said once for each benchmark."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

import benchhost
from benchhost.server.host import Host

CONFIG = OpenAPIConfig(
    title="benchhost",
    version=benchhost.__version__,
    path="/openapi",
    render_plugins=[JsonRenderPlugin()],
    use_handler_docstrings=True,
)


@get("/openapi.json", include_in_schema=False)
async def openapi(request: Request[Any, Any, Any], host: Host) -> Response[bytes]:
    """Serve the document."""
    document = document_of(request.app, [benchmark.name for benchmark in host.roster])
    return Response(msgspec.json.encode(document), media_type="application/json")


def document_of(app: Litestar, names: list[str]) -> dict[str, Any]:
    """Make the document of a host that serves benchmarks of these names."""
    return copy.deepcopy(app.openapi_schema.to_schema())
