"""Whether a host shows anything of what a benchmark hides.

The real application is started in this process with the benchmark and with copies of it whose hooks fail
(:mod:`benchhost.integrity.saboteur`). Every route that the application has is called, rightly and
wrongly (:mod:`benchhost.integrity.rounds`), and every byte of every answer is searched
(:mod:`benchhost.integrity.scanner`).
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from benchhost.discovery import entries
from benchhost.errors import SandboxError, UsageError
from benchhost.integrity.caller import Caller
from benchhost.integrity.opening import opened_benchmark
from benchhost.integrity.rounds import LeakReport, Rounds
from benchhost.integrity.saboteur import ACTS, IN_SANDBOXES, install_copy
from benchhost.integrity.tenants import key_of
from benchhost.server.app import App
from benchhost.server.host import Host
from benchhost.server.sandboxes import own_provider
from benchhost.settings import Settings
from benchhost.tasks import sample

TENANT, TRIAL, STRANGER = "tenant", "trial", "stranger"
"""Who calls: a tenant that may use everything, one on trial, and somebody without a key."""


async def search(
    settings: Settings, name: str, *, most: int = 20, seed: int = 0, acts: Collection[str] = tuple(ACTS)
) -> LeakReport:
    """Search for leaks of a benchmark, in ``most`` tasks of each of its datasets.

    ``acts`` are what the hooks of its copies do; ``canaries`` is always among them.

    Raises :class:`~benchhost.errors.UsageError` when no such plugin is installed, and
    :class:`~benchhost.errors.Unavailable` when it is faulty.
    """
    own_provider(settings)  # a wrong name of a provider is told before anything is opened
    found = [entry for entry in entries() if entry.name == name]
    if not found:
        installed = ", ".join(sorted({entry.name for entry in entries()})) or "none"
        raise UsageError(f"no installed plugin is called {name}; installed are: {installed}")
    with tempfile.TemporaryDirectory(prefix="leakcheck-") as folder, _on_path(Path(folder)):
        chosen, offered = await _chosen(settings, name, most, seed)
        left_out = {act for act, hook in IN_SANDBOXES.items() if hook not in offered}
        copies = {act: f"leakcheck-{act}" for act in ACTS if act in {*acts, "canaries"} - left_out}
        for act, copy in copies.items():
            install_copy(Path(folder), copy, found[0].object, act, chosen)
        host = Host(_closed_to_strangers(settings, Path(folder), name, list(copies.values())))
        app = App(host)
        caller = Caller(app)
        async with caller.life():
            await host.plugins_found()
            await host.roster.loaded()
            callers = {who: await key_of(host, who, trial=who == TRIAL) for who in (TENANT, TRIAL)} | {STRANGER: {}}
            unavailable = await _why_no_sandboxes(host) if offered else None
            sandboxes = bool(offered) and unavailable is None
            rounds = Rounds(host.roster, caller, app.routes, chosen, callers, sandboxes=sandboxes)
            if unavailable is not None:
                rounds.cannot_search(f"what {', '.join(sorted(offered))} show: {unavailable}")
            return await rounds.carry_out(name, copies)


async def _why_no_sandboxes(host: Host) -> str | None:
    try:
        await host.sandboxes.provider()
    except SandboxError as error:
        return f"there are no sandboxes here ({error})"
    return None


def _closed_to_strangers(settings: Settings, folder: Path, name: str, copies: list[str]) -> Settings:
    """Make the settings of the host that is searched: the operator's, as far as they are about hooks."""
    return Settings(
        auth=("keys",),
        state=folder / "state",
        only=(name, *copies),
        benchmarks={**settings.benchmarks, **dict.fromkeys(copies, settings.plugin(name))},
        load_timeout=settings.load_timeout,
        allow_runs=True,
        sandbox=settings.sandbox,
        min_isolation=settings.min_isolation,
        allow_sandboxes=True,
        sandbox_images=("*",),
        drain_timeout=0.0,
    )


async def _chosen(settings: Settings, name: str, most: int, seed: int) -> tuple[dict[str, list[str]], set[str]]:
    """Choose tasks of each dataset; and say which hooks there are that work in sandboxes."""
    async with opened_benchmark(settings, name) as benchmark:
        await benchmark.ready()
        chosen = {
            dataset: sample(benchmark.catalogue(dataset).ids, most, seed)
            for dataset, number in benchmark.datasets.items()
            if number
        }
        return chosen, {hook for hook in IN_SANDBOXES.values() if benchmark.offers(hook)}


@contextlib.contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Have the processes of graders find what is installed in a folder."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), before]))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
