"""What running evaluations say, for whoever listens.

An evaluation never waits for a listener, and needs none. A listener that falls behind is kept what it has not
taken yet, up to a limit; beyond that, lines are left out for it alone, and it is told how many.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator

from benchhost.evaluation.frames import Note, State

Said = Note | State
"""Lines of progress, or how far an evaluation has come."""

BEHIND = 8 * 1024 * 1024
"""Characters that are kept for one listener."""

BEHIND_ALL = 64 * 1024 * 1024
"""Characters that are kept for all listeners of a worker together."""


class Listener:
    """Whoever listens to one evaluation. ``wake`` is called when there is something to :meth:`take`."""

    def __init__(self, events: Events, wake: Callable[[], None]) -> None:
        self._events = events
        self._wake = wake
        self._lines: list[str] = []
        self._state: bytes | None = None
        self._size = 0
        self._left_out = 0

    def hear(self, said: Said) -> None:
        """Keep what was said until it is taken."""
        if isinstance(said, State):
            self._state = said.data  # the latest stands for those before
        elif self._size + len(said.text) > BEHIND or self._events.kept + len(said.text) > BEHIND_ALL:
            self._left_out += said.text.count("\n") + 1
        else:
            if self._left_out:
                self._lines.append(self._about_left_out())
            self._lines.append(said.text)
            self._size += len(said.text)
            self._events.kept += len(said.text)
        self._wake()

    def take(self) -> tuple[list[str], bytes | None]:
        """Take the lines that have been said since the last time, and the latest state, if there is a new one."""
        lines, self._lines = self._lines, []
        if self._left_out:
            lines.append(self._about_left_out())
        state, self._state = self._state, None
        self._events.kept -= self._size
        self._size = 0
        return lines, state

    def _about_left_out(self) -> str:
        left_out, self._left_out = self._left_out, 0
        return f"[{left_out} lines are left out here: they were not read as fast as they came]"


class Events:
    """Carries what evaluations say to their listeners."""

    def __init__(self) -> None:
        self.kept = 0
        """Characters that are kept for listeners."""
        self._listeners: defaultdict[str, list[Listener]] = defaultdict(list)

    def tell(self, evaluation_id: str, said: Said) -> None:
        """Pass on to those who listen to an evaluation what it says."""
        for listener in self._listeners.get(evaluation_id, ()):
            listener.hear(said)

    @contextlib.contextmanager
    def listen(self, evaluation_id: str, wake: Callable[[], None] = lambda: None) -> Iterator[Listener]:
        """Listen to an evaluation from now on."""
        listener = Listener(self, wake)
        self._listeners[evaluation_id].append(listener)
        try:
            yield listener
        finally:
            listener.take()
            self._listeners[evaluation_id].remove(listener)
            if not self._listeners[evaluation_id]:
                del self._listeners[evaluation_id]
