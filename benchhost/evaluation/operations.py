"""What the host may ask of a benchmark: which hook that calls, with what, and what may come of it.

This runs where the author's code runs. An operation is made for one call. :meth:`Operation.begin`
checks what the caller gave, raising :class:`~benchhost.errors.RequestError`, then calls the author's
hook and returns whatever it returns. :meth:`Operation.end` checks the value that came of it and
encodes it, raising :class:`~benchhost.errors.HookReturned`.
"""

from __future__ import annotations

import abc
import inspect
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import msgspec

from benchhost.contract import (
    Benchmark,
    Environment,
    FinalScore,
    Ready,
    Response,
    Result,
    Sandbox,
    Task,
    placed_fields,
    public,
    public_fields,
)
from benchhost.errors import HookReturned, NotOffered, UnknownDataset, UnknownTask
from benchhost.evaluation.frames import Answer, InSandbox, Item, Resumed
from benchhost.registry import LoadedBenchmark, is_written, takes_resume_state
from benchhost.sandbox import open_provider
from benchhost.scoring import final_score, summarise
from benchhost.tasks import Dataset
from benchhost.wire.results import Given, GivenResult, of_final_score, of_score, whole
from benchhost.wire.vals import (
    FinalScoreAnswer,
    PublicResult,
    RetrievedTask,
    ScoreAnswer,
)

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class Operation(abc.ABC):
    """One call of one hook, about one item."""

    hook: ClassVar[str]
    in_sandbox: ClassVar[bool] = False
    """Whether it is about a sandbox, and so is begun on the event loop, within :meth:`prepared`."""

    def __init__(self, loaded: LoadedBenchmark, number: int, dataset: str, item: Item) -> None:
        self.number = number
        self._loaded = loaded
        self._dataset = dataset
        self._task = item.task
        self._body = item.body
        self.asked = False
        """Whether the hook has been called: from then on, whatever is raised is the hook's failure."""

    @abc.abstractmethod
    def begin(self) -> Any:
        """Call the hook."""

    @abc.abstractmethod
    def end(self, value: Any) -> Answer:
        """Make the answer of what the hook gave."""

    def ended(self) -> Answer:
        """Make the answer of a stream that ended without a result."""
        raise HookReturned(f"{self.hook} ended without yielding a benchhost.Result or a benchhost.Error")

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Have at hand what the hook needs beside what the call holds."""
        yield

    def ask(self, *arguments: Any) -> Any:
        """Call the hook."""
        self.asked = True
        return getattr(self._loaded.benchmark, self.hook)(*arguments)

    def resume(self, *arguments: Any, state: bytes | None) -> Any:
        """Call the hook with how far it had come.

        Raises :class:`~benchhost.errors.NotOffered` when it cannot be given that.
        """
        hook = getattr(self._loaded.benchmark, self.hook)
        if not takes_resume_state(type(self._loaded.benchmark), self.hook):
            raise NotOffered(f"The benchmark {self._loaded.name} does not resume evaluations.")
        resume_state = None if state is None else msgspec.json.decode(state)
        self.asked = True
        return hook(*arguments, resume_state=resume_state)

    def dataset(self, key: str | None) -> Dataset[Any]:
        """Find a dataset, as :meth:`~benchhost.registry.LoadedBenchmark.dataset` does."""
        found = self._loaded.dataset(key or "")
        if found is None:
            available = ", ".join(self._loaded.datasets)
            raise UnknownDataset(f"Dataset '{(key or 'default')[:200]}' not found. Available datasets: {available}")
        return found

    def task(self) -> Task:
        """Find the task that the call is about."""
        task: Task | None = self.dataset(self._dataset).tasks.get(self._task)
        if task is None:
            raise UnknownTask(f"Task ID not found: {self._task[:200]}")
        return task

    def wrong(self, value: Any, expected: str) -> HookReturned:
        """Make the error of a hook that returned something else than it should."""
        given = type(value).__name__
        return HookReturned(f"{self._loaded.name}: {self.hook} returned {given}, expected {expected}")


class _GivesResult(Operation):
    """Make a result."""

    def end(self, value: Any) -> Answer:
        if not isinstance(value, Result):
            raise self.wrong(value, "a benchhost.Result")
        feedback: object = value.feedback  # an author may have given anything, and the text of a task is its answer
        if not isinstance(feedback, str | None):
            given = type(feedback).__name__
            raise HookReturned(
                f"{self._loaded.name}: the feedback of the Result of {self.hook} is {given}, expected str"
            )
        try:
            value.__post_init__()  # the numbers may have been changed since it was made
            public = PublicResult(
                score=float(value.score),
                passed=None if value.passed is None else bool(value.passed),
                metrics={str(name): float(number) for name, number in value.metrics.items()},
                feedback=None if feedback is None else str(feedback),
            )
            private = None if value.private is None else msgspec.json.encode(value.private)
            return Answer(self.number, _encode(public), private)
        except Exception as error:  # its fields may hold anything, and encoding them run any code of the author's
            raise HookReturned(
                f"{self._loaded.name}: {self.hook} returned a Result that cannot be kept: {error}"
            ) from error


class EvaluateResponse(_GivesResult):
    """Judge a response; the body of the call is its text."""

    hook = "evaluate_response"

    def begin(self) -> Any:
        return self.ask(self.task(), Response(self._body.decode()))


class ResumeResponse(_GivesResult):
    """Go on judging a response."""

    hook = "evaluate_response"

    def begin(self) -> Any:
        resumed = msgspec.msgpack.decode(self._body, type=Resumed)
        return self.resume(self.task(), Response(resumed.text), state=resumed.resume_state)


class _InSandbox(Operation):
    """Call a hook that works in a sandbox, which is opened here, where the hook runs."""

    in_sandbox = True
    _place: InSandbox
    _sandbox: Sandbox

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        self._place = msgspec.msgpack.decode(self._body, type=InSandbox)
        provider = await open_provider(self._place.provider, self._place.config)
        try:
            self._sandbox = await provider.get(self._place.id)
            yield
        finally:
            await provider.aclose()


class _Preparing(_InSandbox):
    """Prepare a sandbox. The answer is its status."""

    def end(self, value: Any) -> Answer:
        if value is None:
            value = Ready()
        if not isinstance(value, Ready) or not isinstance(value.status, str):
            raise self.wrong(value, "a benchhost.Ready, or nothing")
        return Answer(self.number, msgspec.json.encode({"status": value.status.encode("utf-8", "replace").decode()}))

    def ended(self) -> Answer:
        return self.end(None)


class SetupTask(_Preparing):
    """Prepare a sandbox for an attempt. Where the author has left that out, the question is put where it belongs."""

    hook = "setup_task"

    def begin(self) -> Any:
        if is_written(type(self._loaded.benchmark), self.hook):
            return self.ask(self.task(), self._sandbox)
        return self._put_question(self.task())

    async def _put_question(self, task: Task) -> None:
        self.asked = True
        environment = await self._given("retrieve_task", task, Environment)
        question = await self._given("prompt", task, str)
        await self._sandbox.write(environment.problem_path, question.encode("utf-8", "replace"))

    async def _given(self, hook: str, task: Task, kind: type[T]) -> T:
        value = getattr(self._loaded.benchmark, hook)(task)
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, kind):
            given = type(value).__name__
            raise HookReturned(f"{self._loaded.name}: {hook} returned {given}, expected {kind.__name__}")
        return value


class PlaceSubmission(_Preparing):
    """Place what was submitted in a sandbox."""

    hook = "place_submission"

    def begin(self) -> Any:
        return self.ask(self.task(), self._place.submission, self._sandbox)


class EvaluateInstance(_GivesResult, _InSandbox):
    """Judge what was done in a sandbox."""

    hook = "evaluate_instance"

    def begin(self) -> Any:
        if takes_resume_state(type(self._loaded.benchmark), self.hook):
            return self.resume(self.task(), self._sandbox, state=self._place.resume_state)
        return self.ask(self.task(), self._sandbox)


class ProjectTrialResult(_GivesResult):
    """Make of a result what a tenant on trial is shown; the body is the result's public part."""

    hook = "project_trial_result"

    def begin(self) -> Any:
        return self.ask(whole(msgspec.json.decode(self._body, type=GivenResult)))


class Prompt(Operation):
    """Say what a model is asked."""

    hook = "prompt"

    def begin(self) -> Any:
        return self.ask(self.task())

    def end(self, value: Any) -> Answer:
        if not isinstance(value, str):
            raise self.wrong(value, "a str")
        return Answer(self.number, _encoded(value))


class ReferenceResponse(Operation):
    """Give the response that deserves full marks, or null. No route may answer with it."""

    hook = "reference_response"

    def begin(self) -> Any:
        return self.ask(self.task())

    def end(self, value: Any) -> Answer:
        if value is not None and not (isinstance(value, Response) and isinstance(value.text, str)):
            raise self.wrong(value, "a benchhost.Response or None")
        return Answer(self.number, b"null" if value is None else _encoded(value.text))


class Reveal(Operation):
    """Give a task whole, what callers see apart from what they do not. No route may answer with it."""

    hook = "load_datasets"  # which made the task; it is not called again

    def begin(self) -> Any:
        return self.task()

    def end(self, value: Any) -> Answer:
        kind: type[Task] = type(value)
        shown = {name for _, name in public_fields(kind)}
        fields = msgspec.to_builtins(value, str_keys=True)
        hidden = {name: content for name, content in fields.items() if name not in shown}
        placed = {name: fields[name] for _, name in placed_fields(kind)}
        return Answer(self.number, msgspec.json.encode({"public": public(value), "hidden": hidden, "placed": placed}))


def _encoded(text: str) -> bytes:
    """Encode a text as JSON, with a question mark for each half of a character that UTF-8 cannot say."""
    return msgspec.json.encode(text.encode("utf-8", "replace").decode())


class RetrieveTask(Operation):
    """Say in which sandbox a task is to be attempted."""

    hook = "retrieve_task"

    def begin(self) -> Any:
        return self.ask(self.task())

    def end(self, value: Any) -> Answer:
        if not isinstance(value, Environment):
            raise self.wrong(value, "a benchhost.Environment")
        try:
            told = msgspec.convert(msgspec.to_builtins(RetrievedTask.of(value)), RetrievedTask)
        except (TypeError, ValueError, AttributeError) as error:
            raise HookReturned(
                f"{self._loaded.name}: {self.hook} returned an Environment that cannot be sent: {error}"
            ) from error
        return Answer(self.number, msgspec.json.encode(told))


class EvaluationEnvironment(RetrieveTask):
    """Say in which sandbox a submission is to be judged."""

    hook = "evaluation_environment"


class CheckAuth(Operation):
    """Decide whether a request may use the benchmark; the body is its headers in msgpack."""

    hook = "check_auth"

    def begin(self) -> Any:
        headers = msgspec.msgpack.decode(self._body, type=dict[str, str])
        return self.ask(headers)

    def end(self, value: Any) -> Answer:
        if not isinstance(value, bool):
            raise self.wrong(value, "a bool")
        return Answer(self.number, msgspec.json.encode(value))


class ResolveTenant(Operation):
    """Say to which tenant a request belongs; the body is its headers in msgpack."""

    hook = "resolve_tenant"

    def begin(self) -> Any:
        return self.ask(msgspec.msgpack.decode(self._body, type=dict[str, str]))

    def end(self, value: Any) -> Answer:
        if value is not None and not isinstance(value, str):
            raise self.wrong(value, "a str or None")
        return Answer(self.number, b"null" if value is None else _encoded(value))


class CheckDatasetAccess(Operation):
    """Decide whether a tenant, who is the body, may use a dataset, whether there is one or not."""

    hook = "check_dataset_access"

    def begin(self) -> Any:
        return self.ask(self._body.decode(), self._dataset)

    def end(self, value: Any) -> Answer:
        if not isinstance(value, bool):
            raise self.wrong(value, "a bool")
        return Answer(self.number, msgspec.json.encode(value))


class _Scoring(Operation):
    """Score results; the body is that of the HTTP request, since decoding a large one would hold up the host.

    The dataset is the one that the call names, if the host has looked, and else the one that the body does.
    """

    hook = "calculate_final_score"
    _given: Given

    def end(self, value: Any) -> Answer:
        if value is None:
            value = final_score(summarise(self._given.results))
        if not isinstance(value, FinalScore):
            raise self.wrong(value, "a benchhost.FinalScore or None")
        try:
            value.__post_init__()  # the score may have been changed since it was made
            return Answer(self.number, msgspec.json.encode(self._answer(float(value.score), value.metadata)))
        except Exception as error:  # as above
            raise HookReturned(
                f"{self._loaded.name}: {self.hook} returned a FinalScore that cannot be sent: {error}"
            ) from error

    def _score(self, given: Given) -> Any:
        named = (given.dataset or "").replace("\n", " ")  # a key of ours is not for callers to make
        dataset = self.dataset(self._dataset or named)
        ids, tasks = given.task_ids, dataset.tasks
        if len(ids) != len(tasks) or ids != [*tasks]:  # that these are all is quicker to see than that each is one
            unknown = next(itertools.filterfalse(tasks.__contains__, ids), None)
            if unknown is not None:
                raise UnknownTask(f"Task ID not found: {unknown[:200]}")
        self._given = given
        if type(self._loaded.benchmark).calculate_final_score is Benchmark.calculate_final_score:
            return None  # nobody needs the results as a hook would be given them
        results = [None if result is None else whole(result) for result in given.results]
        return self.ask(dict(zip(given.task_ids, results, strict=True)), dataset.name)

    @abc.abstractmethod
    def _answer(self, score: float, metadata: dict[str, Any]) -> msgspec.Struct: ...


class FinalScoreOf(_Scoring):
    """Score bare results: ``POST /final-score/``."""

    def begin(self) -> Any:
        return self._score(of_final_score(self._body))

    def _answer(self, score: float, metadata: dict[str, Any]) -> FinalScoreAnswer:
        return FinalScoreAnswer(self._given.task_ids, score, metadata)


class ScoreOf(_Scoring):
    """Score the verdicts of a run: ``POST /v1/score``. The hook is given the same shape as by the other route."""

    def begin(self) -> Any:
        return self._score(of_score(self._body))

    def _answer(self, score: float, metadata: dict[str, Any]) -> ScoreAnswer:
        return ScoreAnswer(self._given.run_id, self._given.task_ids, score, metadata)


OPERATIONS: dict[str, type[Operation]] = {
    "evaluate_response": EvaluateResponse,
    "resume_response": ResumeResponse,
    "setup_task": SetupTask,
    "place_submission": PlaceSubmission,
    "evaluate_instance": EvaluateInstance,
    "prompt": Prompt,
    "reference_response": ReferenceResponse,
    "reveal": Reveal,
    "retrieve_task": RetrieveTask,
    "evaluation_environment": EvaluationEnvironment,
    "check_auth": CheckAuth,
    "resolve_tenant": ResolveTenant,
    "check_dataset_access": CheckDatasetAccess,
    "project_trial_result": ProjectTrialResult,
    "final_score": FinalScoreOf,
    "score": ScoreOf,
}
"""Every operation, by the name that a call carries."""
