"""A benchmark as the host has it: what is known of it, and the grader processes that do its work."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractContextManager
from typing import Generic, Literal, Protocol, TypeVar

from benchhost import errors
from benchhost.contract import Probing
from benchhost.errors import (
    BenchhostError,
    GraderDied,
    GradingFailed,
    NotOffered,
    PluginFault,
    RequestError,
    SandboxError,
    Unavailable,
)
from benchhost.evaluation.frames import Answer, Refused
from benchhost.evaluation.graders import Graders
from benchhost.evaluation.process import Lost, Outcome, Plugin, Tell, Zygote
from benchhost.registry import REASONS, Description, Fault
from benchhost.tasks import Catalogue

LARGE = 256 * 1024
"""Bytes of results from which on they are scored in a process apart.

Decoding many results holds the interpreter's lock of its process for as long as it takes, and
evaluations are not to wait for it.
"""

PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds after which a plugin is loaded again, when no process to load it in could be had."""

SCORING = frozenset({"final_score", "score"})
"""The operations that are given results."""

PREPARING = frozenset({"setup_task", "place_submission"})
"""The operations that prepare a sandbox."""

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

    Its hooks run in grader processes (:mod:`benchhost.evaluation.graders`).
    """

    def __init__(
        self,
        mother: Zygote,
        plugin: Plugin,
        *,
        load_timeout: float,
        graders: int,
        on_fault: Callable[[Fault], None],
    ) -> None:
        self.entry = plugin.entry
        self.fault: Fault | None = None
        self.memo: dict[str, bytes] = {}
        """Answers that stay the same for as long as this plugin is loaded, encoded once."""
        self._on_fault = on_fault
        self._graders = Graders(mother, plugin, load_timeout=load_timeout, most=graders)
        self._scorers = Graders(mother, plugin, load_timeout=load_timeout, most=1)
        self._description: Description | None = None
        self._opening: asyncio.Task[None] | None = None
        self._use = _Use()

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

    @property
    def accepted(self) -> dict[str, list[str]]:
        """The shapes of submissions that it takes, by the type of the payload, once it is loaded."""
        assert self._description is not None
        return self._description.accepted

    @property
    def eval_mode(self) -> Literal["text", "sandbox"]:
        """Whether it judges responses as text, or what is done in a sandbox, once it is loaded."""
        return "text" if self.offers("evaluate_response") else "sandbox"

    @property
    def timeouts(self) -> tuple[float, float]:
        """The seconds that setting up, and that judging may take, once it is loaded."""
        assert self._description is not None
        return self._description.setup_timeout, self._description.evaluation_timeout

    @property
    def probing(self) -> dict[str, Probing]:
        """How much submitters are told, as the author has declared it, once it is loaded."""
        assert self._description is not None
        return self._description.probing

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

    def catalogue(self, dataset: str | None, version: str | None = None) -> Catalogue:
        """Find a dataset's catalogue; none, or an empty name, means the default one.

        ``version`` is the label or the fingerprint of one of its versions; without, it is the current one.

        Raises :class:`~benchhost.errors.UnknownDataset`, :class:`~benchhost.errors.NoVersions` when the
        author has declared no versions of it, and :class:`~benchhost.errors.UnknownVersion`.
        """
        assert self._description is not None
        catalogues = self._description.catalogues
        try:
            current = catalogues[dataset or "default"]
        except KeyError:
            available = ", ".join(catalogues)
            raise errors.UnknownDataset(
                f"Dataset '{str(dataset)[:200]}' not found. Available datasets: {available}"
            ) from None
        if version is None:
            return current
        if current.version is None:
            raise errors.NoVersions("Dataset version selection is not supported")
        every = [current, *self._description.others[current.name]]
        for each in every:
            if version in (each.version, each.fingerprint):
                return each
        known = ", ".join(str(each.version) for each in every)
        raise errors.UnknownVersion(f"The dataset {current.name} has no version {version[:200]}. It has: {known}")

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
        graders = self._scorers if len(body) > LARGE and operation in SCORING else self._graders
        deadline = self._deadline(operation)
        with self.in_use():
            try:
                outcome = await graders.ask(operation, dataset, task, body, deadline, tell)
            except Lost as lost:
                if lost.alone:
                    raise graders.blame(lost, operation, deadline) from None
                outcome = await graders.ask_alone(operation, dataset, task, body, deadline, tell)
        if isinstance(outcome, Answer):
            return outcome
        raise _error(outcome)

    async def call_each(
        self, operation: str, dataset: str, items: Iterable[tuple[KeyT, str, bytes]], allowed: Allowance
    ) -> AsyncGenerator[list[tuple[KeyT, Answer | Exception, float]], None]:
        """Have an operation done on many tasks, given as ``(key, task, body)``; yield what is ready.

        Each comes as its key, the answer and the seconds that it took. ``allowed`` is asked before each
        call is begun, and given back after. What :meth:`call` would raise for a task is yielded in the
        place of its answer.
        """
        waiting: set[_Each[KeyT]] = set()
        ready: list[_Each[KeyT]] = []
        news = asyncio.Event()
        turn: asyncio.Task[bool] | None = None
        deadline = self._deadline(operation)

        def settle(each: _Each[KeyT]) -> None:
            ready.append(each)
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
                        each = _Each(*item, settle)
                        waiting.add(each)
                        await self._graders.begin(each, operation, dataset, each.task, each.body, deadline)
                        item = next(queue, None)
                    if item is not None and turn is None:
                        turn = asyncio.create_task(allowed.wait())
                        turn.add_done_callback(lambda _: news.set())
                    await news.wait()
                    news.clear()
                    settled: list[tuple[KeyT, Answer | Exception, float]] = []
                    while ready:
                        each = ready.pop()
                        if isinstance(each.outcome, Lost) and not each.outcome.alone:
                            each.outcome = None  # the others need not wait for this one
                            each.alone = asyncio.ensure_future(
                                self._graders.ask_alone(operation, dataset, each.task, each.body, deadline)
                            )
                            each.alone.add_done_callback(each.settle_alone)
                        else:
                            waiting.discard(each)
                            allowed.give_back()
                            settled.append((each.key, self._outcome(each.outcome, operation), each.seconds))
                    if settled:
                        yield settled
            finally:
                if turn is not None and not turn.cancel():
                    allowed.give_back()
                for each in waiting:
                    each.abandon()
                    allowed.give_back()

    def _outcome(self, outcome: Outcome | Exception | None, operation: str) -> Answer | Exception:
        if isinstance(outcome, Answer):
            return outcome
        if isinstance(outcome, Lost):
            return self._graders.blame(outcome, operation, self._deadline(operation))
        if isinstance(outcome, Exception):  # each to be recorded as the outcome of its own task
            return outcome
        assert outcome is not None
        return _error(outcome)

    def _deadline(self, operation: str) -> float:
        assert self._description is not None
        if operation in PREPARING:
            return self._description.setup_timeout
        return self._description.evaluation_timeout

    def in_use(self) -> AbstractContextManager[None]:
        """Keep the graders until the end of the ``with`` statement, also when the plugin is replaced meanwhile."""
        return self._use

    async def drain(self, timeout: float) -> None:
        """Wait until nobody uses it, at most ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._use.users:  # one may have begun between the end of the last one and now
                    await self._use.over.wait()

    def close(self) -> None:
        """Stop loading and end the graders."""
        if self._opening is not None:
            self._opening.cancel()
        self._graders.close()
        self._scorers.close()

    async def _open(self) -> None:
        try:
            self._description = await self._first_grader()
        except Exception as error:  # nothing may leave those who ask for it waiting for ever
            reason = error.reason if isinstance(error, PluginFault) else "load-died"
            self.fault = Fault(self.entry, reason, str(error))
            self._on_fault(self.fault)

    async def _first_grader(self) -> Description:
        for pause in PAUSES:
            try:
                return await self._graders.open()
            except GraderDied:  # a want of processes or of memory passes, and is no fault of the plugin
                await asyncio.sleep(pause)
        return await self._graders.open()


def unavailable(fault: Fault) -> Unavailable:
    """Make the error that a caller gets who asks for a faulty benchmark."""
    return Unavailable(f"The benchmark {fault.entry.name} is installed but cannot be served: {REASONS[fault.reason]}.")


class _Each(Generic[KeyT]):
    """One call of many. It takes the place of a future, each of which would have the event loop turn for it."""

    __slots__ = ("_abandoned", "_began", "_settle", "alone", "body", "key", "outcome", "seconds", "task")

    def __init__(self, key: KeyT, task: str, body: bytes, settle: Callable[[_Each[KeyT]], None]) -> None:
        self.key = key
        self.task = task
        self.body = body
        self.outcome: Outcome | Exception | None = None
        self.alone: asyncio.Future[Outcome] | None = None
        self.seconds = 0.0
        self._began = time.monotonic()
        self._settle = settle
        self._abandoned = False

    def done(self) -> bool:
        return self._abandoned or self.outcome is not None

    def set_result(self, result: Outcome, /) -> None:
        self._have(result)

    def set_exception(self, exception: Exception, /) -> None:
        self._have(exception)

    def settle_alone(self, alone: asyncio.Future[Outcome]) -> None:
        if not alone.cancelled():
            error = alone.exception()
            self._have(error if isinstance(error, Exception) else alone.result())

    def abandon(self) -> None:
        self._abandoned = True
        if self.alone is not None:
            self.alone.cancel()

    def _have(self, outcome: Outcome | Exception) -> None:
        self.outcome = outcome
        self.seconds = time.monotonic() - self._began
        self._settle(self)


class _Use(AbstractContextManager[None]):
    """Counts its users, of which there may be many at once. A generator would cost each of them more than the count."""

    def __init__(self) -> None:
        self.users = 0
        self.over = asyncio.Event()
        self.over.set()

    def __enter__(self) -> None:
        self.users += 1
        self.over.clear()

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        if not self.users:
            self.over.set()


class Declined(Exception):
    """The author's hook yielded an ``Error``: there is no verdict, and the message is for the submitter."""


ErrorT = TypeVar("ErrorT", bound=errors.BenchhostError)


def _by_slug(root: type[ErrorT]) -> dict[str, type[ErrorT]]:
    return {cls.slug: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, root)}


_REFUSALS = _by_slug(RequestError)
_FAILURES: dict[str, type[BenchhostError]] = {**_by_slug(GradingFailed), **_by_slug(SandboxError)}


def _error(outcome: Outcome) -> Exception:
    if isinstance(outcome, Refused):
        if not outcome.slug:
            return Declined(outcome.message)
        if outcome.slug == errors.Malformed.slug:
            return errors.Malformed(outcome.message, tuple(outcome.location))
        return _REFUSALS.get(outcome.slug, RequestError)(outcome.message)
    assert not isinstance(outcome, Answer)
    kind = _FAILURES.get(outcome.slug, GradingFailed)
    return kind.__new__(kind, outcome.cause)  # not called, since some of them are made of other things than a cause
