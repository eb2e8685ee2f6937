"""The grader processes of one benchmark: how many there are, and what becomes of calls when one ends."""

from __future__ import annotations

import asyncio

from benchhost.errors import GraderDied, GradingFailed, HookOverran, PluginFault
from benchhost.evaluation.frames import Call
from benchhost.evaluation.outcomes import Lost, Said
from benchhost.evaluation.process import GraderProcess, Plugin, Promise, Tell, Zygote
from benchhost.registry import Description

CHECK_EVERY = 1.0
"""Seconds between two looks at whether a grader is blocked."""

ALONE = 4
"""The most processes in which calls are asked again alone, at the same time."""

SPARE = 2
"""The most graders that are started in the place of such as are silent and may be blocked."""


class Graders:
    """At most ``most`` processes that share a benchmark's calls, each started when the others have work.

    When one ends although it should not, every call that it had not answered is asked again, each alone
    in a process of its own: so the one that is to blame is found out, and the others are judged after all.
    """

    def __init__(self, mother: Zygote, plugin: Plugin, *, load_timeout: float, most: int) -> None:
        self.processes: list[GraderProcess] = []
        self._mother = mother
        self._plugin = plugin
        self._name = plugin.entry.name
        self._load_timeout = load_timeout
        self._most = most
        self._starting: asyncio.Task[GraderProcess] | None = None
        self._alone = asyncio.Semaphore(ALONE)
        self._checking: asyncio.Task[None] | None = None

    async def open(self) -> Description:
        """Start the first process, and return what it has found.

        Raises :class:`~benchhost.errors.PluginFault`, and :class:`~benchhost.errors.GraderDied` when
        there is nothing to fork it from.
        """
        grader = GraderProcess(self._mother, self._plugin)
        description = await grader.open(self._load_timeout)
        self._add(grader)
        return description

    @property
    def lanes(self) -> int:
        """How many processes calls can be divided among at the moment."""
        return max(1, sum(grader.usable for grader in self.processes))

    async def ask(self, call: Call, tell: Tell | None = None) -> Said:
        """Make a call about one item.

        Raises :class:`~benchhost.evaluation.outcomes.Lost` when the process ends, and
        :class:`~benchhost.errors.GraderDied` when there is none.
        """
        answer = _Answer()
        await self.begin(answer, call, tell)
        return await answer.said

    async def begin(self, promise: Promise, call: Call, tell: Tell | None = None) -> None:
        """Make a call as soon as there is a process for it. What :meth:`ask` would raise is given to the promise."""
        try:
            grader = self._free()
            if grader is None:
                grader = await asyncio.shield(self._begin_another())
        except GraderDied as error:
            for position in range(len(call.items)):
                promise.settle(position, error)
        else:
            grader.call(promise, call, tell)

    async def ask_alone(self, call: Call, tell: Tell | None = None) -> Said:
        """Make a call about one item again, which was lost, alone in a process of its own.

        Raises :class:`~benchhost.errors.GradingFailed`.
        """
        async with self._alone:
            grader = GraderProcess(self._mother, self._plugin)
            try:
                await grader.open(self._load_timeout)
                self._add(grader)  # so that it is watched; retired, so that it gets no other call
                grader.retired = True
                answer = _Answer()
                grader.call(answer, call, tell)
                return await answer.said
            except PluginFault as fault:
                raise self._not_again(fault) from fault
            except Lost as lost:
                raise self.blame(lost, call) from None

    def blame(self, lost: Lost, call: Call) -> GradingFailed:
        """Make the error of a call that alone can have ended its process."""
        if lost.blocked:
            return HookOverran(f"{self._name}: {call.operation} blocked its process beyond {call.deadline:g} s")
        return GraderDied(f"{self._name}: the grading process ended during {call.operation}")

    def close(self) -> None:
        """End the processes."""
        for task in (self._checking, self._starting):
            if task is not None:
                task.cancel()
        for grader in self.processes:
            grader.kill()

    def _free(self) -> GraderProcess | None:
        """Find the process with the least to do; ``None`` when another must be started first."""
        if len(self.processes) == self._most == 1 and self.processes[0].usable:
            return self.processes[0]
        self.processes = [grader for grader in self.processes if not grader.retired or grader.outstanding]
        usable = [grader for grader in self.processes if not grader.retired]
        if (heard := [grader for grader in usable if not grader.silent]) or len(usable) >= self._most + SPARE:
            usable = heard or usable
        else:
            return None
        best = min(usable, key=lambda grader: grader.outstanding) if len(usable) > 1 else usable[0]
        if best.outstanding and len(usable) < self._most:
            self._begin_another()
        return best

    def _begin_another(self) -> asyncio.Task[GraderProcess]:
        if self._starting is None:
            self._starting = asyncio.create_task(self._another())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits
        return self._starting

    async def _another(self) -> GraderProcess:
        try:
            grader = GraderProcess(self._mother, self._plugin)
            try:
                await grader.open(self._load_timeout)
            except PluginFault as fault:
                raise self._not_again(fault) from fault
            except asyncio.CancelledError:  # by `close`; whoever waits for it was cancelled by nobody
                raise GraderDied(f"{self._name} is no longer served, so no grader of it is started") from None
            self._add(grader)
            return grader
        finally:
            self._starting = None

    def _add(self, grader: GraderProcess) -> None:
        self.processes.append(grader)
        if self._checking is None:
            self._checking = asyncio.create_task(self._check())

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            for grader in self.processes:
                grader.check()

    def _not_again(self, fault: PluginFault) -> GraderDied:
        return GraderDied(f"{self._name}: a grader could not be started again: {fault}")


class _Answer:
    """The promise of a call about one item, which is awaited."""

    def __init__(self) -> None:
        self.said: asyncio.Future[Said] = asyncio.get_running_loop().create_future()

    def settle(self, position: int, outcome: Said | Exception) -> None:
        if self.said.done():  # whoever waited was cancelled
            return
        if isinstance(outcome, Exception):
            self.said.set_exception(outcome)
        else:
            self.said.set_result(outcome)
