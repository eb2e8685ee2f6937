"""What the hub is asked: what to judge, on whose behalf; and which evaluation that is."""

from __future__ import annotations

import time

import msgspec

from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.identity import Identities, response_digest
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.work import Work
from benchhost.store import Evaluation


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


def judged_of(submission: Submission | Work) -> bytes | Work:
    """Take out of a submission what is judged."""
    return submission.response.encode() if isinstance(submission, Submission) else submission


class Claimant:
    """Makes the claims of one context: which evaluation the judging of something is or will be."""

    def __init__(self, benchmark: HostedBenchmark, context: Context, owner: Owner) -> None:
        catalogue = benchmark.catalogue(context.dataset, context.version or None)
        self._positions = catalogue.positions
        self._alike = Evaluation(
            id="",
            tenant=context.tenant,
            benchmark=benchmark.name,
            dataset=catalogue.name,
            fingerprint=catalogue.fingerprint,
            run=context.run,
            task="",
            response_digest="",
            evaluator_version=benchmark.version,
            owner=owner.id,
            started_at=time.time(),
            dataset_version=catalogue.version or "",
        )
        self._ids = Identities(
            tenant=context.tenant,
            benchmark=benchmark.name,
            fingerprint=catalogue.fingerprint,
            run=context.run,
            evaluator_version=benchmark.version,
        )

    def claim(self, task: str, what: bytes | Work) -> Evaluation:
        """Make the claim of what is judged about a task: the evaluation as it is when nobody has begun it before."""
        digest = response_digest(what) if isinstance(what, bytes) else what.digest
        id_ = self._ids.of(task, self._positions[task], digest)
        return msgspec.structs.replace(self._alike, id=id_, task=task, response_digest=digest)
