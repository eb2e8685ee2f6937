"""How many bytes of requests a worker holds at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from benchhost.errors import Busy

TIMES = 4
"""How many of the largest bodies may be under way at once."""


class Bodies:
    """Keeps count of the bodies under way, from before they are read until they are answered."""

    def __init__(self, largest: int) -> None:
        self._most = TIMES * largest
        self._held = 0

    @contextlib.contextmanager
    def room_for(self, size: int) -> Iterator[None]:
        """Hold room for a body of at most ``size`` bytes.

        Raises :class:`~benchhost.errors.Busy` when there is none.
        """
        if self._held + size > self._most:
            raise Busy("Too many large requests are under way; retry later.", 1.0)
        self._held += size
        try:
            yield
        finally:
            self._held -= size
