"""A dataset as the host uses it: checked, indexed by id, fingerprinted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from benchhost.contract import Task, public, public_fields
from benchhost.errors import PluginFault
from benchhost.tasks.fingerprint import dataset_fingerprint, task_digest

TaskT = TypeVar("TaskT", bound=Task)

LONGEST_ID = 512
"""The most characters that the id of a task may have."""

# Control characters, the two line separators of Unicode, and halves of surrogate pairs: each would break
# a line of a log, a header or the encoding of an answer.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Dataset(Generic[TaskT]):
    """The tasks of a dataset by id, in its order, answers included. Lives where the author's code runs.

    ``public`` are the tasks' public projections as JSON and ``digests`` their digests, both in the same
    order; ``fingerprint`` is that of the whole dataset. ``version`` is its label, if the author has declared one.
    """

    name: str
    tasks: dict[str, TaskT]
    public: list[bytes]
    digests: list[str]
    fingerprint: str
    version: str | None = None


class Catalogue(msgspec.Struct, frozen=True, dict=True):
    """What may be known of a dataset outside the process that holds its answers; it contains nothing hidden.

    ``ids``, ``public`` (the public projections, as JSON) and ``digests`` are in the dataset's order.
    ``version`` is the label of its version, if the author has declared one.
    """

    name: str
    fingerprint: str
    ids: list[str]
    public: list[bytes]
    digests: list[str]
    version: str | None = None

    @property
    def key(self) -> str:
        """By what the dataset, in this version, is found where its answers are."""
        return key_of(self.name, self.version)

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where each id stands in ``ids``."""
        return {task_id: position for position, task_id in enumerate(self.ids)}


def key_of(name: str, version: str | None) -> str:
    """Say by what a dataset is found, in one version or, without, in its current one."""
    return f"{name}\n{version}" if version else name  # neither may contain a line feed


def index(
    name: str, tasks: Iterable[TaskT], key: bytes = b"", settings: str = "", version: str | None = None
) -> Dataset[TaskT]:
    """Go through the tasks of a dataset once, check each, and keep them by id.

    ``key`` is that of the digests, ``settings`` the digest of the benchmark's settings.

    Raises :class:`~benchhost.errors.PluginFault` with the reason ``invalid-task``, ``duplicate-task-id``
    or ``unserialisable-task``, and whatever the iterable raises. No message quotes more of a task than
    its id and the names of its fields.
    """
    by_id: dict[str, TaskT] = {}
    projections: list[bytes] = []
    digests: list[str] = []
    for number, task in enumerate(tasks, start=1):
        _check(name, number, task)
        if task.id in by_id:
            first = list(by_id).index(task.id) + 1
            raise PluginFault(
                "duplicate-task-id", f"dataset {name!r}: tasks number {first} and {number} both have the id {task.id!r}"
            )
        try:
            projections.append(_encode(public(task)))
            digests.append(task_digest(task, key))
        except Exception as error:  # a value may be of any type, and its encoding run any code of the author's
            raise _unusable(name, task, error) from None  # since what msgspec said may quote the value
        by_id[task.id] = task
    fingerprint = dataset_fingerprint(zip(by_id, digests, strict=True), settings)
    return Dataset(name, by_id, projections, digests, fingerprint, version)


def catalogue(dataset: Dataset[Any]) -> Catalogue:
    """Make the catalogue of a dataset."""
    ids = list(dataset.tasks)
    return Catalogue(dataset.name, dataset.fingerprint, ids, dataset.public, dataset.digests, dataset.version)


def _check(name: str, number: int, task: object) -> None:
    """Refuse what is not a task with a usable id."""
    if not isinstance(task, Task):
        problem = f"is of the type {type(task).__name__}, not a benchhost.Task"
    elif not isinstance(task.id, str):
        problem = f"has an id of the type {type(task.id).__name__}, not a str"
    elif not task.id:
        problem = "has an empty id"
    elif len(task.id) > LONGEST_ID:
        problem = f"has an id of {len(task.id)} characters, more than {LONGEST_ID}"
    elif _UNPRINTABLE.search(task.id):
        problem = f"has the id {task.id!r}, which contains a control character"
    elif not isinstance(task.question, str):
        problem = f"({task.id!r}) has a question of the type {type(task.question).__name__}, not a str"
    elif not _is_timeout(task.timeout):
        problem = f"({task.id!r}) has a timeout that is neither None nor a finite number of seconds, 0 or more"
    else:
        return
    raise PluginFault("invalid-task", f"dataset {name!r}: task number {number} {problem}")


def _is_timeout(timeout: object) -> bool:
    if timeout is None:
        return True
    return isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 <= timeout < math.inf


def _unusable(name: str, task: Task, failure: Exception) -> PluginFault:
    """Say which field of a task cannot be encoded, and why, without quoting its value."""
    where = f"dataset {name!r}: the task {task.id!r}"
    try:
        public_fields(type(task))
    except Exception as error:
        kind = type(task).__name__
        return PluginFault("invalid-task", f"{where} is a {kind}, whose annotations cannot be used: {error}")
    said = str(failure)
    if not said.startswith("Encoding objects of type "):  # only this text is known to name a type and no value
        said = type(failure).__name__
    fields = [field.name for field in msgspec.structs.fields(type(task)) if not _encodes(getattr(task, field.name))]
    subject = f"its field {fields[0]!r}" if fields else "it"
    return PluginFault("unserialisable-task", f"{where}: {subject} cannot be encoded as JSON ({said})")


def _encodes(value: object) -> bool:
    try:
        _encode(value)
        msgspec.to_builtins(value, str_keys=True, order="deterministic")
    except Exception:
        return False
    return True
