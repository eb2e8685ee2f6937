"""Tasks that come from a file or from a runner, and are judged by a benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import FinalScore, Result, Task, public
from benchhost.errors import DatasetError, UnknownTask, UsageError
from benchhost.runner.config import SourceKind
from benchhost.runner.source import Instances, Source, Submission, Verdicts
from benchhost.tasks import dataset_fingerprint
from benchhost.tasks.dataset import LONGEST_ID

_encode = msgspec.json.Encoder(order="deterministic").encode


class TaskFile(msgspec.Struct):
    """What a file of tasks holds: the tasks, and the name of their dataset if it says one."""

    tasks: list[dict[str, Any]]
    dataset: str | None = None


class GivenTasks:
    """Tasks that somebody gave, each an object with an ``id`` and a ``question``; ``grader`` judges the responses.

    Raises :class:`~benchhost.errors.DatasetError` when one of them is no such task.
    """

    def __init__(self, grader: Source, tasks: Iterable[Mapping[str, Any]], kind: SourceKind) -> None:
        self.benchmark = grader.benchmark
        self.dataset = grader.dataset
        self.evaluator_version = grader.evaluator_version
        self.kind = kind
        self.host = grader.host
        self.scores = grader.scores
        self.reference: Callable[[str], Awaitable[str | None]] | None = grader.reference
        self.instances: Instances | None = None  # which the benchmark sets up for its own tasks
        self._grader = grader
        self._tasks: dict[str, bytes] = {}
        self._questions: dict[str, str] = {}
        self._public: dict[str, bytes] = {}  # where that is not the whole task
        for number, task in enumerate(tasks, 1):
            self._add(number, dict(task))
        self.ids: Sequence[str] = list(self._tasks)
        self.version = dataset_fingerprint((task_id, self.digest(task_id)) for task_id in self.ids)

    @classmethod
    def from_file(cls, grader: Source, path: Path) -> GivenTasks:
        """Read the tasks from a file (:func:`read_task_file`)."""
        return cls(grader, read_task_file(path).tasks, "file")

    @classmethod
    def from_problem(cls, grader: Source, path: Path, task_id: str) -> GivenTasks:
        """Make one task whose question is the text of a file, without the white space around it.

        Raises :class:`~benchhost.errors.UsageError` when the file cannot be read, or there is no text in it.
        """
        question = text_of(path).strip()
        if not question:
            raise UsageError(f"{path} is empty: there is no question in it")
        return cls(grader, [{"id": task_id, "question": question}], "problem")

    @classmethod
    def from_runner(cls, grader: Source, tasks: Iterable[Task]) -> GivenTasks:
        """Take the tasks that a runner loaded itself (:meth:`benchhost.Runner.load_tasks`).

        Their fields are hidden unless they are marked public, as those of any task.
        """
        loaded = list(tasks)
        given = cls(grader, (msgspec.to_builtins(task) for task in loaded), "runner")
        given._public = {task.id: _encode(public(task)) for task in loaded}
        return given

    def task(self, task_id: str) -> bytes:
        """Return a task as it was given."""
        try:
            return self._tasks[task_id]
        except KeyError:
            raise UnknownTask(f"Task ID not found: {task_id[:200]}") from None

    def public(self, task_id: str) -> bytes:
        """Return a task as it was given; of one that a runner loaded, what is public."""
        return self._public.get(task_id) or self.task(task_id)

    def digest(self, task_id: str) -> str:
        """Return the digest of a task as it was given."""
        return hashlib.sha256(self.task(task_id)).hexdigest()

    async def prompt(self, task_id: str) -> str:
        """Return the question: the benchmark's own prompt belongs to the benchmark's own tasks."""
        self.task(task_id)
        return self._questions[task_id]

    def evaluate(self, run: str, submissions: Sequence[Submission]) -> Verdicts:
        """Have the grader judge."""
        return self._grader.evaluate(run, submissions)

    async def score(self, run: str, results: Mapping[str, Result | None]) -> FinalScore | None:
        """Have the grader score."""
        return await self._grader.score(run, results)

    def _add(self, number: int, task: dict[str, Any]) -> None:
        task_id, question = task.get("id"), task.get("question")
        if not isinstance(task_id, str) or not 0 < len(task_id) <= LONGEST_ID or not task_id.isprintable():
            raise DatasetError(f"task number {number} has no usable id: expected 1 to {LONGEST_ID} characters")
        if not isinstance(question, str):
            raise DatasetError(f"task number {number}, {task_id!r}, has no question: expected a text")
        if task_id in self._tasks:
            raise DatasetError(f"two tasks have the id {task_id!r}, the second is number {number}")
        self._tasks[task_id] = _encode(task)
        self._questions[task_id] = question


def read_task_file(path: Path) -> TaskFile:
    """Read tasks from a file: JSON lines, a JSON list, or an object with the list under ``tests`` or ``tasks``.

    Such an object may name the dataset, as ``dataset_name`` or ``dataset``.

    Raises :class:`~benchhost.errors.UsageError` when the file cannot be read and
    :class:`~benchhost.errors.DatasetError` when it holds something else.
    """
    text = text_of(path)
    if not text.strip():
        raise DatasetError(f"{path} is empty: there are no tasks in it")
    document: Any
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        document = _lines(text, path)
    except RecursionError:
        raise DatasetError(f"{path} is nested too deeply") from None
    named = None
    if isinstance(document, dict) and "question" in document:
        document = [document]
    elif isinstance(document, dict):
        named = document.get("dataset_name") or document.get("dataset")
        document = document.get("tests", document.get("tasks"))
    if not isinstance(document, list) or not all(isinstance(task, dict) for task in document):
        raise DatasetError(
            f'{path}: expected tasks, each an object with id and question, as JSON lines, a list, or {{"tests": [...]}}'
        )
    return TaskFile(document, named if isinstance(named, str) else None)


def _lines(text: str, path: Path) -> list[Any]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line))
            except msgspec.DecodeError as error:
                raise DatasetError(f"{path}, line {number}: not JSON: {error}") from None
            except RecursionError:
                raise DatasetError(f"{path}, line {number}: nested too deeply") from None
    return found


def text_of(path: Path) -> str:
    """Read a file of text that somebody gave.

    Raises :class:`~benchhost.errors.UsageError` when it cannot be read.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None
