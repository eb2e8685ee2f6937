"""The grader processes of one benchmark: how many there are, and what becomes of calls when one ends."""

from __future__ import annotations

import asyncio

from benchhost.errors import GraderDied, GradingFailed, HookOverran, PluginFault
from benchhost.evaluation.process import GraderProcess, Lost, Outcome, Plugin, Promise, Tell, Zygote
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

    async def ask(
        self, operation: str, dataset: str, task: str, body: bytes, deadline: float, tell: Tell | None = None
    ) -> Outcome:
        """Have something done.

        Raises :class:`~benchhost.evaluation.process.Lost` when the process ends, and
        :class:`~benchhost.errors.GraderDied` when there is none.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        await self.begin(future, operation, dataset, task, body, deadline, tell)
        return await future

    async def begin(
        self,
        promise: Promise,
        operation: str,
        dataset: str,
        task: str,
        body: bytes,
        deadline: float,
        tell: Tell | None = None,
    ) -> None:
        """Begin a call as soon as there is a process for it. What :meth:`ask` would raise is given to the promise."""
        try:
            grader = self._free()
            if grader is None:
                grader = await asyncio.shield(self._begin_another())
        except GraderDied as error:
            promise.set_exception(error)
        else:
            grader.call(promise, operation, dataset, task, body, deadline, tell)

    async def ask_alone(
        self, operation: str, dataset: str, task: str, body: bytes, deadline: float, tell: Tell | None = None
    ) -> Outcome:
        """Ask again what was lost, alone in a process of its own.

        Raises :class:`~benchhost.errors.GradingFailed`.
        """
        async with self._alone:
            grader = GraderProcess(self._mother, self._plugin)
            try:
                await grader.open(self._load_timeout)
                self._add(grader)  # so that it is watched; retired, so that it gets no other call
                grader.retired = True
                future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
                grader.call(future, operation, dataset, task, body, deadline, tell)
                return await future
            except PluginFault as fault:
                raise self._not_again(fault) from fault
            except Lost as lost:
                raise self.blame(lost, operation, deadline) from None

    def blame(self, lost: Lost, operation: str, deadline: float) -> GradingFailed:
        """Make the error of a call that alone can have ended its process."""
        if lost.blocked:
            return HookOverran(f"{self._name}: {operation} blocked its process beyond {deadline:g} s")
        return GraderDied(f"{self._name}: the grading process ended during {operation}")

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
