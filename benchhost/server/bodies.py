"""How many bytes of requests a worker holds at once."""

from __future__ import annotations

from benchhost.errors import Busy

TIMES = 4
"""How many of the largest bodies may be under way at once."""


class Bodies:
    """Keeps count of the bodies under way, from before they are read until they are answered."""

    def __init__(self, largest: int) -> None:
        self._most = TIMES * largest
        self._held = 0

    def hold(self, size: int) -> int:
        """Hold room for a body of at most ``size`` bytes, which are returned: they are to be let go.

        Raises :class:`~benchhost.errors.Busy` when there is none.
        """
        if self._held + size > self._most:
            raise Busy("Too many large requests are under way; retry later.", 1.0)
        self._held += size
        return size

    def let_go(self, size: int) -> None:
        """Let go of room that was held."""
        self._held -= size
