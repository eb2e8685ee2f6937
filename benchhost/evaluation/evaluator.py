"""The hub: the one place where a response is judged, whichever door it came by.

One response in, one outcome out. The same request made twice is one evaluation: it joins the one that
is running, in this process or in another, or is answered by the one that is finished. What is judged
is recorded before it is answered, and goes on when nobody waits for it any more. Many responses in one
request are judged together; one response is a batch of one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from benchhost.errors import AttemptsUsedUp, Busy, QuotaReached, UnknownEvaluation
from benchhost.evaluation.claims import Claims
from benchhost.evaluation.events import Events
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.identity import neighbourhood
from benchhost.evaluation.judging import Judging, Tell
from benchhost.evaluation.limits import Gate, Limits
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.probing import Policies, disclosed
from benchhost.evaluation.quotas import Quotas
from benchhost.evaluation.requests import Claimant, Context, Submission, judged_of
from benchhost.evaluation.tries import Tries
from benchhost.evaluation.under_way import UnderWay
from benchhost.evaluation.work import Work
from benchhost.log import get_logger
from benchhost.store import Evaluation, Store

_log = get_logger()

GATES = 256
"""The gates that are kept, whether anybody is in or not; where a tenant has a limit, each is an open file."""

Judge = Callable[[Tell], Awaitable[None]]
"""Judges what is under way, and tells what comes of it."""


class Evaluator:
    """Judges responses and records the outcomes in a store."""

    def __init__(self, store: Store, owner: Owner, limits: Limits, policies: Policies | None = None) -> None:
        self.events = Events()
        self.policies = policies or Policies()
        self.quotas = Quotas(store)
        self._store = store
        self._owner = owner
        self._claims = Claims(store, owner, alone=limits.workers == 1)
        self._limits = limits
        self._gates: dict[tuple[str, str | None], Gate] = {}
        self._running: dict[str, UnderWay] = {}
        self.tries = Tries(store, self.policies, self._running)
        self._judging = Judging(store, self._claims, self.events)
        self._tasks: set[asyncio.Task[None]] = set()

    async def recover(self) -> int:
        """Mark what processes that are gone left unfinished, and return how many evaluations that were."""
        self._owner.sweep()
        return sum([await self._store.interrupt(o) for o in await self._store.owners() if not self._owner.is_alive(o)])

    async def find(self, evaluation: str, *, tenant: str, benchmark: str) -> Evaluation:
        """Find a running or finished evaluation of a tenant.

        Raises :class:`~benchhost.errors.UnknownEvaluation`.
        """
        found = await self._store.evaluation(evaluation) or self._claims.unrecorded(evaluation)
        if found is None or found.tenant != tenant or found.benchmark != benchmark:
            raise UnknownEvaluation("No such evaluation is recorded for this benchmark.")
        return found

    def told(self, benchmark: HostedBenchmark, dataset: str, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation as its tenant may see it now: the policy of the dataset may withhold its result.

        ``dataset`` is the one that was asked for: another of the same content has the same evaluations.
        """
        return disclosed(evaluation, self.policies.of(benchmark, dataset, evaluation.tenant))

    async def of_run(self, benchmark: HostedBenchmark, context: Context) -> list[Evaluation]:
        """Return all that was judged in a run of a tenant, of one version of a dataset, in the order of its tasks."""
        fingerprint = benchmark.catalogue(context.dataset, context.version or None).fingerprint
        wanted = {"tenant": context.tenant, "benchmark": benchmark.name, "fingerprint": fingerprint, "run": context.run}
        found = await self._store.evaluations_under(neighbourhood(**wanted))
        return [each for each in found if all(getattr(each, name) == value for name, value in wanted.items())]

    def id_of(self, benchmark: HostedBenchmark, context: Context, submission: Submission | Work) -> str:
        """Say which evaluation the judging of something is or will be; the benchmark must be loaded."""
        return self._claim(benchmark, context, submission).id

    async def evaluate(
        self, benchmark: HostedBenchmark, context: Context, submission: Submission | Work, *, stays: bool = False
    ) -> Evaluation:
        """Judge a response, or other work; the task must be one of the dataset.

        It is judged to its end also when the caller is cancelled. Of one who ``stays``, since nobody cancels him,
        it is judged in his own task: another one takes as long as all else that is done here.

        Raises :class:`~benchhost.errors.Busy` at a limit and :class:`~benchhost.errors.QuotaReached` at a quota, if
        it is to be judged anew, :class:`~benchhost.errors.StoreFailed` when the outcome cannot be kept, and
        :class:`~benchhost.errors.AttemptsUsedUp` when the policy of the dataset lets no further response be
        judged. A failure of ours to judge is an outcome, not an exception.
        """
        with benchmark.in_use():
            await benchmark.ready()
            what = judged_of(submission)
            claim = Claimant(benchmark, context, self._owner).claim(submission.task, what)
            what = await self.tries.counted(benchmark, claim, what)
            if claim.id not in self._running:
                gate = self.gate(benchmark, context.tenant)
                try:
                    gate.enter(1)
                except Busy:
                    if scored := await self._scored([claim.id]):
                        return scored[claim.id]
                    if claim.id not in self._running:  # nor begun meanwhile
                        raise
                else:

                    async def judge(tell: Tell) -> None:
                        tell([await self._judging.judge(benchmark, claim, what, gate)])

                    under_way = self._enlist({claim.id: claim})
                    judging = self._judge(benchmark, under_way, gate, judge)
                    if stays:
                        await judging
                        return under_way.result(claim.id)
                    self._begin(judging)
                    return await under_way.outcome(claim.id)
            return await self._running[claim.id].outcome(claim.id)

    async def evaluate_many(
        self, benchmark: HostedBenchmark, context: Context, submissions: Sequence[Submission]
    ) -> AsyncIterator[list[tuple[int, Evaluation]]]:
        """Judge many responses; yield outcomes with their positions, those together that are ready together.

        Raises what :meth:`evaluate` raises, but :class:`~benchhost.errors.AttemptsUsedUp`: that is an outcome here.
        """
        with benchmark.in_use():
            await benchmark.ready()
            if self.policies.of(benchmark, context.dataset, context.tenant).counts:
                async for each in self._evaluate_each(benchmark, context, submissions):
                    yield [each]
                return
            claims: dict[str, Evaluation] = {}
            responses: dict[str, bytes] = {}
            positions: dict[str, list[int]] = {}
            claimant = Claimant(benchmark, context, self._owner)
            for position, submission in enumerate(submissions):
                response = submission.response.encode()
                claim = claimant.claim(submission.task, response)
                positions.setdefault(claim.id, []).append(position)
                claims[claim.id] = claim
                responses[claim.id] = response
            gate = self.gate(benchmark, context.tenant)
            scored: dict[str, Evaluation] = {}
            new = {id_: claim for id_, claim in claims.items() if id_ not in self._running}
            try:
                gate.enter(len(new))
            except Busy:
                scored = await self._scored(list(new))
                new = {id_: claim for id_, claim in claims.items() if id_ not in self._running and id_ not in scored}
                gate = self.gate(benchmark, context.tenant)  # nobody was in, and it may have been let go of
                gate.enter(len(new))
            others = claims.keys() - new.keys() - scored.keys() if len(new) < len(claims) else ()
            joined = [self._running[id_].outcome(id_) for id_ in others]

            async def judge(tell: Tell) -> None:
                await self._judging.judge_many(benchmark, new, responses, gate, tell)

            under_way = self._enlist(new)
            self._begin(self._judge(benchmark, under_way, gate, judge))
        if scored:
            yield [(position, evaluation) for id_, evaluation in scored.items() for position in positions[id_]]
        async for evaluations in under_way.outcomes():
            yield [(position, evaluation) for evaluation in evaluations for position in positions[evaluation.id]]
        for done in asyncio.as_completed(joined):
            evaluation = await done
            yield [(position, evaluation) for position in positions[evaluation.id]]

    async def _evaluate_each(
        self, benchmark: HostedBenchmark, context: Context, submissions: Sequence[Submission]
    ) -> AsyncIterator[tuple[int, Evaluation]]:
        """Judge responses one by one, as they are counted."""

        async def judge(position: int, submission: Submission) -> tuple[int, Evaluation]:
            try:
                return position, await self.evaluate(benchmark, context, submission)
            except AttemptsUsedUp as error:
                refused = msgspec.structs.replace(
                    self._claim(benchmark, context, submission),
                    status="error",
                    errors=(str(error),),
                    finished_at=time.time(),
                )
                return position, refused

        judging = [asyncio.create_task(judge(*each)) for each in enumerate(submissions)]
        try:
            for done in asyncio.as_completed(judging):
                yield await done
        finally:
            for each in judging:
                each.cancel()
            await asyncio.gather(*judging, return_exceptions=True)

    def gate(self, benchmark: HostedBenchmark, tenant: str) -> Gate:
        """Find the gate of a tenant, which stands before that of the benchmark. It is to be entered at once."""
        limits = self._limits
        name = benchmark.name
        gate = self._gates.get((name, tenant))
        if gate is None:
            if len(self._gates) >= GATES:
                self._close_idle_gates()
            whole = self._gates.get((name, None))
            if whole is None:
                whole = self._gates[name, None] = Gate(name, limits, limits.running)
            most = min(limits.running, limits.running_per_tenant or limits.running)
            gate = self._gates[name, tenant] = Gate(name, limits, most, tenant=tenant, before=whole)
        return gate

    def _close_idle_gates(self) -> None:
        """Let go of the gates of tenants who have nothing under way: there may be any number of them in time."""
        for (name, tenant), gate in list(self._gates.items()):
            if tenant is not None and gate.idle:
                del self._gates[name, tenant]
                gate.close()

    def _claim(self, benchmark: HostedBenchmark, context: Context, submission: Submission | Work) -> Evaluation:
        return Claimant(benchmark, context, self._owner).claim(submission.task, judged_of(submission))

    async def _scored(self, ids: Sequence[str]) -> dict[str, Evaluation]:
        """Look up what is finished already, and so needs no place at a gate."""
        found = await self._store.evaluations(ids)
        return {id_: evaluation for id_, evaluation in found.items() if evaluation.status == "scored"}

    def _enlist(self, claims: Mapping[str, Evaluation]) -> UnderWay:
        """Have others who ask for the same join it, until :meth:`_judge` has come to its end."""
        under_way = UnderWay(claims)
        self._running.update(dict.fromkeys(claims, under_way))
        return under_way

    def _begin(self, judging: Coroutine[Any, Any, None]) -> None:
        """Begin to judge in a task that goes on also when nobody waits for it any more."""
        task = asyncio.create_task(judging)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _judge(self, benchmark: HostedBenchmark, under_way: UnderWay, gate: Gate, judge: Judge) -> None:
        """Judge to its end what is under way and has its places at a gate, within the quotas."""
        failure: Exception | None = None
        try:
            with benchmark.in_use():
                async with self.quotas.spend(list(under_way.claims.values())) as spending:

                    def tell(evaluations: list[Evaluation]) -> None:
                        spending.judged(evaluations, self._owner.id)
                        under_way.ended(evaluations)

                    await judge(tell)
        except Exception as error:  # as when the store fails: all who wait for it are to hear of it
            failure = error
            if not isinstance(error, QuotaReached):  # nobody may be left who waits
                _log.error("evaluations failed", error=type(error).__name__, cause=str(error))
                self._claims.give_up(under_way.left())
        finally:
            gate.leave(len(under_way.claims))
            for id_ in under_way.claims:
                del self._running[id_]
            self._claims.forget(under_way.claims)
            under_way.over(failure)
