"""A benchmark in memory, and runs of it: everything that a run has, without a process or a network."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchhost import FinalScore, Result, Runner
from benchhost.contract import Completion, EvaluationStatus, Usage
from benchhost.errors import UnknownTask
from benchhost.models import Limiter, Price, PriceTable
from benchhost.runner.config import RunConfig, RunOptions
from benchhost.runner.default import DefaultRunner
from benchhost.runner.run import Outcome, Run
from benchhost.runner.source import Submission, Verdict
from benchhost.store import AttemptRecord, Store, open_store


class Doubling:
    """Tasks ``t0``, ``t1``, … ask for the double of their number; a response is right if it is that."""

    benchmark = "doubling"
    dataset = "default"
    kind = "benchmark"
    host = None
    evaluator_version = "1"

    def __init__(self, size: int = 6, version: str = "v1") -> None:
        self.version = version
        self.ids = [f"t{number}" for number in range(size)]
        self.tasks = {
            task_id: {
                "id": task_id,
                "question": f"Twice {number}?",
                "timeout": None,
                "parity": ["even", "odd"][number % 2],
            }
            for number, task_id in enumerate(self.ids)
        }
        self.scores = False
        self.reference: Callable[[str], Any] | None = self._reference
        self.instances: Any = None
        self.judged: list[tuple[str, str]] = []
        self.scored: list[Mapping[str, Result | None]] = []
        self.broken: dict[str, Verdict] = {}
        self.hold: asyncio.Event | None = None

    def task(self, task_id: str) -> bytes:
        if task_id not in self.tasks:
            raise UnknownTask(f"Task ID not found: {task_id}")
        return json.dumps(self.tasks[task_id]).encode()

    def public(self, task_id: str) -> bytes:
        return self.task(task_id)

    def digest(self, task_id: str) -> str:
        return hashlib.sha256(self.task(task_id)).hexdigest()

    async def prompt(self, task_id: str) -> str:
        self.task(task_id)
        return f"{self.tasks[task_id]['question']} The number alone."

    async def evaluate(
        self, run: str, submissions: Sequence[Submission]
    ) -> AsyncGenerator[list[tuple[int, Verdict]], None]:
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        for place, submission in enumerate(submissions):
            self.judged.append((submission.task_id, submission.response))
            yield [(place, self.broken.get(submission.task_id) or self._verdict(submission))]

    def _verdict(self, submission: Submission) -> Verdict:
        right = submission.response == str(2 * int(submission.task_id[1:]))
        return Verdict(
            status=EvaluationStatus.EVALUATED,
            result=Result(score=float(right), passed=right, metrics={"length": float(len(submission.response))}),
            evaluator_version=self.evaluator_version,
        )

    async def score(self, run: str, results: Mapping[str, Result | None]) -> FinalScore | None:
        self.scored.append(dict(results))
        return FinalScore(score=100 * sum(result.score for result in results.values() if result) / len(results))

    async def _reference(self, task_id: str) -> str:
        return str(2 * int(task_id[1:]))


class Script:
    """A model that answers by task: a text, an exception, or a function of the call; ``right`` else."""

    name = "script/model"

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.prompts: dict[str, Any] = {}
        self.sampled: list[Any] = []
        self.most_at_once = self.at_once = 0

    async def complete(self, prompt: Any, sampling: Any = None, call: Any = None) -> Completion:
        self.asked.append(call.task_id)
        self.prompts[call.task_id] = prompt
        self.sampled.append(sampling)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            answer = self.answers.get(call.task_id, self.answers.get("otherwise"))
            if callable(answer) and not isinstance(answer, type):
                answer = answer(call)
                if asyncio.iscoroutine(answer):
                    answer = await answer
            if isinstance(answer, BaseException):
                raise answer
            text = str(2 * int(call.task_id[1:])) if answer is None else answer
        finally:
            self.at_once -= 1
        return Completion(text=text, usage=Usage(input_tokens=10, output_tokens=5))

    async def aclose(self) -> None:
        pass


class Desk:
    """One store, one benchmark, and sessions of runs of it."""

    def __init__(self, store: Store, state: Path) -> None:
        self.store = store
        self.state = state
        self.source = Doubling()
        self.prices = PriceTable({"script/model": Price(input=1000, output=2000)})  # a call costs 0.02

    def config(self, **changes: Any) -> RunConfig:
        fields: dict[str, Any] = {
            "benchmark": self.source.benchmark,
            "dataset_version": self.source.version,
            "evaluator_version": self.source.evaluator_version,
            "model": "script/model",
            "task_count": len(self.source.ids),
        }
        return RunConfig(**fields | changes)

    def session(
        self,
        model: Any = None,
        *,
        runner: Runner[Any] | None = None,
        run: str = "first",
        options: Mapping[str, Any] | None = None,
        judge: Any = None,
        source: Any = None,
        limiter: Limiter | None = None,
        **changes: Any,
    ) -> Run:
        return Run(
            run,
            self.config(**changes),
            store=self.store,
            source=source or self.source,
            runner=runner or DefaultRunner(),
            model=model or Script(),
            judge=judge,
            state=self.state,
            options=RunOptions(**options or {}),
            prices=self.prices,
            limiter=limiter,
        )

    async def run(self, model: Any = None, **how: Any) -> Outcome:
        return await self.session(model, **how).execute()

    async def attempts(self, run: str = "first", *, latest: bool = True) -> list[AttemptRecord]:
        return [one async for page in self.store.attempts(run, latest=latest, generation=True) for one in page]

    async def finals(self, run: str = "first") -> dict[tuple[str, int], tuple[Any, ...]]:
        """What a run comes to: of each task and epoch the status, the response and the verdict."""
        return {
            (one.task, one.epoch): (
                one.status,
                json.loads(one.generation or b"{}")["data"],
                one.evaluation_status,
                one.score,
            )
            for one in await self.attempts(run)
        }

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something is so."""
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come to that within 10 s")

    async def statuses(self, run: str = "first") -> dict[str, str]:
        return {one.task: one.status for one in await self.attempts(run)}


@pytest.fixture(params=["memory", "sqlite"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_store("memory:" if request.param == "memory" else tmp_path / "store.db") as store:
        yield Desk(store, tmp_path / "state")


@pytest.fixture(scope="session")
def script() -> type[Script]:
    return Script


@pytest.fixture(scope="session")
def doubling() -> type[Doubling]:
    return Doubling


@pytest.fixture(scope="session")
def desk_type() -> type[Desk]:
    return Desk
