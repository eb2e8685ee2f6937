"""How much submitters are told, and how often they may try: which policy holds, and what it makes of a result.

A grader that answers every guess tells its answers, sooner or later. A policy (:class:`benchhost.Probing`) says
how many guesses are judged and what is told of each.
"""

from __future__ import annotations

import hashlib
import math
import time
import unicodedata
from collections.abc import Iterable, Mapping

import msgspec

from benchhost.contract import Probing
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.store import EVERYBODY, OPERATOR, Evaluation, Try
from benchhost.wire.vals import PublicResult

NO_POLICY = Probing()

NOT_TOLD = "Results of this dataset are told in sum alone: seal the run to learn its score."
NOT_SCORED = "The response was not scored."

_result = msgspec.json.Decoder(PublicResult)
_encode = msgspec.json.Encoder().encode


class Policies:
    """The policies of the operator, by dataset (``benchmark/dataset``, a star for any); and those of benchmarks."""

    def __init__(self, given: Mapping[str, Probing] | None = None) -> None:
        self._given = dict(given or {})

    def of(self, benchmark: HostedBenchmark, dataset: str, tenant: str) -> Probing:
        """Say which policy holds: the operator's before the author's, the narrowest first; none for the operator."""
        own = benchmark.probing
        if tenant == OPERATOR or not (self._given or own):
            return NO_POLICY
        for name in (f"{benchmark.name}/{dataset}", f"{benchmark.name}/*", f"*/{dataset}", "*/*"):
            if name in self._given:
                return self._given[name]
        return own.get(dataset) or own.get("*") or NO_POLICY


def folded(response: bytes) -> bytes:
    """Return a response in the form that it has in common with those that differ in case, spaces or form of Unicode."""
    plain = unicodedata.normalize("NFKC", response.decode()).casefold()
    return " ".join(unicodedata.normalize("NFKC", plain).split()).encode()


def try_digest(policy: Probing, response: bytes) -> str:
    """Digest a response such that those that count as one have one digest."""
    return hashlib.sha256(folded(response) if policy.fold else response).hexdigest()


def counted_for(policy: Probing, tenant: str) -> str:
    """Say for whom attempts and sums of a tenant are counted."""
    return EVERYBODY if policy.pooled else tenant


def whose(policy: Probing) -> str:
    """Say in words for whom they are counted."""
    return "all tenants together" if policy.pooled else "a tenant"


def sum_of(policy: Probing, evaluations: Iterable[Evaluation]) -> Try:
    """Make the try that is the sum of evaluations of one tenant and dataset: the same of the same results alone."""
    summed = sorted(evaluations, key=lambda each: each.id)
    said = [(each.id, each.status, hashlib.sha256(each.result or b"").hexdigest()) for each in summed]
    first = summed[0]
    return Try(
        tenant=counted_for(policy, first.tenant),
        benchmark=first.benchmark,
        dataset=first.dataset,
        task="",  # which no task is called
        response_digest=hashlib.sha256(_encode(said)).hexdigest(),
        evaluation=first.id,
    )


def bits_of(policy: Probing, tenants: int = 1) -> float | None:
    """Say how many bits of all answers of a dataset so many tenants are told at most, where sums alone are told.

    A sum of a score from 0 to 1 is one of so many numbers as can be written with its decimals; whoever is told
    some sums, in whichever way each was asked for, has seen one of so many sequences of them.
    """
    if policy.sums is None or policy.digits is None:  # which sums never are
        return None
    return policy.sums * math.log2(10**policy.digits + 1) * (1 if policy.pooled else tenants)


def left_open(policy: Probing, tasks: int | None = None) -> list[str]:
    """Say in words what a policy for a dataset, of so many tasks, leaves open, if that is much."""
    said = []
    if policy.feedback != "sum" and policy.attempts is None:
        said.append(
            "responses may be tried without end, and each is told of: every answer is found out in the end. "
            'Set attempts, or feedback = "sum"'
        )
    bits = bits_of(policy)
    if bits is not None and tasks is not None and policy.least > tasks:
        said.append(f"no sum is ever told: it would be over {policy.least} tasks or more, and there are {tasks}")
    elif bits is not None and tasks is not None and bits >= tasks:
        said.append(
            f"{policy.sums} sums of {policy.digits} decimals tell up to {bits:.0f} bits, and a bit is enough for a "
            f"yes or no: there are {tasks} tasks. Tell fewer sums, or fewer digits"
        )
    return said


def disclosed(evaluation: Evaluation, policy: Probing) -> Evaluation:
    """Return an evaluation as its tenant may see it now: with all, some or nothing of its result."""
    if not policy.limits or evaluation.status not in ("scored", "error"):
        return evaluation
    if policy.withholds and evaluation.status == "error":
        return msgspec.structs.replace(evaluation, errors=tuple(NOT_SCORED for _ in evaluation.errors))
    if evaluation.result is None:
        return evaluation
    wait = (evaluation.finished_at or 0.0) + policy.delay - time.time()
    if policy.feedback == "sum" or wait > 0:
        said = NOT_TOLD if policy.feedback == "sum" else f"The result is told in {wait:.0f} s: ask again then."
        return msgspec.structs.replace(evaluation, result=None, errors=(said,))
    return msgspec.structs.replace(evaluation, result=_encode(_shown(_result.decode(evaluation.result), policy)))


def rounded(number: float, policy: Probing) -> float:
    """Round a number as a policy wants it."""
    return number if policy.digits is None else round(number, policy.digits)


def may_sum(scored: int, latest: float, policy: Probing) -> str | None:
    """Say why a sum over so many results, the latest of which was found then, may not be told now, if it may not."""
    if policy.feedback == "sum" and scored < policy.least:
        return f"A sum is told over {policy.least} scored tasks or more, and these are {scored}."
    wait = latest + policy.delay - time.time()
    return f"The results are told in {wait:.0f} s: ask again then." if wait > 0 else None


def _shown(result: PublicResult, policy: Probing) -> PublicResult:
    score = rounded(result.score, policy)
    if policy.feedback == "score":
        return PublicResult(score, result.passed, {}, None)
    metrics = {name: rounded(number, policy) for name, number in result.metrics.items()}
    return PublicResult(score, result.passed, metrics, result.feedback)
