"""The runs that callers have started: carried out in the workers of the host, shown by any of them.

What the workers must know of each other's runs is in the store and in the state folder: the lock of a
run says that it is under way, a small file how far it has come, and an event that it is to be cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchhost.errors import BenchhostError, Busy, RunDrifted, RunLocked, StoreFailed, UnknownRun
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.roster import Roster
from benchhost.log import get_logger
from benchhost.runner.config import new_run_id
from benchhost.runner.instances import Bench
from benchhost.runner.lock import RunLock, is_locked
from benchhost.runner.run import Run
from benchhost.runner.summary import summarise_run
from benchhost.server import run_progress
from benchhost.server.problems import Conflict
from benchhost.server.run_parts import Offer, Parts, opened_parts
from benchhost.server.run_views import (
    CANCELLED,
    INTERRUPTED,
    NOT_CARRIED_ON,
    RELOADED,
    STOPPED,
    overview_of,
    run_of,
)
from benchhost.store import REQUESTED, RunEvent, RunRecord, Store
from benchhost.wire import runs as wire

_log = get_logger()

LOOK_EVERY = 0.5
"""Seconds between two looks at whether a run is to stop, and of watchers at how far it is."""

COME_BACK = 30.0
"""Seconds after which to come back when as many runs are under way as may."""

CANCEL = "cancel"
"""The kind of the event that says that a caller wants a run to stop."""

PAGE = 100
"""How many records are read at once."""

_request = msgspec.json.Decoder(wire.RunRequest)
_encode = msgspec.json.Encoder().encode


class RunManager:
    """Starts, resumes, cancels and shows runs. ``most`` may be under way at once in this process.

    ``state`` is the folder that all workers share. ``patience`` is how many seconds calls that are under
    way may still take when the host stops. ``models`` are patterns of the names of models that callers may
    use, and ``environ`` is where these and their keys are looked up. ``bench`` is what the host has for attempts in
    sandboxes, of which a tenant's runs have at most ``most_sandboxes`` at once here; ``agents`` is the folder for the
    files of agents that callers send, if they may have such work in them.
    """

    def __init__(
        self,
        store: Store,
        evaluator: Evaluator,
        roster: Roster,
        state: Path,
        *,
        most: int,
        patience: float,
        models: Sequence[str],
        bench: Bench | None = None,
        agents: Path | None = None,
        most_sandboxes: int = 1,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._store = store
        self._evaluator = evaluator
        self._roster = roster
        self._state = state
        self._most = most
        self._patience = patience
        self._models = models
        self._bench = bench
        self._agents = agents
        self._most_sandboxes = most_sandboxes
        self._rooms: dict[str, asyncio.Semaphore] = {}
        self._environ = environ
        self._places = asyncio.Semaphore(most)
        self._running: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    # ---- beginning and ending with the host

    async def open(self, *, resume: bool) -> None:
        """Look for runs that ended with the process that carried them out: carry them on, or mark them.

        Those that a caller has cancelled, and those of the command line, are not carried on.
        """
        for status in ("running", "incomplete"):
            async for record in self._recorded(status):
                if status == "incomplete" and not (resume and record.reason == STOPPED):
                    continue
                try:
                    request = await self._requested(record.id)
                except msgspec.DecodeError as error:  # one of a benchhost that knew other fields
                    _log.warning("what a run was asked for cannot be read", run=record.id, cause=str(error))
                    await self._mark(record, INTERRUPTED)
                    continue
                if request is None or is_locked(self._state, record.id):
                    continue
                if resume and not await self._cancels(record.id):
                    if (claimed := await self._claim(record)) is not None:
                        self._begin(self._resume(claimed, request))
                elif status == "running":
                    await self._mark(record, INTERRUPTED)

    def stop(self) -> None:
        """Have runs begin nothing more, and let nobody follow them any longer: the host is about to end."""
        self._closing.set()
        for run in self._running.values():
            if run.progress.stopping is None:
                run.stop(STOPPED)

    async def close(self) -> None:
        """End the runs: what is under way may finish for some time. They can be carried on."""
        self.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._patience)
        for run in list(self._running.values()):
            run.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- what callers ask for

    async def start(self, benchmark: str, request: wire.RunRequest, tenant: str) -> wire.Run:
        """Record a run and begin it.

        Raises what :func:`~benchhost.server.run_parts.opened_parts` raises,
        :class:`~benchhost.errors.Busy` at the limit, and :class:`~benchhost.server.problems.Conflict`
        when the id is taken.
        """
        if self._places.locked() or self._closing.is_set():
            raise Busy(f"{self._most} runs are under way here, which is as many as may. Come back later.", COME_BACK)
        await self._places.acquire()
        stack = AsyncExitStack()
        try:
            parts = await opened_parts(await self._offer(benchmark, tenant), request, tenant, stack)
            record = _new_record(parts, request, tenant)
            if not await self._store.create_run(record):
                raise Conflict("There is a run of this id already. Choose another, or leave it out.")
            await self._store.note(RunEvent(run=record.id, at=record.created_at, kind=REQUESTED, data=_encode(request)))
        except BaseException:
            self._places.release()
            await stack.aclose()
            raise
        self._begin(self._carry_out(record, request, (parts, stack)))
        return run_of(record, locked=True, progress=None)

    async def find(self, run_id: str, *, benchmark: str, tenant: str) -> RunRecord:
        """Find a run of a tenant.

        Raises :class:`~benchhost.errors.UnknownRun`.
        """
        record = await self._store.run(run_id)
        if record is None or (record.benchmark, record.tenant) != (benchmark, tenant):
            raise UnknownRun("No such run is recorded for this benchmark.")
        return record

    async def page(self, *, benchmark: str, tenant: str, limit: int, before: str | None) -> wire.Runs:
        """List the newest runs of a tenant, or those before another one."""
        records = await self._store.runs(benchmark=benchmark, tenant=tenant, limit=limit + 1, before=before)
        shown = [overview_of(record, locked=is_locked(self._state, record.id)) for record in records[:limit]]
        return wire.Runs(shown, shown[-1].run_id if len(records) > limit else None)

    def show(self, record: RunRecord) -> wire.Run:
        """Show a run, whichever worker carries it out."""
        progress = run_progress.read(self._state, record.id)
        return run_of(record, locked=is_locked(self._state, record.id), progress=progress)

    async def cancel(self, record: RunRecord) -> wire.Run:
        """Have a run stopped by the worker that carries it out; asked again, have it stopped at once."""
        shown = self.show(record)
        if shown.status == "running":
            await self._store.note(RunEvent(run=record.id, at=time.time(), kind=CANCEL))
        return shown

    async def watch(self, record: RunRecord) -> AsyncIterator[wire.RunProgress | wire.Run | None]:
        """Yield how far a run has come whenever that changes, ``None`` now and then when not, at its end the run.

        It ends without that when the host stops.
        """
        last: wire.RunProgress | None = None
        while not self._closing.is_set():
            found = await self._store.run(record.id)
            shown = None if found is None else self.show(found)
            if shown is None:
                return
            if shown.status != "running":
                yield shown
                return
            progress = shown.progress
            yield None if progress == last else progress
            last = progress
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), LOOK_EVERY)

    # ---- carrying out

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _claim(self, record: RunRecord) -> RunRecord | None:
        """Say that a run is about to be carried on, unless another worker has done so, or carries it out."""
        claimed = msgspec.structs.replace(record, status="running", reason="", summary=None, updated_at=time.time())
        with contextlib.suppress(RunLocked), RunLock(self._state, record.id):
            if await self._store.run(record.id) == record:
                run_progress.forget(self._state, record.id)
                await self._store.update_run(claimed)
                return claimed
        return None

    async def _resume(self, record: RunRecord, request: wire.RunRequest) -> None:
        await self._places.acquire()
        found = await self._store.run(record.id)
        if found != record or self._closing.is_set():  # another worker has claimed it too, or the host stops already
            self._places.release()
            return
        _log.info("a run is carried on", run=record.id, benchmark=record.benchmark)
        await self._carry_out(record, request, None)

    async def _carry_out(
        self, record: RunRecord, request: wire.RunRequest, opened: tuple[Parts, AsyncExitStack] | None
    ) -> None:
        """Carry a run out, also across a reload of the plugins; the place that was taken for it is given back."""
        try:
            while True:
                async with AsyncExitStack() as stack:
                    if opened is None:
                        offer = await self._offer(record.benchmark, record.tenant)
                        parts = await opened_parts(offer, request, record.tenant, stack)
                    else:
                        parts, earlier = opened
                        opened = None
                        stack.push_async_exit(earlier)
                    if await self._session(record, parts) != RELOADED:
                        return
        except RunLocked:
            _log.info("a run is carried out by another worker", run=record.id)
        except RunDrifted as error:
            await self._mark(record, f"{NOT_CARRIED_ON}these have changed: {', '.join(sorted(error.differences))}")
        except BenchhostError as error:
            _log.exception("a run could not be carried out", run=record.id)
            await self._mark(record, f"{NOT_CARRIED_ON}{error.title}")
        except Exception:  # the engine has recorded it, and nobody waits for this task
            _log.exception("a run failed", run=record.id)
        finally:
            self._places.release()

    async def _session(self, record: RunRecord, parts: Parts) -> str:
        """Carry out one session, and return why it stopped, if it did."""
        run = Run(
            record.id,
            parts.config,
            store=self._store,
            source=parts.source,
            runner=parts.runner,
            model=parts.model,
            judge=parts.judge,
            state=self._state,
            options=parts.options,
            limiter=parts.limiter,
            label=record.label,
            tenant=record.tenant,
        )
        self._running[run.id] = run
        if self._closing.is_set():
            run.stop(STOPPED)
        beside = [
            asyncio.create_task(run_progress.publish(self._state, run)),
            asyncio.create_task(self._heed(run, parts)),
        ]
        try:
            return (await run.execute()).reason
        finally:
            del self._running[run.id]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _heed(self, run: Run, parts: Parts) -> None:
        """Stop a run when a caller wants it, or when the plugins were loaded anew."""
        heard = 0
        reloaded = False
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if not reloaded and not self._is_served(parts):
                reloaded = True
                if run.progress.stopping is None:
                    run.stop(RELOADED)
            try:
                cancels = await self._cancels(run.id)
            except StoreFailed as error:
                _log.warning("whether a run is cancelled cannot be read", run=run.id, cause=str(error))
                continue
            for _ in range(cancels - heard):
                run.stop(CANCELLED)
            heard = cancels

    def _is_served(self, parts: Parts) -> bool:
        """Say whether the plugin that a run began with is still the one that is served."""
        try:
            return self._roster.get(parts.benchmark.name) is parts.benchmark
        except BenchhostError:
            return False

    async def _mark(self, record: RunRecord, reason: str) -> None:
        """Mark a run as stopped, unless it is under way."""
        with contextlib.suppress(RunLocked), RunLock(self._state, record.id):
            found = await self._store.run(record.id)
            if found is None or found.status not in ("running", "incomplete"):
                return
            run_progress.forget(self._state, record.id)
            summary = _encode(await summarise_run(self._store, found))
            now = time.time()
            await self._store.update_run(
                msgspec.structs.replace(found, status="incomplete", reason=reason, summary=summary, updated_at=now)
            )
            data = _encode({"status": "incomplete", "reason": reason})
            await self._store.note(RunEvent(run=record.id, at=now, kind="ended", data=data))
            _log.warning("a run is incomplete", run=record.id, reason=reason)

    # ---- what the workers know of each other

    async def _offer(self, benchmark: str, tenant: str) -> Offer:
        hosted = self._roster.get(benchmark)
        await hosted.ready()
        bench = self._bench
        if bench is not None:
            room = self._rooms.setdefault(tenant, asyncio.Semaphore(self._most_sandboxes))
            bench = msgspec.structs.replace(bench, room=room)
        return Offer(hosted, self._evaluator, self._models, self._environ, bench, self._agents)

    async def _recorded(self, status: str) -> AsyncIterator[RunRecord]:
        before: str | None = None
        while page := await self._store.runs(status=status, limit=PAGE, before=before):
            for record in page:
                yield record
            before = page[-1].id

    async def _requested(self, run_id: str) -> wire.RunRequest | None:
        """Return what a caller asked for; ``None`` for a run that was begun at the command line."""
        for event in await self._store.run_events(run_id, REQUESTED):
            return _request.decode(event.data)
        return None

    async def _cancels(self, run_id: str) -> int:
        return len(await self._store.run_events(run_id, CANCEL))


def _new_record(parts: Parts, request: wire.RunRequest, tenant: str) -> RunRecord:
    config = parts.config
    now = time.time()
    return RunRecord(
        id=request.run_id or new_run_id(config),
        tenant=tenant,
        benchmark=config.benchmark,
        dataset=config.dataset,
        model=config.model,
        label=request.label,
        digest=config.digest,
        config=_encode(config),
        status="running",
        created_at=now,
        updated_at=now,
    )
