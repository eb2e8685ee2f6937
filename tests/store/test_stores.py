"""What every store promises, asked of each of them; the suite never looks at which one it has."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from benchhost.errors import StoreFailed, UsageError
from benchhost.store import (
    Claimed,
    Evaluation,
    MemoryStore,
    SQLiteStore,
    Store,
    Tried,
    Try,
    open_store,
    running,
)

pytestmark = pytest.mark.anyio

SCORED: dict[str, Any] = {"status": "scored", "result": b'{"score":1.0}', "private": b'{"answer":42}'}
FAILED: dict[str, Any] = {"status": "error", "errors": ("the grader stopped",), "cause": "Traceback: …"}


def claim_of(number: int, **changes: Any) -> Evaluation:
    fields: dict[str, Any] = {
        "id": hashlib.sha256(str(number).encode()).hexdigest()[:32],
        "tenant": "lab",
        "benchmark": "sums",
        "dataset": "default",
        "fingerprint": "f" * 32,
        "run": "first",
        "task": f"task-{number}",
        "response_digest": "d" * 32,
        "evaluator_version": "1.0",
        "owner": "here",
        "started_at": 1000.0 + number,
    }
    return Evaluation(**fields | changes)


def finish_of(evaluation: Evaluation, **changes: Any) -> Evaluation:
    return msgspec.structs.replace(evaluation, **SCORED | {"finished_at": 2000.0} | changes)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store({"memory": "memory:", "sqlite": f"{tmp_path}/store.db"}[request.param]) as store:
        yield store


async def claim_one(store: Store, claim: Evaluation) -> Claimed:
    (claimed,) = await store.claim([claim])
    return claimed


async def test_a_new_claim_is_granted_and_recorded_as_running(store):
    claimed = await claim_one(store, claim_of(1))
    assert claimed.mine
    assert claimed.evaluation == claim_of(1)
    assert await store.evaluation(claim_of(1).id) == claimed.evaluation


async def test_a_running_evaluation_is_not_granted_to_anybody_else(store):
    first = await claim_one(store, claim_of(1))
    second = await claim_one(store, claim_of(1, owner="there", started_at=5000.0))
    assert not second.mine
    assert second.evaluation == first.evaluation


async def test_of_two_claims_of_one_id_in_one_call_the_first_is_granted(store):
    answers = await store.claim([claim_of(1), claim_of(2), claim_of(1)])
    assert [answer.mine for answer in answers] == [True, True, False]
    assert answers[2].evaluation == answers[0].evaluation


async def test_of_many_claims_of_one_id_at_once_one_is_granted(store):
    answers = await asyncio.gather(*(claim_one(store, claim_of(1, owner=f"worker-{n}")) for n in range(50)))
    (granted,) = [answer for answer in answers if answer.mine]
    assert {answer.evaluation.owner for answer in answers} == {granted.evaluation.owner}


async def test_a_scored_evaluation_is_replayed_and_never_judged_again(store):
    claimed = await claim_one(store, claim_of(1))
    assert await store.finish([finish_of(claimed.evaluation)]) == [True]
    again = await claim_one(store, claim_of(1, owner="there"))
    assert not again.mine
    assert again.evaluation == msgspec.structs.replace(claimed.evaluation, **SCORED, finished_at=2000.0)


async def test_a_failed_evaluation_may_be_tried_again_and_forgets_how_it_failed(store):
    claimed = await claim_one(store, claim_of(1))
    failure = msgspec.structs.replace(claimed.evaluation, **FAILED, finished_at=2000.0)
    assert await store.finish([failure]) == [True]
    assert await store.evaluation(failure.id) == failure
    again = await claim_one(store, claim_of(1, owner="there", started_at=5000.0))
    assert again.mine
    assert (again.evaluation.attempt, again.evaluation.owner, again.evaluation.errors) == (2, "there", ())
    assert await store.evaluation(failure.id) == again.evaluation


async def test_an_outcome_is_recorded_once(store):
    evaluation = (await claim_one(store, claim_of(1))).evaluation
    assert await store.finish([finish_of(evaluation), finish_of(evaluation, result=b"{}")]) == [True, False]
    assert await store.finish([finish_of(evaluation, result=b"{}")]) == [False]
    recorded = await store.evaluation(evaluation.id)
    assert recorded is not None
    assert recorded.result == SCORED["result"]


async def test_an_outcome_that_nobody_has_claimed_is_recorded_once(store):
    ended = finish_of(running(claim_of(1), 1))
    assert await store.finish([ended, finish_of(running(claim_of(1), 1), result=b"{}")]) == [True, False]
    assert await store.finish([finish_of(running(claim_of(1, owner="there"), 1), result=b"{}")]) == [False]
    assert await store.evaluation(ended.id) == ended
    assert not (await claim_one(store, claim_of(1))).mine


async def test_an_outcome_comes_after_the_claim_of_its_own_owner_only(store):
    answers = await store.claim([claim_of(1), claim_of(2, owner="there")])
    ended = [finish_of(running(claim_of(n), 1)) for n in (1, 2, 3)]
    assert await store.finish(ended) == [True, False, True]
    assert await store.evaluation(claim_of(2).id) == answers[1].evaluation


@pytest.mark.parametrize("wrong", [{"owner": "there"}, {"attempt": 2}, {"attempt": 0}])
async def test_an_outcome_of_another_owner_or_attempt_is_refused(store, wrong):
    evaluation = (await claim_one(store, claim_of(1))).evaluation
    assert await store.finish([finish_of(evaluation, **wrong)]) == [False]
    assert await store.evaluation(evaluation.id) == evaluation


async def test_the_outcome_of_an_attempt_that_was_given_up_is_refused(store):
    first = (await claim_one(store, claim_of(1))).evaluation
    await store.interrupt("here")
    second = (await claim_one(store, claim_of(1))).evaluation
    assert await store.finish([finish_of(first)]) == [False]
    assert await store.finish([finish_of(second)]) == [True]


def many_outcomes() -> list[Evaluation]:
    """Make outcomes of two runs, among them some that keep something private and some that failed."""
    others = {0: {}, 1: {"result": None, "private": None, **FAILED}}
    return [
        finish_of(
            running(claim_of(number, started_at=1000.0, run="first" if number < 90 else "second"), 1),
            **others.get(number % 10, {"private": None, "result": b'{"score":%d}' % number}),
        )
        for number in range(150)
    ]


async def test_of_many_outcomes_at_once_each_is_recorded_as_it_is(store):
    outcomes = many_outcomes()
    assert await store.finish(outcomes) == [True] * 150
    assert await store.evaluations([each.id for each in outcomes]) == {each.id: each for each in outcomes}


@pytest.mark.parametrize("taken", [{0}, {1}, {2}, {33, 71, 140}, set(range(150))])
async def test_of_many_outcomes_at_once_those_that_somebody_else_judges_are_refused(store, taken):
    outcomes = many_outcomes()
    await store.claim([claim_of(number, owner="elsewhere") for number in taken])
    assert await store.finish(outcomes) == [number not in taken for number in range(150)]
    kept = await store.evaluations([each.id for each in outcomes])
    assert [kept[each.id] == each for each in outcomes] == [number not in taken for number in range(150)]


async def test_one_evaluation_of_an_owner_can_be_interrupted_alone(store):
    await store.claim([claim_of(1), claim_of(2), claim_of(3, owner="there")])
    assert await store.interrupt("here", claim_of(1).id) == 1
    assert await store.interrupt("here", claim_of(3).id) == 0
    assert await store.counts() == {("sums", "interrupted"): 1, ("sums", "running"): 2}


async def test_interrupting_an_owner_touches_what_that_owner_was_judging_and_nothing_else(store):
    answers = await store.claim([claim_of(n, owner="gone") for n in range(4)] + [claim_of(9, owner="alive")])
    await store.finish([finish_of(answers[0].evaluation)])
    assert await store.owners() == {"gone", "alive"}
    assert await store.interrupt("gone") == 3
    assert await store.interrupt("gone") == 0
    assert await store.owners() == {"alive"}
    assert await store.counts() == {("sums", "scored"): 1, ("sums", "interrupted"): 3, ("sums", "running"): 1}
    again = await store.claim([claim_of(n) for n in range(4)])
    assert [(each.mine, each.evaluation.attempt) for each in again] == [(False, 1), (True, 2), (True, 2), (True, 2)]


async def test_evaluations_are_found_by_id_and_unknown_ids_are_left_out(store):
    answers = await store.claim([claim_of(n) for n in range(3)])
    ids = [claim_of(n).id for n in (2, 0, 7, 2)]
    assert await store.evaluations(ids) == {claim_of(n).id: answers[n].evaluation for n in (0, 2)}
    assert await store.evaluations([]) == {}
    assert await store.evaluation(claim_of(7).id) is None


async def test_counts_tell_benchmarks_apart(store):
    await store.claim([claim_of(1), claim_of(2), claim_of(3, benchmark="words")])
    assert await store.counts() == {("sums", "running"): 2, ("words", "running"): 1}


async def test_an_empty_store_holds_nothing_and_empty_calls_do_nothing(store):
    assert await store.claim([]) == []
    assert await store.finish([]) == []
    assert await store.counts() == {}
    assert await store.owners() == set()
    assert await store.interrupt("nobody") == 0


async def test_text_and_bytes_are_kept_as_they_are(store):
    odd = "'); DROP TABLE evaluation;-- \x00 \n é 漢 🜚 " + "long " * 10_000
    evaluation = (await claim_one(store, claim_of(1, tenant=odd, task=odd, run=""))).evaluation
    outcome = {"status": "error", "result": b"", "private": bytes(range(256)), "errors": (odd, ""), "cause": odd}
    assert await store.finish([finish_of(evaluation, **outcome)]) == [True]
    assert await store.evaluation(evaluation.id) == msgspec.structs.replace(evaluation, **outcome, finished_at=2000.0)


async def test_a_thousand_calls_at_once_are_answered_each_with_its_own(store):
    answers = await asyncio.gather(*(claim_one(store, claim_of(n)) for n in range(1000)))
    assert [answer.evaluation.task for answer in answers] == [f"task-{n}" for n in range(1000)]
    assert all(await asyncio.gather(*(store.finish([finish_of(answer.evaluation)]) for answer in answers)))
    assert await store.counts() == {("sums", "scored"): 1000}


async def test_a_store_that_is_not_open_says_so(store):
    await store.close()
    await store.close()
    for call in (
        store.claim([claim_of(1)]),
        store.finish([]),
        store.evaluation("a"),
        store.evaluations(["a"]),
        store.owners(),
        store.interrupt("here"),
        store.counts(),
    ):
        with pytest.raises(StoreFailed, match="not open"):
            await call


async def test_a_store_cannot_be_opened_twice(store):
    with pytest.raises(StoreFailed, match="open already"):
        await store.open()


@pytest.mark.parametrize(
    "where, path",
    [("a/b.db", "a/b.db"), ("sqlite:///a/b.db", "a/b.db"), ("sqlite:////a/b.db", "/a/b.db"), (Path("b.db"), "b.db")],
)
def test_a_path_names_a_file_of_sqlite(where, path):
    store = open_store(where)
    assert isinstance(store, SQLiteStore)
    assert store.path == Path(path).absolute()


def test_memory_names_the_store_that_forgets():
    assert isinstance(open_store("memory:"), MemoryStore)


@pytest.mark.parametrize("where", ["", "postgresql://me:secret@db/host", "sqlite://a.db", "sqlite:///"])
def test_other_names_are_refused_without_repeating_a_password(where):
    with pytest.raises(UsageError, match="a store is a path") as refusal:
        open_store(where)
    assert "secret" not in str(refusal.value)


@dataclass
class Both:
    """Asks two stores the same, and insists on the same answer."""

    runner: asyncio.Runner
    sqlite: Store
    memory: Store

    def ask(self, method: str, *arguments: Any) -> Any:
        answers = [self.runner.run(getattr(store, method)(*arguments)) for store in (self.sqlite, self.memory)]
        assert answers[0] == answers[1]
        return answers[0]


NUMBERS = st.integers(0, 5)
OWNERS = st.sampled_from(["here", "there"])
CLAIMS = st.builds(claim_of, NUMBERS, owner=OWNERS, started_at=st.floats(0, 1e10))


class TheStoresAgree(RuleBasedStateMachine):
    """Whatever is asked of them, SQLite answers as the dict does; and it forgets nothing when it is reopened."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.both = Both(asyncio.Runner(), SQLiteStore(Path(self.folder.name) / "store.db"), MemoryStore())
        self.both.ask("open")

    @rule(numbers=st.lists(NUMBERS, max_size=6), owner=OWNERS, started_at=st.floats(0, 1e10))
    def claim(self, numbers, owner, started_at):
        self.both.ask("claim", [claim_of(n, owner=owner, started_at=started_at) for n in numbers])

    @rule(
        outcomes=st.lists(
            st.builds(
                finish_of,
                st.builds(
                    running,
                    st.builds(claim_of, NUMBERS, owner=OWNERS, started_at=st.floats(0, 1e10)),
                    st.integers(1, 3),
                ),
                status=st.sampled_from(["scored", "error"]),
                result=st.none() | st.binary(max_size=20),
                private=st.none() | st.binary(max_size=20),
                errors=st.lists(st.text(max_size=5), max_size=2).map(tuple),
                cause=st.none() | st.text(max_size=20),
                finished_at=st.floats(0, 1e10),
            ),
            max_size=6,
        )
    )
    def finish(self, outcomes):
        self.both.ask("finish", outcomes)

    @rule(owner=OWNERS)
    def interrupt(self, owner):
        self.both.ask("interrupt", owner)

    @rule()
    def reopen(self):
        self.both.runner.run(self.both.sqlite.close())
        self.both.runner.run(self.both.sqlite.open())

    @invariant()
    def they_hold_the_same(self):
        self.both.ask("evaluations", [claim_of(n).id for n in range(6)])
        self.both.ask("owners")
        self.both.ask("counts")

    def teardown(self):
        self.both.ask("close")
        self.both.runner.close()
        self.folder.cleanup()


TestTheStoresAgree = TheStoresAgree.TestCase
TestTheStoresAgree.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)


async def test_evaluations_are_found_by_how_their_ids_begin_and_come_in_the_order_of_these(store):
    await store.claim([claim_of(number, id=id_) for number, id_ in enumerate(("0bf", "0a1", "0aff", "0b", "1a0"))])
    assert [each.id for each in await store.evaluations_under("0a")] == ["0a1", "0aff"]
    assert [each.id for each in await store.evaluations_under("0b")] == ["0b", "0bf"]
    assert len(await store.evaluations_under("")) == 5
    assert await store.evaluations_under("2") == []
    assert [await store.any_under(prefix) for prefix in ("0a", "0b", "0bf", "", "2", "0a2")] == [True] * 4 + [False] * 2


def try_of(response: str, **changes: Any) -> Try:
    fields = {"tenant": "lab", "benchmark": "sums", "dataset": "default", "task": "a", "evaluation": f"e-{response}"}
    return Try(**fields | {"response_digest": response} | changes)


async def test_no_more_different_responses_are_allowed_than_the_most_and_the_first_evaluation_is_told(store):
    assert await store.try_response(try_of("1"), 2) == Tried(True, "e-1")
    assert await store.try_response(try_of("2"), 2) == Tried(True, "e-2")
    assert await store.try_response(try_of("3"), 2) == Tried(False, "")
    assert await store.try_response(try_of("1", evaluation="another"), 2) == Tried(True, "e-1")
    assert await store.try_response(try_of("3"), 3) == Tried(True, "e-3")
    assert await store.try_response(try_of("4"), None) == Tried(True, "e-4")


@pytest.mark.parametrize("field", ["tenant", "benchmark", "dataset", "task"])
async def test_tries_are_counted_by_tenant_benchmark_dataset_and_task(store, field):
    assert (await store.try_response(try_of("1"), 1)).allowed
    assert (await store.try_response(try_of("2", **{field: "another"}), 1)).allowed
    assert not (await store.try_response(try_of("2"), 1)).allowed
