"""The OpenAPI document, made from the table of routes: each route of a benchmark once for every benchmark.

Litestar could make one too, but of what its handlers take and return; the routes with a body deal in
bytes, errors are answered in one place for all routes, and one router serves every benchmark.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg

import benchhost
from benchhost.access import TENANT_MODES, Caller, Mode
from benchhost.errors import (
    BenchhostError,
    Busy,
    DatasetNotAllowed,
    GradingFailed,
    IdentityUnavailable,
    InvalidVersion,
    Malformed,
    NoVersions,
    StoreFailed,
    TenantRequired,
    TrialRefused,
    Unauthorized,
    Unavailable,
    UnknownVersion,
)
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server import problems
from benchhost.server.auth import Admitted, is_public, takes_version
from benchhost.server.documented import Documented, documented, documented_of
from benchhost.server.host import Host
from benchhost.server.raw import EVENTS, JSON, JSON_LINES, OCTETS, READING
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES
from benchhost.wire.native import Problem
from benchhost.wire.vals import VERSION_HEADER

JsonObject = dict[str, Any]

SCHEMES: dict[str, JsonObject] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "descope": {"type": "apiKey", "in": "header", "name": "X-Descope-Api-Key"},
}
"""The ways in which a credential is shown."""

SHOWN: dict[Mode, Sequence[str]] = {
    "open": (),
    "bearer": ("bearer",),
    "keys": ("bearer", "descope"),
    "descope": ("descope",),
    "oidc": ("bearer",),
}
"""By which of them a host lets callers in, by its modes."""

RETRY_AFTER = {"retry-after": {"description": "Seconds after which to come back.", "schema": {"type": "integer"}}}

PINNED: JsonObject = {
    "name": VERSION_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[!-~]+$"},
    "description": "The version of the dataset, by its label or its fingerprint. A good answer repeats it.",
}

ABOUT = (
    "Each benchmark is served under a path of its own. Every path is answered with and without a slash at its end. "
    "Keys that are not known here are ignored in the body of a request, except where a run is started."
)

_REF = "#/components/schemas/{name}"
_PATH_TYPE = re.compile(r"\{(\w+):\w+\}")
_PROVIDED = {"host", "benchmark", "tenant", "admitted", "request"}


@get("/openapi.json", tags=["host"], opt=documented(answer=JsonObject))
async def openapi(host: NamedDependency[Host], admitted: NamedDependency[Admitted]) -> Response[bytes]:
    """Describe every route, of the host and of each benchmark, in OpenAPI 3.1."""
    await host.roster.loaded()  # until then it is not known which are faulty
    return Response(msgspec.json.encode(document_of(host, admitted.caller)), media_type=JSON)


def document_of(host: Host, caller: Caller) -> JsonObject:
    """Make the document of a host whose plugins are loaded, as far as it concerns a caller.

    Faulty benchmarks have no routes that could be used, so they are left out.
    """
    policy = host.gatekeeper.policy
    shown = [each.name for each in host.roster if each.fault is None and caller.knows_of(each.name)]
    document = Document(policy.modes)
    return document.of({name: own_rules(host.roster.get(name)) for name in shown})


def own_rules(benchmark: HostedBenchmark) -> frozenset[str]:
    """Name the rules of access that a benchmark has of its own."""
    rules = ("check_auth", "resolve_tenant", "check_dataset_access")
    return frozenset(rule for rule in rules if benchmark.offers(rule))


class Document:
    """A document in the making."""

    def __init__(self, modes: Sequence[Mode] = ("open",)) -> None:
        self._schemes = list(dict.fromkeys(scheme for mode in modes for scheme in SHOWN[mode]))
        self._tells_tenants = not TENANT_MODES.isdisjoint(modes)
        self._types: dict[Any, None] = {Problem: None}
        self._responses: dict[str, JsonObject] = {}

    def of(self, benchmarks: Mapping[str, frozenset[str]]) -> JsonObject:
        """Make the document for these benchmarks, each with its own rules of access (:func:`own_rules`)."""
        paths: dict[str, JsonObject] = {}
        for handler in [*HOST_ROUTES, openapi]:
            self._add(paths, handler, "", None, frozenset())
        for name, rules in benchmarks.items():
            for handler in BENCHMARK_ROUTES:
                self._add(paths, handler, f"/b/{name}", name, rules)
        _, schemas = msgspec.json.schema_components(self._types, ref_template=_REF)
        components: JsonObject = {"schemas": _plain(schemas), "responses": self._responses}
        if self._schemes:
            components["securitySchemes"] = {scheme: SCHEMES[scheme] for scheme in self._schemes}
        return {
            "openapi": "3.1.0",
            "info": {"title": "benchhost", "version": benchhost.__version__, "description": ABOUT},
            "paths": paths,
            "components": components,
        }

    def _add(
        self,
        paths: dict[str, JsonObject],
        handler: HTTPRouteHandler,
        prefix: str,
        benchmark: str | None,
        rules: frozenset[str],
    ) -> None:
        [path], [method] = handler.paths, handler.http_methods
        told = documented_of(handler.opt)
        name = handler.fn.__name__
        summary, _, description = (inspect.getdoc(handler.fn) or "").partition("\n")
        needs_nothing = is_public(benchmark, path)
        errors: list[type[Exception]] = [*told.raises, BenchhostError]
        if benchmark is not None:
            errors.append(Unavailable)
            if not needs_nothing:
                errors += [NoVersions, InvalidVersion]
                errors += [UnknownVersion] if takes_version(path) else []
        if told.body is not None:
            errors += [Malformed, *READING]
        decides_itself = not rules.isdisjoint(("check_auth", "resolve_tenant"))
        if not needs_nothing and (self._schemes or decides_itself):
            errors.append(Unauthorized)
        if not needs_nothing and (self._tells_tenants or "resolve_tenant" in rules):
            errors += [TrialRefused, IdentityUnavailable, StoreFailed, Busy]
        if benchmark is not None and not needs_nothing and (self._tells_tenants or rules):
            errors += [DatasetNotAllowed, TenantRequired, GradingFailed]
        operation: JsonObject = {
            "operationId": f"{benchmark}.{name}" if benchmark else name,
            "tags": [*(handler.tags or ()), *([benchmark] if benchmark else ())],
            "summary": summary,
            "description": description.strip(),
            "parameters": [*_parameters(handler, path), *([PINNED] if benchmark and takes_version(path) else [])],
            "responses": {str(handler.status_code): self._answer(handler, told), **self._errors(errors)},
        }
        if told.body is not None:
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": self._schema(told.body)}}}
        if told.takes_bytes:
            operation["requestBody"] = {"required": True, "content": {OCTETS: {"schema": {}}}}
        if self._schemes and not needs_nothing and not decides_itself:
            operation["security"] = [{scheme: []} for scheme in self._schemes]
        paths.setdefault(prefix + _PATH_TYPE.sub(r"{\1}", path), {})[method.lower()] = operation

    def _answer(self, handler: HTTPRouteHandler, told: Documented) -> JsonObject:
        answer: Any = told.answer
        if answer is None and not (told.events or told.lines or told.gives_bytes):
            answer = get_type_hints(handler.fn)["return"]
            if get_origin(answer) is Response:
                [answer] = get_args(answer)
        content: JsonObject = {}
        if answer not in (None, type(None)):
            content[JSON] = {"schema": self._schema(answer)}
        if told.events:
            said = ", ".join(f"`{name}` with a {struct.__name__} as JSON" for name, struct in told.events.items())
            self._types.update(dict.fromkeys(told.events.values()))
            content[EVENTS] = {"schema": {"type": "string", "description": f"Server-sent events: {said}."}}
        if told.lines is not None:
            kinds = _either(told.lines)
            names = " or ".join(kind.__name__ for kind in kinds)
            said = f"Lines that end in a line feed, each a {names} as JSON; or, as the last, a Problem."
            self._types.update(dict.fromkeys(kinds))
            content[JSON_LINES[0]] = {"schema": {"type": "string", "description": said}}
        if told.gives_bytes:
            content[OCTETS] = {"schema": {}}
        response: JsonObject = {"description": "The answer.", "content": content}
        if told.headers:
            response["headers"] = {
                name: {"description": about, "required": True, "schema": {"type": "string"}}
                for name, about in told.headers.items()
            }
        return response

    def _errors(self, errors: Iterable[type[Exception]]) -> dict[str, JsonObject]:
        """Refer to the answer to some errors, by status; routes with the same errors share it."""
        by_status: dict[int, dict[str, str]] = {}
        for error in errors:
            assert issubclass(error, BenchhostError)
            by_status.setdefault(problems.status_of(error), {})[error.slug] = error.title
        found: dict[str, JsonObject] = {}
        for status, titles in sorted(by_status.items()):
            key = ".".join([str(status), *sorted(titles)])
            response: JsonObject = {
                "description": "; ".join(titles[slug] for slug in sorted(titles)) + ".",
                "content": {problems.MEDIA_TYPE: {"schema": self._schema(Problem)}},
            }
            if status == 429:
                response["headers"] = RETRY_AFTER
            self._responses[key] = response
            found[str(status)] = {"$ref": f"#/components/responses/{key}"}
        return found

    def _schema(self, type_: Any) -> JsonObject:
        if not isinstance(type_, type) or not issubclass(type_, msgspec.Struct):
            return msgspec.json.schema(type_)
        self._types[type_] = None
        return {"$ref": _REF.format(name=type_.__name__)}


def _parameters(handler: HTTPRouteHandler, path: str) -> Iterable[JsonObject]:
    """Read the parameters of the path and of the query off the signature of a handler."""
    hints = get_type_hints(handler.fn, include_extras=True)
    for name, parameter in inspect.signature(handler.fn).parameters.items():
        if name in _PROVIDED:
            continue
        hint, *marks = get_args(hints[name]) if hasattr(hints[name], "__metadata__") else (hints[name],)
        about = next((mark for mark in marks if isinstance(mark, ParameterKwarg)), ParameterKwarg())
        in_path = f"{{{name}:" in path
        given: JsonObject = {
            "name": name,
            "in": "path" if in_path else "query",
            "required": in_path or parameter.default is inspect.Parameter.empty,
            "schema": about.schema_extra or _schema_of_text(hint),
        }
        if about.description:
            given["description"] = about.description
        yield given


def _schema_of_text(hint: Any) -> JsonObject:
    """Make the schema of a parameter. One that may be None may be left out, which is said elsewhere."""
    [present] = [each for each in _either(hint) if each is not type(None)]
    return msgspec.json.schema(present)


def _either(hint: Any) -> Sequence[Any]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]


def _plain(schema: Any) -> Any:
    """Say the docstrings that msgspec takes as descriptions in plain text: without markup and line ends."""
    if isinstance(schema, dict):
        return {
            key: _prose(value) if key == "description" and isinstance(value, str) else _plain(value)
            for key, value in schema.items()
        }
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


def _prose(docstring: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", docstring).replace("``", "`")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text))
