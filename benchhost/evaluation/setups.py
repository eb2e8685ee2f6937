"""Sandboxes that are being set up for an attempt.

Setting up is no evaluation: nothing is recorded of it. It is done to its end also when whoever asked for it has hung
up, and the same request joins it until then; after that it is done again.
"""

from __future__ import annotations

import asyncio

import msgspec

from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.frames import InSandbox
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.requests import Context
from benchhost.evaluation.work import digest_of, digest_of_place
from benchhost.tasks import key_of


class Setups:
    """Sets sandboxes up, each only once at a time. What is said meanwhile is told by the evaluator's events."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._running: dict[str, asyncio.Task[bytes]] = {}

    def id_of(self, benchmark: HostedBenchmark, context: Context, task: str, place: InSandbox) -> str:
        """Say by which id the events of a setup are told."""
        return digest_of(
            "setup", context.tenant, benchmark.name, context.dataset, context.version, task, digest_of_place(place)
        )[:32]

    async def set_up(self, benchmark: HostedBenchmark, context: Context, task: str, place: InSandbox) -> bytes:
        """Set a sandbox up for a task; return the status that the hook gave, as JSON.

        Raises :class:`~benchhost.errors.Busy`, and what
        :meth:`~benchhost.evaluation.hosted.HostedBenchmark.call` raises.
        """
        setup_id = self.id_of(benchmark, context, task, place)
        if setup_id not in self._running:
            gate = self._evaluator.gate(benchmark, context.tenant)
            gate.enter(1)

            async def run() -> bytes:
                try:
                    with benchmark.in_use():  # while it waits its turn, too
                        await gate.wait()
                        try:
                            answer = await benchmark.call(
                                "setup_task",
                                dataset=key_of(context.dataset, context.version),
                                task=task,
                                body=msgspec.msgpack.encode(place),
                                tell=lambda said: self._evaluator.events.tell(setup_id, said),
                            )
                        finally:
                            gate.give_back()
                    return answer.data
                finally:
                    gate.leave(1)
                    del self._running[setup_id]

            running = self._running[setup_id] = asyncio.create_task(run())
            running.add_done_callback(lambda task: task.cancelled() or task.exception())  # if nobody waits any more
        return await asyncio.shield(self._running[setup_id])
