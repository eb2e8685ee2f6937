"""The bare limit: the least that any Python service on this server can do, for the same evaluate and final score.

A raw RSGI application on granian with msgspec, without routing, authentication, limits, isolation or record.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from sums import is_right, sums


class Payload(msgspec.Struct):
    type: str
    schema: str
    data: str


class Submission(msgspec.Struct):
    run_id: str
    task_id: str
    payload: Payload


class Verdict(msgspec.Struct):
    score: float
    passed: bool


class Evaluation(msgspec.Struct):
    run_id: str
    task_id: str
    result: Verdict
    status: str = "evaluated"
    evaluator_version: str = "1"
    errors: tuple[str, ...] = ()


class Scoring(msgspec.Struct):
    evaluation_results: dict[str, Verdict | None]


class FinalScore(msgspec.Struct):
    tasks_evaluated: list[str]
    final_score: float
    metadata: dict[str, int]


ANSWERS = {task.id: task.answer for task in sums(int(os.environ.get("PEER_TASKS", "10000")))}
HEADERS = [("content-type", "application/json")]
encode = msgspec.json.Encoder().encode
decode_submission = msgspec.json.Decoder(Submission).decode
decode_scoring = msgspec.json.Decoder(Scoring).decode


def evaluate(body: bytes) -> bytes:
    submission = decode_submission(body)
    right = is_right(ANSWERS[submission.task_id], submission.payload.data)
    return encode(Evaluation(submission.run_id, submission.task_id, Verdict(float(right), right)))


def final_score(body: bytes) -> bytes:
    results = decode_scoring(body).evaluation_results
    if not results.keys() <= ANSWERS.keys():
        raise ValueError("unknown task")
    mean = sum(result.score for result in results.values() if result) / len(results)
    return encode(FinalScore(list(results), mean, {"tasks": len(results)}))


async def app(scope: Any, protocol: Any) -> None:
    """Answer one request."""
    body = await protocol()
    if scope.path == "/v1/evaluate":
        answer = evaluate(body)
    elif scope.path == "/final-score/":
        answer = final_score(body)
    else:
        answer = b'{"status":"ok"}'
    protocol.response_bytes(200, HEADERS, answer)
