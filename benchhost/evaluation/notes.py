"""What the stream of one call says, on its way from the grader to the host.

A frame costs the same whatever its length, here and on a WebSocket. So lines that are said together travel
together, as one text of several lines: after :data:`TOGETHER` seconds, or when they are :data:`ENOUGH`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

TOGETHER = 0.02
"""Seconds that a line waits for others."""

ENOUGH = 64 * 1024
"""Characters that are sent on without waiting for more."""

FAR_AHEAD = 16 * ENOUGH
"""Characters that a thread may have said before the loop has sent them; then it waits."""


class Notes:
    """Gathers the lines of one call; ``send`` is given them, joined, on the event ``loop``."""

    def __init__(self, send: Callable[[str], None], loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._lines: list[str] = []
        self._size = 0
        self._changed = threading.Condition()
        self._loop = loop

    def say(self, line: str) -> None:
        """Say a line, on the event loop, where nothing comes between."""
        if not self._lines:
            self._loop.call_later(TOGETHER, self.flush)
        self._lines.append(line)
        self._size += len(line)
        if self._size >= ENOUGH:
            self.flush()

    def say_from_thread(self, line: str) -> None:
        """Say a line from a thread, which waits while it is far ahead of what is sent."""
        size = self._add(line)
        if size == len(line):
            self._loop.call_soon_threadsafe(self._loop.call_later, TOGETHER, self.flush)
        elif size >= ENOUGH > size - len(line):
            self._loop.call_soon_threadsafe(self.flush)
        if size >= FAR_AHEAD:
            with self._changed:
                self._changed.wait_for(lambda: self._size < FAR_AHEAD)

    def flush(self) -> None:
        """Send what has been said."""
        with self._changed:
            if not self._lines:
                return
            lines, self._lines, self._size = self._lines, [], 0
            self._changed.notify()
        self._send("\n".join(lines))

    def _add(self, line: str) -> int:
        with self._changed:
            self._lines.append(line)
            self._size += len(line)
            return self._size
