"""Routes by which responses are judged and results are scored."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from benchhost.errors import (
    AttemptsUsedUp,
    BatchTooLarge,
    Busy,
    GradingFailed,
    NotOffered,
    PayloadRefused,
    QuotaReached,
    QuotaUnavailable,
    RequestError,
    ResultWithheld,
    SandboxUnavailable,
    StoreFailed,
    UnknownDataset,
    UnknownEvaluation,
    UnknownTask,
    UploadsFailed,
)
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.probing import disclosed
from benchhost.evaluation.requests import Context, Submission
from benchhost.server.auth import Admitted
from benchhost.server.documented import documented
from benchhost.server.host import Host
from benchhost.server.problems import Conflict, NotFound, NotScored, answer_to
from benchhost.server.raw import JSON_LINES, Call, Reply, raw_post
from benchhost.server.submissions import must_take_submissions, submitted
from benchhost.server.trial import ERROR, result_of_trial, score_of_trial
from benchhost.tasks import Catalogue
from benchhost.wire import native, vals
from benchhost.wire.native import BatchAnswer, BatchEvaluation, BatchRequest
from benchhost.wire.results import Given, of_final_score, of_score
from benchhost.wire.vals import (
    EvaluateAnswer,
    EvaluateRequest,
    EvaluateResponseRequest,
    FinalScoreAnswer,
    FinalScoreRequest,
    PublicResult,
    ScoreAnswer,
    ScoreRequest,
)


class _NamesDataset(msgspec.Struct):
    """As much of a body as says which dataset it is about."""

    dataset: str | None = None


EVALUATION_HEADER = "x-evaluation-id"
"""The header that tells the id of the evaluation where the body has no place for it."""

_HEADERS = {EVALUATION_HEADER: "The id under which the evaluation can be looked up."}
_NOT_NOW = (Busy, QuotaReached, QuotaUnavailable, StoreFailed)

_evaluate_response = msgspec.json.Decoder(EvaluateResponseRequest)
_evaluate = msgspec.json.Decoder(EvaluateRequest)
_batch = msgspec.json.Decoder(BatchRequest)
_names_dataset = msgspec.json.Decoder(_NamesDataset)
_encode = msgspec.json.Encoder().encode

_index = operator.attrgetter("index")

STATUS: dict[str, vals.Status] = {"scored": "evaluated", "error": "error", "interrupted": "error"}
"""How a recorded outcome is called on the wire."""


class _Verdict(msgspec.Struct):
    """An :class:`~benchhost.wire.vals.EvaluateAnswer` whose result is encoded already."""

    run_id: str
    task_id: str
    status: vals.Status
    evaluator_version: str | None
    result: msgspec.Raw | None
    errors: Sequence[str]


class _BatchVerdict(msgspec.Struct):
    """A :class:`~benchhost.wire.native.BatchEvaluation` whose result is encoded already."""

    index: int
    task_id: str
    evaluation_id: str
    status: vals.Status
    evaluator_version: str | None
    result: msgspec.Raw | None
    errors: Sequence[str]


@raw_post(
    "/evaluate-response",
    tags=["evaluation"],
    body=EvaluateResponseRequest,
    answer=PublicResult,
    headers=_HEADERS,
    raises=[NotOffered, UnknownDataset, UnknownTask, NotScored, AttemptsUsedUp, ResultWithheld, *_NOT_NOW],
)
async def evaluate_response(call: Call) -> Reply:
    """Judge a response outside of any run; the answer is the bare result."""
    request = call.decoded(_evaluate_response)
    catalogue = await _ready_for(call, request.dataset)
    _known(catalogue, request.task_id)
    evaluation = await call.host.evaluator.evaluate(
        call.benchmark,
        Context(call.tenant, catalogue.name, version=catalogue.version or ""),
        Submission(request.task_id, request.response),
        stays=True,
    )
    told = call.host.evaluator.told(call.benchmark, catalogue.name, evaluation)
    if evaluation.result is None:
        raise NotScored(evaluation.id, None if evaluation.cause else "; ".join(told.errors))
    if told.result is None:
        raise ResultWithheld(f"{'; '.join(told.errors)} The evaluation is {evaluation.id}.")
    return Reply(told.result, headers={EVALUATION_HEADER: evaluation.id})


@raw_post(
    "/v1/evaluate",
    tags=["evaluation"],
    body=EvaluateRequest,
    answer=EvaluateAnswer,
    headers=_HEADERS,
    raises=[
        NotOffered,
        UnknownDataset,
        NotFound,
        PayloadRefused,
        Conflict,
        SandboxUnavailable,
        UploadsFailed,
        AttemptsUsedUp,
        *_NOT_NOW,
    ],
)
async def evaluate(call: Call) -> Reply:
    """Judge a response as part of a run. A failure to judge it is an answer too: `status` is `error` then."""
    request = call.decoded(_evaluate)
    catalogue = await call.admitted.catalogue(call.benchmark, request.dataset)
    must_take_submissions(call.benchmark)
    if request.task_id not in catalogue.positions:
        raise NotFound(f"Task not found: {request.task_id[:200]}")
    context = Context(call.tenant, catalogue.name, request.run_id, catalogue.version or "")
    host = call.host
    what = await submitted(call.benchmark, host.sandboxes, host.uploads, host.upload_turns, context, request)
    evaluation = await host.evaluator.evaluate(call.benchmark, context, what, stays=True)
    evaluation = call.host.evaluator.told(call.benchmark, catalogue.name, evaluation)
    verdict = _Verdict(
        request.run_id,
        request.task_id,
        STATUS[evaluation.status],
        evaluation.evaluator_version,
        msgspec.Raw(evaluation.result) if evaluation.result is not None else None,
        evaluation.errors,
    )
    if call.admitted.caller.trial:
        await _as_of_trial(verdict, call.benchmark)
    return Reply(_encode(verdict), headers={EVALUATION_HEADER: evaluation.id})


@raw_post(
    "/v1/evaluate-batch",
    tags=["evaluation"],
    body=BatchRequest,
    answer=BatchAnswer,
    lines=BatchEvaluation,
    raises=[NotOffered, UnknownDataset, NotFound, BatchTooLarge, *_NOT_NOW],
)
async def evaluate_batch(call: Call) -> Reply:
    """Judge many responses of one run.

    Answered all at once in the order of the submissions; or, with `Accept: application/jsonl`, with one
    line for each as they finish.
    """
    request = call.decoded(_batch)
    catalogue = await _ready_for(call, request.dataset)
    for index, item in enumerate(request.submissions):
        if item.task_id not in catalogue.positions:
            raise NotFound(f"Task not found: {item.task_id[:200]} (submission {index})")
    verdicts = _judged(call, request, catalogue)
    # What stands in the way of all of them is to be said by the status: so nothing is sent before the first verdicts.
    first: list[_BatchVerdict] = await anext(verdicts, [])
    if any(media_type in call.accept.lower() for media_type in JSON_LINES):
        return Reply(_lines(first, verdicts), JSON_LINES[0])
    evaluations = list(first)
    async for group in verdicts:
        evaluations += group
    evaluations.sort(key=_index)
    return Reply(_encode({"run_id": request.run_id, "evaluations": evaluations}))


@raw_post(
    "/final-score",
    tags=["scores"],
    body=FinalScoreRequest,
    answer=FinalScoreAnswer,
    raises=[UnknownDataset, UnknownTask, GradingFailed],
)
async def final_score(call: Call) -> Reply:
    """Score results: the mean with its interval and coverage, or what the benchmark makes of them."""
    return Reply(await _scored(call, "final_score", of_final_score))


@raw_post(
    "/v1/score",
    tags=["scores"],
    body=ScoreRequest,
    answer=ScoreAnswer,
    raises=[UnknownDataset, UnknownTask, GradingFailed],
)
async def score(call: Call) -> Reply:
    """Score the verdicts of a run. Verdicts that are not `evaluated` have no result and count as missing."""
    answer = await _scored(call, "score", of_score)
    return Reply(score_of_trial(answer) if call.admitted.caller.trial else answer)


@get(
    "/v1/evaluations/{evaluation_id:str}", tags=["evaluation"], opt=documented(raises=[UnknownEvaluation, StoreFailed])
)
async def evaluation(
    host: NamedDependency[Host],
    benchmark: NamedDependency[HostedBenchmark],
    admitted: NamedDependency[Admitted],
    evaluation_id: FromPath[str],
) -> native.Evaluation:
    """Look up an evaluation, finished or running, by its id."""
    admitted.must_have_tenant()
    found = await host.evaluator.find(evaluation_id, tenant=admitted.tenant, benchmark=benchmark.name)
    await admitted.must_use(benchmark, found.dataset)
    found = host.evaluator.told(benchmark, found.dataset, found)
    return native.Evaluation(
        evaluation_id=found.id,
        benchmark=found.benchmark,
        dataset=found.dataset,
        dataset_version=found.dataset_version or None,
        dataset_fingerprint=found.fingerprint,
        run_id=found.run,
        task_id=found.task,
        status="evaluated" if found.status == "scored" else found.status,
        evaluator_version=found.evaluator_version,
        attempt=found.attempt,
        result=msgspec.json.decode(found.result, type=PublicResult) if found.result is not None else None,
        errors=list(found.errors),
        started_at=found.started_at,
        finished_at=found.finished_at,
    )


async def _ready_for(call: Call, dataset: str | None) -> Catalogue:
    catalogue = await call.admitted.catalogue(call.benchmark, dataset)
    call.benchmark.must_offer("evaluate_response")
    return catalogue


async def _as_of_trial(verdict: _Verdict, benchmark: HostedBenchmark) -> None:
    verdict.evaluator_version = None
    verdict.errors = [ERROR for _ in verdict.errors]
    if verdict.result is not None:
        verdict.result = msgspec.Raw(await result_of_trial(benchmark, bytes(verdict.result)))


async def _scored(call: Call, operation: str, read: Callable[[bytes], Given]) -> bytes:
    """Have results scored by the benchmark, which reads the body: only the dataset may have to be known here."""
    dataset = ""
    if call.admitted.pinned is not None or not call.admitted.may_use_anything(call.benchmark):
        try:
            named = _names_dataset.decode(call.body).dataset
        except (msgspec.DecodeError, ValueError, RecursionError):
            read(call.body)
            raise
        try:
            dataset = (await call.admitted.catalogue(call.benchmark, named)).key
        except RequestError:
            read(call.body)  # what is malformed is said first
            raise
    return (await call.benchmark.call(operation, dataset=dataset, body=call.body)).data


def _known(catalogue: Catalogue, task_id: str) -> None:
    if task_id not in catalogue.positions:
        raise UnknownTask(f"Task ID not found: {task_id[:200]}")


async def _judged(call: Call, request: BatchRequest, catalogue: Catalogue) -> AsyncIterator[list[_BatchVerdict]]:
    submissions = [Submission(item.task_id, item.response) for item in request.submissions]
    context = Context(call.tenant, catalogue.name, request.run_id, catalogue.version or "")
    evaluator = call.host.evaluator
    async for group in evaluator.evaluate_many(call.benchmark, context, submissions):
        policy = evaluator.policies.of(call.benchmark, catalogue.name, call.tenant)
        told = [(index, disclosed(each, policy)) for index, each in group] if policy.limits else group
        yield [
            _BatchVerdict(
                index,
                evaluation.task,
                evaluation.id,
                STATUS[evaluation.status],
                evaluation.evaluator_version,
                msgspec.Raw(evaluation.result) if evaluation.result is not None else None,
                evaluation.errors,
            )
            for index, evaluation in told
        ]


async def _lines(first: list[_BatchVerdict], verdicts: AsyncIterator[list[_BatchVerdict]]) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    try:
        yield encoder.encode_lines(first)
        async for group in verdicts:
            yield encoder.encode_lines(group)
    except Exception as error:  # the status is sent already: the last line says what went wrong
        yield answer_to(error).body + b"\n"
