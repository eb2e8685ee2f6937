"""What the author of a runner writes: how a benchmark's tasks are put to a model."""

from __future__ import annotations

import abc
import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from benchhost.contract.environment import Environment
from benchhost.contract.model import Call, Model, Sampling
from benchhost.contract.result import FinalScore, Result
from benchhost.contract.sandbox import Sandbox
from benchhost.contract.task import Task

if TYPE_CHECKING:  # start-up, as in :mod:`benchhost.contract.sandbox`
    from pathlib import Path

TaskT = TypeVar("TaskT", bound=Task)


class GenerationStatus(enum.StrEnum):
    """How an attempt at a task ended.

    ``success``, ``max_time``, ``max_turns`` and ``error`` are the words of the Vals runner; they blame
    the model or the runner. The others never do: ``throttled`` by the provider beyond all patience,
    ``infra_error`` (provider, host or sandbox failed), ``cancelled`` by whoever ran it.
    """

    SUCCESS = "success"
    MAX_TIME = "max_time"
    MAX_TURNS = "max_turns"
    ERROR = "error"
    THROTTLED = "throttled"
    INFRA_ERROR = "infra_error"
    CANCELLED = "cancelled"

    @property
    def retriable(self) -> bool:
        """Whether a resumed run makes another attempt."""
        return self not in (GenerationStatus.SUCCESS, GenerationStatus.MAX_TIME, GenerationStatus.MAX_TURNS)

    @property
    def vals(self) -> str:
        """The word of the Vals runner that says it best."""
        return self.value if self in _VALS_GENERATION else "error"


_VALS_GENERATION = frozenset(
    {GenerationStatus.SUCCESS, GenerationStatus.MAX_TIME, GenerationStatus.MAX_TURNS, GenerationStatus.ERROR}
)


class EvaluationStatus(enum.StrEnum):
    """What became of the evaluation of an attempt.

    ``evaluated``, ``did_not_complete``, ``generation_error`` and ``error`` are the words of the Vals
    contract. Ours say more of an error: ``judge_error`` (the benchmark's own code failed on it),
    ``infra_error`` (the host could not be reached or could not keep the outcome), ``cancelled``. Only
    ``evaluated`` has a score; no other is a zero.
    """

    EVALUATED = "evaluated"
    DID_NOT_COMPLETE = "did_not_complete"
    GENERATION_ERROR = "generation_error"
    ERROR = "error"
    JUDGE_ERROR = "judge_error"
    INFRA_ERROR = "infra_error"
    CANCELLED = "cancelled"

    @property
    def retriable(self) -> bool:
        """Whether a resumed run evaluates again."""
        return self not in (EvaluationStatus.EVALUATED, EvaluationStatus.DID_NOT_COMPLETE)

    @property
    def vals(self) -> str:
        """The word of the Vals contract that says it best."""
        return self.value if self in _VALS_EVALUATION else "error"


_VALS_EVALUATION = frozenset(
    {
        EvaluationStatus.EVALUATED,
        EvaluationStatus.DID_NOT_COMPLETE,
        EvaluationStatus.GENERATION_ERROR,
        EvaluationStatus.ERROR,
    }
)


class GenerationResult(msgspec.Struct, kw_only=True):
    """What came of one attempt at a task. ``data`` is the response; it may be partial when the status is no success.

    ``error`` says what went wrong. ``total_turns`` counts the turns of an agent. ``log_dir`` is where
    its logs are. What is ``None`` and known to the run is filled in by it.
    """

    task_id: str
    status: GenerationStatus
    data: str
    question: str | None = None
    model: str | None = None
    total_turns: int | None = None
    error: str | None = None
    log_dir: str | None = None
    generation_version: str | None = None

    @property
    def answer(self) -> str:
        """The older name of ``data``."""
        return self.data


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a runner that has none."""


class Context:
    """One attempt, as a runner sees it.

    ``attempt`` counts the attempts at this task and ``epoch`` (both from 1). ``model`` is the model that
    :meth:`Runner.generate` is given: it draws with ``sampling`` unless told otherwise, and everything
    that it is asked is on this attempt's account. ``judge`` is a model for :meth:`Runner.evaluate`, on
    an account of its own; ``None`` unless the run names one. ``call`` names the attempt to models that
    are not ``model``; ``call.waiting`` makes a context in which the attempt's clock stands still.
    """

    __slots__ = ("_environment", "_log_dir", "_prompt", "_sandbox", "_seconds_left", "attempt", "call", "epoch",
                 "judge", "model", "params", "sampling", "task_id")  # fmt: skip

    def __init__(
        self,
        *,
        task_id: str,
        epoch: int,
        attempt: int,
        model: Model,
        judge: Model | None,
        sampling: Sampling,
        params: Any,
        call: Call,
        prompt: Callable[[], Awaitable[str]],
        environment: Callable[[], Awaitable[Environment]],
        sandbox: Callable[[], Awaitable[Sandbox]],
        log_dir: Callable[[], Path],
        seconds_left: Callable[[], float | None],
    ) -> None:
        self.task_id = task_id
        self.epoch = epoch
        self.attempt = attempt
        self.model = model
        self.judge = judge
        self.sampling = sampling
        self.params = params
        self.call = call
        self._prompt = prompt
        self._environment = environment
        self._sandbox = sandbox
        self._log_dir = log_dir
        self._seconds_left = seconds_left

    async def prompt(self) -> str:
        """Return what the benchmark's ``prompt`` hook says of the task; the question where the hook is out of reach."""
        return await self._prompt()

    async def environment(self) -> Environment:
        """Say in which sandbox the task is to be attempted: where the problem lies, where to work, for how long.

        Raises :class:`~benchhost.errors.NotOffered` when the benchmark has no sandboxes, or they cannot be had here.
        """
        return await self._environment()

    async def sandbox(self) -> Sandbox:
        """Return the sandbox of this attempt, set up for the task. It is made when it is first asked for.

        The attempt's clock stands still meanwhile. When the attempt has been judged, in it if the benchmark does
        that, it is deleted.

        Raises what :meth:`environment` does, and :class:`~benchhost.errors.SandboxError`.
        """
        return await self._sandbox()

    @property
    def log_dir(self) -> Path:
        """A folder for logs of this attempt alone; it is made when it is first asked for."""
        return self._log_dir()

    @property
    def seconds_left(self) -> float | None:
        """The seconds that the attempt may still take; ``None`` without a limit."""
        return self._seconds_left()


class Runner(abc.ABC, Generic[TaskT]):
    """How the tasks of a benchmark are put to a model. Derive from it, write :meth:`generate`, register the class.

    It is registered in the entry-point group ``benchhost.runners``; one that has the name of a benchmark
    is used for it. ``version`` is recorded with every response: change it whenever the same model could
    answer otherwise. ``task_model`` is the struct that the public part of each task is read into.
    ``Params`` is a struct whose fields can be set with ``-k NAME=VALUE``; an instance is
    ``self.params``. A field that is a secret is annotated ``Meta(extra={"secret": True})``: it is
    never recorded.
    """

    version: ClassVar[str] = "0"
    task_model: ClassVar[type[Task]] = Task
    Params: ClassVar[type[msgspec.Struct]] = NoParams

    def __init__(self, params: Any = None) -> None:
        self.params: Any = self.Params() if params is None else params

    async def open(self) -> None:
        """Prepare for a run; called once, before the first attempt."""
        return

    async def close(self) -> None:
        """Clean up after a run; called once, whatever happened."""
        return

    def load_tasks(self) -> Iterable[TaskT] | None:
        """Return the tasks, when they are not the benchmark's own. ``None``, as here, leaves them to it."""
        return None

    @abc.abstractmethod
    async def generate(self, task: TaskT, model: Model, context: Context) -> GenerationResult | str:
        """Have the model attempt a task; a text stands for a success.

        Whatever this raises becomes this attempt's error, and that of no other.
        """

    async def evaluate(self, task: TaskT, generation: GenerationResult, context: Context) -> Result | None:
        """Judge a successful generation. ``None``, as here, has the benchmark judge it."""
        return None

    async def score(self, results: Mapping[str, Result | None], dataset: str) -> FinalScore | None:
        """Score the results of a run, by task id. ``None``, as here, leaves it to the benchmark."""
        return None
