"""One call of one hook.

This runs where the author's code runs. An operation is made for one call. :meth:`Operation.begin`
checks what the caller gave, raising :class:`~benchhost.errors.RequestError`, then calls the author's
hook and returns whatever it returns. :meth:`Operation.end` checks the value that came of it and
encodes it, raising :class:`~benchhost.errors.HookReturned`.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import msgspec

from benchhost.contract import Result, Task
from benchhost.errors import HookReturned, NotOffered, UnknownDataset, UnknownTask
from benchhost.evaluation.frames import Answer, Item
from benchhost.registry import LoadedBenchmark, takes_resume_state
from benchhost.tasks import Dataset
from benchhost.wire.vals import PublicResult

_encode = msgspec.json.Encoder().encode


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


class GivesResult(Operation):
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
