"""What is judged in a sandbox that is made for it, and for nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from benchhost.contract import Submission
from benchhost.evaluation.environments import environment_of, spec_of
from benchhost.evaluation.frames import Answer, InSandbox
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.work import Work, digest_of
from benchhost.wire.vals import RetrievedTask

if TYPE_CHECKING:
    from benchhost.evaluation.hosted import HostedBenchmark
    from benchhost.evaluation.process import Tell

MARGIN = 300.0
"""Seconds that a sandbox outlives the hooks that work in it, should nobody delete it."""


class Content(Protocol):
    """What a submission holds. ``sha256``, in hexadecimal, is known before any of it need be in memory."""

    @property
    def sha256(self) -> str: ...

    def held(self) -> AbstractAsyncContextManager[bytes]:
        """Hold all of it in memory, for as long as it takes to place it."""


class Inline:
    """Content that came with its request."""

    def __init__(self, data: bytes) -> None:
        self.sha256 = hashlib.sha256(data).hexdigest()
        self._data = data

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bytes]:
        yield self._data


class InFreshSandbox(Work):
    """A submission that is placed in a fresh sandbox of the host's own, set up for the task, and judged there.

    The sandbox reaches no network, and is deleted when the judging has ended, however that was.
    """

    def __init__(
        self,
        task: str,
        kind: Literal["text", "artifact"],
        schema: str,
        content: Content,
        sandboxes: OwnSandboxes,
        tenant: str,
    ) -> None:
        super().__init__(task, digest_of("submission", kind, schema, content.sha256))
        self._kind = kind
        self._schema = schema
        self._content = content
        self._sandboxes = sandboxes
        self._tenant = tenant

    async def judge(self, benchmark: HostedBenchmark, dataset: str, tell: Tell, resume_state: bytes | None) -> Answer:
        # How far an interrupted attempt had come is of no use: its sandbox is gone, and all is done again.
        async with fresh_sandbox(benchmark, dataset, self.task, self._sandboxes, self._tenant) as place:
            body = msgspec.msgpack.encode(place)
            if benchmark.offers("setup_task"):
                await benchmark.call("setup_task", dataset=dataset, task=self.task, body=body, tell=tell)
            async with self._content.held() as data:
                submission = Submission(self._kind, self._schema, data)
                placing = msgspec.msgpack.encode(msgspec.structs.replace(place, submission=submission))
                await benchmark.call("place_submission", dataset=dataset, task=self.task, body=placing, tell=tell)
            del data, submission, placing  # judging may take an hour
            return await benchmark.call("evaluate_instance", dataset=dataset, task=self.task, body=body, tell=tell)


@asynccontextmanager
async def fresh_sandbox(
    benchmark: HostedBenchmark, dataset: str, task: str, sandboxes: OwnSandboxes, tenant: str
) -> AsyncIterator[InSandbox]:
    """Make a sandbox in which something is judged, without a network. It is deleted at the end, however that is.

    Raises what :meth:`~benchhost.evaluation.hosted.HostedBenchmark.call` and
    :meth:`~benchhost.evaluation.own_sandboxes.OwnSandboxes.lent` raise.
    """
    told = await benchmark.call("evaluation_environment", dataset=dataset, task=task)
    environment = environment_of(msgspec.json.decode(told.data, type=RetrievedTask))
    setup, evaluation = benchmark.timeouts
    spec = spec_of(environment, {"benchhost-benchmark": benchmark.name})
    spec = msgspec.structs.replace(spec, idle_timeout=None, lifetime=2 * setup + evaluation + MARGIN)
    async with sandboxes.lent(tenant, spec) as sandbox:
        yield sandboxes.place(sandbox.id)
