"""Processes that end with the one that started them, whatever ended that."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send ``how`` to this process when ``parent``, which forked it, ends.

    It is for what no tidying up can reach: the parent was killed.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, how, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), how)
