"""A load generator: many connections from one cheap process, every request different, every answer checked.

Run as a process of its own: it reads a :class:`Plan` as JSON from standard input, and writes a
:class:`Report` as JSON to standard output. Each connection is kept alive and has one request under
way at a time. An answer that is not 200 or does not say what it should ends the run.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import msgspec
import uvloop
from sums import sum_at

SUMS = [sum_at(index) for index in range(10_000)]
PATIENCE = 60.0  # seconds that the last answers may take
PROSE = "Adding the two numbers digit by digit, and carrying where it is due, we find this.\n"


class Plan(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``request`` names one of :data:`REQUESTS`; ``size`` is what that kind counts (characters, tasks, results).

    Each of the ``connections`` repeats it for ``seconds``, resting ``pause`` seconds after each answer.
    Every request shows the ``token``, if there is one.
    """

    port: int
    base: str = ""
    request: str
    size: int
    connections: int
    seconds: float
    pause: float = 0.0
    token: str = ""


class Report(msgspec.Struct, kw_only=True):
    """``answered`` requests in ``seconds``; ``p50`` and ``p99`` of their latencies are in milliseconds."""

    answered: int
    seconds: float
    p50: float
    p99: float


class Request(NamedTuple):
    """The pieces of one request, and how often each of some strings must occur in the body of its answer."""

    pieces: list[bytes]
    expected: tuple[tuple[bytes, int], ...]


def get(path: str) -> list[bytes]:
    """Make the pieces of a GET."""
    return [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()]


def post(path: str, *body: bytes) -> list[bytes]:
    """Make the pieces of a POST; those of the body are not copied, since they may be large."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {sum(map(len, body))}\r\n\r\n"
    )
    return [head.encode(), *body]


def prose(size: int) -> bytes:
    """Make about ``size`` characters of response, as they stand in a JSON string."""
    return (PROSE * (size // len(PROSE) + 1))[:size].encode().replace(b"\n", b"\\n")


def answer_to(count: int) -> tuple[str, int, bool]:
    """Choose the task of the request number ``count``, and what to answer: every other answer is wrong."""
    task = SUMS[count % len(SUMS)]
    right = count % 2 == 0
    return task.id, task.answer if right else task.answer + 1, right


def health(plan: Plan) -> Iterator[Request]:
    """Ask whether the server is up."""
    return itertools.repeat(Request(get(f"{plan.base}/health"), ((b'"status":"ok"', 1),)))


def evaluate(plan: Plan) -> Iterator[Request]:
    """Submit one response of ``size`` characters."""
    run, filler = secrets.token_hex(4), prose(plan.size)
    for count in itertools.count():
        task_id, answer, right = answer_to(count)
        head = (
            f'{{"run_id":"{run}","task_id":"{task_id}",'
            f'"payload":{{"type":"text","schema":"text","data":"Attempt {count}. '
        )
        verdict = b'"passed":true' if right else b'"passed":false'
        yield Request(
            post(f"{plan.base}/v1/evaluate", head.encode(), filler, f' {answer}"}}}}'.encode()),
            ((verdict, 1), (b'"status":"evaluated"', 1)),
        )


def batch(plan: Plan) -> Iterator[Request]:
    """Submit ``size`` responses of 1 KB in one call."""
    run, filler = secrets.token_hex(4), prose(1024)
    for first in itertools.count(0, plan.size):
        answers = [(count, *answer_to(count)) for count in range(first, first + plan.size)]
        submissions = (
            b'{"task_id":"%b","response":"Attempt %d. %b %d"}' % (task_id.encode(), count, filler, answer)
            for count, task_id, answer, _ in answers
        )
        body = b'{"run_id":"%b","submissions":[%b]}' % (run.encode(), b",".join(submissions))
        passed = sum(right for *_, right in answers)
        yield Request(
            post(f"{plan.base}/v1/evaluate-batch", body),
            ((b'"passed":true', passed), (b'"passed":false', plan.size - passed)),
        )


def verify(plan: Plan) -> Iterator[Request]:
    """Ask for all ids of a dataset of ``size`` tasks."""
    return itertools.repeat(Request(get(f"{plan.base}/verify-task-ids"), ((b'"t0', plan.size),)))


def tasks(plan: Plan) -> Iterator[Request]:
    """Ask for the public parts of all tasks of a dataset of ``size`` tasks."""
    return itertools.repeat(Request(get(f"{plan.base}/v1/datasets/default/tasks"), ((b'"id":"t0', plan.size),)))


def final_score(plan: Plan) -> Iterator[Request]:
    """Ask for the final score of ``size`` results, every other one passed."""
    results = {
        sum_at(index).id: {"score": float(index % 2 == 0), "passed": index % 2 == 0} for index in range(plan.size)
    }
    request = post(f"{plan.base}/final-score/", msgspec.json.encode({"evaluation_results": results}))
    return itertools.repeat(Request(request, ((b'"t0', plan.size), (b'"final_score":0.5', 1))))


def v1_score(plan: Plan) -> Iterator[Request]:
    """Ask for the same on the newer route, where each result comes with its status."""
    results = {
        sum_at(index).id: {"status": "evaluated", "result": {"score": float(index % 2 == 0), "passed": index % 2 == 0}}
        for index in range(plan.size)
    }
    request = post(f"{plan.base}/v1/score", msgspec.json.encode({"run_id": "r", "evaluation_results": results}))
    return itertools.repeat(Request(request, ((b'"t0', plan.size), (b'"final_score":0.5', 1))))


REQUESTS: dict[str, Callable[[Plan], Iterator[Request]]] = {
    "health": health,
    "evaluate": evaluate,
    "batch": batch,
    "verify": verify,
    "tasks": tasks,
    "final-score": final_score,
    "v1-score": v1_score,
}


def shown(token: str, requests: Iterator[Request]) -> Iterator[Request]:
    """Have requests show a token."""
    header = f"\r\nAuthorization: Bearer {token}\r\nHost:".encode()
    for request in requests:
        head, *body = request.pieces
        yield request._replace(pieces=[head.replace(b"\r\nHost:", header, 1), *body])


class Connection(asyncio.Protocol):
    """One kept-alive connection that sends requests, one after the other, until the deadline."""

    def __init__(self, plan: Plan, requests: Iterator[Request], deadline: float, latencies: list[float]) -> None:
        self.plan, self.requests, self.deadline, self.latencies = plan, requests, deadline, latencies
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.received = bytearray()
        self.needed: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's transports derive from nothing
        self.send()

    def send(self) -> None:
        self.request = next(self.requests)
        self.sent = time.perf_counter()
        self.transport.writelines(self.request.pieces)

    def data_received(self, data: bytes) -> None:
        self.received += data
        try:
            if self.is_whole():
                self.latencies.append(time.perf_counter() - self.sent)
                self.check()
                self.go_on()
        except ValueError as error:
            self.finish(error)

    def is_whole(self) -> bool:
        if self.needed is None and (end := self.received.find(b"\r\n\r\n")) >= 0:
            self.body = end + 4
            self.needed = self.body + content_length(bytes(self.received[:end]))
        return self.needed is not None and len(self.received) >= self.needed

    def go_on(self) -> None:
        self.received.clear()
        self.needed = None
        if time.perf_counter() >= self.deadline:
            self.finish(None)
        elif self.plan.pause:
            self.loop.call_later(self.plan.pause, self.send)
        else:
            self.send()

    def check(self) -> None:
        right_status = self.received.startswith(b"HTTP/1.1 200 ")
        if not right_status or any(
            self.received.count(text, self.body) != times for text, times in self.request.expected
        ):
            wanted = " and ".join(f"{times} times {text.decode()}" for text, times in self.request.expected)
            raise ValueError(f"expected status 200 and {wanted}, but got: {bytes(self.received[:2000])!r}")

    def finish(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error) if error else self.done.set_result(None)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish(exc or ConnectionError("the server closed the connection before it had answered"))


def content_length(head: bytes) -> int:
    """Read how long the body is. Raises ``ValueError`` when the answer does not say."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"the answer has no Content-Length: {head!r}")


async def run(plan: Plan) -> Report:
    """Apply the load that a plan describes, and report it."""
    requests = REQUESTS[plan.request](plan)
    if plan.token:
        requests = shown(plan.token, requests)
    latencies: list[float] = []
    loop, start = asyncio.get_running_loop(), time.perf_counter()
    opened = [
        await loop.create_connection(
            lambda: Connection(plan, requests, start + plan.seconds, latencies), "127.0.0.1", plan.port
        )
        for _ in range(plan.connections)
    ]
    async with asyncio.timeout(plan.seconds + PATIENCE):
        await asyncio.gather(*(connection.done for _, connection in opened))
    seconds = time.perf_counter() - start
    latencies.sort()
    p50, p99 = (1000 * latencies[int(part * (len(latencies) - 1))] for part in (0.5, 0.99))
    return Report(answered=len(latencies), seconds=seconds, p50=p50, p99=p99)


if __name__ == "__main__":
    report = uvloop.run(run(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)))
    sys.stdout.buffer.write(msgspec.json.encode(report))
