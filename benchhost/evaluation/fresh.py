"""What is judged in a sandbox that is made for it, and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from benchhost.contract import SandboxSpec, Submission
from benchhost.evaluation.environments import environment_of, spec_of
from benchhost.evaluation.frames import Answer
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.work import Work, digest_of
from benchhost.wire.vals import RetrievedTask

if TYPE_CHECKING:
    from benchhost.evaluation.hosted import HostedBenchmark
    from benchhost.evaluation.process import Tell

MARGIN = 300.0
"""Seconds that a sandbox outlives the hooks that work in it, should nobody delete it."""


class InFreshSandbox(Work):
    """A submission that is placed in a fresh sandbox of the host's own, set up for the task, and judged there.

    The sandbox reaches no network, and is deleted when the judging has ended, however that was.
    """

    def __init__(self, task: str, submission: Submission, sandboxes: OwnSandboxes, tenant: str) -> None:
        super().__init__(task, digest_of("submission", submission.type, submission.schema, submission.data))
        self._submission = submission
        self._sandboxes = sandboxes
        self._tenant = tenant

    async def judge(self, benchmark: HostedBenchmark, dataset: str, tell: Tell, resume_state: bytes | None) -> Answer:
        # How far an interrupted attempt had come is of no use: its sandbox is gone, and all is done again.
        told = await benchmark.call("evaluation_environment", dataset=dataset, task=self.task)
        spec = self._spec(benchmark, msgspec.json.decode(told.data, type=RetrievedTask))
        async with self._sandboxes.lent(self._tenant, spec) as sandbox:
            place = self._sandboxes.place(sandbox.id)
            body = msgspec.msgpack.encode(place)
            if benchmark.offers("setup_task"):
                await benchmark.call("setup_task", dataset=dataset, task=self.task, body=body, tell=tell)
            placing = msgspec.msgpack.encode(msgspec.structs.replace(place, submission=self._submission))
            await benchmark.call("place_submission", dataset=dataset, task=self.task, body=placing, tell=tell)
            return await benchmark.call("evaluate_instance", dataset=dataset, task=self.task, body=body, tell=tell)

    def _spec(self, benchmark: HostedBenchmark, told: RetrievedTask) -> SandboxSpec:
        setup, evaluation = benchmark.timeouts
        spec = spec_of(environment_of(told), {"benchhost-benchmark": benchmark.name})
        return msgspec.structs.replace(spec, idle_timeout=None, lifetime=2 * setup + evaluation + MARGIN)
