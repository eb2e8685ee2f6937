"""The sandboxes in which the tasks of a benchmark at another host are attempted: set up there, and judged there.

They are where both can reach them: the host's own, or the caller's at a provider such as Daytona.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from benchhost.client import Client, Outcome
from benchhost.contract import Environment, Resources, Sandbox, SandboxSpec
from benchhost.errors import ClientError, SandboxBusy, SandboxError, SandboxUnavailable
from benchhost.evaluation.environments import spec_of
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.runner.remote_verdicts import failed, is_worth_waiting
from benchhost.runner.source import Verdict

ASKED_EVERY = 5.0
"""Seconds between two times that sandboxes are asked for of which there are too many."""


class Elsewhere(msgspec.Struct, frozen=True):
    """Where sandboxes are. ``credentials`` are what a host needs to reach those that are not its own."""

    sandboxes: OwnSandboxes
    credentials: Mapping[str, Any] | None = None


class RemoteInstances:
    """The sandboxes for one dataset; ``verdict_on`` says of what a host answered what it means for a run."""

    def __init__(
        self,
        client: Client,
        dataset: str | None,
        elsewhere: Elsewhere,
        verdict_on: Callable[[Outcome], Verdict],
        *,
        judged: bool,
    ) -> None:
        self.judged = judged
        self._client = client
        self._dataset = dataset
        self._elsewhere = elsewhere
        self._verdict_on = verdict_on

    async def ready(self) -> None:
        """Open the provider."""
        await self._elsewhere.sandboxes.provider()

    async def environment(self, task_id: str) -> Environment:
        """Ask the host."""
        told = await self._client.retrieve_task(task_id, self._dataset)
        image, snapshot = told.place
        given = {name: value for name, value in msgspec.structs.asdict(told.resources).items() if value is not None}
        return Environment(
            image=image,
            snapshot=snapshot,
            problem_path=told.problem_path,
            cwd=told.cwd,
            agent_timeout=told.agent_timeout,
            resources=msgspec.convert(given, Resources),
        )

    @asynccontextmanager
    async def lent(self, task_id: str, labels: Mapping[str, str]) -> AsyncIterator[Sandbox]:
        """Make a sandbox and have the host set it up; it is deleted at the end."""
        environment = await self.environment(task_id)
        spec = spec_of(environment, labels, "none" if self._elsewhere.credentials is None else "open")
        async with AsyncExitStack() as stack:
            sandbox = await self._made(spec, stack)
            await self._set_up(task_id, sandbox)
            yield sandbox

    async def judge(self, run: str, task_id: str, sandbox: Sandbox) -> Verdict:
        """Have the host judge what was done. One that is busy is asked again until it is not."""
        while True:
            try:
                outcome = await self._client.evaluate_instance(
                    task_id, sandbox.id, self._dataset, run_id=run, sandbox_provider=self._elsewhere.credentials
                )
            except ClientError as error:
                if not await is_worth_waiting(error):
                    return failed(error)
            else:
                return self._verdict_on(outcome)

    async def _made(self, spec: SandboxSpec, stack: AsyncExitStack) -> Sandbox:
        """Make a sandbox, however long that takes where there are as many as there may be."""
        while True:
            try:
                return await stack.enter_async_context(self._elsewhere.sandboxes.lent("", spec))
            except SandboxBusy:
                await asyncio.sleep(ASKED_EVERY)

    async def _set_up(self, task_id: str, sandbox: Sandbox) -> None:
        while True:
            try:
                await self._client.setup_task(
                    task_id, sandbox.id, self._dataset, sandbox_provider=self._elsewhere.credentials
                )
            except ClientError as error:
                if not await is_worth_waiting(error):
                    kind = SandboxError if error.status is None and error.detail else SandboxUnavailable
                    raise kind(f"{self._client.url} did not set the sandbox up: {error}") from error
            else:
                return
