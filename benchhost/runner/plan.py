"""What is still to be done of a run: the selected tasks times epochs, less what is finished."""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterator, Sequence

import msgspec

from benchhost.contract import EvaluationStatus, GenerationStatus
from benchhost.errors import UnknownTask
from benchhost.runner.config import RunConfig, RunOptions
from benchhost.runner.source import Source
from benchhost.store import AttemptRecord


class Work(enum.IntEnum):
    """What is owed for one task and epoch."""

    GENERATE = 0
    EVALUATE = 1
    NOTHING = 2


class Owed(msgspec.Struct, frozen=True):
    """An attempt to be made (``number`` is then a new one), or one whose response is to be evaluated."""

    task_id: str
    epoch: int
    number: int
    work: Work


class Plan:
    """Three bytes for each task and epoch: what is owed, and how many attempts there were.

    The order is that of the tasks, epoch by epoch, so that a run that is stopped has seen as many tasks as it can.
    """

    def __init__(self, task_ids: Sequence[str], epochs: int) -> None:
        self._ids = task_ids
        self._places = {task_id: place for place, task_id in enumerate(task_ids)}
        self.size = len(task_ids) * epochs
        self._epochs = epochs
        self._work = bytearray(self.size)
        self._numbers = array("H", bytes(2 * self.size))

    def saw(self, record: AttemptRecord, work: Work) -> bool:
        """Take note of a recorded attempt and what it leaves to do; ``False`` if the run does not want it."""
        place = self._places.get(record.task)
        if place is None or not 1 <= record.epoch <= self._epochs:
            return False
        slot = (record.epoch - 1) * len(self._ids) + place
        self._numbers[slot] = max(self._numbers[slot], record.number)
        if record.latest:
            self._work[slot] = work
        return True

    def owed(self, options: RunOptions) -> Iterator[Owed]:
        """Yield what is to be done now, under these options."""
        wanted = {Work.GENERATE} if options.generate else set()
        wanted |= {Work.EVALUATE} if options.evaluate else set()
        for slot in range(self.size):
            work = Work(self._work[slot])
            if work not in wanted:
                continue
            epoch, place = divmod(slot, len(self._ids))
            task_id = self._ids[place]
            if options.only is None or task_id in options.only:
                number = self._numbers[slot] + (work is Work.GENERATE)
                yield Owed(task_id, epoch + 1, number, work)

    def count(self, work: Work) -> int:
        """Return for how many tasks and epochs this work is owed, whether or not it is done now."""
        return self._work.count(work)


_JUDGED = frozenset(status.value for status in EvaluationStatus if not status.retriable)


class WorkLeft:
    """Says what recorded attempts leave to do.

    A response to a task whose content has changed counts for nothing, nor does a verdict of another
    version of the evaluator. What is judged in its sandbox is judged there or not at all: without a verdict
    the attempt is made again. ``retry`` is :attr:`RunOptions.retry`.
    """

    def __init__(self, source: Source, config: RunConfig, retry: frozenset[str]) -> None:
        self._source = source
        self._config = config
        self._retry = retry
        in_sandboxes = source.instances is not None and source.instances.judged
        self._again = Work.GENERATE if in_sandboxes else Work.EVALUATE
        self._known: dict[tuple[str, str, bool, str | None, str | None], Work] = {}

    def by(self, record: AttemptRecord) -> Work:
        """Say what one attempt leaves to do. Of a hundred thousand, most are in one of a few states."""
        try:
            if record.task_digest != self._source.digest(record.task):
                return Work.GENERATE
        except UnknownTask:  # it has gone from the dataset
            return Work.GENERATE
        state = (record.status, record.kind, record.retriable, record.evaluation_status, record.evaluator_version)
        work = self._known.get(state)
        if work is None:
            work = self._known[state] = self._by_state(record)
        return work

    def _by_state(self, record: AttemptRecord) -> Work:
        judged, retry = record.evaluation_status, self._retry
        if record.retriable or record.status in retry:
            return Work.GENERATE
        if record.status != GenerationStatus.SUCCESS:
            if record.kind in retry:
                return Work.GENERATE
            return Work.NOTHING if judged else Work.EVALUATE
        if judged not in _JUDGED or record.evaluator_version != self._config.evaluator_version:
            return self._again
        return self._again if judged in retry or (record.kind and record.kind in retry) else Work.NOTHING
