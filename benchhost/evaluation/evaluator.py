"""The hub: the one place where a response is judged, whichever door it came by.

One response in, one outcome out. The same request made twice is one evaluation: it joins the one that
is running, in this process or in another, or is answered by the one that is finished. What is judged
is recorded before it is answered, and goes on when nobody waits for it any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

import msgspec

from benchhost.errors import AttemptsUsedUp, BenchhostError, Busy, QuotaReached, StoreFailed, UnknownEvaluation
from benchhost.evaluation.claims import Claims
from benchhost.evaluation.events import Events
from benchhost.evaluation.frames import Answer, Note, Resumed, State
from benchhost.evaluation.hosted import Declined, HostedBenchmark
from benchhost.evaluation.identity import Identities, neighbourhood, response_digest
from benchhost.evaluation.limits import Gate, Limits
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.probing import Policies, disclosed, try_digest
from benchhost.evaluation.quotas import Quotas
from benchhost.evaluation.work import Known, Work, digest_of
from benchhost.log import get_logger
from benchhost.store import Claim, Evaluation, Store, Try, running
from benchhost.tasks import key_of

_log = get_logger()

LOOK_AGAIN, UNKNOWN = 0.05, 10
"""Seconds between two looks at what another request has begun, and how often it may not be known of yet."""


class Context(msgspec.Struct, frozen=True):
    """On whose behalf responses are judged: the tenant, the dataset and the run, each possibly empty.

    ``version`` is that of the dataset; an empty one is the current one.
    """

    tenant: str = ""
    dataset: str = "default"
    run: str = ""
    version: str = ""


class Submission(msgspec.Struct, frozen=True):
    """A response to a task."""

    task: str
    response: str


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
        self._running: dict[str, asyncio.Future[Evaluation]] = {}
        self._judging: set[asyncio.Task[None]] = set()
        self._keeping: dict[str, asyncio.Task[None]] = {}

    async def recover(self) -> int:
        """Mark what processes that are gone left unfinished, and return how many evaluations that were."""
        self._owner.sweep()
        return sum([await self._store.interrupt(o) for o in await self._store.owners() if not self._owner.is_alive(o)])

    async def find(self, evaluation: str, *, tenant: str, benchmark: str) -> Evaluation:
        """Find a running or finished evaluation of a tenant.

        Raises :class:`~benchhost.errors.UnknownEvaluation`.
        """
        found = await self._store.evaluation(evaluation) or self._claims.begun(evaluation)
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
        return self._claimant(benchmark, context)(submission.task, _what(submission)).id

    async def evaluate(self, benchmark: HostedBenchmark, context: Context, submission: Submission | Work) -> Evaluation:
        """Judge a response, or other work; the task must be one of the dataset.

        Raises :class:`~benchhost.errors.Busy` at a limit and :class:`~benchhost.errors.QuotaReached` at a quota, if
        it is to be judged anew, :class:`~benchhost.errors.StoreFailed` when the outcome cannot be kept, and
        :class:`~benchhost.errors.AttemptsUsedUp` when the policy of the dataset lets no further response be
        judged. A failure of ours to judge is an outcome, not an exception.
        """
        with benchmark.in_use():
            await benchmark.ready()
            response = _what(submission)
            claim = self._claimant(benchmark, context)(submission.task, response)
            response = await self._within_policy(benchmark, claim, response)
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
                    self._running[claim.id] = asyncio.create_task(self._evaluate(benchmark, claim, response, gate))
            return await asyncio.shield(self._running[claim.id])

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
            wanted: dict[str, tuple[Claim, bytes]] = {}
            positions: dict[str, list[int]] = {}
            claim_of = self._claimant(benchmark, context)
            for position, submission in enumerate(submissions):
                response = submission.response.encode()
                claim = claim_of(submission.task, response)
                positions.setdefault(claim.id, []).append(position)
                wanted[claim.id] = (claim, response)
            gate = self.gate(benchmark, context.tenant)
            scored: dict[str, Evaluation] = {}
            new = {id_: each for id_, each in wanted.items() if id_ not in self._running}
            try:
                gate.enter(len(new))
            except Busy:
                scored = await self._scored(list(new))
                new = {id_: each for id_, each in wanted.items() if id_ not in self._running and id_ not in scored}
                gate.enter(len(new))
            joined = {self._running[id_] for id_ in wanted if id_ not in new and id_ not in scored}
            loop = asyncio.get_running_loop()
            futures: dict[str, asyncio.Future[Evaluation]] = {id_: loop.create_future() for id_ in new}
            self._running.update(futures)
            news: asyncio.Queue[list[Evaluation] | None] = asyncio.Queue()
            judging = asyncio.create_task(self._evaluate_many(benchmark, new, futures, gate, news))
            self._judging.add(judging)  # so that it is kept, also when nobody waits for it any more
            judging.add_done_callback(self._judged)
        if scored:
            yield [(position, evaluation) for id_, evaluation in scored.items() for position in positions[id_]]
        while (evaluations := await news.get()) is not None:
            yield [(position, evaluation) for evaluation in evaluations for position in positions[evaluation.id]]
        await judging
        for done in asyncio.as_completed(joined):
            evaluation = await done
            yield [(position, evaluation) for position in positions[evaluation.id]]

    async def _within_policy(self, benchmark: HostedBenchmark, claim: Claim, what: bytes | Work) -> bytes | Work:
        """Count a response, where responses are counted; return what is judged, which may be known already.

        Raises :class:`~benchhost.errors.AttemptsUsedUp`.
        """
        policy = self.policies.of(benchmark, claim.dataset, claim.tenant)
        if not policy.counts:
            return what
        # What lies in a sandbox may be other things at other times, under one digest.
        digest = digest_of(what.digest, claim.run) if isinstance(what, Work) else try_digest(policy, what)
        wanted = Try(
            tenant=claim.tenant,
            benchmark=claim.benchmark,
            dataset=claim.dataset,
            task=claim.task,
            response_digest=digest,
            evaluation=claim.id,
        )
        tried = await self._store.try_response(wanted, policy.attempts)
        if not tried.allowed:
            raise AttemptsUsedUp(
                f"{policy.attempts} different responses to this task were judged, which is all that are for a tenant."
            )
        known = await self._outcome_of(tried.first) if policy.fold and tried.first != claim.id else None
        if known is not None and _judged_alike(known, claim):
            return Known(claim.task, claim.response_digest, known)
        return what

    async def _outcome_of(self, evaluation_id: str) -> Evaluation | None:
        """Wait for an evaluation that was begun, here or elsewhere; ``None`` when it is not scored in the end."""
        unknown = 0
        while unknown < UNKNOWN:
            if evaluation_id in self._running:
                await asyncio.wait([self._running[evaluation_id]])
            found = await self._store.evaluation(evaluation_id)
            if found is not None and found.status == "scored":
                return found
            if found is not None and found.status != "running":
                return None
            unknown += found is None
            await asyncio.sleep(LOOK_AGAIN)
        return None

    async def _evaluate_each(
        self, benchmark: HostedBenchmark, context: Context, submissions: Sequence[Submission]
    ) -> AsyncIterator[tuple[int, Evaluation]]:
        """Judge responses one by one, as they are counted."""

        async def judge(position: int, submission: Submission) -> tuple[int, Evaluation]:
            try:
                return position, await self.evaluate(benchmark, context, submission)
            except AttemptsUsedUp as error:
                claim = self._claimant(benchmark, context)(submission.task, _what(submission))
                refused = msgspec.structs.replace(
                    running(claim, 1), status="error", errors=(str(error),), finished_at=time.time()
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

    async def _scored(self, ids: Sequence[str]) -> dict[str, Evaluation]:
        """Look up what is finished already, and so needs no place at a gate."""
        found = await self._store.evaluations(ids)
        return {id_: evaluation for id_, evaluation in found.items() if evaluation.status == "scored"}

    def gate(self, benchmark: HostedBenchmark, tenant: str) -> Gate:
        """Find the gate of a tenant, which stands before that of the benchmark."""
        limits = self._limits
        name = benchmark.name
        gate = self._gates.get((name, tenant))
        if gate is None:
            whole = self._gates.get((name, None))
            if whole is None:
                whole = self._gates[name, None] = Gate(name, limits, limits.running)
            most = min(limits.running, limits.running_per_tenant or limits.running)
            gate = self._gates[name, tenant] = Gate(name, limits, most, tenant=tenant, before=whole)
        return gate

    def _claimant(self, benchmark: HostedBenchmark, context: Context) -> Callable[[str, bytes | Work], Claim]:
        """Return what makes the claims of a context, of a task and what is judged about it."""
        catalogue = benchmark.catalogue(context.dataset, context.version or None)
        tenant, run, fingerprint = context.tenant, context.run, catalogue.fingerprint
        name, version, owner, now = benchmark.name, benchmark.version, self._owner.id, time.time()
        dataset, dataset_version, positions = catalogue.name, catalogue.version or "", catalogue.positions
        ids = Identities(tenant=tenant, benchmark=name, fingerprint=fingerprint, run=run, evaluator_version=version)

        def claim(task: str, response: bytes | Work) -> Claim:
            digest = response.digest if isinstance(response, Work) else response_digest(response)
            return Claim(
                id=ids.of(task, positions[task], digest),
                tenant=tenant,
                benchmark=name,
                dataset=dataset,
                fingerprint=fingerprint,
                run=run,
                task=task,
                response_digest=digest,
                evaluator_version=version,
                owner=owner,
                started_at=now,
                dataset_version=dataset_version,
            )

        return claim

    async def _evaluate(
        self, benchmark: HostedBenchmark, claim: Claim, response: bytes | Work, gate: Gate
    ) -> Evaluation:
        try:
            with benchmark.in_use():
                async with self.quotas.spend([claim]) as spending:
                    evaluation = await self._judge(benchmark, await self._claims.granted(claim), response, gate)
                    spending.judged([evaluation], self._owner.id)
                    return evaluation
        finally:
            gate.leave(1)
            self._leave(claim.id)

    async def _judge(
        self, benchmark: HostedBenchmark, evaluation: Evaluation, response: bytes | Work, gate: Gate
    ) -> Evaluation:
        if evaluation.status != "running":
            return evaluation
        await gate.wait()
        started = time.monotonic()
        outcome: Answer | Exception
        try:
            outcome = await self._asked(benchmark, evaluation, response)
        except Exception as error:  # nothing that goes wrong may leave an evaluation running for ever
            outcome = error
        finally:
            gate.give_back()
            gate.took(time.monotonic() - started)
        finished, taken = await self._record([(evaluation, outcome)])
        return finished[0] if finished else await self._settled(taken[0])

    async def _asked(self, benchmark: HostedBenchmark, evaluation: Evaluation, what: bytes | Work) -> Answer:
        """Have the benchmark judge something, from where an interrupted attempt had come to, if it said so."""

        def tell(said: Note | State) -> None:
            self.events.tell(evaluation.id, said)
            if isinstance(said, State):
                self._keep(evaluation, said.data)

        state = await self._store.resume_state(evaluation.id) if evaluation.attempt > 1 else None
        dataset = key_of(evaluation.dataset, evaluation.dataset_version)
        try:
            if isinstance(what, Work):
                return await what.judge(benchmark, dataset, tell, state)
            operation, body = "evaluate_response", what
            if state is not None:
                operation, body = "resume_response", msgspec.msgpack.encode(Resumed(what.decode(), state))
            return await benchmark.call(operation, dataset=dataset, task=evaluation.task, body=body, tell=tell)
        finally:
            if state is not None or evaluation.id in self._keeping:
                self._keep(evaluation, None)  # an attempt that has come to its end is not resumed
                await self._keeping.pop(evaluation.id)

    def _keep(self, evaluation: Evaluation, state: bytes | None) -> None:
        """Begin to keep a state, after those before it."""
        before = self._keeping.get(evaluation.id)

        async def keep() -> None:
            if before is not None:
                await before
            try:
                await self._claims.record_now(evaluation.id)
                await self._store.keep_resume_state(evaluation, state)
            except StoreFailed as error:  # whether the outcome can be kept is what matters
                _log.warning("a resume state was not kept", evaluation=evaluation.id, cause=str(error))

        self._keeping[evaluation.id] = asyncio.create_task(keep())

    async def _evaluate_many(
        self,
        benchmark: HostedBenchmark,
        new: dict[str, tuple[Claim, bytes]],
        futures: dict[str, asyncio.Future[Evaluation]],
        gate: Gate,
        news: asyncio.Queue[list[Evaluation] | None],
    ) -> None:
        def tell(evaluations: list[Evaluation]) -> None:
            for evaluation in evaluations:
                futures[evaluation.id].set_result(evaluation)
            spending.judged(evaluations, self._owner.id)
            news.put_nowait(evaluations)

        try:
            with benchmark.in_use():
                async with self.quotas.spend([claim for claim, _ in new.values()]) as spending:
                    await self._judge_many(benchmark, new, gate, tell)
        except Exception as error:  # as when the store fails: those who have joined are to hear of it too
            for future in futures.values():
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # which is to say that nobody needs to ask
            raise
        finally:
            gate.leave(len(new))
            for id_ in futures:
                self._leave(id_)
            news.put_nowait(None)

    def _leave(self, id_: str) -> None:
        del self._running[id_]
        self._claims.forget(id_)

    def _judged(self, judging: asyncio.Task[None]) -> None:
        """Say why a batch failed, also when nobody waits for it any more."""
        self._judging.discard(judging)
        error = None if judging.cancelled() else judging.exception()
        if error is not None and not isinstance(error, QuotaReached):
            _log.error("batch failed", error=type(error).__name__, cause=str(error))

    async def _judge_many(
        self,
        benchmark: HostedBenchmark,
        new: dict[str, tuple[Claim, bytes]],
        gate: Gate,
        tell: Callable[[list[Evaluation]], None],
    ) -> None:
        claimed = await self._claims.take([claim for claim, _ in new.values()])
        mine = [each.evaluation for each in claimed if each.mine]
        if done := [each.evaluation for each in claimed if each.evaluation.status == "scored"]:
            tell(done)
        lost: list[Evaluation] = []
        calls = ((evaluation, evaluation.task, new[evaluation.id][1]) for evaluation in mine)
        if mine:
            dataset = key_of(mine[0].dataset, mine[0].dataset_version)
            async with aclosing(benchmark.call_each("evaluate_response", dataset, calls, gate)) as finished:
                async for group in finished:
                    for _, _, seconds in group:
                        gate.took(seconds)
                    recorded, taken = await self._record([(evaluation, outcome) for evaluation, outcome, _ in group])
                    lost += taken
                    if recorded:
                        tell(recorded)

        async def join(claim: Claim, response: bytes) -> None:
            tell([await self._judge(benchmark, await self._claims.granted(claim), response, gate)])

        async def settle(ended: Evaluation) -> None:
            tell([await self._settled(ended)])

        others = [each.evaluation for each in claimed if not each.mine]
        elsewhere = [new[evaluation.id] for evaluation in others if evaluation.status != "scored"]
        waiting = [*(join(*each) for each in elsewhere), *(settle(each) for each in lost)]
        for failure in await asyncio.gather(*waiting, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _record(
        self, outcomes: Sequence[tuple[Evaluation, Answer | Exception]]
    ) -> tuple[list[Evaluation], list[Evaluation]]:
        """Keep outcomes; return the evaluations that are on disk now, and those that were taken from us meanwhile.

        Another process takes what is running under one that it thinks dead, or what it did not know of.
        """
        ended = [_ended(evaluation, outcome) for evaluation, outcome in outcomes]
        kept = await self._store.finish(ended)
        if all(kept):
            return ended, []
        taken = [evaluation for evaluation, recorded in zip(ended, kept, strict=True) if not recorded]
        for evaluation in taken:
            _log.warning("an evaluation was taken by another process", evaluation=evaluation.id)
        return [evaluation for evaluation, recorded in zip(ended, kept, strict=True) if recorded], taken

    async def _settled(self, ended: Evaluation) -> Evaluation:
        """Wait for what becomes of an evaluation that was taken from us; our outcome counts if nobody else has one."""
        claim = Claim(**{name: getattr(ended, name) for name in Claim.__struct_fields__})
        while True:
            evaluation = await self._claims.granted(claim)
            if evaluation.status != "running":
                return evaluation
            ended = msgspec.structs.replace(ended, attempt=evaluation.attempt)
            [recorded] = await self._store.finish([ended])
            if recorded:
                return ended


def _judged_alike(known: Evaluation, claim: Claim) -> bool:
    """Say whether what is known was judged by the same evaluator against the same content."""
    return (known.fingerprint, known.evaluator_version) == (claim.fingerprint, claim.evaluator_version)


def _what(submission: Submission | Work) -> bytes | Work:
    """Take out of a submission what is judged."""
    return submission if isinstance(submission, Work) else submission.response.encode()


def _ended(evaluation: Evaluation, outcome: Answer | Exception) -> Evaluation:
    """Say what came of an attempt."""
    if isinstance(outcome, Answer):
        return msgspec.structs.replace(
            evaluation, status="scored", result=outcome.data, private=outcome.private, finished_at=time.time()
        )
    cause: str | None = None
    if isinstance(outcome, Declined):
        errors = (str(outcome),)
    else:
        cause = str(outcome)
        title = outcome.title if isinstance(outcome, BenchhostError) else BenchhostError.title
        errors = (f"{title}. The response was not scored. Quote evaluation {evaluation.id} to the operator.",)
        _log.error(
            "evaluation failed",
            evaluation=evaluation.id,
            benchmark=evaluation.benchmark,
            task=evaluation.task,
            attempt=evaluation.attempt,
            error=type(outcome).__name__,
            cause=cause,
        )
    return msgspec.structs.replace(evaluation, status="error", errors=errors, cause=cause, finished_at=time.time())
