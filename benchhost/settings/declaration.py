"""The settings of a host: the name, type, default, bounds and help of each stand here together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from benchhost.settings.variables import plain

SECRET = {"secret": True}
"""Marks a setting whose value is never shown."""


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
            extra=SECRET,
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
    allow_uploads: Annotated[
        bool, Meta(description="Let callers upload what they submit, here or to the upload_bucket.")
    ] = True
    max_upload_bytes: Annotated[
        int,
        Meta(
            description="Largest upload, in bytes. SUBMISSION_ARTIFACT_MAX_DOWNLOAD_BYTES is read as well.",
            ge=1,
        ),
    ] = 64 * 1024 * 1024
    max_upload_mb_per_tenant: Annotated[
        int, Meta(description="What is kept here of the uploads of one tenant at once, in megabytes.", ge=1)
    ] = 1024
    keep_uploads: Annotated[float, Meta(description="Seconds for which an upload is kept here.", gt=0)] = 86400.0
    public_url: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="How callers reach this host, such as https://bench.example.org/grading, for the URLs of "
            "uploads; none goes by each request."
        ),
    ] = None
    upload_bucket: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="Bucket of S3 that takes the uploads in the place of this machine. "
            "SUBMISSION_ARTIFACT_BUCKET is read as well."
        ),
    ] = None
    upload_region: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Region of the bucket. AWS_REGION is read as well."),
    ] = None
    upload_endpoint: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="Where the bucket is, if not at Amazon: a URL such as http://minio:9000."),
    ] = None
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
        Meta(description="A table for each benchmark, given to its plugin as its Settings.", extra=SECRET),
    ] = {}

    def plugin(self, name: str) -> dict[str, Any]:
        """Return the table of one benchmark.

        Values from the environment are text, so read it with ``msgspec.convert(…, strict=False)``. What
        is no letter or digit of a name may be ``_`` in a variable, and case does not matter there.
        """
        found = dict(self.benchmarks.get(name, {}))
        if name not in self.benchmarks:
            for other, table in self.benchmarks.items():
                if plain(other) == plain(name):
                    found.update(table)
        return found

    def unused(self, installed: Iterable[str]) -> list[str]:
        """Name the tables that no benchmark of these names reads."""
        read = {plain(name) for name in installed}
        return sorted(name for name in self.benchmarks if plain(name) not in read)

    def __repr__(self) -> str:
        """Show what is set, without what is secret."""
        secret = {name for name in self.__struct_fields__ if meta_of(name).extra == SECRET}
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        said = [f"{name}={'***' if value and name in secret else repr(value)}" for name, value in values.items()]
        return f"Settings({', '.join(said)})"


HINTS = get_type_hints(Settings, include_extras=True)
"""The type of each setting, with its bounds."""


def meta_of(name: str) -> Meta:
    """Return what is said of a setting beside its type: the help, and whether it is secret."""
    meta: Meta = HINTS[name].__metadata__[0]
    return meta
