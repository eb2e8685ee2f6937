"""The time that an attempt may take, not counting what it waited through no fault of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import anyio


class TimeBudget:
    """Cancels what runs in it after ``seconds`` of work; ``None`` for no limit.

    The clock stands still inside :meth:`waiting`, which is meant for ``Call.waiting``. Several may wait
    at once: it runs again when none does. After the block, ``exceeded`` says whether it was cancelled.
    ::

        with TimeBudget(30) as budget:
            answer = await model.complete(prompt, call=Call(waiting=budget.waiting))
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._scope = anyio.CancelScope()
        self._waiting = 0
        self._since = self._left = 0.0
        self.waited = 0.0

    @property
    def exceeded(self) -> bool:
        """Whether the time was up before the block ended."""
        return self._scope.cancelled_caught

    @property
    def left(self) -> float | None:
        """The seconds of work that are left; ``None`` without a limit."""
        if self._seconds == math.inf:
            return None
        return max(0.0, self._left if self._waiting else self._scope.deadline - anyio.current_time())

    def __enter__(self) -> Self:
        self._scope.deadline = anyio.current_time() + self._seconds
        self._scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        return bool(self._scope.__exit__(kind, error, traceback))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Stop the clock."""
        self._waiting += 1
        if self._waiting == 1:
            self._since = anyio.current_time()
            self._left = self._scope.deadline - self._since
            if self._left > 0:  # otherwise the time is up already, and waiting does not bring it back
                self._scope.deadline = math.inf
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                now = anyio.current_time()
                self.waited += now - self._since
                self._scope.deadline = now + self._left
