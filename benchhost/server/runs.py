"""Routes by which callers have a model attempt a benchmark here, and see how that goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from benchhost.errors import (
    Busy,
    DatasetNotAllowed,
    InvalidSlice,
    Malformed,
    NotOffered,
    NoVersions,
    StoreFailed,
    UnknownDataset,
    UnknownRun,
    UnknownTask,
    UnknownVersion,
)
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.auth import Admitted
from benchhost.server.documented import documented
from benchhost.server.host import Host
from benchhost.server.problems import Conflict, RunsNotAllowed, SandboxesNotAllowed
from benchhost.server.raw import EVENTS, Call, Reply, raw_post
from benchhost.store import RunRecord
from benchhost.wire import runs as wire

if TYPE_CHECKING:
    from benchhost.server.run_manager import RunManager

STILL_HERE = 30
"""After how many looks at a run in which nothing changed a stream says that it is still there."""

MOST = 500
"""The most runs of one page."""

_request = msgspec.json.Decoder(wire.RunRequest)
_encode = msgspec.json.Encoder().encode


@raw_post(
    "/v1/runs",
    tags=["runs"],
    status=202,
    body=wire.RunRequest,
    answer=wire.Run,
    raises=[
        RunsNotAllowed,
        SandboxesNotAllowed,
        Malformed,
        InvalidSlice,
        UnknownDataset,
        NoVersions,
        UnknownVersion,
        UnknownTask,
        NotOffered,
        Conflict,
        Busy,
        StoreFailed,
    ],
)
async def start_run(call: Call) -> Reply:
    """Have a model attempt tasks of the benchmark. The answer is the run, which goes on in the host."""
    manager = _manager_of(call.host)
    request = call.decoded(_request)
    await call.admitted.must_use(call.benchmark, request.dataset)
    if call.host.evaluator.policies.of(call.benchmark, request.dataset or "default", call.tenant).limits:
        raise RunsNotAllowed(
            "How often submitters may try this dataset, or what they are told, is limited: callers start no runs of it."
        )
    return Reply(_encode(await manager.start(call.benchmark.name, request, call.tenant)))


@get("/v1/runs", tags=["runs"], opt=documented(raises=[RunsNotAllowed, UnknownRun, Malformed, StoreFailed]))
async def runs(
    host: NamedDependency[Host],
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    limit: Annotated[int, QueryParameter(description="The most runs to list.", ge=1, le=MOST)] = 50,
    before: Annotated[str | None, QueryParameter(description="List what was started before this run.")] = None,
) -> wire.Runs:
    """List the runs of the benchmark, the newest first."""
    manager = _manager_of(host)
    if before is not None:
        await _find(manager, admitted, benchmark, before)
    admitted.must_have_tenant()
    page = await manager.page(benchmark=benchmark.name, tenant=admitted.tenant, limit=limit, before=before)
    if not admitted.may_use_anything(benchmark):
        allowed = {name: await _may_use(admitted, benchmark, name) for name in {run.dataset for run in page.runs}}
        page.runs = [run for run in page.runs if allowed[run.dataset]]
    return page


@get("/v1/runs/{run_id:str}", tags=["runs"], opt=documented(raises=[RunsNotAllowed, UnknownRun, StoreFailed]))
async def run(
    host: NamedDependency[Host],
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    run_id: FromPath[str],
) -> wire.Run:
    """Show a run: how far it has come, or what it came to."""
    manager = _manager_of(host)
    return manager.show(await _find(manager, admitted, benchmark, run_id))


@get(
    "/v1/runs/{run_id:str}/events",
    tags=["runs"],
    opt=documented(
        raises=[RunsNotAllowed, UnknownRun, StoreFailed], events={"progress": wire.RunProgress, "ended": wire.Run}
    ),
)
async def run_events(
    host: NamedDependency[Host],
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    run_id: FromPath[str],
) -> Stream:
    """Follow a run. Every event says all there is to say, so nobody needs those that they have missed."""
    manager = _manager_of(host)
    record = await _find(manager, admitted, benchmark, run_id)
    return Stream(_events(manager, record), media_type=EVENTS, headers={"cache-control": "no-store"})


@post(
    "/v1/runs/{run_id:str}/cancel",
    status_code=202,
    tags=["runs"],
    opt=documented(raises=[RunsNotAllowed, UnknownRun, StoreFailed]),
)
async def cancel_run(
    host: NamedDependency[Host],
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    run_id: FromPath[str],
) -> wire.Run:
    """Have a run begin nothing more; asked for again, have it drop what is under way. A run that has ended stays."""
    manager = _manager_of(host)
    return await manager.cancel(await _find(manager, admitted, benchmark, run_id))


async def _find(manager: RunManager, admitted: Admitted, benchmark: HostedBenchmark, run_id: str) -> RunRecord:
    """Find a run of the caller's tenant, of a dataset that the caller may use."""
    admitted.must_have_tenant()
    record = await manager.find(run_id, benchmark=benchmark.name, tenant=admitted.tenant)
    await admitted.must_use(benchmark, record.dataset)
    return record


async def _may_use(admitted: Admitted, benchmark: HostedBenchmark, dataset: str) -> bool:
    try:
        await admitted.must_use(benchmark, dataset)
    except DatasetNotAllowed:
        return False
    return True


def _manager_of(host: Host) -> RunManager:
    if host.runs is None:
        raise RunsNotAllowed(
            "This host carries out no runs for callers. Its operator can allow it: benchhost serve --allow-runs"
        )
    return host.runs


async def _events(manager: RunManager, record: RunRecord) -> AsyncIterator[bytes]:
    """Say what happens to a run as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""
    number = silent = 0
    yield b"retry: 2000\n\n"
    async for shown in manager.watch(record):
        if shown is None:
            silent += 1
            if silent % STILL_HERE == 0:
                yield b": still here\n\n"
            continue
        number += 1
        name = "ended" if isinstance(shown, wire.Run) else "progress"
        yield f"event: {name}\nid: {number}\ndata: ".encode() + _encode(shown) + b"\n\n"
