"""What need not be asked of the store, since the run began here."""

from __future__ import annotations

import pytest

from benchhost.evaluation.new_runs import NewRuns
from benchhost.store import Evaluation, MemoryStore

pytestmark = pytest.mark.anyio


class Asked(MemoryStore):
    """A store that counts how often it is asked."""

    asked = 0

    async def evaluation(self, evaluation_id):
        self.asked += 1
        return await super().evaluation(evaluation_id)

    async def evaluations(self, ids):
        self.asked += 1
        return await super().evaluations(ids)

    async def any_under(self, prefix):
        self.asked += 1
        return await super().any_under(prefix)


@pytest.fixture
async def store():
    async with Asked() as opened:
        yield opened


def id_of(run: int, number: int) -> str:
    return f"{run:08x}{number:040x}"


async def claim(store, *ids):
    text = dict.fromkeys(("dataset", "fingerprint", "run", "task", "response_digest", "evaluator_version"), "x")
    await store.claim([Evaluation(**text, owner="o", id=id_, tenant="", benchmark="b", started_at=0.0) for id_ in ids])


async def test_of_a_run_that_began_here_the_store_is_asked_once(store):
    runs = NewRuns(store)
    for number in range(5):
        assert not await runs.known([id_of(1, number)])
        runs.record([id_of(1, number)])
    assert set(await runs.known([id_of(1, number) for number in range(7)])) == {id_of(1, n) for n in range(5)}
    assert store.asked == 1


async def test_of_a_run_that_is_not_new_it_is_asked_for_each(store):
    await claim(store, id_of(1, 0), id_of(1, 2))
    runs = NewRuns(store)
    assert [bool(await runs.known([id_of(1, number)])) for number in range(4)] == [True, False, True, False]
    assert set(await runs.known([id_of(1, number) for number in range(4)])) == {id_of(1, 0), id_of(1, 2)}
    runs.record([id_of(1, 1)])
    assert not await runs.known([id_of(1, 1)]), "what the store says counts"


async def test_runs_and_evaluations_that_are_too_many_are_forgotten_and_found_in_the_store(store):
    runs = NewRuns(store, runs=3, evaluations=10)
    for run in range(6):
        for number in range(4):
            id_ = id_of(run, number)
            assert not await runs.known([id_])
            await claim(store, id_)
            runs.record([id_])
        assert len(runs._recorded) <= 3
        assert runs._count == sum(len(each or ()) for each in runs._recorded.values()) <= 10
    every = [id_of(run, number) for run in range(6) for number in range(5)]
    assert [id_ for id_ in every if await runs.known([id_])] == [id_ for id_ in every if not id_.endswith("4")]
