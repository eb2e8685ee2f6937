"""Limits: never more at once than allowed, none lost, in order; also among several processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhost.errors import BatchTooLarge, Busy
from benchhost.evaluation.limits import Gate, Limits
from benchhost.evaluation.slots import Slots

pytestmark = pytest.mark.anyio


class Work:
    """An evaluation at a gate: queued, running, or over.

    One that waited runs a turn later than it is let run. So whoever comes in that turn may run before it, and has
    passed nobody: ``at_once`` says that it did not wait, and ``passed`` how many waited then.
    """

    def __init__(self, gate: Gate, started: list[Work]) -> None:
        self.may_end = asyncio.Event()
        self.running = self.at_once = False
        self.passed = 0
        self.task = asyncio.create_task(self._run(gate, started))

    async def _run(self, gate: Gate, started: list[Work]) -> None:
        waiting = gate.waiting
        if gate.take():
            self.at_once, self.passed = True, waiting
        else:
            await gate.wait()
        started.append(self)
        self.running = True
        try:
            await self.may_end.wait()
        finally:
            self.running = False
            gate.give_back()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.just(0)),
        st.tuples(st.sampled_from(["take", "end", "cancel", "cancel and go on", "turn"]), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(steps=STEPS, most=st.integers(1, 4), shared=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_gate_lets_through_at_most_so_many_in_order_and_loses_none(steps, most, shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slots") if shared else None

    async def run() -> None:
        gate = Gate("x", Limits(workers=2 if shared else 1, folder=folder), most)
        everybody: list[Work] = []
        started: list[Work] = []
        taken = 0

        def check() -> None:
            running = sum(work.running for work in everybody) + taken
            assert running <= most

        for what, which in steps:
            alive = [work for work in everybody if not work.task.done()]
            if what == "come":
                everybody.append(Work(gate, started))
            elif what == "take":
                if gate.take():
                    taken += 1
                    check()
                    if which % 2 == 0:
                        taken -= 1
                        gate.give_back()
            elif alive:
                work = alive[which % len(alive)]
                if what == "end":
                    work.may_end.set()
                elif what.startswith("cancel"):
                    work.task.cancel()
            if what != "cancel and go on":
                for _ in range(which % 3):
                    await asyncio.sleep(0)
            check()
        for work in everybody:
            work.may_end.set()
        gate.give_back(taken)
        await asyncio.wait_for(asyncio.gather(*(work.task for work in everybody), return_exceptions=True), 5)
        waited = [work for work in started if not work.at_once]
        assert [work for work in everybody if work in waited] == waited  # in the order in which they came
        assert [work.passed for work in started] == [0] * len(started)
        cancelled = {work for work in everybody if work.task.cancelled()}
        assert set(everybody) - cancelled <= set(started)
        assert (gate._running, gate.waiting) == (0, 0)
        if gate._slots is not None:
            assert gate._slots._held == []
            gate._slots.close()

    asyncio.run(run())


async def test_the_gate_of_a_tenant_keeps_room_for_others_and_the_benchmarks_limit_still_holds():
    limits = Limits(running=3, running_per_tenant=2)
    benchmark = Gate("x", limits, 3)
    one = Gate("x", limits, 2, tenant="one", before=benchmark)
    other = Gate("x", limits, 2, tenant="other", before=benchmark)
    assert [one.take(), one.take(), one.take()] == [True, True, False]
    assert [other.take(), other.take()] == [True, False]
    waiting = asyncio.create_task(other.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.give_back()
    assert await waiting
    assert (benchmark._running, one._running, other._running) == (3, 1, 2)


async def test_who_is_cancelled_at_the_second_gate_gives_the_first_one_back():
    limits = Limits(running=1, running_per_tenant=1)
    benchmark = Gate("x", limits, 1)
    one = Gate("x", limits, 1, tenant="one", before=benchmark)
    assert benchmark.take()
    waiting = asyncio.create_task(one.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert (one._running, benchmark.waiting) == (0, 0)
    benchmark.give_back()
    assert one.take()


async def test_tenants_take_turns_however_many_of_one_wait():
    limits = Limits(running=1)
    benchmark = Gate("x", limits, 1)
    gates = {name: Gate("x", limits, 1, tenant=name, before=benchmark) for name in ("flood", "light", "third")}
    assert benchmark.take()
    order: list[str] = []

    async def work(tenant: str) -> None:
        await gates[tenant].wait()
        order.append(tenant)
        gates[tenant].give_back()

    works = [asyncio.create_task(work("flood")) for _ in range(20)]
    await asyncio.sleep(0)
    works += [asyncio.create_task(work("light")) for _ in range(3)] + [asyncio.create_task(work("third"))]
    await asyncio.sleep(0)
    benchmark.give_back()
    await asyncio.gather(*works)
    assert order[:7] == ["flood", "light", "third", "flood", "light", "flood", "light"]
    assert order[7:] == ["flood"] * 17


async def test_a_batch_of_one_tenant_lets_another_in_between():
    """As a batch does: it takes what is free at once, and waits for one at a time."""
    limits = Limits(running=2)
    benchmark = Gate("x", limits, 2)
    flood, light = (Gate("x", limits, 2, tenant=name, before=benchmark) for name in ("flood", "light"))
    assert [flood.take(), flood.take(), flood.take()] == [True, True, False]
    next_of_flood = asyncio.create_task(flood.wait())
    first_of_light = asyncio.create_task(light.wait())
    await asyncio.sleep(0)
    flood.give_back()  # its own next one is let to the benchmark's gate, where the light tenant stands already
    await asyncio.wait([first_of_light], timeout=5)
    assert first_of_light.done()
    assert not next_of_flood.done()
    next_of_flood.cancel()
    light.give_back()
    flood.give_back()
    await asyncio.wait([next_of_flood])
    assert (benchmark._running, benchmark.waiting, flood._running) == (0, 0, 0)


async def test_many_are_let_run_at_once_by_turns_to_each_tenant_that_waits():
    limits = Limits(running=8)
    benchmark = Gate("x", limits, 8)
    gates = {name: Gate("x", limits, 8, tenant=name, before=benchmark) for name in ("flood", "light", "third")}
    assert [gates["flood"].take(5), gates["light"].take(5), gates["third"].take(5)] == [5, 3, 0]
    waiting = [
        asyncio.create_task(gates[name].wait(most)) for name, most in (("third", 20), ("flood", 20), ("light", 1))
    ]
    await asyncio.sleep(0)
    gates["flood"].give_back(5)
    async with asyncio.timeout(5):
        third, flood, light = await asyncio.gather(*waiting)
    assert (third, flood, light) == (2, 2, 1)
    gates["third"].give_back(2)
    assert gates["light"].take(20) == 2
    gates["flood"].give_back(2)
    gates["light"].give_back(6)
    assert [(gate._running, gate.waiting) for gate in (*gates.values(), benchmark)] == [(0, 0)] * 4


async def test_a_full_queue_still_has_each_other_tenants_part():
    limits = Limits(running=2, queued=10)
    benchmark = Gate("x", limits, 2)
    flood, light, third = (Gate("x", limits, 2, tenant=name, before=benchmark) for name in ("flood", "light", "third"))
    flood.enter(12)
    with pytest.raises(Busy, match="12 evaluations running or waiting"):
        flood.enter(1)
    light.enter(6)
    with pytest.raises(Busy, match="18 evaluations running or waiting"):
        light.enter(1)
    third.enter(4)
    flood.leave(11)
    with pytest.raises(Busy):
        flood.enter(4)  # of its part, 12 / 3, it has one already
    flood.enter(3)
    flood.leave(4)
    light.leave(6)
    third.leave(4)
    flood.enter(12)  # nobody else is here
    assert (benchmark._entered, benchmark._entered_by) == (12, {"flood": 12})


STEPS_OF_TENANTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-6, 9)), max_size=50)


@given(steps=STEPS_OF_TENANTS, running=st.integers(1, 3), queued=st.integers(0, 9))
def test_no_tenant_is_kept_from_its_part_of_the_places(steps, running, queued):
    limits = Limits(running=running, queued=queued)
    benchmark = Gate("x", limits, running)
    gates = {name: Gate("x", limits, running, tenant=name, before=benchmark) for name in "abc"}
    places = running + queued
    here = dict.fromkeys("abc", 0)
    for tenant, number in steps:
        if number < 0:
            over = min(-number, here[tenant])
            gates[tenant].leave(over)
            here[tenant] -= over
        else:
            present = {name for name, has in here.items() if has} | {tenant}
            fits = sum(here.values()) + number <= places or here[tenant] + number <= places // len(present)
            try:
                gates[tenant].enter(number)
            except BatchTooLarge:
                assert number > places
                continue
            except Busy:
                assert not fits
                continue
            assert fits
            here[tenant] += number
        assert benchmark._entered == sum(here.values()) == sum(benchmark._entered_by.values())


async def test_a_full_queue_says_when_to_come_back():
    gate = Gate("x", Limits(queued=10), 2)
    gate.enter(12)
    for _ in range(50):
        gate.took(3.0)  # seconds each, two at a time, ten waiting and one more
    with pytest.raises(Busy, match="12 evaluations running or waiting") as refused:
        gate.enter(1)
    assert 10 < refused.value.retry_after < 25
    gate.leave(1)
    gate.enter(1)


async def test_to_come_back_is_asked_for_after_a_second_at_least_and_a_minute_at_most():
    quick, slow = Gate("x", Limits(queued=0), 1), Gate("x", Limits(queued=0), 1)
    quick.enter(1)
    slow.enter(1)
    slow.took(100_000.0)
    with pytest.raises(Busy) as soon:
        quick.enter(1)
    with pytest.raises(Busy) as late:
        slow.enter(1)
    assert (soon.value.retry_after, late.value.retry_after) == (1.0, 60.0)


async def test_what_never_fits_is_not_told_to_come_back():
    gate = Gate("x", Limits(queued=10), 2)
    with pytest.raises(BatchTooLarge, match="at most 12"):
        gate.enter(13)


async def test_without_a_queue_only_what_runs_is_let_in():
    gate = Gate("x", Limits(queued=0), 2)
    gate.enter(2)
    with pytest.raises(Busy):
        gate.enter(1)


async def test_each_worker_queues_its_part():
    gate = Gate("x", Limits(queued=10, workers=4), 2)
    gate.enter(2 + 3)
    with pytest.raises(Busy):
        gate.enter(1)


CHURN = """
import random, sys, time
from pathlib import Path
from benchhost.evaluation.slots import Slots
slots = Slots(Path(sys.argv[1]), 3)
marks = Path(sys.argv[2])
until = time.monotonic() + float(sys.argv[3])
held = 0
while time.monotonic() < until:
    if held < 2 and slots.take():
        held += 1
        print("+", time.monotonic_ns(), flush=True)
    elif held:
        print("-", time.monotonic_ns(), flush=True)
        slots.give_back()
        held -= 1
    time.sleep(random.random() / 500)
while held:
    print("-", time.monotonic_ns(), flush=True)
    slots.give_back()
    held -= 1
"""


def test_several_processes_never_hold_more_slots_than_there_are(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHURN, tmp_path / "x.slots", tmp_path, "1.0"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    moments = []
    for process in processes:
        said, _ = process.communicate(timeout=30)
        assert process.returncode == 0
        # "+" is said after a slot is taken and "-" before it is given back, so each is held in between.
        moments += [(int(when), 1 if sign == "+" else -1) for sign, when in map(str.split, said.splitlines())]
    held = most = 0
    for _, change in sorted(moments):
        held += change
        most = max(most, held)
    assert most == 3
    assert held == 0
    assert len(moments) > 100


def test_a_killed_process_gives_its_slots_back(tmp_path):
    hold = (
        "import sys, time; from pathlib import Path; from benchhost.evaluation.slots import Slots;"
        "slots = Slots(Path(sys.argv[1]), 3); print(slots.take(), slots.take(), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold, tmp_path / "x.slots"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "1 1\n"
    slots = Slots(tmp_path / "x.slots", 3)
    assert [slots.take(), slots.take()] == [1, 0]
    process.kill()
    process.communicate()
    assert slots.take(3) == 2
    slots.close()


QUEUE = """
import asyncio, sys, time
from pathlib import Path
from benchhost.evaluation.limits import Gate, Limits

async def main():
    gate = Gate("x", Limits(workers=2, folder=Path(sys.argv[1])), 4)
    async def one():
        await gate.wait()
        await asyncio.sleep(0.002)
        gate.give_back()
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    await asyncio.gather(*(one() for _ in range(int(sys.argv[2]))))
    print(time.monotonic() - began, flush=True)

asyncio.run(main())
"""


def test_a_process_with_a_long_queue_does_not_starve_another(tmp_path):
    """One has 2,000 waiting, which takes a second or more; the other has 20, and gets its share."""
    many, few = (
        subprocess.Popen(
            [sys.executable, "-c", QUEUE, tmp_path, number], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in ("2000", "20")
    )
    for process in (many, few):
        assert process.stdout.readline() == "ready\n"
    many.stdin.write("\n")
    many.stdin.flush()
    time.sleep(0.1)
    said, _ = few.communicate("\n", timeout=60)
    still_busy = many.poll() is None
    many.communicate(timeout=60)
    assert still_busy
    assert float(said) < 0.5


def test_the_slots_are_for_the_owner_alone(tmp_path):
    Slots(tmp_path / "x.slots", 1).close()
    assert (tmp_path / "x.slots").stat().st_mode & 0o77 == 0


async def test_a_batch_goes_on_as_soon_as_there_is_room_although_one_of_its_own_is_slow(
    open_hub, misbehaving, tmp_path, monkeypatch
):
    async with open_hub(tmp_path, misbehaving, {"running": 2}, only=["plain"]) as hub:
        await hub.roster.loaded()
        [gate] = {hub.evaluator.gate(hub.roster.get("plain"), "")}
        assert gate.take()
        batch = asyncio.create_task(hub.judge_all("plain", ("0", "spin"), *((str(n), "good") for n in range(5))))
        await asyncio.sleep(0.1)
        gate.give_back()
        end = time.monotonic() + 10
        while (await hub.store.counts()).get(("plain", "scored")) != 5:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        assert gate._entered == 6
        assert gate._running == 1, "the others wait although there is room"
        evaluations = await batch
        assert [evaluation.status for evaluation in evaluations] == ["error"] + ["scored"] * 5
        assert (gate._running, gate._entered) == (0, 0)
