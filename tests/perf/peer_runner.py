"""The runner to compare with, as such runners are written: the provider's SDK, a gather, a semaphore, JSON files.

Two files for each task, pydantic in between. To be fair, it judges in its own process, as benchhost need not
do over HTTP here either, and it has neither a progress bar nor retries of its own.

``peer_runner.py BASE_URL COUNT CONNECTIONS FOLDER`` prints the mean score as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Literal

from openai import AsyncOpenAI
from pydantic import BaseModel
from sums import Sum, is_right, sums


class Generation(BaseModel):
    task_id: str
    status: Literal["success", "error"]
    data: str
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    duration_seconds: float = 0.0


class Evaluation(BaseModel):
    task_id: str
    status: Literal["evaluated", "generation_error"]
    result: dict[str, float] | None = None
    error: str | None = None


class Runner:
    def __init__(self, client: AsyncOpenAI, connections: int, folder: Path) -> None:
        self.client, self.folder = client, folder
        self.generating, self.evaluating = asyncio.Semaphore(connections), asyncio.Semaphore(10)

    async def attempt(self, task: Sum) -> Evaluation:
        folder = self.folder / task.id
        folder.mkdir(parents=True)
        async with self.generating:
            generation = await self.generate(task)
        self.keep(folder / "generation.json", generation)
        async with self.evaluating:
            evaluation = self.evaluate(task, generation)
        self.keep(folder / "eval.json", evaluation)
        return evaluation

    async def generate(self, task: Sum) -> Generation:
        began = time.monotonic()
        try:
            answer = await self.client.chat.completions.create(
                model="sums", messages=[{"role": "user", "content": task.question}]
            )
        except Exception as error:
            return Generation(task_id=task.id, status="error", data="", error=str(error))
        assert answer.usage is not None
        return Generation(
            task_id=task.id,
            status="success",
            data=answer.choices[0].message.content or "",
            input_tokens=answer.usage.prompt_tokens,
            output_tokens=answer.usage.completion_tokens,
            duration_seconds=time.monotonic() - began,
        )

    def evaluate(self, task: Sum, generation: Generation) -> Evaluation:
        if generation.status == "error":
            return Evaluation(task_id=task.id, status="generation_error", error=generation.error)
        return Evaluation(
            task_id=task.id,
            status="evaluated",
            result={"score": float(is_right(task.answer, generation.data))},
        )

    def keep(self, path: Path, record: BaseModel) -> None:
        with path.open("w") as file:
            json.dump(record.model_dump(mode="json"), file, indent=2)


async def main(base_url: str, count: int, connections: int, folder: Path) -> None:
    # The SDK gives a connection 5 seconds, which a busy machine exceeds with hundreds of them at once.
    async with AsyncOpenAI(base_url=base_url, api_key="perf", timeout=120.0) as client:
        runner = Runner(client, connections, folder)
        evaluations = await asyncio.gather(*(runner.attempt(task) for task in sums(count)))
    scores = [one.result["score"] if one.result else 0.0 for one in evaluations]
    print(json.dumps({"tasks": len(scores), "mean": sum(scores) / len(scores)}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
