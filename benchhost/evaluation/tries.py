"""What is counted: where a policy says how many responses to a task are judged, and how many sums are told."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from benchhost.contract import Probing
from benchhost.errors import AttemptsUsedUp, ResultWithheld
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.probing import Policies, counted_for, sum_of, try_digest, whose
from benchhost.evaluation.under_way import UnderWay
from benchhost.evaluation.work import Known, Work, digest_of
from benchhost.store import Evaluation, Store, Try

LOOK_AGAIN, UNKNOWN = 0.05, 10
"""Seconds between two looks at what another request has begun, and how often it may not be known of yet."""


class Tries:
    """Counts responses; ``running`` is what is judged in this process, by the ids of the evaluations."""

    def __init__(self, store: Store, policies: Policies, running: Mapping[str, UnderWay]) -> None:
        self._store = store
        self._policies = policies
        self._running = running

    async def counted(self, benchmark: HostedBenchmark, claim: Evaluation, what: bytes | Work) -> bytes | Work:
        """Count a response, where responses are counted; return what is judged, which may be known already.

        Raises :class:`~benchhost.errors.AttemptsUsedUp`.
        """
        policy = self._policies.of(benchmark, claim.dataset, claim.tenant)
        if not policy.counts:
            return what
        # What lies in a sandbox may be other things at other times, under one digest.
        digest = digest_of(what.digest, claim.run) if isinstance(what, Work) else try_digest(policy, what)
        wanted = Try(
            tenant=counted_for(policy, claim.tenant),
            benchmark=claim.benchmark,
            dataset=claim.dataset,
            task=claim.task,
            response_digest=digest,
            evaluation=claim.id,
        )
        tried = await self._store.try_response(wanted, policy.attempts)
        if not tried.allowed:
            raise AttemptsUsedUp(
                f"{policy.attempts} different responses to this task were judged, which is all that are for "
                f"{whose(policy)}."
            )
        known = await self._outcome_of(tried.first) if policy.fold and tried.first != claim.id else None
        if known is not None and _judged_alike(known, claim):
            return Known(claim.task, claim.response_digest, known)
        return what

    async def count_sum(self, policy: Probing, evaluations: Collection[Evaluation]) -> None:
        """Count a sum over evaluations, where sums are counted; one of the same results was counted before.

        Raises :class:`~benchhost.errors.ResultWithheld` when it must not be told.
        """
        if policy.sums is None:
            return
        # Nothing is recorded after it that would have it on the disk before the sum is told.
        tried = await self._store.try_response(sum_of(policy, evaluations), policy.sums, durable=True)
        if not tried.allowed:
            raise ResultWithheld(
                f"{policy.sums} different sums of this dataset were told, which is all that are for {whose(policy)}."
            )

    async def _outcome_of(self, evaluation_id: str) -> Evaluation | None:
        """Wait for an evaluation that was begun, here or elsewhere; ``None`` when it is not scored in the end."""
        unknown = 0
        while unknown < UNKNOWN:
            if evaluation_id in self._running:
                await asyncio.wait([self._running[evaluation_id].outcome(evaluation_id)])
            found = await self._store.evaluation(evaluation_id)
            if found is not None and found.status == "scored":
                return found
            if found is not None and found.status != "running":
                return None
            unknown += found is None
            await asyncio.sleep(LOOK_AGAIN)
        return None


def _judged_alike(known: Evaluation, claim: Evaluation) -> bool:
    """Say whether what is known was judged by the same evaluator against the same content."""
    return (known.fingerprint, known.evaluator_version) == (claim.fingerprint, claim.evaluator_version)
