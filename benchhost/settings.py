"""What the operator can set: from ``benchhost.toml``, then the environment, then flags; the last one wins.

Only ``server/`` and ``cli/`` read settings. The name, default, bounds and help of a setting stand
together, in :class:`Settings`, and everything else follows from there: the variable
(``BENCHHOST_<NAME>``), the flag (``--<name>``), the errors and the documentation.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from benchhost.errors import SettingsError

PREFIX = "BENCHHOST_"
CONFIG_VARIABLE = "BENCHHOST_CONFIG"
CONFIG_FILE = "benchhost.toml"
TOKEN_VARIABLE = "BENCHHOST_TOKEN"  # noqa: S105 - the name of a variable
"""Where commands look for the token that a remote host wants. It is no setting of a host."""
VALS_API_KEY_VARIABLE = "BENCHMARK_API_KEY"

VALS_VARIABLES = {
    VALS_API_KEY_VARIABLE: "api_key",
    "AUTH_REQUIRED": "auth_required",
    "DESCOPE_PROJECT_ID": "descope_project_id",
    "DESCOPE_BASE_URI": "descope_base_uri",
    "DESCOPE_AUTH_CACHE_TTL_SECONDS": "descope_cache_seconds",
    "DESCOPE_TENANT_ALLOWLIST_JSON": "allowlist_json",
    "DESCOPE_ALLOWLIST_PATH": "allowlist",
}
"""Where services of the Vals contract look for what is a setting here; the setting's own variable wins over it."""

_NO_SETTINGS = frozenset({CONFIG_VARIABLE, TOKEN_VARIABLE})
_SECRET = {"secret": True}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a host. Every default is one that a single machine can start with."""

    host: Annotated[str, Meta(description="Address to listen on.", min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(description="Port to listen on; 0 takes a free one.", ge=0, le=65535)] = 8000
    workers: Annotated[int, Meta(description="Processes that answer requests; they share the store.", ge=1)] = 1
    state: Annotated[Path, Meta(description="Folder of all that the host keeps, the database above all.")] = Path(
        ".benchhost"
    )
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"], Meta(description="The least that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="How it is logged; auto is console on a terminal, JSON lines elsewhere."),
    ] = "auto"
    api_key: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Bearer token that every caller must send. Without one, everybody is let in. "
            "BENCHMARK_API_KEY is read as well.",
            extra=_SECRET,
        ),
    ] = None
    auth: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Ways to be let in, of bearer, keys, descope and oidc; or open, for everybody. "
            "If it is not set: descope with auth_required, else bearer with an api_key, else open."
        ),
    ] = None
    auth_required: Annotated[
        bool,
        Meta(
            description="Let callers in by a key of Descope alone, as services made with create-benchmark-service do. "
            "AUTH_REQUIRED is read as well."
        ),
    ] = False
    allow_open: Annotated[
        bool, Meta(description="Let everybody in also at an address that other machines can reach.")
    ] = False
    allowlist: Annotated[
        Path | None,
        Meta(
            description="File of YAML that says which tenants may use which datasets. "
            "DESCOPE_ALLOWLIST_PATH is read as well."
        ),
    ] = None
    allowlist_json: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="The same as JSON; wins over the file. DESCOPE_TENANT_ALLOWLIST_JSON is read as well.",
        ),
    ] = None
    descope_project_id: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Project at Descope whose keys are let in. DESCOPE_PROJECT_ID is read as well."),
    ] = None
    descope_base_uri: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Where Descope is, if not at its own address. DESCOPE_BASE_URI is read as well."),
    ] = None
    descope_cache_seconds: Annotated[
        float,
        Meta(
            description="Seconds for which an answer of Descope is believed. "
            "DESCOPE_AUTH_CACHE_TTL_SECONDS is read as well.",
            ge=0,
        ),
    ] = 300.0
    oidc_issuer: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Issuer whose tokens are let in, as it stands in their claim iss."),
    ] = None
    oidc_audience: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Whom the tokens must be meant for: one of their claim aud."),
    ] = None
    oidc_tenant_claim: Annotated[str, Meta(description="Claim that names the tenant.", min_length=1)] = "tenant"
    oidc_algorithms: Annotated[
        tuple[str, ...] | None,
        Meta(description="Signatures by which tokens are believed; none is RS256, ES256 and EdDSA."),
    ] = None
    oidc_jwks_uri: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Where the issuer's keys are; none finds out at the issuer."),
    ] = None
    max_body_mb: Annotated[int, Meta(description="Largest body of a request, in megabytes.", ge=1)] = 64
    read_timeout: Annotated[
        float,
        Meta(
            description="Seconds within which the head of a request must be there, and then its body; a large body is "
            "given a second more for each 64 KiB.",
            gt=0,
        ),
    ] = 30.0
    max_connections: Annotated[
        int, Meta(description="Connections that are open at once in each worker; further ones wait.", ge=16)
    ] = 4096
    max_connections_per_peer: Annotated[
        int,
        Meta(
            description="Connections of one address that are open at once in each worker. Behind a proxy, whose "
            "address is everybody's, as many as the proxy may have.",
            ge=1,
        ),
    ] = 512
    hosts: Annotated[
        tuple[str, ...] | None,
        Meta(
            description="Names by which callers may address this host, separated by commas, beside addresses and "
            "localhost. Without it, any name will do; or, on a host that is open on this machine alone, none."
        ),
    ] = None
    max_running: Annotated[int, Meta(description="Evaluations of one benchmark that run at once.", ge=1)] = 64
    max_queued: Annotated[int, Meta(description="Evaluations of one benchmark that may wait to run.", ge=0)] = 1000
    max_running_per_tenant: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Evaluations of one tenant that run at once; none is without limit."),
    ] = None
    load_timeout: Annotated[float, Meta(description="Seconds that a plugin may take to load.", gt=0)] = 60.0
    strict: Annotated[bool, Meta(description="Refuse to start when a plugin is faulty.")] = False
    graders: Annotated[int, Meta(description="Grading processes of each benchmark in each worker.", ge=1)] = 1
    only: Annotated[
        tuple[str, ...] | None,
        Meta(description="Names of the benchmarks to serve, separated by commas; none serves all that are installed."),
    ] = None
    allow_runs: Annotated[
        bool, Meta(description="Let callers have models attempt benchmarks here, at this host's cost.")
    ] = False
    run_models: Annotated[
        tuple[str, ...],
        Meta(
            description="Models that callers may run, as names or patterns such as openai/gpt-5.4-mini or anthropic/*, "
            "separated by commas. The default costs nothing."
        ),
    ] = ("scripted/*",)
    max_runs: Annotated[
        int, Meta(description="Runs that callers have started, under way at once in each worker.", ge=1)
    ] = 4
    resume_runs: Annotated[
        bool, Meta(description="Carry on, at the start, the runs that the end of the host has interrupted.")
    ] = False
    sandbox: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Provider of the host's own sandboxes, such as local or daytona; none is without sandboxes."),
    ] = "local"
    min_isolation: Annotated[
        Literal["namespaces", "uid", "landlock"],
        Meta(description="The weakest isolation of sandboxes on this machine that will do."),
    ] = "uid"
    max_sandboxes: Annotated[int, Meta(description="Sandboxes on this machine that are there at once.", ge=1)] = 256
    allow_sandboxes: Annotated[
        bool, Meta(description="Let callers make sandboxes of their own here, and run commands in them.")
    ] = False
    sandbox_images: Annotated[
        tuple[str, ...],
        Meta(
            description="Images and snapshots of which callers may make sandboxes, as names or patterns such as "
            "python:*, separated by commas. The default holds only programs of this machine."
        ),
    ] = ("host",)
    max_sandboxes_per_tenant: Annotated[
        int, Meta(description="Sandboxes that the callers of one tenant may have here at once.", ge=1)
    ] = 16
    max_sockets: Annotated[int, Meta(description="WebSockets that are open at once in each worker.", ge=1)] = 1000
    socket_timeout: Annotated[
        float, Meta(description="Seconds within which a client of a WebSocket must say what it wants.", gt=0)
    ] = 60.0
    socket_heartbeat: Annotated[
        float, Meta(description="Seconds of silence after which a WebSocket says that work still goes on.", gt=0)
    ] = 60.0
    daytona_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Hosts to which callers may have their Daytona credentials sent, separated by commas; each is "
            "reached by HTTPS, unless it is named with a scheme and a port, such as http://10.0.0.5:3000."
        ),
    ] = ("app.daytona.io",)
    probing: Annotated[
        Path | None,
        Meta(description="File of TOML that says, by dataset, how often submitters may try and what they are told."),
    ] = None
    drain_timeout: Annotated[
        float, Meta(description="Seconds that requests in flight may take at a reload or stop.", ge=0)
    ] = 300.0
    benchmarks: Annotated[
        dict[str, dict[str, Any]],
        Meta(description="A table for each benchmark, given to its plugin as its Settings.", extra=_SECRET),
    ] = {}

    def plugin(self, name: str) -> dict[str, Any]:
        """Return the table of one benchmark.

        Values from the environment are text, so read it with ``msgspec.convert(…, strict=False)``. What
        is no letter or digit of a name may be ``_`` in a variable, and case does not matter there.
        """
        found = dict(self.benchmarks.get(name, {}))
        if name not in self.benchmarks:
            for other, table in self.benchmarks.items():
                if _plain(other) == _plain(name):
                    found.update(table)
        return found

    def unused(self, installed: Iterable[str]) -> list[str]:
        """Name the tables that no benchmark of these names reads."""
        read = {_plain(name) for name in installed}
        return sorted(name for name in self.benchmarks if _plain(name) not in read)

    def __repr__(self) -> str:
        """Show what is set, without what is secret."""
        secret = {doc.name for doc in describe() if doc.secret} | {"benchmarks"}
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        said = [f"{name}={'***' if value and name in secret else repr(value)}" for name, value in values.items()]
        return f"Settings({', '.join(said)})"


class SettingDoc(msgspec.Struct, frozen=True):
    """A setting as the documentation shows it; ``expected`` says in words what it may be."""

    name: str
    variable: str
    default: Any
    help: str
    expected: str
    secret: bool


def load(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Read the settings file, then the environment, then the flags, each winning over those before.

    The file is ``config``, else the one that ``BENCHHOST_CONFIG`` names, else ``benchhost.toml`` in the
    working directory if it is there. An empty variable counts as not set; a flag counts as not given
    when it is ``None`` or an empty tuple. ``flags`` are by the name of the setting.

    Raises :class:`~benchhost.errors.SettingsError`; its message holds no secret.
    """
    path = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    values: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    for given in (*_from_file(path), *_from_environment(environ), *_from_flags(flags)):
        name, *inner = given.path
        if name == "benchmarks":
            _put(tables, inner, given)
        elif inner or name not in _DOCS:
            raise _unknown(given)
        else:
            values[name] = _converted(_DOCS[name], given)
    return Settings(**values, benchmarks=tables)


def describe() -> list[SettingDoc]:
    """Return every setting, in the order in which they are declared."""
    return list(_DOCS.values())


class _Given(NamedTuple):
    """A value that somebody gave, and ``origin``, where they gave it. ``text`` may be read as a number."""

    path: tuple[str, ...]
    value: Any
    origin: str
    text: bool = False


def _from_file(path: Path | None) -> Iterator[_Given]:
    file = path or Path(CONFIG_FILE)
    try:
        text = file.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        if path is None:
            return
        raise SettingsError(f"the settings file {file} does not exist; the working directory is {Path.cwd()}") from None
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"the settings file {file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {file} is not TOML: {error}") from None
    for name, value in content.items():
        if name == "benchmarks" and isinstance(value, dict):
            for benchmark, table in value.items():
                yield _Given((name, benchmark), table, f"{file}, table [benchmarks.{benchmark}]")
        else:
            # The parser does not say where a key stands, so it is looked for.
            found = re.search(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(name)}\b""", text, re.MULTILINE)
            line = f", line {text.count(chr(10), 0, found.start()) + 1}" if found else ""
            yield _Given((name,), value, f"{file}{line}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable, name in VALS_VARIABLES.items():
        if environ.get(variable):
            value = environ[variable]
            if name == "auth_required":  # where more words are understood
                value = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), value)
            yield _Given((name,), value, f"variable {variable}", text=True)
    for variable in (VALS_API_KEY_VARIABLE, f"{PREFIX}API_KEY"):
        if environ.get(variable) == "":  # as a deployment whose secret is missing sets it
            wanted = "expected a value, or no variable at all if everybody is to be let in, got an empty one"
            raise SettingsError(f"api_key: {wanted} (variable {variable})")
    for variable, value in sorted(environ.items()):
        if variable.startswith(PREFIX) and variable not in _NO_SETTINGS and value:
            path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            yield _Given(path, value, f"variable {variable}", text=True)


def _from_flags(flags: Mapping[str, Any]) -> Iterator[_Given]:
    for name, value in flags.items():
        origin = f"flag --{name.replace('_', '-')}"
        if name == "benchmarks" and isinstance(value, Mapping):
            for benchmark, table in value.items():
                yield _Given((name, benchmark), table, origin, text=True)
        elif value is not None and value != ():
            yield _Given((name,), value, origin, text=True)


def _converted(doc: SettingDoc, given: _Given) -> Any:
    """Make a given value what its setting is."""
    value = given.value
    if given.text and isinstance(value, str):
        if doc.expected.startswith("names"):
            value = [name.strip() for name in value.split(",") if name.strip()]
        elif doc.expected.startswith("one of"):
            value = value.lower()
        elif doc.expected.endswith("or none") and not doc.secret and value.lower() == "none":
            value = None
    try:
        converted = msgspec.convert(value, _HINTS[doc.name], strict=not given.text, dec_hook=_path)
        if isinstance(converted, float) and not math.isfinite(converted):  # which no bound excludes
            raise msgspec.ValidationError
    except msgspec.ValidationError:
        of_secret = f"a value of the type {type(value).__name__}" if value != "" else "empty text"
        got = of_secret if doc.secret else repr(given.value)
        raise SettingsError(f"{doc.name}: expected {doc.expected}, got {got} ({given.origin})") from None
    return converted


def _path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    raise ValueError("not a path")


def _put(tables: dict[str, dict[str, Any]], inner: list[str], given: _Given) -> None:
    """Put what was given into the benchmarks' tables: a whole table, or one value of one."""
    whole = isinstance(given.value, Mapping)
    if not inner or (len(inner) == 1 and not whole):
        expected = "a table for each benchmark, and in it a value for each of its settings"
        raise SettingsError(f"{'.'.join(given.path)}: expected {expected} ({given.origin})")
    name = next((known for known in tables if known == inner[0] or _plain(known) == _plain(inner[0])), inner[0])
    table = tables.setdefault(name, {})
    if whole:
        table.update(given.value)
        return
    for step in inner[1:-1]:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{'.'.join(given.path)}: {step!r} is set to a value already ({given.origin})")
    table[inner[-1]] = _list_or_text(given.value)


def _list_or_text(text: str) -> Any:
    """Read a variable of a benchmark as JSON when it is a list or an object, since text cannot say one."""
    if text.startswith(("[", "{")):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:  # a template, for instance
            return text
    return text


def _plain(name: str) -> str:
    """Return the name of a benchmark as a variable can say it."""
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _unknown(given: _Given) -> SettingsError:
    name = "__".join(given.path)
    names = [*_DOCS, "benchmarks"]
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(given.path[0], names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(_DOCS)} and the tables of benchmarks"
    return SettingsError(f"no setting is called {name!r} ({given.origin}){hint}")


def _expected(hint: Any) -> str:
    """Say in words what a setting may be."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, meta = arguments[0], arguments[1]
        return _expected(kind) + _bounds(meta)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, UnionType):
        return f"{_expected(arguments[0])}, or none"
    return _WORDS[origin or hint]


def _bounds(meta: Meta) -> str:
    if meta.min_length is not None:
        return " that is not empty"
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.ge is not None:
        return f" of {meta.ge} or more"
    return f" above {meta.gt}" if meta.gt is not None else ""


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    tuple: "names separated by commas",
}

_HINTS = get_type_hints(Settings, include_extras=True)

_DOCS = {
    field.name: SettingDoc(
        name=field.name,
        variable=PREFIX + field.name.upper(),
        default=field.default,
        help=_HINTS[field.name].__metadata__[0].description,
        expected=_expected(_HINTS[field.name]),
        secret=_HINTS[field.name].__metadata__[0].extra == _SECRET,
    )
    for field in msgspec.structs.fields(Settings)
    if field.name != "benchmarks"
}
