"""Where a run's tasks come from, and who judges the responses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from benchhost.contract import Environment, FinalScore, Result, Sandbox
from benchhost.contract.runner import EvaluationStatus
from benchhost.models import Spend
from benchhost.runner.config import SourceKind

DECLINED = "declined"
"""The kind of a verdict that the benchmark, or a policy of its, declines to give."""


class Submission(msgspec.Struct, frozen=True):
    """A response to be judged."""

    task_id: str
    response: str


class Verdict(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one evaluation. There is a ``result`` if, and only if, the status is ``evaluated``.

    ``kind`` is the class of the error, as a word to count and select by; ``errors`` say it in sentences.
    ``spend`` is what the judge took, where that is known.
    """

    status: EvaluationStatus
    result: Result | None = None
    kind: str = ""
    errors: tuple[str, ...] = ()
    evaluation_id: str | None = None
    evaluator_version: str | None = None
    spend: Spend | None = None


Verdicts = AsyncGenerator[Sequence[tuple[int, Verdict]], None]
"""Verdicts with the positions of what they are about, as they come."""


class Instances(Protocol):
    """The sandboxes in which a benchmark wants its tasks attempted.

    ``judged`` says whether it judges what was done in them; else it judges the response.
    """

    judged: bool

    async def ready(self) -> None:
        """Make sure that there are sandboxes to be had, before the first one is asked for.

        Raises :class:`~benchhost.errors.SandboxError` when there are none.
        """
        ...

    async def environment(self, task_id: str) -> Environment:
        """Say in which sandbox a task is to be attempted.

        Raises :class:`~benchhost.errors.BenchhostError` when the benchmark fails to say so.
        """
        ...

    def lent(self, task_id: str, labels: Mapping[str, str]) -> AbstractAsyncContextManager[Sandbox]:
        """Make a sandbox and have it set up for a task; it is deleted at the end.

        Raises :class:`~benchhost.errors.BenchhostError` when one of them fails.
        """
        ...

    async def judge(self, run: str, task_id: str, sandbox: Sandbox) -> Verdict:
        """Judge what was done in a sandbox. A failure to judge is a verdict, not an exception."""
        ...


class Source(Protocol):
    """The tasks of one dataset, and their judge.

    The tasks are in the dataset's order. ``version`` is a label of the dataset's content, and
    ``evaluator_version`` that of what judges. ``reference`` fetches the gold answer to a task; ``None``
    where that is out of reach. ``scores`` says whether the benchmark scores a set of results in a way of
    its own. ``instances`` are ``None`` where tasks are not attempted in sandboxes, or none can be had.
    ``kind`` and ``host`` go into the run's configuration.
    """

    benchmark: str
    dataset: str
    version: str
    evaluator_version: str
    kind: SourceKind
    host: str | None
    scores: bool
    reference: Callable[[str], Awaitable[str | None]] | None
    instances: Instances | None

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all tasks.

        Raises :class:`~benchhost.errors.ClientError` when a remote host does not list them.
        """
        ...

    def task(self, task_id: str) -> bytes:
        """Return a task as the runner is given it, as JSON.

        Raises :class:`~benchhost.errors.UnknownTask`.
        """
        ...

    def public(self, task_id: str) -> bytes:
        """Return the part of a task that may be shown with a run, as JSON: all that a benchmark's own tasks have here.

        Raises :class:`~benchhost.errors.UnknownTask`.
        """
        ...

    def digest(self, task_id: str) -> str:
        """Return a digest of the task's content, by which it is known whether it changed. It is kept to the store."""
        ...

    async def prompt(self, task_id: str) -> str:
        """Return what a model is asked; the question, where the benchmark's own prompt is out of reach.

        Raises :class:`~benchhost.errors.BenchhostError` when it cannot be made.
        """
        ...

    def evaluate(self, run: str, submissions: Sequence[Submission]) -> Verdicts:
        """Judge responses; yield verdicts with their positions, as they come.

        The same response to the same task of one run is judged once. A failure to judge is a verdict,
        not an exception; one submission's failure is not another's.
        """
        ...

    async def score(self, run: str, results: Mapping[str, Result | None]) -> FinalScore | None:
        """Have the benchmark score results, ``None`` where there is none; its answer may be ``None`` too.

        Raises :class:`~benchhost.errors.BenchhostError` when it fails.
        """
        ...
