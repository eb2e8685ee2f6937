"""A benchmark as the host has it: what is known of it, and the grader processes that do its work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from typing import Literal

from benchhost import errors
from benchhost.contract import Probing
from benchhost.errors import GraderDied, NotOffered, PluginFault, Unavailable
from benchhost.evaluation.frames import Answer, Call, Item
from benchhost.evaluation.graders import Graders
from benchhost.evaluation.limits import Gate
from benchhost.evaluation.outcomes import Lost, error_of
from benchhost.evaluation.pieces import Ended, in_pieces
from benchhost.evaluation.process import Plugin, Tell, Zygote
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
                f"Dataset '{(dataset or 'default')[:200]}' not found. Available datasets: {available}"
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
        :class:`~benchhost.evaluation.outcomes.Declined` when the author's hook said itself that there is no
        verdict, and :class:`~benchhost.errors.GradingFailed` for everything that is our failure.
        """
        graders = self._scorers if len(body) > LARGE and operation in SCORING else self._graders
        call = self._call(operation, dataset, [Item(task, body)])
        with self.in_use():
            try:
                said = await graders.ask(call, tell)
            except Lost as lost:
                if lost.alone:
                    raise graders.blame(lost, call) from None
                said = await graders.ask_alone(call, tell)
        if isinstance(said, Answer):
            return said
        raise error_of(said)

    async def call_each(
        self,
        operation: str,
        *,
        dataset: str,
        items: Sequence[Item],
        allowed: Gate,
        on_begin: Callable[[int, int], None],
    ) -> AsyncGenerator[Ended, None]:
        """Have an operation done on each of many items, as :func:`~benchhost.evaluation.pieces.in_pieces` does.

        What :meth:`call` would raise for an item is yielded in the place of its answer.
        """
        call = self._call(operation, dataset, items)
        with self.in_use():
            async with aclosing(in_pieces(self._graders, call, allowed, on_begin)) as pieces:
                async for ended in pieces:
                    yield ended

    def _call(self, operation: str, dataset: str, items: Sequence[Item]) -> Call:
        return Call(operation=operation, dataset=dataset, deadline=self._deadline(operation), items=items)

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


class _Use(AbstractContextManager[None]):
    """Counts its users, of which there may be many at once. A generator would cost each of them more than the count."""

    def __init__(self) -> None:
        self.users = 0
        self.over = asyncio.Event()
        self.over.set()

    def __enter__(self) -> None:
        if not self.users:
            self.over.clear()
        self.users += 1

    def __exit__(self, *_: object) -> None:
        self.users -= 1
        if not self.users:
            self.over.set()
