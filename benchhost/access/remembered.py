"""What was found out about credentials and need not be found out again for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")

MOST = 1024
"""The most that is remembered; what was used longest ago is forgotten first."""


class Remembered(Generic[V]):
    """Values by digests of credentials, each until its time is over. ``clock`` is in seconds."""

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._values: OrderedDict[bytes, tuple[float, V]] = OrderedDict()

    def get(self, digest: bytes) -> V | None:
        """Return what is remembered, or ``None``."""
        found = self._values.get(digest)
        if found is None:
            return None
        until, value = found
        if self._clock() >= until:
            del self._values[digest]
            return None
        self._values.move_to_end(digest)
        return value

    def put(self, digest: bytes, value: V, seconds: float) -> None:
        """Remember a value for some seconds."""
        if seconds <= 0:
            return
        self._values[digest] = (self._clock() + seconds, value)
        self._values.move_to_end(digest)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
