"""How long a coroutine keeps the event loop to itself."""

from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Held:
    """Awaits something and remembers ``longest``, the most seconds for which it did not give others their turn."""

    def __init__(self) -> None:
        self.longest = 0.0

    @types.coroutine
    def over(self, awaitable: Awaitable[T]) -> Generator[Any, Any, T]:
        """Await something. Whatever is thrown into this, as by a cancellation, reaches it."""
        steps: Any = awaitable.__await__() if hasattr(awaitable, "__await__") else awaitable  # a generator may be one
        thrown: BaseException | None = None
        while True:
            began = time.perf_counter()
            try:
                waits_for = next(steps) if thrown is None else steps.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self.longest = max(self.longest, time.perf_counter() - began)
            try:
                thrown = None
                yield waits_for
            except BaseException as error:  # a cancellation is one
                thrown = error
