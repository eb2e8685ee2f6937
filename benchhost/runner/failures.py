"""What an exception says of an attempt: whose failure it is, its class, and whether to try again."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from benchhost.contract import GenerationStatus
from benchhost.errors import (
    BenchhostError,
    CircuitOpen,
    ContentFiltered,
    ContextOverflow,
    ModelError,
    ModelRequestRefused,
    ModelThrottled,
    UsageError,
)
from benchhost.log import mask
from benchhost.runner.account import BudgetReached

LONGEST_MESSAGE = 2000
"""How much of an error is recorded, in characters; a traceback file has the rest."""


class Failure(msgspec.Struct, frozen=True):
    """A failed attempt. ``kind`` is a word to count and select by; ``message`` names the type and the causes."""

    status: GenerationStatus
    kind: str
    message: str
    retriable: bool
    told: bool
    """Whether the message says everything, so that a traceback would add nothing."""


def failure_of(error: BaseException) -> Failure:
    """Say what an exception that ended an attempt means.

    A runner may have wrapped what the model or the host raised; that is looked for among the causes.
    """
    model_error = next((each for each in chain(error) if isinstance(each, ModelError)), None)
    if model_error is not None:
        return Failure(
            _of_model(model_error), model_error.kind, describe(error), not isinstance(model_error, _CHRONIC), True
        )
    ours = next((each for each in chain(error) if isinstance(each, BenchhostError)), None)
    if ours is not None:
        status = GenerationStatus.ERROR if isinstance(ours, UsageError) else GenerationStatus.INFRA_ERROR
        return Failure(status, ours.slug, describe(error), True, error is ours)
    return Failure(GenerationStatus.ERROR, type(error).__name__, describe(error), True, False)


def describe(error: BaseException) -> str:
    """Say an exception in one line: type, message, and the same of each of its causes. No secret is in it."""
    said = [f"{type(each).__name__}: {_said(each)}".rstrip(": ") for each in chain(error)]
    text = str(mask(" ← ".join(said)))
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: LONGEST_MESSAGE - 1]}…"


def gist(text: str) -> str:
    """Return what a traceback says in the end, which is what was raised; of any other text, all of it."""
    return text.strip().rpartition("\n")[2] if text.startswith("Traceback ") else text


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, the cause last. Of a group, the first one stands for all."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            each = each.exceptions[0]
        else:
            each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _said(error: BaseException) -> str:
    """Say an exception in one line. What a hook raised comes as a traceback, of which the end says most."""
    whole = str(error)
    first = gist(whole)
    return " ".join((whole if first == whole else f"{first} ← {whole}").split())


_CHRONIC = (ContextOverflow, ContentFiltered)
"""What is about the task, and happens again however often it is tried."""


def _of_model(error: ModelError) -> GenerationStatus:
    if isinstance(error, CircuitOpen | BudgetReached):
        return GenerationStatus.CANCELLED
    if isinstance(error, ModelThrottled):
        return GenerationStatus.THROTTLED
    if isinstance(error, (*_CHRONIC, ModelRequestRefused)):
        return GenerationStatus.ERROR
    return GenerationStatus.INFRA_ERROR
