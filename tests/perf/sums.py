"""The job that every contender does: tasks of arithmetic, and the judging of an answer to one.

It is cheap on purpose, so that what is measured is the service and not the benchmark.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Sum(NamedTuple):
    """One task: its id, what is asked, and the hidden answer."""

    id: str
    question: str
    answer: int


def sum_at(index: int) -> Sum:
    """Make the task at a position. The same position always gives the same task."""
    a, b = index * 7919 % 997, index * 104729 % 991
    return Sum(f"t{index:06d}", f"What is {a} + {b}? End your answer with the number.", a + b)


def sums(count: int) -> Iterator[Sum]:
    """Make the first ``count`` tasks."""
    return (sum_at(index) for index in range(count))


def is_right(answer: int, text: str) -> bool:
    """Say whether the last word of a response is the answer. Looks at the end only, however long the response."""
    return text[-24:].split()[-1:] == [str(answer)]


def said(response: str) -> Iterator[str]:
    """Say as many lines of progress as a response asks for at its end: ``say 100``."""
    _, _, count = response.rpartition("say ")
    for number in range(int(count)):
        yield f"test {number:06d} of the suite has passed, in 0.0012 seconds of CPU time, as was to be expected"
