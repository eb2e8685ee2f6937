"""The threads in which a grader runs the hooks that are plain functions."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

PATIENCE = 0.005
"""Seconds without progress after which more threads are put to work; and the longest that results wait for others."""

TOGETHER = 64
"""How many results are handed over at once at the latest."""

JobT = TypeVar("JobT")


class HookThreads(Generic[JobT]):
    """Does jobs in as few threads as will do, each by a call of ``do``, which must not raise.

    A hook that only computes gains nothing from threads, since they share one interpreter lock; a hook
    that waits for a network gains much. So one thread takes job after job, which costs one hop for
    many jobs, and only when it has made no progress for :data:`PATIENCE` are more put to work, up to
    ``most``, and for as long as their jobs take that long. Results are handed to ``on_results`` on the
    event loop, all that are ready at once.
    """

    def __init__(self, most: int, do: Callable[[JobT], Any], on_results: Callable[[list[Any]], None]) -> None:
        self._most = most
        self._do = do
        self._on_results = on_results
        self._jobs: deque[JobT] = deque()
        self._results: list[Any] = []
        self._lock = threading.Lock()  # which is quicker to take than the condition that goes with it
        self._news = threading.Condition(self._lock)
        self._threads = 0
        self._idle = 0
        self._taken = 0
        self._watching = False
        self._told = False
        self._loop = asyncio.get_running_loop()

    def run(self, jobs: list[JobT]) -> None:
        """Queue jobs."""
        with self._lock:
            self._jobs.extend(jobs)
            if self._idle >= self._threads:  # nobody is at work
                self._put_to_work(1)
        if not self._watching:
            self._watching = True
            self._loop.call_later(PATIENCE, self._watch, self._taken)

    def write_off(self) -> None:
        """Count one thread as lost: its hook overran its deadline and cannot be stopped."""
        with self._lock:
            self._threads -= 1
            if self._jobs:
                self._put_to_work(1)

    def _put_to_work(self, number: int) -> None:
        for _ in range(number):
            if self._idle:
                self._idle -= 1
                self._news.notify()
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True).start()

    def _watch(self, taken_before: int) -> None:
        with self._lock:
            results, self._results = self._results, []
            # In one hold of the lock: a thread may leave a result and take the last job, which may be long, in one too.
            self._watching = bool(self._jobs)
            if self._jobs and self._taken == taken_before:
                self._put_to_work(max(1, self._threads - self._idle))
        if self._watching:
            self._loop.call_later(PATIENCE, self._watch, self._taken)
        if results:
            self._on_results(results)

    def _work(self) -> None:
        job, number = self._next()
        while True:
            began = time.monotonic()
            job, number = self._next((self._do(job),), number, began)

    def _next(self, results: Sequence[Any] = (), after: int = 0, since: float = 0.0) -> tuple[JobT, int]:
        """Leave what a job resulted in, and wait for the next one; return it with its number."""
        with self._lock:
            self._results += results
            # While more is queued, results wait for each other: until they are many, or the next look.
            if results and not self._told and not (self._jobs and len(self._results) < TOGETHER):
                self._told = True
                self._loop.call_soon_threadsafe(self._hand_over)
            # Where another thread has taken jobs meanwhile, and they only compute, this one would be in its way.
            rests = after != self._taken and time.monotonic() - since < PATIENCE
            while rests or not self._jobs:
                rests = False
                self._idle += 1
                self._news.wait()
            self._taken += 1
            return self._jobs.popleft(), self._taken

    def _hand_over(self) -> None:
        with self._lock:
            results, self._results = self._results, []
            self._told = False
        self._on_results(results)
