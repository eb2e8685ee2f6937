"""Results that callers give to be summed up.

Two routes take them in two shapes, and a benchmark is given one. Bodies may hold a hundred thousand
results, so they are decoded in one go into structs that a summary can use as they are; only a body
that does not fit is gone through result by result, to say which one is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast, get_args

import msgspec

from benchhost.contract import Result
from benchhost.errors import Malformed
from benchhost.wire.bodies import decode
from benchhost.wire.vals import RunName, Status

T = TypeVar("T")

_STATUSES: tuple[str, ...] = get_args(Status)


class GivenResult(msgspec.Struct, gc=False):
    """A result as a caller gives it: the public part of a :class:`benchhost.Result`."""

    score: float
    passed: bool | None = None
    metrics: dict[str, float] | msgspec.UnsetType = msgspec.UNSET  # and no empty one for each of a hundred thousand
    feedback: str | None = None


class _Verdict(msgspec.Struct, gc=False):
    status: Status
    result: GivenResult | None = None


class _ResultOrVerdict(msgspec.Struct, gc=False):
    """Either of the two, since create-benchmark-runner submits the verdict in the place of its result."""

    score: float | msgspec.UnsetType = msgspec.UNSET
    passed: bool | None = None
    metrics: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    feedback: str | None = None
    status: Status | msgspec.UnsetType = msgspec.UNSET
    result: GivenResult | None = None


class _FinalScore(msgspec.Struct):
    evaluation_results: dict[str, GivenResult | None]
    dataset: str | None = None


class _FinalScoreOfEither(msgspec.Struct):
    evaluation_results: dict[str, _ResultOrVerdict | None]
    dataset: str | None = None


class _Score(msgspec.Struct):
    run_id: RunName
    evaluation_results: dict[str, _Verdict | None]
    dataset: str | None = None


class _LooseFinalScore(msgspec.Struct):
    evaluation_results: dict[str, msgspec.Raw]
    dataset: str | None = None


class _LooseScore(msgspec.Struct):
    run_id: RunName
    evaluation_results: dict[str, msgspec.Raw]
    dataset: str | None = None


class _Outline(msgspec.Struct):
    """Enough of one value to tell a result from a verdict; what is not there is empty."""

    score: msgspec.Raw = msgspec.Raw(b"")
    status: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"null")


class Given(msgspec.Struct):
    """What is to be scored. ``task_ids`` and ``results`` go together; a result is ``None`` where there is none."""

    run_id: str
    dataset: str | None
    task_ids: list[str]
    results: list[GivenResult | None]


_fast_final_score = msgspec.json.Decoder(_FinalScore)
_fast_final_score_of_either = msgspec.json.Decoder(_FinalScoreOfEither)
_fast_score = msgspec.json.Decoder(_Score)
# The same again, result by result, since the path of an error in all of them does not tell the key.
_loose_final_score = msgspec.json.Decoder(_LooseFinalScore)
_loose_score = msgspec.json.Decoder(_LooseScore)
_outline: msgspec.json.Decoder[_Outline | None] = msgspec.json.Decoder(_Outline | None)
_status: msgspec.json.Decoder[str] = msgspec.json.Decoder(str)
_result: msgspec.json.Decoder[GivenResult | None] = msgspec.json.Decoder(GivenResult | None)
_verdict: msgspec.json.Decoder[_Verdict | None] = msgspec.json.Decoder(_Verdict | None)


def of_final_score(body: bytes) -> Given:
    """Read the body of ``POST /final-score/``.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    for read in (_results_alone, _results_or_verdicts):  # the first is what usually comes
        try:
            return read(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
    plain = decode(_loose_final_score, body)
    results = {task_id: _one(each, task_id) for task_id, each in plain.evaluation_results.items()}
    return _given("", plain.dataset, results)


def of_score(body: bytes) -> Given:
    """Read the body of ``POST /v1/score``. A verdict that is not ``evaluated`` has no result.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    try:
        request = _fast_score.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        plain = decode(_loose_score, body)
        results = {task_id: _of_verdict(each, task_id) for task_id, each in plain.evaluation_results.items()}
        return _given(plain.run_id, plain.dataset, results)
    verdicts = request.evaluation_results
    return Given(
        request.run_id,
        request.dataset,
        [*verdicts],
        [each.result if each is not None and each.status == "evaluated" else None for each in verdicts.values()],
    )


def whole(given: GivenResult) -> Result:
    """Make the result that a hook is given."""
    return Result(score=given.score, passed=given.passed, metrics=given.metrics or {}, feedback=given.feedback)


def _given(run_id: str, dataset: str | None, results: Mapping[str, GivenResult | None]) -> Given:
    return Given(run_id, dataset, [*results], [*results.values()])


def _results_alone(body: bytes) -> Given:
    request = _fast_final_score.decode(body)
    return _given("", request.dataset, request.evaluation_results)


def _results_or_verdicts(body: bytes) -> Given:
    request = _fast_final_score_of_either.decode(body)
    results = {task_id: _either(each) for task_id, each in request.evaluation_results.items()}
    return _given("", request.dataset, results)


def _either(given: _ResultOrVerdict | None) -> GivenResult | None:
    if given is None or given.score is not msgspec.UNSET:
        return cast("GivenResult | None", given)
    if given.status is msgspec.UNSET:
        raise ValueError("neither a result nor a verdict")
    return given.result if given.status == "evaluated" else None


def _one(value: msgspec.Raw, task_id: str) -> GivenResult | None:
    """Read one result, or one verdict in its place, and say what is wrong with it."""
    place: tuple[str, ...] = ("body", "evaluation_results", task_id)
    outline = _read(_outline, value, place)
    if outline is not None and len(outline.status) and not len(outline.score):
        if (status := _read(_status, outline.status, (*place, "status"))) not in _STATUSES:
            raise Malformed(f"expected one of {', '.join(_STATUSES)}", (*place, "status"))
        if status != "evaluated":
            return None
        value, place = outline.result, (*place, "result")
    return _read(_result, value, place)


def _of_verdict(value: msgspec.Raw, task_id: str) -> GivenResult | None:
    """Read one verdict, and say what is wrong with it."""
    verdict = _read(_verdict, value, ("body", "evaluation_results", task_id))
    return verdict.result if verdict is not None and verdict.status == "evaluated" else None


def _read(decoder: msgspec.json.Decoder[T], value: msgspec.Raw, place: tuple[str, ...]) -> T:
    """Decode a part of a body. Raises :class:`~benchhost.errors.Malformed`, which tells where it is wrong."""
    try:
        return decode(decoder, memoryview(value))
    except Malformed as problem:
        raise Malformed(str(problem), (*place, *problem.location[1:])) from None
