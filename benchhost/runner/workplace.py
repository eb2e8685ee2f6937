"""The sandbox of one attempt, from when somebody first asks for it until the attempt is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack

from benchhost.contract import Environment, Sandbox
from benchhost.errors import NotOffered, SandboxError, SandboxNotFound
from benchhost.log import get_logger
from benchhost.runner.source import Instances, Source, Verdict

_log = get_logger()


class Workplace:
    """Where one attempt at a task is made, if it is made in a sandbox. ``labels`` are put on that."""

    def __init__(self, source: Source, task_id: str, labels: Mapping[str, str]) -> None:
        self._source = source
        self._task_id = task_id
        self._labels = labels
        self._environment: Environment | None = None
        self._sandbox: Sandbox | None = None
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()

    @property
    def judges(self) -> bool:
        """Whether what was done here is judged, and not the response."""
        instances = self._source.instances
        return self._sandbox is not None and instances is not None and instances.judged

    async def environment(self) -> Environment:
        """Say which sandbox the benchmark wants.

        Raises :class:`~benchhost.errors.NotOffered` when it wants none, or none can be had.
        """
        if self._environment is None:
            self._environment = await self._instances().environment(self._task_id)
        return self._environment

    async def sandbox(self, waiting: Callable[[], AbstractContextManager[None]]) -> Sandbox:
        """Return the sandbox, set up; that it is made is no time of the attempt's, so it is done in ``waiting``.

        Raises what :meth:`environment` and :meth:`benchhost.runner.source.Instances.lent` raise.
        """
        async with self._opening:
            if self._sandbox is None:
                with waiting():
                    lent = self._instances().lent(self._task_id, self._labels)
                    self._sandbox = await self._opened.enter_async_context(lent)
        return self._sandbox

    async def judge(self, run: str) -> Verdict:
        """Have the benchmark judge what was done here."""
        assert self._sandbox is not None
        return await self._instances().judge(run, self._task_id, self._sandbox)

    async def is_gone(self) -> bool:
        """Say whether the sandbox, if there was one, is gone, though nobody here has deleted it."""
        if self._sandbox is None:
            return False
        try:
            return (await self._sandbox.info()).state in ("gone", "failed")
        except SandboxNotFound:
            return True
        except SandboxError:  # who cannot be asked does not say so
            return False

    async def close(self) -> None:
        """Delete the sandbox, if there is one. That it cannot be deleted does not spoil the attempt."""
        try:
            await self._opened.aclose()
        except SandboxError as error:
            _log.warning("a sandbox could not be deleted", task=self._task_id, cause=str(error))

    def _instances(self) -> Instances:
        instances = self._source.instances
        if instances is None:
            raise NotOffered(
                f"the tasks of {self._source.benchmark} cannot be attempted in sandboxes in this run: the benchmark "
                "does not say in which, or it is that of another host, or the tasks are not its own"
            )
        return instances
