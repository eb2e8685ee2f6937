"""One operation on many items, a piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from benchhost.errors import GraderDied
from benchhost.evaluation.frames import Answer, Call, Failed, Item
from benchhost.evaluation.limits import Gate, Limits
from benchhost.evaluation.outcomes import Lost
from benchhost.evaluation.pieces import in_pieces
from benchhost.evaluation.process import Promise

pytestmark = pytest.mark.anyio

Says = Callable[[str], Answer | Failed | Exception]


def right(task: str) -> Answer:
    return Answer(0, task.encode())


class Processes:
    """As many processes as there are ``lanes``, which say of each task what ``says`` says, in a turn of their own."""

    def __init__(self, says: Says = right, lanes: int = 1) -> None:
        self.lanes = lanes
        self.calls: list[list[str]] = []
        self._says = says

    async def begin(self, promise: Promise, call: Call) -> None:
        self.calls.append([item.task for item in call.items])
        for position, item in enumerate(call.items):
            asyncio.get_running_loop().call_soon(promise.settle, position, self._says(item.task))

    async def ask_alone(self, call: Call) -> Answer:
        [item] = call.items
        if item.task == "bad":
            raise GraderDied("it is to blame")
        return Answer(0, b"alone " + item.task.encode())

    def blame(self, lost: Lost, call: Call) -> GraderDied:
        return GraderDied("it was alone")


def about(*tasks: str) -> Call:
    return Call(operation="evaluate_response", dataset="", deadline=1.0, items=[Item(task, b"") for task in tasks])


def gate_of(most: int) -> Gate:
    return Gate("x", Limits(running=most), most)


async def all_of(processes: Processes, call: Call, gate: Gate, begun: list[tuple[int, int]] | None = None):
    found = {}
    on_begin = (lambda *span: None) if begun is None else (lambda *span: begun.append(span))
    async for ended in in_pieces(processes, call, gate, on_begin):
        found.update(ended)
    assert gate._running == 0
    return [found[position] for position in range(len(call.items))]


async def test_as_many_begin_together_as_may_run():
    processes, tasks, begun = Processes(), [str(n) for n in range(10)], []
    answers = await all_of(processes, about(*tasks), gate_of(4), begun)
    assert [answer.data.decode() for answer in answers] == tasks
    assert processes.calls == [tasks[:4], tasks[4:8], tasks[8:]]
    assert begun == [(0, 4), (4, 8), (8, 10)]


async def test_what_begins_together_is_divided_among_the_processes():
    processes, tasks = Processes(lanes=3), [str(n) for n in range(10)]
    answers = await all_of(processes, about(*tasks), gate_of(64))
    assert [answer.data.decode() for answer in answers] == tasks
    assert [len(call) for call in processes.calls] == [4, 4, 2]


async def test_what_is_lost_with_others_is_asked_again_alone_and_nobody_else_bears_the_blame():
    lost = Lost(alone=False, blocked=False)
    processes = Processes(lambda task: right(task) if task == "fine" else lost)
    fine, good, bad = await all_of(processes, about("fine", "good", "bad"), gate_of(3))
    assert (fine.data, good.data) == (b"fine", b"alone good")
    assert str(bad) == "it is to blame"


async def test_a_failure_stands_in_the_place_of_its_own_answer():
    processes = Processes({"a": Failed(0, "hook-raised", "why"), "b": Lost(alone=True, blocked=False)}.__getitem__)
    a, b = await all_of(processes, about("a", "b"), gate_of(2))
    assert (a.slug, str(a), str(b)) == ("hook-raised", "why", "it was alone")


async def test_whoever_stops_listening_gives_everything_back():
    gate = gate_of(4)
    taken = gate.take(3)
    pieces = in_pieces(Processes(), about("0", "1", "2"), gate, lambda *span: None)
    async with aclosing(pieces):
        assert [position for position, _ in await anext(pieces)] == [0]
        await asyncio.sleep(0)
    assert (gate._running, gate.waiting) == (taken, 0)


async def test_no_items_are_no_work():
    processes = Processes()
    assert await all_of(processes, about(), gate_of(1)) == []
    assert processes.calls == []
