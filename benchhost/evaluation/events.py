"""Messages of running evaluations, for whoever listens."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

BEHIND = 1000
"""The most messages that a listener may be behind; further ones are dropped for it alone."""


class Events:
    """Carries messages from evaluations to listeners. An evaluation never waits for a listener, and needs none."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, set[MemoryObjectSendStream[str]]] = defaultdict(set)

    def tell(self, evaluation_id: str, message: str) -> None:
        """Pass a message on to those who listen to an evaluation."""
        for listener in self._listeners.get(evaluation_id, ()):
            with contextlib.suppress(anyio.WouldBlock):
                listener.send_nowait(message)

    @contextlib.contextmanager
    def listen(self, evaluation_id: str, behind: float = BEHIND) -> Iterator[MemoryObjectReceiveStream[str]]:
        """Listen to the messages of an evaluation from now on, being at most ``behind`` of them late."""
        send, receive = anyio.create_memory_object_stream[str](behind)
        self._listeners[evaluation_id].add(send)
        try:
            with receive:
                yield receive
        finally:
            send.close()
            self._listeners[evaluation_id].discard(send)
            if not self._listeners[evaluation_id]:
                del self._listeners[evaluation_id]
