"""A load generator for WebSockets: clients that have responses judged and read what is said, one after the other.

Run as :mod:`load` is, with a :class:`~load.Plan` whose ``size`` is the lines of a stream. Each stream must have all
its lines, and then a result. ``answered`` are the lines, and the latencies are those of whole streams.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import sys
import time
from collections.abc import Iterator

import aiohttp
import msgspec
import uvloop
from load import PATIENCE, Plan, Report
from sums import sum_at


async def watch(session: aiohttp.ClientSession, plan: Plan, counts: Iterator[int], run: str) -> float:
    """Watch one stream to its end, and return the seconds that it took."""
    began = time.perf_counter()
    task = sum_at(next(counts) % 10_000)
    async with session.ws_connect(f"ws://127.0.0.1:{plan.port}{plan.base}/ws/evaluate-response", max_msg_size=0) as ws:
        await ws.send_str(
            msgspec.json.encode({"task_id": task.id, "response": f"{run} {next(counts)} say {plan.size}"}).decode()
        )
        lines = 0
        async for message in ws:
            chunk = msgspec.json.decode(message.data)
            if chunk["type"] == "message":
                lines += chunk["data"].count("\n") + 1
            elif chunk["type"] == "result" and lines == plan.size:
                return time.perf_counter() - began
            else:
                raise ValueError(f"after {lines} of {plan.size} lines came {message.data[:1000]}")
    raise ValueError(f"the stream ended after {lines} of {plan.size} lines")


async def watch_on(
    session: aiohttp.ClientSession, plan: Plan, counts: Iterator[int], run: str, deadline: float, took: list[float]
) -> None:
    """Watch streams until the deadline."""
    while True:
        took.append(await watch(session, plan, counts, run))
        if time.perf_counter() >= deadline:
            return


async def main(plan: Plan) -> Report:
    """Watch as a plan says, and report it."""
    took: list[float] = []
    counts, run = itertools.count(), secrets.token_hex(4)
    headers = {"Authorization": f"Bearer {plan.token}"} if plan.token else {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        start = time.perf_counter()
        async with asyncio.timeout(plan.seconds + PATIENCE):
            await asyncio.gather(
                *(watch_on(session, plan, counts, run, start + plan.seconds, took) for _ in range(plan.connections))
            )
        seconds = time.perf_counter() - start
    took.sort()
    p50, p99 = (1000 * took[int(part * (len(took) - 1))] for part in (0.5, 0.99))
    return Report(answered=plan.size * len(took), seconds=seconds, p50=p50, p99=p99)


if __name__ == "__main__":
    report = uvloop.run(main(msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)))
    sys.stdout.buffer.write(msgspec.json.encode(report))
