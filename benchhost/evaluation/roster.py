"""The benchmarks that a host serves at the moment, and how they change while it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec

from benchhost.errors import PluginFault, UnknownBenchmark, UsageError
from benchhost.evaluation.hosted import HostedBenchmark, unavailable
from benchhost.evaluation.process import Plugin, Zygote
from benchhost.log import get_logger
from benchhost.registry import Fault, sort_out

_log = get_logger()

LINGER = 0.5
"""Seconds that replaced plugins are kept before it is asked whether anybody still uses them."""


class Hosting(msgspec.Struct, frozen=True, kw_only=True):
    """How benchmarks are hosted.

    ``key`` is the secret that digests of tasks are keyed with. ``settings_of`` gives the operator's
    settings of a plugin by its name; ``only`` names the plugins to serve (all, when it is empty);
    ``load_timeout`` and ``drain_timeout`` are in seconds; ``graders`` is the most grader processes that
    a benchmark may have. ``on_fault`` is told of each plugin that turns out to be faulty. With
    ``announce``, the log says what is served as soon as all plugins are loaded.
    """

    key: bytes = b""
    settings_of: Callable[[str], Mapping[str, Any]] = lambda _: {}
    only: Collection[str] = ()
    load_timeout: float = 60.0
    drain_timeout: float = 300.0
    graders: int = 1
    on_fault: Callable[[Fault], None] = lambda _: None
    announce: bool = False


class _Installation:
    """The plugins that were installed at one time, with the process that their graders are forked from."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._mother = Zygote()
        self.benchmarks: dict[str, HostedBenchmark] = {}
        self.faults: list[Fault] = []

    async def open(self) -> None:
        await self._mother.open()
        hosting = self._hosting
        entries = [entry for entry in self._mother.entries if not hosting.only or entry.name in hosting.only]
        if missing := sorted(set(hosting.only) - {entry.name for entry in entries}):
            installed = ", ".join(entry.name for entry in self._mother.entries) or "none"
            raise UsageError(f"no installed plugin is called {', '.join(missing)}; installed are: {installed}")
        good, self.faults = sort_out(entries)
        for fault in self.faults:
            hosting.on_fault(fault)
        for name, entry in good.items():
            self.benchmarks[name] = HostedBenchmark(
                self._mother,
                Plugin(entry, hosting.settings_of(name), hosting.key),
                load_timeout=hosting.load_timeout,
                graders=hosting.graders,
                on_fault=hosting.on_fault,
            )
        for benchmark in self.benchmarks.values():
            benchmark.open()

    async def loaded(self) -> None:
        await asyncio.gather(*[benchmark.loaded() for benchmark in self.benchmarks.values()])

    async def close(self, drain_timeout: float) -> None:
        await asyncio.gather(*[benchmark.drain(drain_timeout) for benchmark in self.benchmarks.values()])
        for benchmark in self.benchmarks.values():
            benchmark.close()
        await self._mother.close()


class Roster:
    """Every installed benchmark, by name."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._installation = _Installation(hosting)
        self._reloading = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._announcing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the plugins and begin to load them, without waiting for them.

        Raises :class:`~benchhost.errors.UsageError` when one that is to be served is not installed.
        """
        await self._installation.open()
        if self._hosting.announce:
            self._announcing = asyncio.create_task(self._announce())

    async def loaded(self) -> None:
        """Wait until every plugin is loaded or found faulty."""
        await self._installation.loaded()

    async def _announce(self) -> None:
        await self._installation.loaded()
        self._tell("plugins loaded")

    def _tell(self, event: str) -> None:
        served = {benchmark.name: benchmark.datasets for benchmark in self if benchmark.state == "serving"}
        _log.info(event, benchmarks=served, faulty=len(self.faults()))

    async def reload(self) -> None:
        """Find and load all plugins anew, then serve those; what is under way with the old ones is finished first.

        Whoever asks for a benchmark meanwhile is given the old one. When the new plugins cannot even be
        looked for, the old ones stay.
        """
        async with self._reloading:
            fresh = _Installation(self._hosting)
            try:
                await fresh.open()
            except BaseException:
                await fresh.close(0)
                raise
            await fresh.loaded()
            old, self._installation = self._installation, fresh
        leaving = asyncio.create_task(self._let_go(old))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        self._tell("plugins reloaded")

    async def _let_go(self, old: _Installation) -> None:
        # A request that has already found its benchmark may be a few turns of the event loop from using it.
        await asyncio.sleep(LINGER)
        await old.close(self._hosting.drain_timeout)

    def __iter__(self) -> Iterator[HostedBenchmark]:
        return iter(self._installation.benchmarks.values())

    def get(self, name: str) -> HostedBenchmark:
        """Find a benchmark.

        Raises :class:`~benchhost.errors.UnknownBenchmark`, and :class:`~benchhost.errors.Unavailable`
        for a name that is not served because of a fault.
        """
        try:
            return self._installation.benchmarks[name]
        except KeyError:
            for fault in self._installation.faults:
                if fault.entry.name == name:
                    raise unavailable(fault) from None
            raise UnknownBenchmark("No benchmark of that name is installed.") from None

    def serves(self, benchmark: HostedBenchmark) -> bool:
        """Say whether a benchmark is served still, and was not replaced by a reload."""
        return self._installation.benchmarks.get(benchmark.name) is benchmark

    def faults(self) -> list[Fault]:
        """List what is wrong with the plugins that cannot be served, as far as it is known by now."""
        found = [benchmark.fault for benchmark in self if benchmark.fault is not None]
        return sorted([*self._installation.faults, *found], key=lambda fault: fault.entry.name)

    def check(self) -> None:
        """Make sure that no plugin is faulty.

        Raises :class:`~benchhost.errors.PluginFault`, which tells of every one that is, with the reason of the first.
        """
        if faults := self.faults():
            causes = "\n".join(f"{fault.entry}: {fault.cause}" for fault in faults)
            told = causes if len(faults) == 1 else f"{len(faults)} plugins are faulty\n{causes}"
            raise PluginFault(faults[0].reason, told)

    async def close(self) -> None:
        """Let what is under way finish, then end every grader."""
        if self._announcing is not None:
            self._announcing.cancel()
        await self._installation.close(self._hosting.drain_timeout)
        await asyncio.gather(*self._leaving)
