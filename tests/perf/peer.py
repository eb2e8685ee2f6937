"""The service to compare with: the same routes in FastAPI, pydantic v2 and uvicorn, as such services are written.

One benchmark per service, hooks that are ``async def`` and take ids, authentication in a middleware
that every path goes through, pydantic models in and out. Written for this comparison, and to be fair:
no logging of requests, nothing that is not needed, and nothing cached that such services do not cache.

``PEER_TASKS`` is the number of tasks. ``PEER_DATABASE``, when set, is an SQLite file in which every
evaluation is recorded, through SQLAlchemy's ORM, committed before it is answered.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import AliasChoices, BaseModel, Field
from starlette.middleware.base import BaseHTTPMiddleware
from sums import is_right, said, sums


class Task(BaseModel):
    id: str
    question: str
    answer: int


class PublicTask(BaseModel):
    id: str
    question: str
    timeout: float | None = None


class TaskList(BaseModel):
    dataset: str
    dataset_version: str | None = None
    tasks: list[PublicTask]


class TaskIds(BaseModel):
    task_ids: list[str]


class EvaluateResponseRequest(BaseModel):
    task_id: str
    response: str
    dataset: str | None = None


class Chunk(BaseModel):
    type: Literal["message", "error", "result"]
    data: Any


class FinalScoreRequest(BaseModel):
    evaluation_results: dict[str, Any]
    dataset: str | None = None


class FinalScore(BaseModel):
    tasks_evaluated: list[str]
    final_score: float
    metadata: dict[str, Any]


class Payload(BaseModel):
    type: Literal["text", "artifact"]
    schema_id: str = Field(validation_alias=AliasChoices("schema", "schema_id"))
    data: str


class V1EvaluateRequest(BaseModel):
    run_id: str
    task_id: str
    dataset: str | None = None
    payload: Payload
    versions: dict[str, str] | None = None


class V1Evaluation(BaseModel):
    run_id: str
    task_id: str
    status: str
    evaluator_version: str | None = None
    result: Any = None
    errors: list[str] = []


class V1TaskResult(BaseModel):
    status: str
    result: Any = None
    errors: list[str] = []


class V1ScoreRequest(BaseModel):
    run_id: str
    dataset: str | None = None
    evaluation_results: dict[str, V1TaskResult | None]


class V1Score(FinalScore):
    run_id: str


class Service:
    """The benchmark of this service: its hooks, and the rules that all such services share."""

    def __init__(self, count: int) -> None:
        tasks = (Task(id=one.id, question=one.question, answer=one.answer) for one in sums(count))
        self.datasets = {"default": {task.id: task for task in tasks}}

    async def check_auth(self, headers: Mapping[str, str]) -> bool:
        expected = os.environ.get("BENCHMARK_API_KEY")
        return expected is None or secrets.compare_digest(headers.get("authorization", ""), f"Bearer {expected}")

    def get_dataset(self, dataset: str | None) -> dict[str, Task]:
        if (dataset or "default") not in self.datasets:
            raise ValueError(f"Dataset '{dataset}' not found. Available datasets: {', '.join(self.datasets)}")
        return self.datasets[dataset or "default"]

    async def validate_task_ids(self, task_ids: list[str], dataset: str | None = None) -> list[str]:
        tasks = self.get_dataset(dataset)
        for task_id in task_ids:
            if task_id not in tasks:
                raise ValueError(f"Task ID not found: {task_id}")
        return list(dict.fromkeys(task_ids))

    async def filter_tasks(self, expression: str | None, dataset: str | None = None) -> list[str]:
        ids = list(self.get_dataset(dataset))
        if not expression:
            return ids
        parts = [int(part) if part else None for part in expression.split(":")]
        if len(parts) > 3:
            raise ValueError("Invalid slice format")
        return ids[slice(parts[0], *parts[1:])] if len(parts) > 1 else ids[parts[0] :]

    async def list_tasks(self, dataset: str | None = None) -> list[PublicTask]:
        return [PublicTask(id=task.id, question=task.question) for task in self.get_dataset(dataset).values()]

    async def evaluate_response(self, task_id: str, response: str, dataset: str | None = None) -> dict[str, Any]:
        right = is_right(self.get_dataset(dataset)[task_id].answer, response)
        return {"score": float(right), "passed": right}

    async def stream_evaluate_response(
        self, task_id: str, response: str, dataset: str | None = None
    ) -> AsyncIterator[Chunk]:
        for line in said(response):
            yield Chunk(type="message", data=line)
        yield Chunk(type="result", data={"score": 1.0, "passed": True})

    async def calculate_final_score(self, results: dict[str, Any], dataset: str | None = None) -> dict[str, Any]:
        scores = [result["score"] for result in results.values() if result is not None]
        return {"score": sum(scores) / len(results) if results else 0.0, "metadata": {"tasks": len(results)}}


service = Service(int(os.environ.get("PEER_TASKS", "10000")))
record: Callable[[V1Evaluation], None] | None = None
if database := os.environ.get("PEER_DATABASE"):
    from peer_records import recorder  # only here: the service that records nothing does not pay for the import

    record = recorder(database)


class AuthMiddleware(BaseHTTPMiddleware):
    """Asks the hook about every request but those to the public paths."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        if request.url.path not in ("/health", "/version") and not await service.check_auth(request.headers):
            return JSONResponse({"detail": "Unauthorized"}, status_code=401)
        return await call_next(request)


app = FastAPI(title="arithmetic")
app.add_middleware(AuthMiddleware)


@app.exception_handler(ValueError)
async def bad_request(request: Request, error: ValueError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=400)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/verify-task-ids")
async def verify_task_ids(
    task_ids: Annotated[list[str] | None, Query()] = None,
    slice: Annotated[str | None, Query()] = None,
    dataset: Annotated[str | None, Query()] = None,
) -> TaskIds:
    if task_ids:
        return TaskIds(task_ids=await service.validate_task_ids(task_ids, dataset=dataset))
    return TaskIds(task_ids=await service.filter_tasks(slice, dataset=dataset))


@app.post("/evaluate-response/")
async def evaluate_response(body: EvaluateResponseRequest) -> Any:
    return await service.evaluate_response(body.task_id, body.response, dataset=body.dataset)


@app.websocket("/ws/evaluate-response")
async def ws_evaluate_response(websocket: WebSocket) -> None:
    await websocket.accept()
    if not await service.check_auth(websocket.headers):
        await websocket.close(1008, "Unauthorized")
        return
    body = EvaluateResponseRequest.model_validate(await websocket.receive_json())
    async for chunk in service.stream_evaluate_response(body.task_id, body.response, dataset=body.dataset):
        await websocket.send_text(chunk.model_dump_json())
    await websocket.close()


@app.post("/final-score/")
async def final_score(body: FinalScoreRequest) -> FinalScore:
    task_ids = await service.validate_task_ids(list(body.evaluation_results), dataset=body.dataset)
    final = await service.calculate_final_score(body.evaluation_results, dataset=body.dataset)
    return FinalScore(tasks_evaluated=task_ids, final_score=final["score"], metadata=final["metadata"])


@app.post("/v1/evaluate")
async def v1_evaluate(body: V1EvaluateRequest) -> V1Evaluation:
    if body.task_id not in service.get_dataset(body.dataset):
        raise HTTPException(404, f"Task not found: {body.task_id}")
    result = await service.evaluate_response(body.task_id, body.payload.data, dataset=body.dataset)
    evaluation = V1Evaluation(
        run_id=body.run_id, task_id=body.task_id, status="evaluated", evaluator_version="1", result=result
    )
    if record is not None:
        await run_in_threadpool(record, evaluation)
    return evaluation


@app.post("/v1/score")
async def v1_score(body: V1ScoreRequest) -> V1Score:
    task_ids = await service.validate_task_ids(list(body.evaluation_results), dataset=body.dataset)
    results = {
        task_id: given.result if given is not None and given.status == "evaluated" else None
        for task_id, given in body.evaluation_results.items()
    }
    final = await service.calculate_final_score(results, dataset=body.dataset)
    return V1Score(run_id=body.run_id, tasks_evaluated=task_ids, final_score=final["score"], metadata=final["metadata"])


@app.get("/v1/datasets/{dataset}/tasks")
async def v1_tasks(dataset: str) -> TaskList:
    return TaskList(dataset=dataset, tasks=await service.list_tasks(dataset=dataset))
