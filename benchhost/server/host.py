"""What one worker process of the server has at hand."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchhost.access import Gatekeeper, quotas_of
from benchhost.evaluation.collector import settle
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.limits import Limits
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.probing import Policies
from benchhost.evaluation.roster import Hosting, Roster
from benchhost.evaluation.setups import Setups
from benchhost.log import get_logger
from benchhost.registry import Fault
from benchhost.server.bodies import Bodies
from benchhost.server.connections import Connections
from benchhost.server.heads import Heads
from benchhost.server.policy import policy_of
from benchhost.server.probing import read_probing
from benchhost.server.sandboxes import own_provider
from benchhost.server.secrets import secret
from benchhost.server.submissions import turns_of_uploads
from benchhost.server.uploads import uploads_of
from benchhost.settings import Settings, state_folder
from benchhost.store import DATABASE, Store, open_store
from benchhost.uploads import Spool, Uploads

if TYPE_CHECKING:
    from benchhost.server.run_manager import RunManager

_log = get_logger()

PID_FILE = "benchhost.pid"


class Host:
    """The plugins, the store and the hub of one worker, from :meth:`open` to :meth:`close`."""

    roster: Roster
    evaluator: Evaluator
    store: Store
    gatekeeper: Gatekeeper
    sandboxes: OwnSandboxes
    setups: Setups
    uploads: Uploads | None
    """What keeps uploads, if the settings allow any."""

    runs: RunManager | None = None
    """What carries out the runs of callers, if the settings allow it."""

    def __init__(self, settings: Settings, *, log_faults: bool = True) -> None:
        """Take ``settings``; ``log_faults`` says whether faulty plugins are logged, which others may tell better."""
        self.settings = settings
        self._on_fault: Callable[[Fault], None] = _tell if log_faults else lambda _: None
        self.largest_body = settings.max_body_mb * 1024 * 1024
        self.bodies = Bodies(self.largest_body, settings.read_timeout)
        self.upload_turns = turns_of_uploads()
        self.heads = Heads(settings)
        self.connections = Connections(settings.port, settings.max_connections_per_peer)

    async def open(self, *, wait: bool = True) -> None:
        """Open the store, tidy up after workers that were killed, and begin to load the plugins.

        Without ``wait``, this does not wait until the plugins are found: :meth:`plugins_found` does.

        When this raises, nothing is left open.
        """
        settings = self.settings
        state = state_folder(settings)
        async with AsyncExitStack() as opened:
            owner = Owner(state / "owners")
            opened.callback(owner.close)
            self.store = await opened.enter_async_context(open_store(state / DATABASE))
            limits = Limits(
                running=settings.max_running,
                queued=settings.max_queued,
                running_per_tenant=settings.max_running_per_tenant,
                workers=settings.workers,
                folder=state / "slots",
            )
            self.evaluator = Evaluator(self.store, owner, limits, Policies(read_probing(settings.probing)))
            interrupted = await self.evaluator.recover()
            if interrupted:
                _log.warning("evaluations were left unfinished by a worker that is gone", evaluations=interrupted)
            self.setups = Setups(self.evaluator)
            key = secret(state / "key")
            self.sandboxes = OwnSandboxes(*own_provider(settings), owner, state / "lent", key)
            opened.push_async_callback(self.sandboxes.close)
            self.uploads = uploads_of(settings)
            self.roster = Roster(
                msgspec.structs.replace(hosting(settings), key=key, on_fault=self._on_fault, announce=not wait)
            )
            opened.push_async_callback(self.roster.close)
            self._finding = asyncio.create_task(self.roster.open())
            opened.push_async_callback(self._stop_finding)
            if wait:
                await self.plugins_found()
            if settings.allow_runs:
                from benchhost.runner.instances import Bench
                from benchhost.server.run_manager import RunManager

                self.runs = RunManager(
                    self.store,
                    self.evaluator,
                    self.roster,
                    state,
                    most=settings.max_runs,
                    patience=settings.drain_timeout / 2,
                    models=settings.run_models,
                    bench=None if self.sandboxes.name is None else Bench(self.sandboxes, self.setups),
                    agents=self._agents_folder(owner, opened) if settings.allow_sandboxes else None,
                    most_sandboxes=settings.max_sandboxes_per_tenant,
                )
                opened.push_async_callback(self.runs.close)
            settle()
            self._opened = opened.pop_all()

    def _agents_folder(self, owner: Owner, opened: AsyncExitStack) -> Path:
        """Have a folder for the files of agents that callers send, until the host is closed."""
        folder = owner.folder(self.settings.state / "agents")
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    async def let_callers_in(self) -> None:
        """Begin to recognise callers, until :meth:`close`. Only a server has any."""
        policy = policy_of(self.settings)
        self.evaluator.quotas.listed = quotas_of(policy.listed)
        self.gatekeeper = Gatekeeper(policy, self.store)
        self._opened.push_async_callback(self.gatekeeper.close)
        await self.gatekeeper.open()
        self.sandboxes.open()
        watching = asyncio.create_task(self.connections.watch())
        self._opened.callback(watching.cancel)
        if isinstance(self.uploads, Spool):
            sweeping = asyncio.create_task(_sweep(self.uploads))
            self._opened.callback(sweeping.cancel)

    async def plugins_found(self) -> None:
        """Wait until it is known which plugins are installed. Loading them goes on.

        Raises what :meth:`~benchhost.evaluation.roster.Roster.open` raises.
        """
        if not self._finding.done() or self._finding.exception() is not None:
            await asyncio.shield(self._finding)

    async def _stop_finding(self) -> None:
        self._finding.cancel()
        await asyncio.gather(self._finding, return_exceptions=True)

    async def close(self) -> None:
        """Let what is under way finish, and let go of everything."""
        await self._opened.aclose()


def _tell(fault: Fault) -> None:
    _log.error("plugin is faulty", plugin=str(fault.entry), reason=fault.reason, cause=fault.cause)


async def _sweep(spool: Spool) -> None:
    """Delete uploads that were kept long enough, at the start and from time to time, until this is cancelled."""
    while True:
        try:
            if swept := await spool.sweep():
                _log.info("uploads were deleted", uploads=swept)
        except OSError as error:  # the disk may be well again the next time
            _log.warning("uploads could not be swept", error=str(error))
        await asyncio.sleep(spool.sweeps_every)


def hosting(settings: Settings) -> Hosting:
    """Read from the settings how benchmarks are hosted."""
    return Hosting(
        settings_of=settings.plugin,
        only=settings.only or (),
        load_timeout=settings.load_timeout,
        drain_timeout=settings.drain_timeout,
        graders=settings.graders,
    )
