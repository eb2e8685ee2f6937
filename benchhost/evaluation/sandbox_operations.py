"""The operations whose hooks work in a sandbox, which is opened where they run."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec

from benchhost.contract import Environment, Ready, Sandbox, Task
from benchhost.errors import HookReturned
from benchhost.evaluation.frames import Answer, InSandbox
from benchhost.evaluation.operation import GivesResult, Operation
from benchhost.registry import is_written, takes_resume_state
from benchhost.sandbox import open_provider

T = TypeVar("T")


class _InSandbox(Operation):
    """Call a hook that works in a sandbox, which is opened here, where the hook runs."""

    in_sandbox = True
    _place: InSandbox
    _sandbox: Sandbox

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        self._place = msgspec.msgpack.decode(self._body, type=InSandbox)
        provider = await open_provider(self._place.provider, self._place.config)
        try:
            self._sandbox = await provider.get(self._place.id)
            yield
        finally:
            await provider.aclose()


class _Preparing(_InSandbox):
    """Prepare a sandbox. The answer is its status."""

    def end(self, value: Any) -> Answer:
        if value is None:
            value = Ready()
        if not isinstance(value, Ready) or not isinstance(value.status, str):
            raise self.wrong(value, "a benchhost.Ready, or nothing")
        return Answer(self.number, msgspec.json.encode({"status": value.status.encode("utf-8", "replace").decode()}))

    def ended(self) -> Answer:
        return self.end(None)


class SetupTask(_Preparing):
    """Prepare a sandbox for an attempt. Where the author has left that out, the question is put where it belongs."""

    hook = "setup_task"

    def begin(self) -> Any:
        if is_written(type(self._loaded.benchmark), self.hook):
            return self.ask(self.task(), self._sandbox)
        return self._put_question(self.task())

    async def _put_question(self, task: Task) -> None:
        self.asked = True
        environment = await self._given("retrieve_task", task, Environment)
        question = await self._given("prompt", task, str)
        await self._sandbox.write(environment.problem_path, question.encode("utf-8", "replace"))

    async def _given(self, hook: str, task: Task, kind: type[T]) -> T:
        value = getattr(self._loaded.benchmark, hook)(task)
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, kind):
            given = type(value).__name__
            raise HookReturned(f"{self._loaded.name}: {hook} returned {given}, expected {kind.__name__}")
        return value


class PlaceSubmission(_Preparing):
    """Place what was submitted in a sandbox."""

    hook = "place_submission"

    def begin(self) -> Any:
        return self.ask(self.task(), self._place.submission, self._sandbox)


class EvaluateInstance(GivesResult, _InSandbox):
    """Judge what was done in a sandbox."""

    hook = "evaluate_instance"

    def begin(self) -> Any:
        if takes_resume_state(type(self._loaded.benchmark), self.hook):
            return self.resume(self.task(), self._sandbox, state=self._place.resume_state)
        return self.ask(self.task(), self._sandbox)
