"""What references come to in sandboxes: tasks are attempted as by a model that knows every answer."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchhost.errors import UsageError
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.limits import Limits
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.setups import Setups
from benchhost.models.scripted import scripted
from benchhost.runner.config import RunConfig, RunOptions, new_run_id
from benchhost.runner.default import DefaultRunner
from benchhost.runner.instances import Bench
from benchhost.runner.local import LocalSource
from benchhost.runner.plugins import find_runner, recorded_params, runner_of
from benchhost.runner.run import Run
from benchhost.runner.source import Verdict
from benchhost.store import OPERATOR, AttemptRecord, open_store
from benchhost.wire.vals import PublicResult

_verdict = msgspec.json.Decoder(Verdict)


async def attempted_by_references(
    benchmark: HostedBenchmark, sandboxes: OwnSandboxes, dataset: str, tasks: Sequence[str], at_once: int
) -> dict[str, PublicResult | str]:
    """Have the runner of a benchmark attempt tasks, ``at_once`` at a time, with its references for a model.

    Returns for each task its result, or why there is none. Nothing is kept of it.

    Raises :class:`~benchhost.errors.UsageError` when there is no runner that works in sandboxes, or that needs no
    parameters, and :class:`~benchhost.errors.PluginFault` when it cannot be loaded.
    """
    plugin = find_runner(benchmark.name)
    if plugin.cls is DefaultRunner:
        raise UsageError(f"no runner of {benchmark.name} works in sandboxes")
    runner = runner_of(plugin.cls, {})
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        state = Path(folder)
        owner = Owner(state / "owners")
        try:
            async with open_store("memory:") as store:
                evaluator = Evaluator(store, owner, Limits())
                bench = Bench(sandboxes, Setups(evaluator))
                source = await LocalSource.open(
                    benchmark, evaluator, dataset, tenant=OPERATOR, trusted=True, bench=bench
                )
                config = RunConfig(
                    benchmark=benchmark.name,
                    dataset=source.dataset,
                    dataset_version=source.version,
                    evaluator_version=source.evaluator_version,
                    model="scripted/reference",
                    runner=plugin.name,
                    runner_version=runner.version,
                    params=recorded_params(runner),
                    tasks=tuple(tasks),
                    task_count=len(tasks),
                )
                run = Run(
                    new_run_id(config),
                    config,
                    store=store,
                    source=source,
                    runner=runner,
                    model=scripted("reference"),
                    state=state,
                    options=RunOptions(concurrency=at_once),
                    tenant=OPERATOR,
                )
                await run.execute()
                return {attempt.task: _came_of(attempt) async for page in store.attempts(run.id) for attempt in page}
        finally:
            owner.close()


def _came_of(attempt: AttemptRecord) -> PublicResult | str:
    verdict = None if attempt.evaluation is None else _verdict.decode(attempt.evaluation)
    if verdict is None or verdict.result is None:
        said = attempt.message or "; ".join(verdict.errors if verdict is not None else ())
        return f"{attempt.evaluation_status or attempt.status}: {said}".rstrip(": ")
    return PublicResult(verdict.result.score, verdict.result.passed, {}, None)
