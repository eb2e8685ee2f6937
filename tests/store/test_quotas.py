"""What every store promises about quotas, asked of each of them; and of SQLite, among processes."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.store import PERIODS, Quota, Store, open_store
from benchhost.store.quota_records import bounds

pytestmark = pytest.mark.anyio


def moment(text: str) -> float:
    return dt.datetime.fromisoformat(f"{text}Z").timestamp()


NOON = moment("2026-03-31T12:00:30")
TOMORROW = moment("2026-04-01T00:00:00")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store({"memory": "memory:", "sqlite": f"{tmp_path}/store.db"}[request.param]) as store:
        yield store


def of(limit: int, period: str = "day", tenant: str = "acme", benchmark: str = "b") -> Quota:
    return Quota(tenant=tenant, benchmark=benchmark, period=period, limit=limit)


def by() -> dict[str, object]:
    return {"at": NOON, "by": "tester"}


async def used(store: Store) -> list[int]:
    return [quota.used for quota in await store.quotas("acme")]


async def refusal(store: Store, *what: object) -> Quota | None:
    """Spend, and return the quota that has no room for it, if there is one."""
    return (await store.spend(*what)).refused_by


@pytest.mark.parametrize(
    "period, begins, ends",
    [
        ("minute", "2026-03-31T12:00:00", "2026-03-31T12:01:00"),
        ("hour", "2026-03-31T12:00:00", "2026-03-31T13:00:00"),
        ("day", "2026-03-31T00:00:00", "2026-04-01T00:00:00"),
        ("week", "2026-03-30T00:00:00", "2026-04-06T00:00:00"),
        ("month", "2026-03-01T00:00:00", "2026-04-01T00:00:00"),
        ("year", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(period, begins, ends):
    assert bounds(period, NOON) == (moment(begins), moment(ends))


@given(period=st.sampled_from(PERIODS), at=st.floats(0, 4e9))
def test_periods_follow_each_other_without_a_gap(period, at):
    begins, ends = bounds(period, at)
    assert begins <= at < ends
    assert bounds(period, begins) == (begins, ends)
    assert bounds(period, ends)[0] == ends


async def test_as_many_as_the_limit_are_spent_and_no_more(store):
    await store.set_quota(of(3), **by())
    assert [await refusal(store, "acme", "b", 1, NOON) is None for _ in range(5)] == [True, True, True, False, False]
    refused = await refusal(store, "acme", "b", 1, NOON)
    assert (refused.period, refused.limit, refused.used) == ("day", 3, 3)


async def test_all_of_several_are_counted_or_none(store):
    await store.set_quota(of(3), **by())
    assert await refusal(store, "acme", "b", 2, NOON) is None
    assert await refusal(store, "acme", "b", 2, NOON) is not None
    assert await refusal(store, "acme", "b", 1, NOON) is None


async def test_every_quota_must_have_room_and_the_longest_wait_is_told(store):
    for limit, period in ((1, "minute"), (5, "hour"), (1, "day")):
        await store.set_quota(of(limit, period), **by())
    assert await refusal(store, "acme", "b", 1, NOON) is None
    assert (await refusal(store, "acme", "b", 1, NOON)).period == "day"
    assert await used(store) == [1, 1, 1]


async def test_a_new_period_begins_with_nothing_used(store):
    await store.set_quota(of(1), **by())
    assert await refusal(store, "acme", "b", 1, NOON) is None
    assert await refusal(store, "acme", "b", 1, TOMORROW - 0.5) is not None
    assert await refusal(store, "acme", "b", 1, TOMORROW) is None


async def test_what_is_given_back_can_be_spent_again_in_its_period_alone(store):
    await store.set_quota(of(1), **by())
    spent = await store.spend("acme", "b", 1, NOON)
    await store.give_back(spent.counted, 1)
    assert await refusal(store, "acme", "b", 1, NOON) is None
    assert await refusal(store, "acme", "b", 1, TOMORROW) is None
    await store.give_back(spent.counted, 1)
    assert await refusal(store, "acme", "b", 1, TOMORROW) is not None


async def test_a_quota_gives_nothing_back_that_it_has_not_counted(store):
    await store.set_quota(of(5, "month"), **by())
    spent = await store.spend("acme", "b", 1, NOON)
    await store.set_quota(of(1), at=NOON + 1, by="tester")
    assert await refusal(store, "acme", "b", 1, NOON + 2) is None
    await store.give_back(spent.counted, 1)
    assert [(quota.period, quota.used) for quota in await store.quotas("acme")] == [("day", 1), ("month", 1)]
    assert (await refusal(store, "acme", "b", 1, NOON + 3)).period == "day"


async def test_nor_does_one_in_the_place_of_one_that_was_removed_meanwhile(store):
    await store.set_quota(of(1), **by())
    spent = await store.spend("acme", "b", 1, NOON)
    await store.remove_quota("acme", "b", **by())
    for again in (store.set_quota(of(1), at=NOON + 1, by="tester"), store.remove_quota("acme", "b", **by())):
        await again
        allowed = await store.spend("acme", "b", 1, NOON + 2, listed(1))
        await store.give_back(spent.counted, 1)
        assert await refusal(store, "acme", "b", 1, NOON + 3, listed(1)) is not None
        spent = allowed


@given(data=st.data())
def test_what_is_used_is_what_began_and_was_not_given_back_whatever_is_set_meanwhile(data):
    """Begin, fail, set and remove in any order: each quota has counted what began since it was set, and no less."""

    async def go() -> None:
        async with open_store("memory:") as store:
            now, running = NOON, []  # of each evaluation that runs: what has counted it, and how many it is
            counted: dict[str, list[int]] = {}  # of each period: what runs or was judged since its quota was set
            for _ in range(data.draw(st.integers(1, 25))):
                now += 0.5
                period = data.draw(st.sampled_from(["day", "month"]))
                match data.draw(st.sampled_from(["begin", "begin", "fail", "set", "remove"])):
                    case "begin":
                        number = data.draw(st.integers(1, 3))
                        spent = await store.spend("acme", "b", number, now)
                        assert (spent.refused_by is None) == all(sum(c) + number <= 4 for c in counted.values())
                        if spent.refused_by is None:
                            places = [(each, len(units)) for each, units in counted.items()]
                            running.append((spent, number, [(counted[each], place) for each, place in places]))
                            for units in counted.values():
                                units.append(number)
                    case "fail" if running:
                        spent, number, where = running.pop(data.draw(st.integers(0, len(running) - 1)))
                        await store.give_back(spent.counted, number)
                        for units, place in where:
                            units[place] = 0
                    case "set":
                        await store.set_quota(of(4, period), at=now, by="tester")
                        counted.setdefault(period, [])
                    case "remove":
                        await store.remove_quota("acme", "b", period, at=now, by="tester")
                        counted.pop(period, None)
                assert {q.period: q.used for q in await store.quotas("acme")} == {p: sum(c) for p, c in counted.items()}

    asyncio.run(go())


async def test_quotas_are_of_one_tenant_at_one_benchmark(store):
    await store.set_quota(of(1), **by())
    for tenant, benchmark in (("acme", "b"), ("other", "b"), ("acme", "c"), ("other", "b")):
        assert await refusal(store, tenant, benchmark, 1, NOON) is None


async def test_a_limit_that_is_set_anew_forgets_nothing(store):
    await store.set_quota(of(2), **by())
    await refusal(store, "acme", "b", 2, NOON)
    await store.set_quota(of(3), **by())
    assert await refusal(store, "acme", "b", 1, NOON) is None
    assert await refusal(store, "acme", "b", 1, NOON) is not None


async def test_quotas_are_listed_in_order_and_removed(store):
    for each in (of(3, "month"), of(1, "minute"), of(2), of(9, tenant="a")):
        await store.set_quota(each, **by())
    assert [(each.tenant, each.limit) for each in await store.quotas()] == [
        ("a", 9),
        ("acme", 1),
        ("acme", 2),
        ("acme", 3),
    ]
    assert await store.remove_quota("acme", "b", "day", **by()) == 1
    assert await store.remove_quota("acme", "b", "day", **by()) == 0
    assert await store.remove_quota("acme", "b", **by()) == 2
    assert [each.tenant for each in await store.quotas()] == ["a"]


def listed(limit: int, period: str = "day") -> list[Quota]:
    return [Quota(tenant="acme", benchmark="b", period=period, limit=limit, listed=True)]


async def test_a_quota_of_the_allowlist_holds_as_long_as_it_is_said_and_is_counted_by_benchmark(store):
    assert [await refusal(store, "acme", "b", 1, NOON, listed(2)) is None for _ in range(3)] == [True, True, False]
    assert await refusal(store, "acme", "c", 1, NOON, [Quota(**kept(listed(2)[0]) | {"benchmark": "c"})]) is None
    [of_b, of_c] = await store.quotas("acme")
    assert (of_b.used, of_b.listed, of_c.benchmark, of_c.used) == (2, True, "c", 1)
    assert await refusal(store, "acme", "b", 1, NOON, listed(3)) is None  # the operator has written another one
    assert await refusal(store, "acme", "b", 9, NOON) is None  # and has taken it out again


def kept(quota: Quota) -> dict[str, object]:
    return {name: getattr(quota, name) for name in Quota.__struct_fields__}


async def test_a_quota_that_is_set_stands_in_the_place_of_the_one_of_the_allowlist(store):
    assert await refusal(store, "acme", "b", 2, NOON, listed(2)) is None
    await store.set_quota(of(3), **by())
    assert [await refusal(store, "acme", "b", 1, NOON, listed(9)) is None for _ in range(2)] == [True, False]
    assert await refusal(store, "acme", "b", 1, NOON, listed(1, "month")) is not None  # each must have room
    assert await store.remove_quota("acme", "b", **by()) == 1
    assert await refusal(store, "acme", "b", 9, NOON, listed(9)) is None
    assert await store.remove_quota("acme", "b", **by()) == 0  # the allowlist's is not the store's to remove


async def test_changes_and_the_first_refusal_of_a_period_are_noted(store):
    await store.set_quota(of(1), **by())
    await refusal(store, "acme", "b", 1, NOON)
    for at, number in ((NOON, 1), (NOON, 4), (TOMORROW, 1)):
        refused = await refusal(store, "acme", "b", number + 1, at)
        await store.refuse(refused, number, at)
        [quota] = await store.quotas("acme")
        assert quota.refused == {(NOON, 1): 1, (NOON, 4): 5, (TOMORROW, 1): 1}[at, number]
    await store.remove_quota("acme", "b", **by())
    noted = [(event.kind, event.by, event.datasets, event.quota) for event in await store.access_log("acme")]
    about = (("b/*",), "1/day")
    assert noted == [
        ("quota-removed", "tester", *about),
        ("quota-reached", "@host", *about),
        ("quota-reached", "@host", *about),
        ("quota-set", "tester", *about),
    ]


async def test_what_a_quota_of_the_allowlist_refuses_is_noted_also_when_nothing_was_counted_yet(store):
    refused = await refusal(store, "acme", "b", 3, NOON, listed(2))
    await store.refuse(refused, 3, NOON)
    [quota] = await store.quotas("acme")
    assert (quota.used, quota.refused, quota.listed) == (0, 3, True)


SPENDER = """
import asyncio, sys
from benchhost.store import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        answers = await asyncio.gather(*(store.spend("acme", "b", 1, 1.0) for _ in range(200)))
        print(sum(answer.refused_by is None for answer in answers))

asyncio.run(main())
"""


async def test_processes_together_spend_the_limit_exactly(tmp_path):
    async with open_store(tmp_path / "store.db") as store:
        await store.set_quota(of(250), **by())
        command = [sys.executable, "-c", SPENDER, str(tmp_path / "store.db")]
        async with asyncio.TaskGroup() as group:
            spenders = [group.create_task(anyio.run_process(command)) for _ in range(2)]
        assert sum(int(each.result().stdout) for each in spenders) == 250
        assert await used(store) == [250]
