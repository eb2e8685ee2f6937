"""What the store knows of runs that began here, without asking it.

A response may have been judged before, so it is looked up before it is judged. To ask the store costs a tenth of all
that a response does: it is a look at the file, for which the event loop lets go of the interpreter's lock. And as a
rule it belongs to a run of which nothing was there when it began, and all that is there since was recorded here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from itertools import groupby

from benchhost.evaluation.identity import run_of
from benchhost.store import Store

RUNS, EVALUATIONS = 1000, 100_000
"""How many runs, and how many evaluations of them, are remembered: those of the runs that began last, in about 8 MB."""


class NewRuns:
    """The runs that began in this process, which alone judges what is asked of them."""

    def __init__(self, store: Store, *, runs: int = RUNS, evaluations: int = EVALUATIONS) -> None:
        self._store = store
        self._most_runs, self._most = runs, evaluations
        self._recorded: OrderedDict[str, set[int] | None] = OrderedDict()  # None: of a run that is not new
        self._count = 0

    async def known(self, ids: Sequence[str]) -> Collection[str]:
        """Say which evaluations of one run the store may know. It knows nothing of the others."""
        run = run_of(ids[0])
        if run not in self._recorded:
            await self._begin(run)
        recorded = self._recorded[run]
        if recorded is not None:
            return {id_ for id_ in ids if hash(id_) in recorded}
        if len(ids) == 1:  # which is answered sooner
            return ids if await self._store.evaluation(ids[0]) is not None else ()
        return await self._store.evaluations(ids)

    def record(self, ids: Collection[str]) -> None:
        """Know that the store knows evaluations."""
        for run, some in groupby(ids, run_of):
            recorded = self._recorded.get(run)
            if recorded is not None:
                before = len(recorded)
                recorded.update(map(hash, some))
                self._count += len(recorded) - before
        while self._count > self._most:
            self._forget_one()

    async def _begin(self, run: str) -> None:
        is_new = not await self._store.any_under(run)
        self._recorded.setdefault(run, set() if is_new else None)
        if len(self._recorded) > self._most_runs:
            self._forget_one()

    def _forget_one(self) -> None:
        """Forget the run that began first: when it is asked for again, it is not new."""
        _, recorded = self._recorded.popitem(last=False)
        self._count -= len(recorded or ())
