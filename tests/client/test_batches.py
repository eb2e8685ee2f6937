"""Batches at a host whose connections break."""

import asyncio
import json
from contextlib import aclosing

import pytest
from aiohttp import web

from benchhost.client import Client, Retries
from benchhost.errors import ClientError, HostBusy, HostUnreachable

pytestmark = pytest.mark.anyio


class BreakingHost:
    """A host that judges a batch, last submission first, and breaks off as each ``ends`` says.

    An end is how many lines are sent and what comes then: nothing more, a hang-up, or a last line.
    """

    def __init__(self, *ends):
        self.ends = list(ends)
        self.batches = []
        self.closed = asyncio.Event()

    async def answer(self, request):
        assert request.headers["accept"] == "application/jsonl"
        submissions = (await request.json())["submissions"]
        self.batches.append([submission["task_id"] for submission in submissions])
        lines = [
            json.dumps(
                {
                    "index": index,
                    "task_id": submission["task_id"],
                    "evaluation_id": f"id-{submission['task_id']}",
                    "status": "evaluated",
                    "evaluator_version": "1",
                    "result": {"score": float(submission["response"])},
                    "errors": [],
                }
            )
            + "\n"
            for index, submission in reversed(list(enumerate(submissions)))
        ]
        count, last = self.ends.pop(0) if self.ends else (len(lines), None)
        response = web.StreamResponse(headers={"content-type": "application/jsonl"})
        await response.prepare(request)
        for line in lines[:count]:
            whole = line.encode()
            await response.write(whole[:20])  # lines come in pieces
            await response.write(whole[20:])
        if last == "hang up":
            await response.write(lines[count][:30].encode())
            await asyncio.sleep(0.02)
            request.transport.abort()
        elif last == "wait":
            try:
                await asyncio.sleep(30)
            finally:
                self.closed.set()
        elif last:
            await response.write(json.dumps(last).encode() + b"\n")
        return response


SUBMISSIONS = [(f"t{n}", str(n)) for n in range(10)]


async def judged(client):
    outcomes = [(position, outcome) async for position, outcome in client.evaluate_batch("run", SUBMISSIONS)]
    assert [(outcome.task_id, outcome.result) for _, outcome in sorted(outcomes, key=lambda found: found[0])] == [
        (task_id, {"score": float(response)}) for task_id, response in SUBMISSIONS
    ]
    return outcomes


async def collect(found, outcomes):
    async for outcome in outcomes:
        found.append(outcome)  # so that those before an error are there


def problem(status, slug, detail):
    return {"type": f"urn:benchhost:problem:{slug}", "title": "?", "status": status, "detail": detail}


@pytest.mark.parametrize(
    "last",
    ["hang up", None, problem(503, "store-failed", "The store is not available")],
    ids=["hang up", "end", "problem"],
)
async def test_only_what_is_owed_is_sent_again(serve, quick, last):
    host = BreakingHost((4, last), (0, last), (5, last))
    async with serve(host.answer) as url, Client(url, "x", retries=quick) as client:
        await judged(client)
    assert [len(batch) for batch in host.batches] == [10, 6, 6, 1]
    assert host.batches[-1] == ["t0"]


async def test_a_host_that_gets_nowhere_is_given_up(serve, quick):
    host = BreakingHost((3, "hang up"), *[(0, "hang up")] * 100)
    found = []
    async with serve(host.answer) as url, Client(url, "x", retries=quick) as client:
        with pytest.raises(HostUnreachable):
            await collect(found, client.evaluate_batch("run", SUBMISSIONS))
    assert [position for position, _ in found] == [9, 8, 7]
    assert len(host.batches) == 1 + 5


@pytest.mark.parametrize(
    "last, said",
    [
        ({"index": 3, "status": "evaluated"}, "answered for number 3 of them"),
        ({"index": 10, "status": "evaluated"}, "answered for number 10 of them"),
        ({"index": -1, "status": "evaluated"}, "answered for number -1 of them"),
        ({"status": "evaluated"}, "sent a line that cannot be read"),
    ],
)
async def test_a_host_that_answers_for_what_it_was_not_asked_is_not_believed(serve, quick, last, said):
    host = BreakingHost((10, last))
    found = []
    async with serve(host.answer) as url, Client(url, "x", retries=quick) as client:
        with pytest.raises(ClientError, match=said):
            await collect(found, client.evaluate_batch("run", [*SUBMISSIONS, ("t10", "10")]))


async def test_a_host_that_gets_on_is_never_given_up(serve):
    host = BreakingHost(*[(1, "hang up")] * 9)
    async with serve(host.answer) as url, Client(url, "x", retries=Retries(times=1, first=0.001)) as client:
        await judged(client)


async def test_a_problem_that_will_stay_ends_the_batch(serve, quick):
    host = BreakingHost((2, problem(500, "internal-error", "Internal server error") | {"error_id": "e1"}))
    async with serve(host.answer) as url, Client(url, "x", retries=quick) as client:
        with pytest.raises(ClientError, match=r"quote e1 to the operator") as caught:
            await judged(client)
    assert (caught.value.status, caught.value.problem, len(host.batches)) == (500, "internal-error", 1)


async def test_a_host_at_its_limit_is_asked_again(serve, quick):
    busy = [429, 429]
    host = BreakingHost()

    async def answer(request):
        if busy:
            return web.json_response(problem(busy.pop(), "busy", "full"), status=429, headers={"retry-after": "0"})
        return await host.answer(request)

    async with serve(answer) as url, Client(url, "x", retries=quick) as client:
        await judged(client)
        busy += [429] * 6
        with pytest.raises(HostBusy, match="answered 429: full"):
            await judged(client)


@pytest.mark.parametrize(
    "line", ["nonsense", {"index": "one"}, {"index": 1, "status": "unheard of"}], ids=["text", "index", "status"]
)
async def test_a_line_that_cannot_be_read_ends_the_batch(serve, quick, line):
    host = BreakingHost((2, line))
    async with serve(host.answer) as url, Client(url, "x", retries=quick) as client:
        with pytest.raises(ClientError, match="cannot be read"):
            await judged(client)


async def test_leaving_a_batch_early_hangs_up(serve):
    host = BreakingHost((1, "wait"))
    async with serve(host.answer) as url, Client(url, "x") as client:
        async with aclosing(client.evaluate_batch("run", SUBMISSIONS)) as outcomes:
            assert (await anext(outcomes))[0] == 9
        await asyncio.wait_for(host.closed.wait(), 10)
