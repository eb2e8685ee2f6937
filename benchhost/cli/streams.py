"""The standard streams of a command: open, and fit for any text."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path


def make_ready() -> None:
    """Open what is closed, and have what an encoding cannot say be written as an escape.

    Else the next file that is opened would be taken for standard output or error, with which the event loop refuses to
    live. And a run that is complete is not to end with an error over a letter of its label.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free, which is this one, and stays open as long as the command runs.
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
