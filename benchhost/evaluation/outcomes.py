"""What came of a call: what a grader answered, or that it ended before it did."""

from __future__ import annotations

from typing import TypeVar

from benchhost import errors
from benchhost.errors import BenchhostError, GradingFailed, RequestError, SandboxError
from benchhost.evaluation.frames import Answer, Failed, Refused


class Declined(Exception):
    """The author's hook yielded an ``Error``: there is no verdict, and the message is for the submitter."""


class Lost(Exception):
    """The grader ended before it answered.

    ``alone`` says that it was given no other call, so that none other can have been the cause, nor
    anything that another has left behind; ``blocked`` that the host ended it, since it had been silent
    for longer than its calls may take.
    """

    def __init__(self, *, alone: bool, blocked: bool) -> None:
        super().__init__("the grader ended before it answered")
        self.alone = alone
        self.blocked = blocked


Said = Answer | Refused | Failed
"""What a grader says at the end of a call."""

ErrorT = TypeVar("ErrorT", bound=BenchhostError)


def _by_slug(root: type[ErrorT]) -> dict[str, type[ErrorT]]:
    return {cls.slug: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, root)}


_REFUSALS = _by_slug(RequestError)
_FAILURES: dict[str, type[BenchhostError]] = {**_by_slug(GradingFailed), **_by_slug(SandboxError)}


def error_of(said: Refused | Failed) -> Exception:
    """Make the exception that stands for what is no answer."""
    if isinstance(said, Failed):
        kind = _FAILURES.get(said.slug, GradingFailed)
        return kind.__new__(kind, said.cause)  # not called, since some of them are made of other things than a cause
    if not said.slug:
        return Declined(said.message)
    if said.slug == errors.Malformed.slug:
        return errors.Malformed(said.message, tuple(said.location))
    return _REFUSALS.get(said.slug, RequestError)(said.message)
