"""Results that callers give to be summed up.

Two routes take them in two shapes, and a benchmark is given one. Bodies may hold a hundred thousand
results, so they are decoded in one go into structs that a summary can use as they are; only a body
that does not fit is gone through result by result, to say which one is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

import msgspec

from benchhost.contract import Result
from benchhost.errors import Malformed
from benchhost.wire.bodies import decode, malformed
from benchhost.wire.vals import FinalScoreRequest, RunName, Status

_STATUSES: tuple[str, ...] = get_args(Status)


class GivenResult(msgspec.Struct, gc=False):
    """A result as a caller gives it: the public part of a :class:`benchhost.Result`."""

    score: float
    passed: bool | None = None
    metrics: dict[str, float] = {}
    feedback: str | None = None


class _Verdict(msgspec.Struct, gc=False):
    status: Status
    result: GivenResult | None = None


class _ResultOrVerdict(msgspec.Struct, gc=False):
    """Either of the two, since create-benchmark-runner submits the verdict in the place of its result."""

    score: float | msgspec.UnsetType = msgspec.UNSET
    passed: bool | None = None
    metrics: dict[str, float] = {}
    feedback: str | None = None
    status: Status | msgspec.UnsetType = msgspec.UNSET
    result: GivenResult | None = None


class _FinalScore(msgspec.Struct):
    evaluation_results: dict[str, _ResultOrVerdict | None]
    dataset: str | None = None


class _Score(msgspec.Struct):
    run_id: RunName
    evaluation_results: dict[str, _Verdict | None]
    dataset: str | None = None


class _LooseScore(msgspec.Struct):
    run_id: RunName
    evaluation_results: dict[str, Any]
    dataset: str | None = None


class Given(msgspec.Struct):
    """What is to be scored: for every given task its result, or ``None`` where there is none."""

    run_id: str
    dataset: str | None
    results: Mapping[str, GivenResult | None]


_fast_final_score = msgspec.json.Decoder(_FinalScore)
_fast_score = msgspec.json.Decoder(_Score)
_final_score = msgspec.json.Decoder(FinalScoreRequest)
_loose_score = msgspec.json.Decoder(_LooseScore)


def of_final_score(body: bytes) -> Given:
    """Read the body of ``POST /final-score/``.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    try:
        request = _fast_final_score.decode(body)
        results = _taken_out(request.evaluation_results)
    except (msgspec.DecodeError, ValueError, RecursionError):
        plain = decode(_final_score, body)
        results = {task_id: _one(value, task_id) for task_id, value in plain.evaluation_results.items()}
        return Given("", plain.dataset, results)
    return Given("", request.dataset, results)


def of_score(body: bytes) -> Given:
    """Read the body of ``POST /v1/score``. A verdict that is not ``evaluated`` has no result.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    try:
        request = _fast_score.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        plain = decode(_loose_score, body)
        return Given(plain.run_id, plain.dataset, {t: _of_verdict(v, t) for t, v in plain.evaluation_results.items()})
    results = {
        task_id: verdict.result if verdict is not None and verdict.status == "evaluated" else None
        for task_id, verdict in request.evaluation_results.items()
    }
    return Given(request.run_id, request.dataset, results)


def whole(given: GivenResult) -> Result:
    """Make the result that a hook is given."""
    return Result(score=given.score, passed=given.passed, metrics=given.metrics, feedback=given.feedback)


def _taken_out(given: dict[str, _ResultOrVerdict | None]) -> dict[str, GivenResult | None]:
    """Take the results out of the verdicts. Where all are results already, which is usual, they stay as they are."""
    if all(each is None or each.score is not msgspec.UNSET for each in given.values()):
        return cast("dict[str, GivenResult | None]", given)
    return {task_id: _either(each) for task_id, each in given.items()}


def _either(given: _ResultOrVerdict | None) -> GivenResult | None:
    if given is None or given.score is not msgspec.UNSET:
        return cast("GivenResult | None", given)
    if given.status is msgspec.UNSET:
        raise ValueError("neither a result nor a verdict")
    return given.result if given.status == "evaluated" else None


def _one(value: Any, task_id: str) -> GivenResult | None:
    """Read one result, or one verdict in its place, and say what is wrong with it."""
    place: tuple[str, ...] = ("body", "evaluation_results", task_id)
    if isinstance(value, dict) and "status" in value and "score" not in value:
        if value["status"] not in _STATUSES:
            raise Malformed(f"expected one of {', '.join(_STATUSES)}", (*place, "status"))
        place = (*place, "result")
        value = value.get("result") if value["status"] == "evaluated" else None
    if value is None:
        return None
    try:
        return msgspec.convert(value, GivenResult)
    except msgspec.ValidationError as error:
        problem = malformed(str(error))
        raise Malformed(str(problem), (*place, *problem.location[1:])) from None


def _of_verdict(value: Any, task_id: str) -> GivenResult | None:
    """Read one verdict, and say what is wrong with it."""
    if value is None:
        return None
    try:
        verdict = msgspec.convert(value, _Verdict)
    except msgspec.ValidationError as error:
        problem = malformed(str(error))
        raise Malformed(str(problem), ("body", "evaluation_results", task_id, *problem.location[1:])) from None
    return verdict.result if verdict.status == "evaluated" else None
