"""Routes that tell of a benchmark and its tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

import benchhost
from benchhost.errors import (
    DatasetNotAllowed,
    GradingFailed,
    InvalidSlice,
    Malformed,
    NotOffered,
    NoVersions,
    UnknownDataset,
    UnknownTask,
    UnknownVersion,
)
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.auth import Admitted
from benchhost.server.documented import documented
from benchhost.server.problems import NotFound
from benchhost.server.raw import JSON, Call, Reply, from_memory, raw_post
from benchhost.server.trial import task_of_trial as of_trial
from benchhost.tasks import Catalogue, select
from benchhost.wire.vals import (
    DatasetVersion,
    Health,
    ResolvedDataset,
    ResolveRequest,
    RetrievedTask,
    TaskIds,
    TaskList,
    Version,
)

_encode = msgspec.json.Encoder().encode
_resolve = msgspec.json.Decoder(ResolveRequest)

TRUE = frozenset({"true", "1", "yes", "on", "t", "y"})
FALSE = frozenset({"false", "0", "no", "off", "f", "n"})

DatasetName = Annotated[str | None, QueryParameter(description="The dataset; `default` when it is absent.")]


@get("/health", tags=["health"])
async def health(benchmark: NamedDependency[HostedBenchmark]) -> Health:  # noqa: ARG001 - it is had only when it is loaded
    """Say that the benchmark is loaded and can be used."""
    return Health()


@get("/version", tags=["health"], opt=documented(raises=[UnknownDataset]))
async def version(
    benchmark: NamedDependency[HostedBenchmark], admitted: NamedDependency[Admitted], dataset: DatasetName = None
) -> Version:
    """Say which host and plugin answer and, to those who may use them, which version of a dataset."""
    named = None
    if admitted.known and (dataset or "default" in benchmark.datasets):
        try:
            named = await admitted.catalogue(benchmark, dataset)
        except (DatasetNotAllowed, GradingFailed):  # the path is public: it is answered as to a stranger
            named = None
    return Version(
        framework_version=benchhost.__version__,
        service_name=benchmark.entry.distribution,
        service_version=benchmark.entry.version,
        dataset_version=named.version or named.fingerprint if named else None,
        dataset_version_selection=named is not None and named.version is not None,
        eval_mode=benchmark.eval_mode,
        dataset_fingerprint=named.fingerprint if named else None,
    )


@get(
    "/verify-task-ids",
    tags=["tasks"],
    opt=documented(raises=[InvalidSlice, UnknownDataset, UnknownTask]),
    middleware=[from_memory("ids", lambda scope: None if scope["query_string"] else "default")],
)
async def verify_task_ids(
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    dataset: DatasetName = None,
    task_ids: Annotated[
        list[str] | None, QueryParameter(description="Ids that must all exist; wins over `slice`.")
    ] = None,
    slice: Annotated[  # noqa: A002 - the contract calls it so
        str | None, QueryParameter(description="`start:stop:step`, as Python slices a list.")
    ] = None,
) -> Response[TaskIds]:
    """List the ids of a dataset's tasks: all of them, those of a slice, or those asked for."""
    catalogue = await admitted.catalogue(benchmark, dataset)
    if task_ids is None and not slice:
        return _once(benchmark, f"ids {_asked(admitted, catalogue)}", lambda: _encode(TaskIds(catalogue.ids)))
    chosen = select(catalogue.ids, task_ids=task_ids, slice_text=slice, known=catalogue.positions)
    return _json(_encode(TaskIds(chosen)))


@get(
    "/retrieve-task",
    tags=["tasks"],
    opt=documented(raises=[NotOffered, UnknownDataset, UnknownTask, Malformed, GradingFailed]),
)
async def retrieve_task(
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    task_id: FromQuery[str],
    dataset: DatasetName = None,
    skip_validation: Annotated[
        str, QueryParameter(description="Accepted and not needed here.", schema_extra={"type": "boolean"})
    ] = "false",
) -> Response[RetrievedTask]:
    """Say in which sandbox a task is to be attempted."""
    if skip_validation.lower() not in TRUE | FALSE:
        raise Malformed("expected true or false", ("query", "skip_validation"))
    catalogue = await admitted.catalogue(benchmark, dataset)
    [known] = select(catalogue.ids, task_ids=[task_id], known=catalogue.positions)
    benchmark.must_offer("retrieve_task")
    return _json((await benchmark.call("retrieve_task", dataset=catalogue.key, task=known)).data)


@get(
    "/v1/datasets/{dataset:str}/tasks",
    tags=["tasks"],
    opt=documented(raises=[NotFound, NotOffered]),
    middleware=[from_memory("tasks", lambda scope: str(scope["path_params"]["dataset"]))],
)
async def tasks(
    benchmark: NamedDependency[HostedBenchmark], admitted: NamedDependency[Admitted], dataset: FromPath[str]
) -> Response[TaskList]:
    """List the public parts of every task of a dataset."""
    try:
        catalogue = await admitted.catalogue(benchmark, dataset)
    except UnknownDataset:
        raise NotFound(f"Dataset not found: {dataset[:200]}") from None
    if not benchmark.listed:
        raise NotOffered(f"The benchmark {benchmark.name} does not list its tasks.")
    if admitted.caller.trial:
        return _once(benchmark, f"trial tasks {_asked(admitted, catalogue)}", lambda: _task_list(catalogue, of_trial))
    return _once(benchmark, f"tasks {_asked(admitted, catalogue)}", lambda: _task_list(catalogue))


@raw_post(
    "/resolve-dataset",
    tags=["tasks"],
    body=ResolveRequest,
    answer=ResolvedDataset,
    raises=[UnknownDataset, NoVersions, UnknownVersion],
)
async def resolve_dataset(call: Call) -> Reply:
    """Say which version of a dataset is meant by its label, by its fingerprint or, with `null`, by none of them."""
    request = call.decoded(_resolve)
    catalogue = await call.admitted.catalogue(call.benchmark, request.dataset, request.version)
    if catalogue.version is None:
        raise NoVersions("Dataset version selection is not supported")
    found = DatasetVersion(request.version or catalogue.version, catalogue.version)
    return Reply(_encode(ResolvedDataset(request.dataset, found)))


def _asked(admitted: Admitted, catalogue: Catalogue) -> str:
    """Name what an answer that stays the same is about: a dataset, or one version of it that was asked for."""
    return catalogue.name if admitted.pinned is None else catalogue.key


def _once(benchmark: HostedBenchmark, what: str, encode: Callable[[], bytes]) -> Response:  # type: ignore[type-arg]
    """Answer with what does not change while the plugin is loaded, and is encoded when it is first asked for."""
    body = benchmark.memo.get(what)
    if body is None:
        body = benchmark.memo[what] = encode()
    return _json(body)


def _task_list(catalogue: Catalogue, shown: Callable[[bytes], bytes] = lambda public: public) -> bytes:
    head = _encode(
        {
            "dataset": catalogue.name,
            "dataset_version": catalogue.version or catalogue.fingerprint,
            "dataset_fingerprint": catalogue.fingerprint,
        }
    )
    return head[:-1] + b',"tasks":[' + b",".join(map(shown, catalogue.public)) + b"]}"


def _json(body: bytes) -> Response:  # type: ignore[type-arg]
    return Response(body, media_type=JSON)
