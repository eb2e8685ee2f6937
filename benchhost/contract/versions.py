"""Several versions of a dataset at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchhost.contract.task import Task

TaskT = TypeVar("TaskT", bound=Task)


@dataclass(frozen=True, slots=True)
class Versions(Generic[TaskT]):
    """The versions of a dataset, by their labels, for :meth:`~benchhost.Benchmark.load_datasets` to return.

    A label is 1 to 256 visible characters of ASCII: ``1.1``, ``2026-01``. ``current`` is the label of the version
    that is meant when a caller names none; left out, it is that of the last one.
    """

    tasks: Mapping[str, Iterable[TaskT]]
    current: str | None = None

    @property
    def label(self) -> str | None:
        """The label of the current version, or ``None`` when there is no version at all."""
        return self.current if self.current is not None else next(reversed([*self.tasks]), None)
