"""Who may judge what: of all processes that share a store, one at a time judges a response.

An evaluation is claimed in the store before it is judged, so that no other process begins it, and so
that it is known of if this one is killed. A claim is a write of its own. Where there is one worker,
nobody else begins an evaluation of a run that began there, and most end within milliseconds: then what nobody has
begun is claimed only if it does not end :data:`SOON` after it is begun, and otherwise recorded with its
outcome alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence

from benchhost.errors import StoreFailed
from benchhost.evaluation.new_runs import NewRuns
from benchhost.evaluation.owners import Owner
from benchhost.log import get_logger
from benchhost.store import Claimed, Evaluation, Store

_log = get_logger()

LOOK_AGAIN = (0.02, 0.5)
"""Seconds between the first, and between later looks at an evaluation that another process runs."""

AGAIN = 1.0
"""Seconds between two attempts to have it recorded that nobody judges an evaluation."""

SOON = 0.05
"""Seconds between two looks at what is judged without a claim: what the last look saw too is claimed."""


class Claims:
    """The claims of one process, the ``owner``; it is ``alone`` where no other worker serves the same host."""

    def __init__(self, store: Store, owner: Owner, *, alone: bool) -> None:
        self._store = store
        self._owner = owner
        self._alone = alone
        self._new_runs = NewRuns(store)
        self._unclaimed: dict[str, Evaluation] = {}
        self._begun: list[Sequence[str]] = []
        self._seen: list[Sequence[str]] = []
        self._ending: set[str] = set()
        self._looking: asyncio.Task[None] | asyncio.TimerHandle | None = None
        self._given_up: set[str] = set()
        self._giving_up: asyncio.Task[None] | None = None

    async def take(self, claims: Sequence[Evaluation]) -> list[Claimed]:
        """Ask to judge responses, as ``Store.claim`` does; each is to be forgotten when it has ended."""
        if self._given_up:
            self._given_up.difference_update([claim.id for claim in claims])
        if not self._alone:
            return await self._record(claims)
        if not claims:
            return []
        ids = [claim.id for claim in claims]
        known = await self._new_runs.known(ids)
        if not known:
            self._unclaimed.update(zip(ids, claims, strict=True))
            return [Claimed(True, claim) for claim in claims]
        self._unclaimed.update((claim.id, claim) for claim in claims if claim.id not in known)
        found = await self._record([claim for claim in claims if claim.id in known])
        answers = {each.evaluation.id: each for each in found}
        return [answers.get(claim.id) or Claimed(True, claim) for claim in claims]

    def begin(self, ids: Sequence[str]) -> None:
        """Know that what was taken is judged from now on."""
        if self._unclaimed:
            self._begun.append(ids)
            self._look_later()

    def unrecorded(self, id_: str) -> Evaluation | None:
        """Return an evaluation that runs or waits here and is not recorded yet."""
        return self._unclaimed.get(id_)

    async def record_now(self, id_: str) -> None:
        """Claim an evaluation that runs here, if it is not recorded yet."""
        claim = self._unclaimed.get(id_)
        if claim is not None:
            await self._record([claim])
            self.recorded([id_])

    def end(self, ids: Iterable[str]) -> None:
        """Know that evaluations are about to be recorded as failed: a claim would come too late, and begin anew."""
        self._ending.update(ids)

    def recorded(self, ids: Collection[str]) -> None:
        """Know that evaluations are recorded."""
        self.forget(ids)
        self._new_runs.record(ids)

    def forget(self, ids: Collection[str]) -> None:
        """Know that evaluations are over, whether they are recorded or not."""
        for id_ in ids:
            self._unclaimed.pop(id_, None)
        self._ending.difference_update(ids)

    def give_up(self, ids: Iterable[str]) -> None:
        """Know that evaluations were begun and are judged no more, and have it recorded: others may wait for them."""
        self._given_up.update(ids)
        if self._giving_up is None:
            self._giving_up = asyncio.create_task(self._interrupt())

    async def granted(self, claim: Evaluation) -> Evaluation:
        """Claim an evaluation until it is ours to judge, or finished by whoever judges it."""
        pause, longest = LOOK_AGAIN
        while True:
            [claimed] = await self.take([claim])
            evaluation = claimed.evaluation
            if claimed.mine:
                return evaluation
            while evaluation.status == "running":
                if evaluation.owner == self._owner.id:
                    # Here, only one task at a time judges it, and that is this one: an outcome was lost,
                    # since the store could not keep it.
                    await self._store.interrupt(evaluation.owner, claim.id)
                    break
                if not self._owner.is_alive(evaluation.owner):
                    await self._store.interrupt(evaluation.owner)
                    break
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                evaluation = await self._store.evaluation(claim.id) or evaluation
            if evaluation.status in ("scored", "error"):  # an error too is the outcome of what was joined
                return evaluation

    async def _record(self, claims: Sequence[Evaluation]) -> list[Claimed]:
        """Claim evaluations in the store, as a process that others can see is alive."""
        self._owner.hold()
        return await self._store.claim(claims)

    async def _interrupt(self) -> None:
        """Interrupt what was given up, as soon as the store can: as a rule it was given up since it could not."""
        while self._given_up:
            id_ = next(iter(self._given_up))
            try:
                await self._store.interrupt(self._owner.id, id_)
            except StoreFailed as error:
                _log.warning("it is not recorded that nobody judges an evaluation", evaluation=id_, cause=str(error))
                await asyncio.sleep(AGAIN)
            else:
                self._given_up.discard(id_)
        self._giving_up = None

    def _look_later(self) -> None:
        if self._looking is None and (self._begun or self._seen):
            self._looking = asyncio.get_running_loop().call_later(SOON, self._look_now)

    def _look_now(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Claim what the last look has seen too and has not ended since."""
        seen, self._seen, self._begun = self._seen, self._begun, []
        slow = [id_ for ids in seen for id_ in ids if id_ in self._unclaimed and id_ not in self._ending]
        try:
            if slow:
                await self._record([self._unclaimed[id_] for id_ in slow])
                self.recorded(slow)
        except StoreFailed as error:  # the next look tries again
            _log.warning("what is judged is not recorded as running", evaluations=len(slow), cause=str(error))
            self._seen.append(slow)
        finally:
            self._looking = None
            self._look_later()
