"""What deserves no marks, and what full marks are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from benchhost.wire.vals import PublicResult


def worthless(task: str) -> Iterator[tuple[str, str, str]]:
    """Yield responses that deserve nothing, with the check that says so and what they are called."""
    yield "silence-not-full-marks", "an empty response", ""
    yield "silence-not-full-marks", "a response of blanks", " \n\t "
    yield "noise-not-full-marks", "a response of noise", noise(task)
    yield "noise-not-full-marks", "a long response of noise", "lorem ipsum " * 2000


def noise(task: str) -> str:
    """Make a text that answers nothing, for this task the same each time."""
    letters = hashlib.sha256(task.encode()).hexdigest().translate(str.maketrans("0123456789", "ghjkmnpqrt"))
    return f'{letters[:9]} \x00 {letters[9:20]}ü😀 {{"x": [}} </p> \\boxed'


def is_full(result: PublicResult) -> bool:
    """Whether a result is full marks: 1 or more, and not failed."""
    return result.score >= 1.0 and result.passed is not False


def marks(result: PublicResult) -> str:
    """Say which marks a result is."""
    passed = {True: " and passed", False: " and did not pass", None: ""}[result.passed]
    return f"scored {result.score:g}{passed}"
