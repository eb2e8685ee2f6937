"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

THRESHOLDS = (50_000, 20, 20)
"""How many objects more than before there must be until the collector looks for cycles among them, and how often it
looks among older ones. There are thousands of futures and messages at once in a batch, hardly any in a cycle: with
Python's own 700, going through them took an eighth of the time."""


@contextmanager
def loading() -> Iterator[None]:
    """Let the collector rest while modules are loaded, all of which stay: a tenth of the time that they take."""
    gc.disable()
    try:
        yield
    finally:
        settle()


def settle() -> None:
    """Say that what is there by now stays, so that the collector need not go through it again and again."""
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
