"""What the author of a benchmark writes."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from benchhost.contract.chunk import Chunk
from benchhost.contract.environment import Environment
from benchhost.contract.probing import Probing
from benchhost.contract.result import FinalScore, Response, Result, Submission
from benchhost.contract.sandbox import Sandbox
from benchhost.contract.task import Task
from benchhost.contract.versions import Versions

TaskT = TypeVar("TaskT", bound=Task)

Evaluated = Result | Awaitable[Result] | Iterator[Chunk] | AsyncIterator[Chunk]
"""What ``evaluate_response`` may return: a result, or a stream of chunks that ends in one; sync or async."""

Datasets = Mapping[str, Iterable[TaskT] | Versions[TaskT]]
"""What ``load_datasets`` returns: the tasks of each dataset, or of each version of it, by its name."""

Done = AsyncIterator[Chunk] | Awaitable[None]
"""What a hook may return that prepares a sandbox: a stream of chunks that ends, or nothing when it is done."""


class NoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of a benchmark that has none."""


class Benchmark(abc.ABC, Generic[TaskT]):
    """A benchmark. Derive from it, write :meth:`load_datasets` and :meth:`evaluate_response`, register the class.

    Any hook may be ``def`` or ``async def``. A hook runs in a process of its own beside the host, so
    that it may block, and the host outlives whatever it does; it sees the hidden fields of a task,
    which the host's own process never holds.

    ``version`` is that of the evaluator: change it whenever the same response could be judged
    otherwise, since finished evaluations are remembered by it. ``evaluation_timeout`` is the time, in
    seconds, that one evaluation may take, and ``setup_timeout`` the time that setting a sandbox up may.
    ``accepted_submission_schemas`` are the names of the shapes of submissions that a sandbox benchmark
    takes, by the type of the payload: ``{"text": {"patch"}}``. ``listed`` says whether callers may ask
    for the list of the tasks' public parts. ``probing`` is how much submitters are told, by the name of the dataset,
    ``*`` for all others. ``Settings`` is a struct whose fields the operator can set;
    an instance of it is ``self.settings``.
    """

    version: ClassVar[str] = "0"
    evaluation_timeout: ClassVar[float] = 300.0
    setup_timeout: ClassVar[float] = 600.0
    accepted_submission_schemas: ClassVar[Mapping[str, Collection[str]]] = {}
    listed: ClassVar[bool] = True
    probing: ClassVar[Mapping[str, Probing]] = {}
    Settings: ClassVar[type[msgspec.Struct]] = NoSettings

    def __init__(self, settings: Any = None) -> None:
        self.settings: Any = self.Settings() if settings is None else settings

    @abc.abstractmethod
    def load_datasets(self) -> Datasets[TaskT] | Awaitable[Datasets[TaskT]]:
        """Return the tasks of each dataset, by its name; ``default`` is the one that is meant when none is named.

        An iterable may be lazy. Its order is the order of the dataset. In the place of one,
        :class:`~benchhost.Versions` declares the versions of a dataset, which can all be used at once.
        """

    def evaluate_response(self, task: TaskT, response: Response) -> Evaluated:
        """Judge a response to a task.

        Return a :class:`~benchhost.Result`, or yield :class:`~benchhost.Message` chunks and then one. A hook that
        has a third parameter called ``resume_state`` may yield :class:`~benchhost.ResumeState` chunks: it is given
        the latest, or ``None``.
        Whatever this raises is a failure of the benchmark, not of the submitter: the response is then
        not scored, and the submitter is told only that it happened.
        """
        raise NotImplementedError

    def retrieve_task(self, task: TaskT) -> Environment | Awaitable[Environment]:
        """Say in which sandbox a task is to be attempted. Benchmarks whose answers are text have none."""
        raise NotImplementedError

    def setup_task(self, task: TaskT, sandbox: Sandbox) -> Done:
        """Prepare a sandbox for an attempt at a task: what this places there, the agent can see.

        Yield :class:`~benchhost.Message` chunks, or what :func:`benchhost.sandbox.stream_command` yields. The sandbox
        is ready when this ends; an :class:`~benchhost.Error`, or whatever it raises, says that it is not.
        """
        raise NotImplementedError

    def evaluate_instance(self, task: TaskT, sandbox: Sandbox) -> AsyncIterator[Chunk] | Awaitable[Result]:
        """Judge what was done in a sandbox, as :meth:`evaluate_response` judges a response.

        This is the time to place hidden tests. ``resume_state`` is as there.
        """
        raise NotImplementedError

    def place_submission(self, task: TaskT, submission: Submission, sandbox: Sandbox) -> Done:
        """Place what was submitted in a fresh sandbox, in which :meth:`setup_task` has run.

        Then :meth:`evaluate_instance` judges it. In create-benchmark-service, this is ``prepare_grading_sandbox``.
        """
        raise NotImplementedError

    def evaluation_environment(self, task: TaskT) -> Environment | Awaitable[Environment]:
        """Say in which sandbox a submission is judged. The default is the one that :meth:`retrieve_task` names."""
        return self.retrieve_task(task)

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

    def resolve_tenant(self, headers: Mapping[str, str]) -> str | None | Awaitable[str | None]:
        """Say to which tenant a request belongs, or ``None`` when it may not use this benchmark.

        Only asked when it is overridden; otherwise the host's own rule applies. What the tenant may use is
        said by :meth:`check_dataset_access`, or else by what the operator has granted.
        """
        raise NotImplementedError

    def check_dataset_access(self, tenant: str, dataset: str) -> bool | Awaitable[bool]:
        """Decide whether a tenant may use a dataset; ``tenant`` is empty when the caller is of none.

        Only asked when it is overridden; otherwise it is the operator who grants datasets.
        """
        raise NotImplementedError

    def project_trial_result(self, result: Result) -> Result | Awaitable[Result]:
        """Say what a tenant on trial is shown of a result. The default is its score and whether that passes."""
        return Result(score=result.score, passed=result.passed)
