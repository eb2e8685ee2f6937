"""Many responses judged at once: by the route for batches, or where there is none, one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import msgspec

from benchhost.client.answers import BatchLine, Outcome
from benchhost.client.faults import Request, problem_of
from benchhost.client.routes import Routes
from benchhost.client.transport import Answer
from benchhost.errors import ClientError


async def lines_of(
    routes: Routes, request: Request, secrets: Mapping[str, str]
) -> AsyncGenerator[tuple[int, Outcome], None]:
    """Send a batch once, and read the outcomes as they come, each with its position in the batch."""
    async with routes.transport.send(request) as response:
        rest = b""
        async for chunk in response.content.iter_any():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                read = Answer(response.headers, line).read(request, BatchLine)
                if read.index is None:
                    raise problem_of(request, line, secrets)
                yield read.index, msgspec.convert(read, Outcome, from_attributes=True)


async def one_by_one(
    judged: Callable[[str, str], Awaitable[Outcome]], owed: Mapping[int, tuple[str, str]], at_once: int
) -> AsyncGenerator[tuple[int, Outcome], None]:
    """Have what is owed judged by ``judged``, some of it at once; yield outcomes as they come, each with its position.

    When one fails no more are begun, and its error is raised after the last outcome.
    """
    slots = asyncio.Semaphore(at_once)
    failures: list[ClientError] = []

    async def judge(position: int, task_id: str, response: str) -> tuple[int, Outcome] | None:
        async with slots:
            if failures:
                return None
            try:
                return position, await judged(task_id, response)
            except ClientError as error:
                failures.append(error)
                return None

    judging = [asyncio.create_task(judge(position, *submission)) for position, submission in owed.items()]
    try:
        for finished in asyncio.as_completed(judging):
            if (found := await finished) is not None:
                yield found
    finally:
        for task in judging:
            task.cancel()
        await asyncio.gather(*judging, return_exceptions=True)
    if failures:
        raise failures[0]
