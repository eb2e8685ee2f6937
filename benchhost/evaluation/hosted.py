"""A benchmark as the host has it: what is known of it, and the grader processes that do its work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol, TypeVar

from benchhost import errors
from benchhost.discovery import Entry
from benchhost.errors import GraderDied, GradingFailed, HookOverran, NotOffered, PluginFault, RequestError, Unavailable
from benchhost.evaluation.frames import Answer, Refused
from benchhost.evaluation.process import GraderProcess, Lost, Outcome, Tell, Zygote
from benchhost.registry import REASONS, Description, Fault
from benchhost.tasks import Catalogue

CHECK_EVERY = 1.0
"""Seconds between two looks at whether a grader is blocked."""

ALONE = 4
"""The most processes in which calls are asked again alone, at the same time."""

SPARE = 2
"""The most graders that are started in the place of such as are silent and may be blocked."""

State = Literal["loading", "serving", "faulty"]

KeyT = TypeVar("KeyT")


class Allowance(Protocol):
    """A limit on how many calls may be under way: see :class:`benchhost.evaluation.limits.Gate`."""

    def take(self) -> bool:
        """Take one, if one is free."""
        ...

    async def wait(self) -> bool:
        """Wait for one and take it."""
        ...

    def give_back(self) -> None:
        """Give one back."""
        ...


class HostedBenchmark:
    """One installed benchmark, from the moment its plugin was found.

    Its hooks run in grader processes. When one of those ends although it should not, every call that
    it had not answered is asked again, each alone in a process of its own: so the one that is to blame
    is found out, and the others are judged after all.
    """

    def __init__(
        self,
        mother: Zygote,
        entry: Entry,
        settings: Mapping[str, Any],
        *,
        load_timeout: float,
        graders: int,
        on_fault: Callable[[Fault], None],
    ) -> None:
        self.entry = entry
        self.fault: Fault | None = None
        self.memo: dict[str, bytes] = {}
        """Answers that stay the same for as long as this plugin is loaded, encoded once."""
        self._mother = mother
        self._settings = settings
        self._load_timeout = load_timeout
        self._most_graders = graders
        self._on_fault = on_fault
        self._graders: list[GraderProcess] = []
        self._starting: asyncio.Task[GraderProcess] | None = None
        self._alone = asyncio.Semaphore(ALONE)
        self._description: Description | None = None
        self._opening: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._calls = 0
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def name(self) -> str:
        """The name under which it is mounted."""
        return self.entry.name

    @property
    def version(self) -> str:
        """The version of the evaluator, once it is loaded."""
        assert self._description is not None
        return self._description.version

    @property
    def listed(self) -> bool:
        """Whether callers may ask for the list of tasks, once it is loaded."""
        assert self._description is not None
        return self._description.listed

    @property
    def datasets(self) -> dict[str, int]:
        """The number of tasks of each dataset, once it is loaded."""
        assert self._description is not None
        return {name: len(catalogue.ids) for name, catalogue in self._description.catalogues.items()}

    def offers(self, hook: str) -> bool:
        """Whether the author has written a hook, once it is loaded."""
        assert self._description is not None
        return hook in self._description.hooks

    @property
    def state(self) -> State:
        """Whether it is being loaded, can be used, or is faulty."""
        if self.fault is not None:
            return "faulty"
        return "loading" if self._description is None else "serving"

    def open(self) -> None:
        """Begin to load the plugin, in the background."""
        self._opening = asyncio.create_task(self._open())

    async def loaded(self) -> None:
        """Wait until the plugin is loaded or found faulty."""
        if self._opening is not None:
            await asyncio.shield(self._opening)

    async def ready(self) -> Description:
        """Wait until the plugin is loaded.

        Raises :class:`~benchhost.errors.Unavailable` when it is faulty.
        """
        if self._description is None:
            with self.in_use():
                await self.loaded()
            if self.fault is not None:
                raise unavailable(self.fault)
        assert self._description is not None
        return self._description

    def catalogue(self, dataset: str | None) -> Catalogue:
        """Find a dataset's catalogue; none, or an empty name, means the default one.

        Raises :class:`~benchhost.errors.UnknownDataset`.
        """
        assert self._description is not None
        catalogues = self._description.catalogues
        try:
            return catalogues[dataset or "default"]
        except KeyError:
            available = ", ".join(catalogues)
            raise errors.UnknownDataset(
                f"Dataset '{str(dataset)[:200]}' not found. Available datasets: {available}"
            ) from None

    def must_offer(self, hook: str) -> None:
        """Make sure that the author has written a hook.

        Raises :class:`~benchhost.errors.NotOffered`.
        """
        if not self.offers(hook):
            raise NotOffered(f"The benchmark {self.name} does not implement {hook}.")

    async def call(
        self, operation: str, *, dataset: str = "", task: str = "", body: bytes = b"", tell: Tell | None = None
    ) -> Answer:
        """Have an operation done by a grader.

        Raises :class:`~benchhost.errors.RequestError` for what the caller got wrong,
        :class:`Declined` when the author's hook said itself that there is no verdict, and
        :class:`~benchhost.errors.GradingFailed` for everything that is our failure.
        """
        with self.in_use():
            try:
                outcome = await (await self._ask(operation, dataset, task, body, tell))
            except Lost as lost:
                if lost.alone:
                    raise self._blame(lost, operation) from None
                outcome = await self._call_alone(operation, dataset, task, body, tell)
        if isinstance(outcome, Answer):
            return outcome
        raise _error(outcome)

    async def call_each(
        self, operation: str, dataset: str, items: Iterable[tuple[KeyT, str, bytes]], allowed: Allowance
    ) -> AsyncGenerator[list[tuple[KeyT, Answer | Exception]], None]:
        """Have an operation done on many tasks, given as ``(key, task, body)``; yield what is ready, by its key.

        ``allowed`` is asked before each call is begun, and given back after. What :meth:`call` would
        raise for a task is yielded in the place of its answer.
        """
        waiting: dict[asyncio.Future[Outcome], tuple[KeyT, str, bytes]] = {}
        ready: list[asyncio.Future[Outcome]] = []
        news = asyncio.Event()
        turn: asyncio.Task[bool] | None = None

        def done(future: asyncio.Future[Outcome]) -> None:
            ready.append(future)
            news.set()

        with self.in_use():
            queue = iter(items)
            item = next(queue, None)
            try:
                while item is not None or waiting:
                    while item is not None:
                        if turn is not None and turn.done():
                            turn = None
                        elif turn is not None or not allowed.take():
                            break
                        future = await self._ask(operation, dataset, item[1], item[2])
                        waiting[future] = item
                        future.add_done_callback(done)
                        item = next(queue, None)
                    if item is not None and turn is None:
                        turn = asyncio.create_task(allowed.wait())
                        turn.add_done_callback(lambda _: news.set())
                    await news.wait()
                    news.clear()
                    settled: list[tuple[KeyT, Answer | Exception]] = []
                    while ready:
                        future = ready.pop()
                        key, task, body = waiting.pop(future)
                        lost = future.exception()
                        if isinstance(lost, Lost) and not lost.alone:  # the others need not wait for this one
                            again = asyncio.ensure_future(self._call_alone(operation, dataset, task, body))
                            waiting[again] = (key, task, body)
                            again.add_done_callback(done)
                        else:
                            allowed.give_back()
                            settled.append((key, self._outcome(future, operation)))
                    if settled:
                        yield settled
            finally:
                if turn is not None and not turn.cancel():
                    allowed.give_back()
                for future in waiting:
                    future.cancel()
                    allowed.give_back()

    def _outcome(self, future: asyncio.Future[Outcome], operation: str) -> Answer | Exception:
        try:
            outcome = future.result()
        except Lost as lost:
            return self._blame(lost, operation)
        except Exception as error:  # each to be recorded as the outcome of its own task
            return error
        return outcome if isinstance(outcome, Answer) else _error(outcome)

    def _deadline(self) -> float:
        assert self._description is not None
        return self._description.evaluation_timeout

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the graders until the end of the ``with`` statement, also when the plugin is replaced meanwhile."""
        self._calls += 1
        self._drained.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._drained.set()

    async def _ask(
        self, operation: str, dataset: str, task: str, body: bytes, tell: Tell | None = None
    ) -> asyncio.Future[Outcome]:
        try:
            grader = self._free_grader() or await self._start()
        except GraderDied as error:
            future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future
        return grader.call(operation, dataset, task, body, self._deadline(), tell)

    async def drain(self, timeout: float) -> None:
        """Wait until nobody uses it, at most ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._calls:  # one may have begun between the end of the last one and now
                    await self._drained.wait()

    def close(self) -> None:
        """Stop loading and end the graders."""
        for task in (self._opening, self._checking, self._starting):
            if task is not None:
                task.cancel()
        for grader in self._graders:
            grader.kill()

    async def _open(self) -> None:
        grader = GraderProcess(self._mother, self.entry, self._settings)
        try:
            self._description = await grader.open(self._load_timeout)
        except Exception as error:  # nothing may leave those who ask for it waiting for ever
            reason = error.reason if isinstance(error, PluginFault) else "load-died"
            self.fault = Fault(self.entry, reason, str(error))
            self._on_fault(self.fault)
            return
        self._graders.append(grader)
        self._checking = asyncio.create_task(self._check())

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            for grader in self._graders:
                grader.check()

    def _free_grader(self) -> GraderProcess | None:
        self._graders = [grader for grader in self._graders if not grader.retired or grader.outstanding]
        usable = [grader for grader in self._graders if not grader.retired]
        if (heard := [grader for grader in usable if not grader.silent]) or len(usable) >= self._most_graders + SPARE:
            usable = heard or usable
        else:
            return None
        best = min(usable, key=lambda grader: grader.outstanding) if len(usable) > 1 else usable[0]
        if best.outstanding and len(usable) < self._most_graders:
            self._begin_another()
        return best

    async def _start(self) -> GraderProcess:
        return await asyncio.shield(self._begin_another())

    def _begin_another(self) -> asyncio.Task[GraderProcess]:
        if self._starting is None:
            self._starting = asyncio.create_task(self._another())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits
        return self._starting

    async def _another(self) -> GraderProcess:
        try:
            grader = GraderProcess(self._mother, self.entry, self._settings)
            try:
                await grader.open(self._load_timeout)
            except PluginFault as fault:
                raise GraderDied(f"{self.name}: a grader could not be started again: {fault}") from fault
            self._graders.append(grader)
            return grader
        finally:
            self._starting = None

    async def _call_alone(
        self, operation: str, dataset: str, task: str, body: bytes, tell: Tell | None = None
    ) -> Outcome:
        async with self._alone:
            grader = GraderProcess(self._mother, self.entry, self._settings)
            try:
                await grader.open(self._load_timeout)
                self._graders.append(grader)  # so that it is watched; retired, so that it gets no other call
                grader.retired = True
                return await grader.call(operation, dataset, task, body, self._deadline(), tell)
            except PluginFault as fault:
                raise GraderDied(f"{self.name}: a grader could not be started again: {fault}") from fault
            except Lost as lost:
                raise self._blame(lost, operation) from None

    def _blame(self, lost: Lost, operation: str) -> GradingFailed:
        if lost.blocked:
            return HookOverran(f"{self.name}: {operation} blocked its process beyond {self._deadline():g} s")
        return GraderDied(f"{self.name}: the grading process ended during {operation}")


def unavailable(fault: Fault) -> Unavailable:
    """Make the error that a caller gets who asks for a faulty benchmark."""
    return Unavailable(f"The benchmark {fault.entry.name} is installed but cannot be served: {REASONS[fault.reason]}.")


class Declined(Exception):
    """The author's hook yielded an ``Error``: there is no verdict, and the message is for the submitter."""


_BY_SLUG: dict[str, type[errors.BenchhostError]] = {
    cls.slug: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.BenchhostError)
}


def _error(outcome: Outcome) -> Exception:
    if isinstance(outcome, Refused):
        if not outcome.slug:
            return Declined(outcome.message)
        if outcome.slug == errors.Malformed.slug:
            return errors.Malformed(outcome.message, tuple(outcome.location))
        return _BY_SLUG.get(outcome.slug, RequestError)(outcome.message)
    assert not isinstance(outcome, Answer)
    cls = _BY_SLUG.get(outcome.slug, GradingFailed)
    return cls(outcome.cause) if issubclass(cls, GradingFailed) else HookOverran(outcome.cause)
