"""What is judged together, and those who wait for it."""

from __future__ import annotations

import asyncio
import gc

import msgspec
import pytest

from benchhost.errors import StoreFailed
from benchhost.evaluation.under_way import UnderWay
from benchhost.store import Evaluation

pytestmark = pytest.mark.anyio


def claim(id_: str) -> Evaluation:
    return Evaluation(
        id=id_,
        tenant="",
        benchmark="x",
        dataset="default",
        fingerprint="",
        run="",
        task=id_,
        response_digest="",
        evaluator_version="1",
        owner="",
        started_at=0.0,
        status="running",
        attempt=1,
    )


CLAIMS = {id_: claim(id_) for id_ in "abc"}


def scored(id_: str) -> Evaluation:
    return msgspec.structs.replace(CLAIMS[id_], status="scored", result=b"{}")


async def test_each_waits_for_its_own_and_one_hears_of_all():
    under_way = UnderWay(CLAIMS)
    b = under_way.outcome("b")
    under_way.ended([scored("a"), scored("b")])
    assert (await b, await under_way.outcome("a")) == (scored("b"), scored("a"))
    outcomes = under_way.outcomes()
    assert await anext(outcomes) == [scored("a"), scored("b")]
    under_way.ended([scored("c")])
    under_way.over(None)
    assert [each async for each in outcomes] == [[scored("c")]]


async def test_who_leaves_takes_nothing_from_another_who_waits_for_the_same():
    under_way = UnderWay(CLAIMS)
    leaves, stays = under_way.outcome("a"), under_way.outcome("a")
    leaves.cancel()
    under_way.ended([scored("a")])
    assert await stays == scored("a")


async def test_what_stands_in_the_way_is_raised_for_what_has_not_ended_alone_and_nobody_need_look():
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    try:
        under_way = UnderWay(CLAIMS)
        a, b, left = under_way.outcome("a"), under_way.outcome("b"), under_way.outcome("c")
        under_way.ended([scored("a")])
        under_way.over(StoreFailed("the disk is full"))
        assert await a == scored("a")
        with pytest.raises(StoreFailed):
            await b
        outcomes = under_way.outcomes()
        assert await anext(outcomes) == [scored("a")]
        with pytest.raises(StoreFailed):
            await anext(outcomes)
        assert left.done()
        del left, b
        gc.collect()
    finally:
        asyncio.get_running_loop().set_exception_handler(None)
    assert unheard == []


async def test_nobody_waits_for_ever_for_what_is_given_up():
    under_way = UnderWay(CLAIMS)
    waiting = under_way.outcome("a")
    under_way.over(None)
    assert waiting.cancelled()
    assert under_way.outcome("b").cancelled()


async def test_what_has_come_of_each_can_be_asked_for_when_it_is_over():
    under_way = UnderWay(CLAIMS)
    under_way.ended([scored("a")])
    under_way.over(StoreFailed("the disk is full"))
    assert under_way.result("a") == scored("a")
    with pytest.raises(StoreFailed, match="the disk is full"):
        under_way.result("b")
