"""Opening the dataset that a command about runs means: here, or at a remote host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchhost.cli.elsewhere import opened_elsewhere
from benchhost.cli.order import Order
from benchhost.cli.stored import opened_store
from benchhost.client import Client
from benchhost.client.faults import no_such_route
from benchhost.errors import ClientError, DatasetError, PluginFault, Unavailable, UsageError
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.registry import REASONS
from benchhost.runner.agent import read_contract
from benchhost.runner.given import GivenTasks, TaskFile, read_task_file
from benchhost.runner.instances import Bench
from benchhost.runner.local import LocalSource
from benchhost.runner.remote import RemoteSource
from benchhost.runner.source import Source
from benchhost.sandbox.daytona import close_clients
from benchhost.server.host import Host
from benchhost.settings import Settings
from benchhost.store import OPERATOR, Store

DRAIN = 2.0
"""Seconds that evaluations may still take when a run is stopped at once. Otherwise none are under way at the end."""


@asynccontextmanager
async def opened_source(
    order: Order,
    settings: Settings,
    *,
    token: str | None = None,
    tenant: str = OPERATOR,
    trusted: bool = True,
) -> AsyncIterator[tuple[Store, Source]]:
    """Open the store, and the dataset of an order: in this process, or at a remote host.

    ``tenant`` and ``trusted`` are those of :class:`~benchhost.runner.local.LocalSource`.
    """
    given = None if order.dataset_file is None else _task_file(Path(order.dataset_file))
    dataset = order.dataset or (given.dataset if given is not None else None)
    async with AsyncExitStack() as stack:
        if settings.sandbox == "daytona":
            # The event loop ends with the command, and would wait for their connections.
            stack.push_async_callback(close_clients)
        if order.host is not None:
            store = await stack.enter_async_context(opened_store(settings))
            client, remote = await _opened_remote(order, token, dataset, stack)
            await _attempt_elsewhere(remote, client, order, settings, stack)
            source: Source = remote
        else:
            alone = msgspec.structs.replace(settings, only=(order.benchmark,), drain_timeout=DRAIN)
            host = Host(alone, log_faults=False)  # the error says it
            await host.open()
            stack.push_async_callback(host.close)
            hosted = await _loaded(host, order.benchmark)
            store = host.store
            bench = Bench(host.sandboxes, host.setups)
            source = await LocalSource.open(
                hosted,
                host.evaluator,
                dataset,
                pinned=order.dataset_version,
                tenant=tenant,
                trusted=trusted,
                bench=bench,
            )
        if given is not None:
            source = GivenTasks(source, given.tasks, "file")
        elif order.problem is not None:
            if order.problem_id is None:
                raise UsageError("--problem needs exactly one TASK_ID: that of the problem")
            if not _may_judge(source, order.problem_id):
                raise UsageError(
                    f"--problem: the dataset {source.dataset} of {source.benchmark} has no task "
                    f"{order.problem_id[:200]}, so nothing can judge it"
                )
            source = GivenTasks.from_problem(source, Path(order.problem), order.problem_id)
        yield store, source


def _task_file(path: Path) -> TaskFile:
    try:
        return read_task_file(path)
    except DatasetError as error:  # here it is no plugin that is wrong, but what the command was given
        raise UsageError(f"--dataset-file: {error}") from error


def _may_judge(source: Source, task_id: str) -> bool:
    """Say whether a dataset has a task. A host that keeps its list to itself is left to say so when it judges."""
    try:
        return task_id in source.ids
    except ClientError:
        return True


async def _opened_remote(
    order: Order, token: str | None, dataset: str | None, stack: AsyncExitStack
) -> tuple[Client, RemoteSource]:
    """Open the benchmark at a host; at one that is no benchhost and has but this, by the host's address alone."""
    assert order.host is not None
    how: dict[str, Any] = {
        "token": token,
        "token_header": order.token_header,
        "dataset_version": order.dataset_version,
    }
    client = Client(order.host, order.benchmark, **how)
    await stack.enter_async_context(client)
    try:
        return client, await RemoteSource.open(client, dataset)
    except ClientError as error:
        if not no_such_route(error):
            raise
        missing = error
    only = Client(order.host, **how)
    await stack.enter_async_context(only)
    if only.benchmark is not None:
        raise missing
    try:
        return only, await RemoteSource.open(only, dataset)
    except ClientError as error:
        raise (missing if no_such_route(error) else error) from None


async def _attempt_elsewhere(
    remote: RemoteSource, client: Client, order: Order, settings: Settings, stack: AsyncExitStack
) -> None:
    """Have attempts made in sandboxes that the host reaches, where they need that, or may need it."""
    needed = remote.eval_mode == "sandbox" or order.agent is not None
    if not needed and order.runner is None:
        return
    try:
        elsewhere = await stack.enter_async_context(opened_elsewhere(client, settings))
    except UsageError:
        if needed:
            raise
    else:
        remote.attempt_in(elsewhere, judged=_judges_sandboxes(remote, order))


def _judges_sandboxes(remote: RemoteSource, order: Order) -> bool:
    """Say whether a host judges what is done in sandboxes. One that does not say is taken at what an agent leaves."""
    if remote.eval_mode is not None:
        return remote.eval_mode == "sandbox"
    return order.agent is not None and read_contract(Path(order.agent)).final_output is None


async def _loaded(host: Host, name: str) -> HostedBenchmark:
    """Wait until a benchmark is loaded. Whoever gives commands here may hear why it cannot be."""
    try:
        hosted = host.roster.get(name)
        await hosted.ready()
    except Unavailable:
        for fault in host.roster.faults():
            if fault.entry.name == name:
                message = f"the benchmark {name} cannot be run: {REASONS[fault.reason]}: {fault.cause}"
                raise PluginFault(fault.reason, message) from None
        raise
    return hosted
