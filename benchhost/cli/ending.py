"""What becomes of a command that is told to end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any


def ended_as_by_hand() -> AbstractContextManager[None]:
    """Have the signal that ends a process close what is open, as Ctrl-C does, so that no folder or sandbox stays."""
    return _answered(signal.SIGTERM, signal.default_int_handler)


def ended_with_its_reader() -> AbstractContextManager[None]:
    """End without a word when nobody reads the output any more: ``benchhost sandbox exec … | head`` is no error."""
    return _answered(signal.SIGPIPE, signal.SIG_DFL)


@contextmanager
def _answered(number: signal.Signals, how: Callable[[int, FrameType | None], Any] | signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, how)
    try:
        yield
    finally:
        signal.signal(number, before)
