"""The same job as a plugin of benchhost. Copied, with :mod:`sums`, into the folder of plugins of a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import ClassVar

import sums

from benchhost import Benchmark, Message, Response, Result, Task


class SumTask(Task, kw_only=True):
    """A sum, with its hidden answer."""

    answer: int


class TenThousand(Benchmark[SumTask]):
    """Ten thousand sums."""

    version = "1"
    count: ClassVar[int] = 10_000

    def load_datasets(self) -> dict[str, Iterator[SumTask]]:
        tasks = (SumTask(id=one.id, question=one.question, answer=one.answer) for one in sums.sums(self.count))
        return {"default": tasks}

    def evaluate_response(self, task: SumTask, response: Response) -> Result | AsyncIterator[Message | Result]:
        if "say " in response.text[-20:]:
            return self.say(response)
        right = sums.is_right(task.answer, response.text)
        return Result(score=float(right), passed=right)

    async def say(self, response: Response) -> AsyncIterator[Message | Result]:
        for line in sums.said(response.text):
            yield Message(line)
        yield Result(score=1.0, passed=True)


class HundredThousand(TenThousand):
    """A hundred thousand sums, for final scores of that many results."""

    count = 100_000


class Hundred(TenThousand):
    """A hundred sums: one of the many small benchmarks that a host may carry."""

    count = 100


class Patient(TenThousand):
    """Ten thousand sums that take as long to judge as what asks another service: 50 ms each."""

    async def evaluate_response(self, task: SumTask, response: Response) -> Result:
        await asyncio.sleep(0.05)
        right = sums.is_right(task.answer, response.text)
        return Result(score=float(right), passed=right)
