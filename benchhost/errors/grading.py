"""Why a response got no score: what submitted code did, and failures of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from benchhost.errors.base import BenchhostError


class CandidateFailed(BenchhostError):
    """A function of submitted code gave no answer that is a plain value.

    ``reason`` is ``raised``, ``not_plain`` (the answer is another object), ``too_large``, ``timeout``,
    ``memory_limit``, ``ended`` (its process did), ``garbled`` (it meddled with what is said about it) or
    ``missing`` (there is no such function).
    """

    slug = "candidate-failed"
    title = "The submitted code gave no answer"

    def __init__(self, reason: str, message: str) -> None:
        Exception.__init__(self, message)  # the next class may be any: see CandidateRaised
        self.reason = reason


class CandidateRaised(CandidateFailed):
    """A function of submitted code raised an exception.

    ``names`` are the names of the exception's class and of those it derives from. Where one of them is a usual
    built-in exception, so is this one: a ``ZeroDivisionError`` over there is caught by ``except ArithmeticError``
    here. ``StopIteration`` is not one of them: it would end the loops of those who call.
    """

    slug = "candidate-raised"
    title = "The submitted code raised an exception"

    def __new__(cls, names: Sequence[str], message: str) -> Self:
        kind = next((_USUAL[name] for name in names if name in _USUAL), None)
        both = cls if kind is None or issubclass(cls, kind) else type(cls.__name__, (cls, kind), {})
        return super().__new__(both, names, message)

    def __init__(self, names: Sequence[str], message: str) -> None:
        super().__init__("raised", f"{names[0] if names else 'an exception'}: {message}".removesuffix(": "))
        self.names = tuple(names)


_USUAL: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        IndexError,
        KeyError,
        LookupError,
        MemoryError,
        NameError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}


class GradingFailed(BenchhostError):
    """A response could not be judged, for a reason of ours: it is not scored, and it is not a zero."""

    slug = "grading-failed"
    title = "Grading failed"


class HookRaised(GradingFailed):
    """The author's hook raised an exception."""

    slug = "hook-raised"
    title = "The benchmark's hook raised an exception"


class HookOverran(GradingFailed):
    """The author's hook took longer than its deadline."""

    slug = "hook-overran"
    title = "The benchmark's hook took too long"


class HookReturned(GradingFailed):
    """The author's hook returned something that is not what the contract asks for."""

    slug = "hook-returned"
    title = "The benchmark's hook returned something unusable"


class GraderDied(GradingFailed):
    """The process that ran the hook ended while the hook was running."""

    slug = "grader-died"
    title = "The grading process ended"
