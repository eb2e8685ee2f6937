"""The threads in which plain hooks run."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from benchhost.evaluation.threads import HookThreads

pytestmark = pytest.mark.anyio


class Desk:
    """Runs jobs in threads, and waits for their results."""

    def __init__(self, most: int) -> None:
        self.results: list[int] = []
        self._arrived = asyncio.Event()
        self._threads = HookThreads(most, lambda job: job(), self._have)

    def run(self, jobs) -> None:
        self._threads.run(list(jobs))

    async def until(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.results) < number:
                self._arrived.clear()
                await self._arrived.wait()

    def _have(self, results: list[int]) -> None:
        self.results += results
        self._arrived.set()


async def test_jobs_that_only_compute_are_done_by_one_thread():
    desk = Desk(8)
    desk.run([threading.get_ident] * 500)
    await desk.until(500)
    assert len(set(desk.results)) <= 2  # one, and another one when the machine has stopped it for a moment


async def test_jobs_that_wait_are_done_at_the_same_time():
    desk = Desk(8)
    together = threading.Barrier(8)
    desk.run([lambda: together.wait(10)] * 8)
    await desk.until(8)
    assert sorted(desk.results) == list(range(8))


async def test_one_that_blocks_holds_up_none_that_compute():
    desk, go_on = Desk(4), threading.Event()
    desk.run([go_on.wait, *[threading.get_ident] * 200])
    await desk.until(200)
    go_on.set()
    await desk.until(201)
    assert desk.results[-1] is True


async def test_a_result_does_not_wait_for_what_is_begun_after_it():
    desk, go_on = Desk(1), threading.Event()
    for number in range(1, 20):
        desk.run([*[threading.get_ident] * number, go_on.wait])
        await desk.until(number)
        go_on.set()
        await desk.until(number + 1)
        go_on.clear()
        desk.results.clear()


async def test_threads_that_waited_leave_what_computes_to_few():
    desk = Desk(8)
    together = threading.Barrier(8)
    desk.run([lambda: together.wait(10)] * 8)
    await desk.until(8)

    def compute() -> int:
        end = time.thread_time() + 0.0002
        while time.thread_time() < end:
            pass
        return threading.get_ident()

    desk.results.clear()
    desk.run([compute] * 300)
    await desk.until(300)
    by_thread = sorted((desk.results.count(thread) for thread in set(desk.results)), reverse=True)
    assert sum(by_thread[:2]) > 200
