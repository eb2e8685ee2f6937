"""The tasks of a benchmark that this process hosts, judged by its hub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from benchhost.contract import EvaluationStatus, FinalScore, Result, Task
from benchhost.errors import BatchTooLarge, Busy, GradingFailed, QuotaReached, UnknownTask
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.requests import Context
from benchhost.evaluation.requests import Submission as Judged
from benchhost.runner.config import SourceKind
from benchhost.runner.failures import gist
from benchhost.runner.instances import LONGEST_WAIT, Bench, LocalInstances, refused
from benchhost.runner.source import DECLINED, Instances, Submission, Verdict, Verdicts
from benchhost.store import Evaluation
from benchhost.tasks import Catalogue
from benchhost.wire.vals import ScoreAnswer, ScoreRequest
from benchhost.wire.vals import Verdict as WireVerdict

_task = msgspec.json.Decoder(Task)
_text = msgspec.json.Decoder(str)
_result = msgspec.json.Decoder(Result)
_scored = msgspec.json.Decoder(ScoreAnswer)


class LocalSource:
    """A dataset of a hosted benchmark; make one with :meth:`open`.

    ``trusted`` is for the operator's own command line only: it gives the gold answers to models that
    replay them, and says why a judge failed, either of which may show what is hidden.
    """

    kind: SourceKind = "benchmark"
    host: str | None = None

    def __init__(
        self,
        hosted: HostedBenchmark,
        evaluator: Evaluator,
        catalogue: Catalogue,
        *,
        version: str | None,
        tenant: str,
        trusted: bool,
        bench: Bench | None,
    ) -> None:
        self.benchmark = hosted.name
        self.dataset = catalogue.name
        self.version = catalogue.fingerprint if version is None else version
        self.evaluator_version = hosted.version
        self.ids: Sequence[str] = catalogue.ids
        self.scores = hosted.offers("calculate_final_score")
        offered = trusted and hosted.offers("reference_response")
        self.reference: Callable[[str], Awaitable[str | None]] | None = self._reference if offered else None
        self._hosted = hosted
        self._evaluator = evaluator
        self._catalogue = catalogue
        self._context = Context(tenant=tenant, dataset=catalogue.name, version=catalogue.version or "")
        self._trusted = trusted
        self._own_prompt = hosted.offers("prompt")
        self.instances: Instances | None = None
        if bench is not None and hosted.offers("retrieve_task"):
            self.instances = LocalInstances(bench, hosted, evaluator, self._context, self._verdict)

    @classmethod
    async def open(
        cls,
        hosted: HostedBenchmark,
        evaluator: Evaluator,
        dataset: str | None = None,
        *,
        version: str | None = None,
        pinned: str | None = None,
        tenant: str = "",
        trusted: bool = False,
        bench: Bench | None = None,
    ) -> LocalSource:
        """Wait until the benchmark is loaded, and find the dataset.

        ``version`` is the label of the dataset's content that may be shown; without one it is the
        fingerprint, which is only for the operator, since it covers the hidden answers. ``pinned`` is the label or
        the fingerprint of the version that is meant, without which it is the current one. ``bench`` is what the host
        has for attempts in sandboxes.

        Raises :class:`~benchhost.errors.Unavailable`, :class:`~benchhost.errors.UnknownDataset`,
        :class:`~benchhost.errors.NoVersions` and :class:`~benchhost.errors.UnknownVersion`.
        """
        await hosted.ready()
        catalogue = hosted.catalogue(dataset, pinned)
        return cls(hosted, evaluator, catalogue, version=version, tenant=tenant, trusted=trusted, bench=bench)

    def task(self, task_id: str) -> bytes:
        """Return the public part of a task."""
        return self._catalogue.public[self._position(task_id)]

    def public(self, task_id: str) -> bytes:
        """Return the same: what is hidden of a task is not here."""
        return self.task(task_id)

    def digest(self, task_id: str) -> str:
        """Return the digest of the whole task."""
        return self._catalogue.digests[self._position(task_id)]

    async def prompt(self, task_id: str) -> str:
        """Ask the benchmark's hook, if it has one."""
        if not self._own_prompt:
            return _task.decode(self.task(task_id)).question
        answer = await self._hosted.call("prompt", dataset=self._catalogue.key, task=task_id)
        return _text.decode(answer.data)

    async def evaluate(self, run: str, submissions: Sequence[Submission]) -> Verdicts:
        """Have the hub judge responses. A host that is busy is asked again until it is not."""
        known = [i for i, submission in enumerate(submissions) if submission.task_id in self._catalogue.positions]
        if len(known) < len(submissions):
            unknown = set(range(len(submissions))) - set(known)
            yield [(i, self._not_a_task(submissions[i].task_id)) for i in sorted(unknown)]
        context = msgspec.structs.replace(self._context, run=run)
        most = len(known)
        while known:
            part = known[:most]
            judged = [Judged(submissions[i].task_id, submissions[i].response) for i in part]
            left = set(part)
            try:
                async for evaluations in self._evaluator.evaluate_many(self._hosted, context, judged):
                    left.difference_update(part[place] for place, _ in evaluations)
                    yield [(part[place], self._verdict(evaluation)) for place, evaluation in evaluations]
            except QuotaReached as error:
                yield [(i, refused(error)) for i in sorted(left)]
            except Busy as busy:
                await asyncio.sleep(min(busy.retry_after, LONGEST_WAIT))
                continue
            except BatchTooLarge:
                most = max(1, most // 2)
                continue
            known = known[most:]

    async def score(self, run: str, results: Mapping[str, Result | None]) -> FinalScore | None:
        """Call the benchmark's hook, if it has one."""
        if not self.scores:
            return None
        given = {
            task_id: None if result is None else WireVerdict("evaluated", msgspec.to_builtins(result))
            for task_id, result in results.items()
        }
        body = msgspec.json.encode(ScoreRequest(run, given, self.dataset))
        answer = _scored.decode((await self._hosted.call("score", dataset=self._catalogue.key, body=body)).data)
        return FinalScore(score=answer.final_score, metadata=answer.metadata)

    async def _reference(self, task_id: str) -> str | None:
        answer = await self._hosted.call("reference_response", dataset=self._catalogue.key, task=task_id)
        return None if answer.data == b"null" else _text.decode(answer.data)

    def _position(self, task_id: str) -> int:
        try:
            return self._catalogue.positions[task_id]
        except KeyError:
            raise UnknownTask(f"Task ID not found: {task_id[:200]}") from None

    def _not_a_task(self, task_id: str) -> Verdict:
        said = f"the dataset {self.dataset} of {self.benchmark} has no task {task_id[:200]}, so nothing can judge it"
        return Verdict(status=EvaluationStatus.ERROR, kind=UnknownTask.slug, errors=(said,))

    def _verdict(self, evaluation: Evaluation) -> Verdict:
        verdict = Verdict(
            status=EvaluationStatus.EVALUATED,
            evaluation_id=evaluation.id,
            evaluator_version=evaluation.evaluator_version,
        )
        if evaluation.status == "scored" and evaluation.result is not None:
            verdict.result = _result.decode(evaluation.result)
        elif evaluation.status == "error":
            verdict.status = EvaluationStatus.JUDGE_ERROR
            verdict.kind = _kind(evaluation)
            verdict.errors = tuple(evaluation.errors)
            if self._trusted and evaluation.cause:
                title = verdict.errors[0].partition(".")[0] if verdict.errors else GradingFailed.title
                verdict.errors = (f"{title}: {gist(evaluation.cause)}", *verdict.errors, evaluation.cause)
        else:
            verdict.status = EvaluationStatus.INFRA_ERROR
            verdict.kind = evaluation.status
            verdict.errors = ("the evaluation was taken over by another process, which did not finish it",)
        return verdict


def _kind(evaluation: Evaluation) -> str:
    """Return the class of a judge's failure, which the hub records by its title only."""
    if evaluation.cause is None:
        return DECLINED
    said = evaluation.errors[0] if evaluation.errors else ""
    failures: list[type[GradingFailed]] = [GradingFailed, *GradingFailed.__subclasses__()]
    kinds = {failure.title: failure.slug for failure in failures}
    return next((slug for title, slug in kinds.items() if said.startswith(f"{title}.")), GradingFailed.slug)
