"""From what a caller asks for to a run that can be carried out in this process.

Whoever may call is trusted less than the operator: only models that the operator lets callers use are
asked, with the host's own addresses and keys and no others, gold answers stay where they are, and no
parameter names a file of the host.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any, get_args

import anyio.to_thread
import msgspec

from benchhost.contract import Model, Runner
from benchhost.errors import Malformed, NotOffered, PluginFault, UsageError
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.log import get_logger, register_secret
from benchhost.models import Limiter, locate, resolve
from benchhost.runner.agent import AgentRunner
from benchhost.runner.agent.sent import sent_agent
from benchhost.runner.config import OF_AGENT, RunConfig, RunOptions, frozen_selection
from benchhost.runner.default import DefaultRunner
from benchhost.runner.given import GivenTasks
from benchhost.runner.instances import Bench
from benchhost.runner.local import LocalSource
from benchhost.runner.plugins import RunnerPlugin, find_runner, recorded_params, runner_of
from benchhost.runner.source import Source
from benchhost.server.problems import SandboxesNotAllowed
from benchhost.tasks import sample, select
from benchhost.wire.runs import AgentSent, RunRequest

_log = get_logger()


class Parts(msgspec.Struct, frozen=True):
    """What a run is made of."""

    benchmark: HostedBenchmark
    config: RunConfig
    options: RunOptions
    source: Source
    runner: Runner[Any]
    model: Model
    judge: Model | None
    limiter: Limiter


class Offer(msgspec.Struct, frozen=True):
    """What the host has for runs of one benchmark.

    ``models`` are patterns of the names of models that callers may use; ``environ`` is where these and
    their keys are looked up. ``bench`` is what the host has for attempts in sandboxes, if it makes any, and ``agents``
    the folder for the files of agents that callers send, if they may have such work in them.
    """

    benchmark: HostedBenchmark
    evaluator: Evaluator
    models: Sequence[str]
    environ: Mapping[str, str]
    bench: Bench | None = None
    agents: Path | None = None


async def opened_parts(offer: Offer, request: RunRequest, tenant: str, stack: AsyncExitStack) -> Parts:
    """Make the parts of a run; the models are closed, and the files of an agent deleted, by the ``stack``.

    Raises :class:`~benchhost.errors.Malformed` for what cannot be used, and
    :class:`~benchhost.errors.UnknownDataset`, :class:`~benchhost.errors.UnknownTask` and
    :class:`~benchhost.errors.InvalidSlice` for what is not there.
    """
    hosted = offer.benchmark
    _must_be_judged(hosted, offer.bench)
    stack.enter_context(hosted.in_use())  # so that a reload waits for it
    limiter = Limiter(request.max_connections or "auto")
    model = await _model(offer, request.model, "model", limiter, stack)
    judge = None if request.judge is None else await _model(offer, request.judge, "judge", Limiter(), stack)
    judged_there = offer.bench is not None and hosted.offers("retrieve_task") and hosted.offers("evaluate_instance")
    name: str
    runner: Runner[Any]
    if request.agent is None:
        plugin = await anyio.to_thread.run_sync(_runner_plugin, hosted.name, request.runner)
        if plugin.cls is DefaultRunner and not hosted.offers("evaluate_response"):
            raise Malformed(
                f"{hosted.name} judges what is done in a sandbox, and the default runner only asks the model: send an "
                "agent, or choose a runner that works in sandboxes",
                ("body", "runner"),
            )
        name, runner = plugin.name, _runner(plugin, request.params)
    else:
        agent = await _agent(offer, request, request.agent, stack, makes_text=not judged_there)
        name, runner = f"{OF_AGENT}{agent.name}", agent
    source = await _source(offer, request, runner, tenant)
    chosen = _chosen(source.ids, request)
    located = locate(request.model, offer.environ)
    config = RunConfig(
        benchmark=hosted.name,
        dataset=source.dataset,
        dataset_version=source.version,
        source=source.kind,
        evaluator_version=source.evaluator_version,
        model=request.model,
        base_url=None if located is None else located[0].base_url,
        sampling=request.sampling,
        judge=request.judge,
        runner=name,
        runner_version=runner.version,
        params=recorded_params(runner),
        epochs=request.epochs,
        timeout=request.timeout,
        tasks=frozen_selection(chosen, source.ids),
        task_count=len(chosen),
    )
    options = RunOptions(concurrency=limiter.most, max_cost=request.max_cost, max_tokens_total=request.max_tokens_total)
    return Parts(hosted, config, options, source, runner, model, judge, limiter)


def _must_be_judged(hosted: HostedBenchmark, bench: Bench | None) -> None:
    """Make sure that this host can judge attempts at a benchmark.

    Raises :class:`~benchhost.errors.NotOffered`.
    """
    if hosted.offers("evaluate_response"):
        return
    if not (hosted.offers("retrieve_task") and hosted.offers("evaluate_instance")):
        hosted.must_offer("evaluate_response")
    if bench is None:
        raise NotOffered(f"{hosted.name} judges what is done in sandboxes, and this host has none of its own.")


async def _agent(
    offer: Offer, request: RunRequest, sent: AgentSent, stack: AsyncExitStack, *, makes_text: bool
) -> AgentRunner:
    """Take over an agent that a caller has sent.

    Raises :class:`~benchhost.errors.Malformed`, :class:`~benchhost.errors.NotOffered`, and
    :class:`~benchhost.server.problems.SandboxesNotAllowed`.
    """
    if request.runner is not None:
        raise Malformed("an agent takes the place of a runner: leave one of them out", ("body", "runner"))
    if offer.agents is None:
        raise SandboxesNotAllowed(
            "This host lets no agents of callers work in its sandboxes. Its operator can allow it: benchhost serve "
            "--allow-sandboxes"
        )
    if offer.bench is None or not offer.benchmark.offers("retrieve_task"):
        raise NotOffered(
            f"An agent works in a sandbox, and {offer.benchmark.name} does not say in which, or this host has none."
        )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=offer.agents)))
    make = functools.partial(sent_agent, sent, request.params, request.model, folder, makes_text=makes_text)
    try:
        return await anyio.to_thread.run_sync(make)
    except UsageError as error:
        raise Malformed(str(error), ("body", "agent")) from None


async def _model(offer: Offer, name: str, field: str, limiter: Limiter, stack: AsyncExitStack) -> Model:
    provider, _, rest = name.partition("/")
    if not (provider and rest):
        raise Malformed("expected provider/name, such as openai/gpt-5.4-mini", ("body", field))
    if not any(fnmatchcase(name, pattern) for pattern in offer.models):
        usable = ", ".join(offer.models) or "none"
        raise Malformed(f"callers may not run this model here; they may run: {usable}", ("body", field))
    if provider == "scripted" and rest != "echo":
        raise Malformed(
            "of the scripted models only scripted/echo can be used over HTTP: the others read gold answers, which "
            "never leave the benchmark, or files of the host",
            ("body", field),
        )
    try:
        model = resolve(name, offer.environ, limiter=limiter)
    except UsageError as error:  # it names variables of the host, and may quote a plugin
        _log.warning("a model that was asked for cannot be used", model=name, cause=str(error))
        raise Malformed(
            "this host cannot use the model: it does not know the provider, or has no key or address for it. Its log "
            "says more",
            ("body", field),
        ) from None
    stack.push_async_callback(model.aclose)
    located = locate(name, offer.environ)
    register_secret(None if located is None else located[1])
    return model


def _runner_plugin(benchmark: str, named: str | None) -> RunnerPlugin:
    try:
        return find_runner(benchmark, named)
    except (UsageError, PluginFault) as error:
        _log.warning("a runner that was asked for cannot be used", benchmark=benchmark, cause=str(error))
        raise Malformed(
            "this host has no such runner that can be used; its log says more", ("body", "runner")
        ) from None


def _runner(plugin: RunnerPlugin, params: Mapping[str, Any]) -> Runner[Any]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(plugin.cls.Params)}
    files = {name for name, field in fields.items() if _names_a_file(field.type)}
    try:
        runner = runner_of(plugin.cls, params)
        secret = set(fields) - set(recorded_params(runner))
        if not set(params) & (files | secret):
            return runner
    except UsageError as error:  # it may repeat a value
        _log.info("parameters of a runner were refused", runner=plugin.name, cause=str(error))
        secret = set()
    usable = ", ".join(sorted(set(fields) - files - secret)) or "none"
    raise Malformed(
        f"these are not parameters that the runner {plugin.name} takes over HTTP, where none may be a file or a "
        f"secret; it takes: {usable}",
        ("body", "params"),
    )


def _names_a_file(kind: Any) -> bool:
    return (isinstance(kind, type) and issubclass(kind, PurePath)) or any(map(_names_a_file, get_args(kind)))


async def _source(offer: Offer, request: RunRequest, runner: Runner[Any], tenant: str) -> Source:
    """Have the tasks of the benchmark; or those of the runner, if it has its own and no dataset is asked for."""
    source = await LocalSource.open(
        offer.benchmark,
        offer.evaluator,
        request.dataset,
        pinned=request.dataset_version,
        tenant=tenant,
        bench=offer.bench,
    )
    if request.dataset is not None:
        return source
    tasks = await anyio.to_thread.run_sync(lambda: None if (own := runner.load_tasks()) is None else list(own))
    return source if tasks is None else GivenTasks.from_runner(source, tasks)


def _chosen(ids: Sequence[str], request: RunRequest) -> list[str]:
    chosen = select(ids, task_ids=request.task_ids, slice_text=request.slice, known=frozenset(ids))
    if request.sample is not None:
        chosen = sample(chosen, request.sample, request.seed)
    chosen = chosen[: request.limit]
    if not chosen:
        raise Malformed("no task is chosen")
    return chosen
