"""Having responses judged while others are still generated: those that come together are judged together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing

from anyio.abc import TaskGroup

from benchhost.contract import EvaluationStatus, Runner
from benchhost.runner.attempt import Attempt, Workshop
from benchhost.runner.source import Submission, Verdict

NO_VERDICT = Verdict(
    status=EvaluationStatus.INFRA_ERROR, kind="no-verdict", errors=("the judge ended without a word on this response",)
)

Keep = Callable[[Sequence[tuple[Attempt, Verdict]]], Awaitable[None]]


class Judging:
    """Has at most ``most`` responses judged at once; ``keep`` is given the verdicts as they come.

    The runner is asked first, if it judges itself; what it leaves goes to the benchmark: what was done in the
    sandbox of the attempt, if the benchmark judges that, else the response.
    """

    def __init__(self, tasks: TaskGroup, workshop: Workshop, most: int, keep: Keep) -> None:
        self.under_way = 0
        self._tasks = tasks
        self._run = workshop.run
        self._source = workshop.source
        self._runner_judges = type(workshop.runner).evaluate is not Runner.evaluate
        self._room = asyncio.Semaphore(most)
        self._keep = keep
        self._gathered: list[Attempt] = []

    async def submit(self, attempt: Attempt) -> None:
        """Have an attempt judged; this waits while there is no room."""
        await self._room.acquire()
        self.under_way += 1
        if self._runner_judges:
            self._tasks.start_soon(self._ask_runner, attempt)
        else:
            self._leave_to_benchmark(attempt)

    def _leave_to_benchmark(self, attempt: Attempt) -> None:
        if attempt.workplace.judges:
            self._tasks.start_soon(self._ask_in_sandbox, attempt)
        else:
            self._gather(attempt)

    def _gather(self, attempt: Attempt) -> None:
        """Put an attempt to those that go to the benchmark in one call at the next turn of the loop."""
        if not self._gathered:
            self._tasks.start_soon(self._ask_benchmark)
        self._gathered.append(attempt)

    async def _ask_runner(self, attempt: Attempt) -> None:
        verdict = await attempt.evaluate()
        if verdict is None:
            self._leave_to_benchmark(attempt)
        else:
            await self._have([(attempt, verdict)])

    async def _ask_in_sandbox(self, attempt: Attempt) -> None:
        await self._have([(attempt, await attempt.judged_in_its_sandbox())])

    async def _ask_benchmark(self) -> None:
        batch, self._gathered = self._gathered, []
        without = set(range(len(batch)))
        submissions = [_submission(attempt) for attempt in batch]
        async with aclosing(self._source.evaluate(self._run, submissions)) as judged:
            async for verdicts in judged:
                without.difference_update(place for place, _ in verdicts)
                await self._have([(batch[place], verdict) for place, verdict in verdicts])
        await self._have([(batch[place], NO_VERDICT) for place in sorted(without)])

    async def _have(self, verdicts: Sequence[tuple[Attempt, Verdict]]) -> None:
        if verdicts:
            await self._keep(verdicts)
        self.under_way -= len(verdicts)
        for _ in verdicts:
            self._room.release()


def _submission(attempt: Attempt) -> Submission:
    assert attempt.result is not None
    return Submission(attempt.task_id, attempt.result.data)
