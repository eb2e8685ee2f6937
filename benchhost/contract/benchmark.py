"""What the author of a benchmark writes."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from benchhost.contract.chunk import Chunk
from benchhost.contract.environment import Environment
from benchhost.contract.result import FinalScore, Response, Result
from benchhost.contract.task import Task

TaskT = TypeVar("TaskT", bound=Task)

Evaluated = Result | Awaitable[Result] | Iterator[Chunk] | AsyncIterator[Chunk]
"""What ``evaluate_response`` may return: a result, or a stream of chunks that ends in one; sync or async."""


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a benchmark that has none."""


class Benchmark(abc.ABC, Generic[TaskT]):
    """A benchmark. Derive from it, write :meth:`load_datasets` and :meth:`evaluate_response`, register the class.

    Any hook may be ``def`` or ``async def``. A hook runs in a process of its own beside the host, so
    that it may block, and the host outlives whatever it does; it sees the hidden fields of a task,
    which the host's own process never holds.

    ``version`` is that of the evaluator: change it whenever the same response could be judged
    otherwise, since finished evaluations are remembered by it. ``evaluation_timeout`` is the time, in
    seconds, that one evaluation may take. ``listed`` says whether callers may ask for the list of the
    tasks' public parts. ``Settings`` is a struct whose fields the operator can set; an instance of it
    is ``self.settings``.
    """

    version: ClassVar[str] = "0"
    evaluation_timeout: ClassVar[float] = 300.0
    listed: ClassVar[bool] = True
    Settings: ClassVar[type[msgspec.Struct]] = NoSettings

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = self.Settings() if settings is None else settings

    @abc.abstractmethod
    def load_datasets(self) -> Mapping[str, Iterable[TaskT]] | Awaitable[Mapping[str, Iterable[TaskT]]]:
        """Return the tasks of each dataset, by its name; ``default`` is the one that is meant when none is named.

        An iterable may be lazy. Its order is the order of the dataset.
        """

    def evaluate_response(self, task: TaskT, response: Response) -> Evaluated:
        """Judge a response to a task.

        Return a :class:`~benchhost.Result`, or yield :class:`~benchhost.Message` chunks and then one.
        Whatever this raises is a failure of the benchmark, not of the submitter: the response is then
        not scored, and the submitter is told only that it happened.
        """
        raise NotImplementedError

    def retrieve_task(self, task: TaskT) -> Environment | Awaitable[Environment]:
        """Say in which sandbox a task is to be attempted. Benchmarks whose answers are text have none."""
        raise NotImplementedError

    def calculate_final_score(
        self, results: Mapping[str, Result | None], dataset: str
    ) -> FinalScore | None | Awaitable[FinalScore | None]:
        """Score a set of results: every given task id with its result, or ``None`` where there is none.

        Return ``None``, as this default does, for the host's own summary: the mean of the scores with
        its standard error, interval, coverage and bounds (:func:`benchhost.scoring.summarise`).
        """
        return None

    def prompt(self, task: TaskT) -> str | Awaitable[str]:
        """Say what a model is asked. The default is the question, as one message of the user."""
        return task.question

    def reference_response(self, task: TaskT) -> Response | None | Awaitable[Response | None]:
        """Return a response that deserves full marks, or ``None`` when there is none. It never leaves the host."""
        return None

    def check_auth(self, headers: Mapping[str, str]) -> bool | Awaitable[bool]:
        """Decide whether a request may use this benchmark; the names of ``headers`` are in lower case.

        Only asked when it is overridden; otherwise the host's own rule applies.
        """
        raise NotImplementedError
