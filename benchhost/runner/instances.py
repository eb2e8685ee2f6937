"""The sandboxes in which the tasks of a benchmark that this process hosts are attempted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import msgspec

from benchhost.contract import Environment, EvaluationStatus, Sandbox
from benchhost.errors import AttemptsUsedUp, Busy, QuotaReached, SandboxError
from benchhost.evaluation.environments import environment_of, spec_of
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.outcomes import Declined
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.requests import Context
from benchhost.evaluation.setups import Setups
from benchhost.evaluation.work import Instance
from benchhost.runner.source import DECLINED, Verdict
from benchhost.store import Evaluation
from benchhost.tasks import key_of
from benchhost.wire.vals import RetrievedTask

LONGEST_WAIT = 5.0
"""The most seconds to wait before a busy host is asked again."""

_retrieved = msgspec.json.Decoder(RetrievedTask)


def refused(error: QuotaReached | AttemptsUsedUp) -> Verdict:
    """Make the verdict on what is not judged since its tenant may have no more judged now; the message is for them."""
    kind = error.slug if isinstance(error, QuotaReached) else DECLINED
    return Verdict(status=EvaluationStatus.JUDGE_ERROR, kind=kind, errors=(str(error),))


class Bench(msgspec.Struct, frozen=True):
    """What a host has for attempts in sandboxes. ``room`` limits how many there are at once, if anything does."""

    sandboxes: OwnSandboxes
    setups: Setups
    room: AbstractAsyncContextManager[object] = nullcontext()


class LocalInstances:
    """The sandboxes for one dataset; ``verdict_on`` says of a recorded evaluation what it means for a run."""

    def __init__(
        self,
        bench: Bench,
        hosted: HostedBenchmark,
        evaluator: Evaluator,
        context: Context,
        verdict_on: Callable[[Evaluation], Verdict],
    ) -> None:
        self.judged = hosted.offers("evaluate_instance")
        self._bench = bench
        self._hosted = hosted
        self._evaluator = evaluator
        self._context = context
        self._dataset = key_of(context.dataset, context.version)
        self._verdict_on = verdict_on

    async def ready(self) -> None:
        """Open the provider."""
        await self._bench.sandboxes.provider()

    async def environment(self, task_id: str) -> Environment:
        """Ask the benchmark's hook."""
        answer = await self._hosted.call("retrieve_task", dataset=self._dataset, task=task_id)
        return environment_of(_retrieved.decode(answer.data))

    @asynccontextmanager
    async def lent(self, task_id: str, labels: Mapping[str, str]) -> AsyncIterator[Sandbox]:
        """Make a sandbox and have it set up; it is deleted at the end."""
        spec = spec_of(await self.environment(task_id), labels)
        async with self._bench.room, self._bench.sandboxes.lent(self._context.tenant, spec) as sandbox:
            await self._set_up(task_id, sandbox)
            yield sandbox

    async def judge(self, run: str, task_id: str, sandbox: Sandbox) -> Verdict:
        """Have the hub judge what was done in a sandbox. A host that is busy is asked again until it is not."""
        work = Instance(task_id, self._bench.sandboxes.place(sandbox.id))
        context = msgspec.structs.replace(self._context, run=run)
        while True:
            try:
                return self._verdict_on(await self._evaluator.evaluate(self._hosted, context, work))
            except Busy as busy:
                await asyncio.sleep(min(busy.retry_after, LONGEST_WAIT))
            except (QuotaReached, AttemptsUsedUp) as error:
                return refused(error)

    async def _set_up(self, task_id: str, sandbox: Sandbox) -> None:
        place = self._bench.sandboxes.place(sandbox.id)
        while True:
            try:
                await self._bench.setups.set_up(self._hosted, self._context, task_id, place)
            except Busy as busy:
                await asyncio.sleep(min(busy.retry_after, LONGEST_WAIT))
            except Declined as error:
                raise SandboxError(f"{self._hosted.name} cannot set the sandbox up: {error}") from error
            else:
                return
