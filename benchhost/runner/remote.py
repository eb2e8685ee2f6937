"""The tasks of a benchmark that another host serves, judged there."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from benchhost.client import Client, Outcome, ServiceVersion, Tasks
from benchhost.contract import EvaluationStatus, FinalScore, Result, Task
from benchhost.errors import ClientError, UnknownTask
from benchhost.runner.config import SourceKind
from benchhost.runner.remote_instances import Elsewhere, RemoteInstances
from benchhost.runner.remote_verdicts import ABOUT_THE_CONTENT, failed, is_worth_waiting
from benchhost.runner.source import Instances, Submission, Verdict, Verdicts
from benchhost.scoring import Summary
from benchhost.tasks import dataset_fingerprint
from benchhost.wire import vals

AT_ONCE = 32
"""How many responses are sent at once to a service that judges one at a time."""

_task = msgspec.json.Decoder(Task)
_canonical = msgspec.json.Encoder(order="deterministic").encode


class RemoteSource:
    """A dataset of a benchmark at another host; make one with :meth:`open`.

    Models are asked the question, since the benchmark's own prompt and its gold answers stay there. The
    client must be open for as long as this is used, and is not closed by it. ``eval_mode`` is ``text`` or ``sandbox``,
    if the host says what it judges.
    """

    kind: SourceKind = "host"
    scores = True
    reference: Callable[[str], Awaitable[str | None]] | None = None

    def __init__(
        self,
        client: Client,
        dataset: str | None,
        version: ServiceVersion,
        listed: Tasks | ClientError,
        evaluator_version: str | None,
    ) -> None:
        self.benchmark = client.benchmark or _name_of(version)
        self.dataset = dataset or "default"
        self.host: str | None = client.url
        self.instances: Instances | None = None
        self.eval_mode = version.eval_mode
        self._client = client
        self._named = dataset
        self._is_benchhost = client.benchmark is not None
        self._unlisted = listed if isinstance(listed, ClientError) else None
        self._tasks: dict[str, msgspec.Raw] = {}
        if isinstance(listed, Tasks):
            for task in listed:
                if task.id in self._tasks:
                    raise ClientError(f"{client.url} lists two tasks with the id {task.id!r} in {self.dataset}")
                self._tasks[task.id] = task.json
        self._ids = list(self._tasks)
        said = listed if isinstance(listed, Tasks) else version  # a fingerprint, since content may change under a label
        self.version = (
            said.dataset_fingerprint or said.dataset_version or version.dataset_version or self._fingerprint()
        )
        if self._unlisted is not None and client.dataset_version is not None:
            self.version = client.dataset_version  # what is said without a list is said of the current one
        # The verdicts of another implementation may name another kind of version than its /version does,
        # and a verdict of another version than the run's would be asked for again at each resume.
        self._verdicts_say_version = evaluator_version is not None
        self.evaluator_version = evaluator_version or version.service_version or "unknown"

    @classmethod
    async def open(cls, client: Client, dataset: str | None = None) -> RemoteSource:
        """Ask the host for its version and its tasks.

        A host that keeps its list to itself can still judge tasks that come from elsewhere
        (:class:`~benchhost.runner.given.GivenTasks`); asking this source for ``ids`` then raises.

        Raises :class:`~benchhost.errors.ClientError` when the host cannot be reached, does not know the
        benchmark or the dataset, or refuses the token.
        """
        dataset = None if dataset == "default" else dataset or None  # which another service may not know by name
        version = await client.version(dataset)
        listed: Tasks | ClientError
        try:
            listed = await client.tasks(dataset or "default")
        except ClientError as error:
            if error.status != 501:
                raise
            listed = error
        return cls(client, dataset, version, listed, await _evaluator_version(client))

    def attempt_in(self, elsewhere: Elsewhere, *, judged: bool) -> None:
        """Have tasks attempted in sandboxes; ``judged`` says whether what is done in them is, and not the response."""
        self.instances = RemoteInstances(self._client, self._named, elsewhere, self._verdict, judged=judged)

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the tasks.

        Raises :class:`~benchhost.errors.ClientError` when the host does not list them.
        """
        if self._unlisted is not None:
            raise self._unlisted
        return self._ids

    def task(self, task_id: str) -> bytes:
        """Return a task as the host shows it."""
        try:
            return bytes(self._tasks[task_id])
        except KeyError:
            raise UnknownTask(f"Task ID not found: {task_id[:200]}") from None

    def public(self, task_id: str) -> bytes:
        """Return the same: what is hidden of a task is not here."""
        return self.task(task_id)

    def digest(self, task_id: str) -> str:
        """Return the digest of what the host shows of a task, whatever the order of its fields."""
        return hashlib.sha256(_canonical(msgspec.json.decode(self.task(task_id)))).hexdigest()

    async def prompt(self, task_id: str) -> str:
        """Return the question."""
        return _task.decode(self.task(task_id)).question

    async def evaluate(self, run: str, submissions: Sequence[Submission]) -> Verdicts:
        """Have the host judge responses; many in one request where it can."""
        judged = self._in_batches if self._is_benchhost else self._one_by_one
        async with aclosing(judged(run, dict(enumerate(submissions)))) as verdicts:
            async for position, verdict in verdicts:
                yield [(position, verdict)]

    async def score(self, run: str, results: Mapping[str, Result | None]) -> FinalScore | None:
        """Have the host score. Its plain mean is no score of the benchmark's own: the run has that itself."""
        verdicts = {
            task_id: None if result is None else vals.Verdict("evaluated", self._as_it_came(result))
            for task_id, result in results.items()
        }
        answer = await self._client.score(run, verdicts, self._named)
        metadata = answer.metadata if isinstance(answer.metadata, dict) else {"metadata": answer.metadata}
        if self._is_benchhost and set(metadata) == set(Summary.__struct_fields__):
            return None
        return FinalScore(score=answer.final_score, metadata=metadata)

    async def _in_batches(self, run: str, owed: dict[int, Submission]) -> AsyncGenerator[tuple[int, Verdict], None]:
        """Send all that is owed in one request. One that is refused for what is in it is sent again in halves."""
        batches = [owed]
        while batches:
            batch = batches.pop()
            positions = list(batch)
            sent = [(batch[position].task_id, batch[position].response) for position in positions]
            try:
                async with aclosing(self._client.evaluate_batch(run, sent, self._named)) as outcomes:
                    async for place, outcome in outcomes:
                        del batch[positions[place]]
                        yield positions[place], self._verdict(outcome)
            except ClientError as error:
                left = list(batch.items())
                if await is_worth_waiting(error):
                    batches.append(batch)
                elif len(left) > 1 and error.status in ABOUT_THE_CONTENT and error.problem != "unknown-benchmark":
                    middle = len(left) // 2
                    batches += [dict(left[middle:]), dict(left[:middle])]
                else:
                    for position, _ in left:
                        yield position, failed(error)

    async def _one_by_one(self, run: str, owed: dict[int, Submission]) -> AsyncGenerator[tuple[int, Verdict], None]:
        """Send each response by itself, some at once."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def judge(position: int, submission: Submission) -> tuple[int, Verdict]:
            async with slots:
                while True:
                    try:
                        outcome = await self._client.evaluate(run, submission.task_id, submission.response, self._named)
                    except ClientError as error:
                        if not await is_worth_waiting(error):
                            return position, failed(error)
                    else:
                        return position, self._verdict(outcome)

        judging = [asyncio.create_task(judge(*each)) for each in owed.items()]
        try:
            for finished in asyncio.as_completed(judging):
                yield await finished
        finally:
            for task in judging:
                task.cancel()
            await asyncio.gather(*judging, return_exceptions=True)

    def _verdict(self, outcome: Outcome) -> Verdict:
        verdict = Verdict(
            status=EvaluationStatus.EVALUATED,
            evaluation_id=outcome.evaluation_id,
            evaluator_version=outcome.evaluator_version if self._verdicts_say_version else None,
        )
        if outcome.status == "evaluated":
            verdict.result = self._result(outcome.result)
            if verdict.result is None:
                verdict.status, verdict.kind = EvaluationStatus.ERROR, "no-score"
                verdict.errors = ("the host's result has no number as its score (score or pass_percentage)",)
        elif outcome.status == "error":
            verdict.status, verdict.kind = EvaluationStatus.JUDGE_ERROR, "judge-error"
            verdict.errors = tuple(outcome.errors)
        else:
            verdict.status, verdict.kind = EvaluationStatus(outcome.status), outcome.status
            verdict.errors = tuple(outcome.errors)
        return verdict

    def _result(self, given: Any) -> Result | None:
        """Read a result. That of another service keeps what came beside it, since its own scoring wants it back."""
        if self._is_benchhost:
            try:
                told = msgspec.convert(given, vals.PublicResult)
            except msgspec.ValidationError:
                return None
            return Result(score=told.score, passed=told.passed, metrics=told.metrics, feedback=told.feedback)
        fields = given if isinstance(given, dict) else {"score": given}
        score = _number(fields.get("score"))
        if score is None and (percentage := _number(fields.get("pass_percentage"))) is not None:
            score = percentage / 100
        if score is None:
            return None
        passed = fields.get("passed")
        return Result(score=score, passed=passed if isinstance(passed, bool) else None, private={"as_it_came": given})

    def _as_it_came(self, result: Result) -> Any:
        if result.private is not None and "as_it_came" in result.private:
            return result.private["as_it_came"]
        told = vals.PublicResult(result.score, result.passed, result.metrics, result.feedback)
        return msgspec.to_builtins(told)

    def _fingerprint(self) -> str:
        return dataset_fingerprint((task_id, self.digest(task_id)) for task_id in self._tasks)


async def _evaluator_version(client: Client) -> str | None:
    """Ask a benchhost for the version that its verdicts name; a token of one benchmark may not be let in there."""
    if client.benchmark is None:
        return None
    try:
        plugins = await client.plugins()
    except ClientError:
        return None
    return next((plugin.version for plugin in plugins if plugin.name == client.benchmark), None)


def _name_of(version: ServiceVersion) -> str:
    """Name the benchmark of a service that serves only one, so that the name may be part of a run's id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", version.service_name or "").strip("-._") or "benchmark"


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None
