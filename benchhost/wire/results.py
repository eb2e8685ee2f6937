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


class _LooseScore(msgspec.Struct):
    run_id: RunName
    evaluation_results: dict[str, Any]
    dataset: str | None = None


class Given(msgspec.Struct):
    """What is to be scored. ``task_ids`` and ``results`` go together; a result is ``None`` where there is none."""

    run_id: str
    dataset: str | None
    task_ids: list[str]
    results: list[GivenResult | None]


_fast_final_score = msgspec.json.Decoder(_FinalScore)
_fast_final_score_of_either = msgspec.json.Decoder(_FinalScoreOfEither)
_fast_score = msgspec.json.Decoder(_Score)
_final_score = msgspec.json.Decoder(FinalScoreRequest)
_loose_score = msgspec.json.Decoder(_LooseScore)


def of_final_score(body: bytes) -> Given:
    """Read the body of ``POST /final-score/``.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    for read in (_results_alone, _results_or_verdicts):  # the first is what usually comes
        try:
            return read(body)
        except (msgspec.DecodeError, ValueError, RecursionError):
            continue
    plain = decode(_final_score, body)
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
