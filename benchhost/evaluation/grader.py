"""A grader: the process in which the hooks of one benchmark run.

It loads the plugin, says what it found, and then does what the host asks of it. The author's code may
raise, hang, block, leak or end the process: the host's own process is another.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import socket
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import msgspec

from benchhost.contract import Error, Message, Result, ResumeState
from benchhost.errors import (
    GradingFailed,
    HookOverran,
    HookRaised,
    HookReturned,
    Malformed,
    PluginFault,
    RequestError,
    SandboxError,
)
from benchhost.evaluation.collector import settle
from benchhost.evaluation.frames import (
    Alive,
    Answer,
    Failed,
    Faulty,
    Frames,
    Load,
    Loaded,
    Note,
    Refused,
    State,
    ToGrader,
)
from benchhost.evaluation.held import Held
from benchhost.evaluation.notes import Notes
from benchhost.evaluation.operation import Operation
from benchhost.evaluation.operations import OPERATIONS
from benchhost.evaluation.threads import HookThreads
from benchhost.registry import LoadedBenchmark, describe, load

THREADS = 64
"""The most hooks that may wait at the same time for something outside, if they are plain functions."""

TICK = 0.25
"""Seconds between two looks at the clock: how late an overrun may be noticed."""

BREATH = 0.001
"""Seconds after which a stream that only yields lets others, and its own messages, have their turn."""

LONGEST = 100_000
"""The most characters of a message or a traceback that are passed on."""

LARGEST_STATE = 1024 * 1024
"""The most bytes of a resume state."""


def main(connection: socket.socket) -> None:
    """Be the grader of the plugin that the host names until it hangs up, or an exception that ends programs is raised.

    Whoever calls this ends the process at once afterwards: a tidy end of the event loop would wait for
    what hooks have left behind.
    """
    runner = asyncio.Runner()
    runner.run(_main(connection))


async def _main(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    # What a hook forks goes on in the middle of this very program: it must not talk to the host, and
    # must not keep the line open when this process ends.
    os.register_at_fork(after_in_child=functools.partial(_cut_off, connection.fileno()))
    grader = _Grader()
    # The host hangs up when it has no more use for this process, or is gone. Nothing here is worth a
    # tidy end: hooks may still run in threads that nobody can stop.
    frames: Frames[ToGrader] = Frames(list[ToGrader], grader.take, lambda: os._exit(0))
    await loop.create_unix_connection(lambda: frames, sock=connection)
    plugin = await grader.plugin
    try:
        loaded = await load(plugin.entry, msgspec.msgpack.decode(plugin.settings), plugin.key)
        frames.send(Loaded(describe(loaded)))
    except PluginFault as fault:
        frames.send(Faulty(fault.reason, _sendable(str(fault))))
    else:
        settle()
        grader.serve(loaded, frames)
    await loop.create_future()


class _Running:
    """An operation that is being worked on. ``started`` is None while it waits for a thread."""

    __slots__ = ("cancelled", "deadline", "notes", "operation", "started", "task")

    def __init__(self, operation: Operation, deadline: float) -> None:
        self.operation = operation
        self.deadline = deadline
        self.notes: Notes | None = None
        self.started: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False


class _Grader:
    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._threads = HookThreads(THREADS, self._in_a_thread, self._have)
        self._ticking = False
        self._loop = asyncio.get_running_loop()
        self.plugin: asyncio.Future[Load] = self._loop.create_future()

    def serve(self, loaded: LoadedBenchmark, frames: Frames[ToGrader]) -> None:
        self._loaded = loaded
        self._frames = frames
        self._in_thread = {
            name: not operation.in_sandbox and _is_plain(getattr(loaded.benchmark, operation.hook))
            for name, operation in OPERATIONS.items()
        }

    def take(self, messages: list[ToGrader]) -> None:
        """Begin what the host asks for."""
        jobs: list[_Running] = []
        for call in messages:
            if isinstance(call, Load):
                self.plugin.set_result(call)
                continue
            make, in_thread = OPERATIONS[call.operation], self._in_thread[call.operation]
            for number, item in enumerate(call.items, call.first):
                operation = make(self._loaded, number, call.dataset, item)
                running = self._running[number] = _Running(operation, call.deadline)
                if in_thread:
                    jobs.append(running)
                else:
                    running.started = time.monotonic()
                    running.task = self._loop.create_task(self._on_the_loop(running))
        if jobs:
            self._threads.run(jobs)
        if self._running and not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)

    def _in_a_thread(self, running: _Running) -> Any:
        """Run a plain hook. What it returns to be awaited is returned, for the event loop."""
        operation = running.operation
        running.started = time.monotonic()
        try:
            value = operation.begin()
            if isinstance(value, (Result, msgspec.Struct)):  # as a rule, told before all else that it may be
                return operation.end(value)
            if isinstance(value, Iterator):
                return self._fold(running, value)
            if isinstance(value, AsyncIterator) or inspect.isawaitable(value):
                return operation.number, value
            return operation.end(value)
        except BaseException as error:  # an author's code may raise anything, SystemExit included
            return _failure(operation, error)

    def _have(self, results: list[Any]) -> None:
        for result in results:
            if isinstance(result, tuple):
                number, value = result
                running = self._running.get(number)
                if running is not None:
                    running.task = self._loop.create_task(self._on_the_loop(running, value))
            else:
                self._answer(result)

    async def _on_the_loop(self, running: _Running, value: Any = None) -> None:
        operation = running.operation
        answer: Answer | Refused | Failed
        held = Held()
        try:
            if operation.in_sandbox:
                async with operation.prepared():
                    answer = await self._ended(running, operation.begin(), held)
            else:
                answer = await self._ended(running, operation.begin() if value is None else value, held)
            if isinstance(answer, Answer):
                answer.held = held.longest
        except BaseException as error:  # an author's code may raise anything, SystemExit included
            if isinstance(error, asyncio.CancelledError) and running.cancelled:
                answer = self._overran(running)
            else:
                answer = _failure(operation, error)
        self._answer(answer)

    async def _ended(self, running: _Running, value: Any, held: Held) -> Answer | Refused:
        """Make the answer of what a hook returned, when it has come to its end."""
        if isinstance(value, AsyncIterator):
            return await held.over(self._fold_async(running, value))
        return running.operation.end(await held.over(value) if inspect.isawaitable(value) else value)

    def _answer(self, answer: Answer | Refused | Failed) -> None:
        running = self._running.get(answer.number)
        if running is not None:  # else it was given up before
            if running.notes is not None:
                running.notes.flush()
            del self._running[answer.number]
            self._frames.send(answer)

    def _fold(self, running: _Running, chunks: Iterator[Any]) -> Answer | Refused:
        """Make one answer of a stream, in a thread: the first result or error ends it."""
        operation = running.operation
        notes = running.notes = Notes(functools.partial(self._tell, running), self._loop)
        for chunk in chunks:
            if isinstance(chunk, Message):
                notes.say_from_thread(_shortened(str(chunk.data)))
            elif isinstance(chunk, ResumeState):
                self._loop.call_soon_threadsafe(self._tell, running, _state(operation, chunk))
            else:
                answer = _last(operation, chunk)
                if isinstance(chunks, Generator):
                    chunks.close()
                return answer
        return operation.ended()

    async def _fold_async(self, running: _Running, chunks: AsyncIterator[Any]) -> Answer | Refused:
        operation = running.operation
        notes = running.notes = Notes(functools.partial(self._tell, running), self._loop)
        turned = time.monotonic()
        try:
            async for chunk in chunks:
                if isinstance(chunk, Message):
                    text = str(chunk.data)
                    notes.say(text if len(text) <= LONGEST else _shortened(text))
                elif isinstance(chunk, ResumeState):
                    self._tell(running, _state(operation, chunk))
                else:
                    return _last(operation, chunk)
                if time.monotonic() - turned > BREATH:  # it may never await anything that gives the loop a turn
                    await self._frames.sent()
                    turned = time.monotonic()
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        return operation.ended()

    def _tell(self, running: _Running, said: str | State) -> None:
        number = running.operation.number
        if number in self._running:
            self._frames.send(Note(number, _spelled(said)) if isinstance(said, str) else said)

    def _tick(self) -> None:
        """Give up what overran its deadline, and let the host hear that this loop turns."""
        if not self._running:
            self._ticking = False
            return
        now = time.monotonic()
        for running in list(self._running.values()):
            if running.started is None or now - running.started < running.deadline:
                continue
            if running.task is not None and not running.cancelled:
                running.cancelled = True
                running.task.cancel()  # it answers for itself, unless it clings on until the next tick
                continue
            if running.task is None:
                self._threads.write_off()
            failed = self._overran(running)
            failed.stuck = True
            self._answer(failed)
        self._frames.send(Alive())
        self._loop.call_later(TICK, self._tick)

    def _overran(self, running: _Running) -> Failed:
        operation = running.operation
        cause = f"{self._loaded.name}: {operation.hook} did not finish within {running.deadline:g} s"
        return Failed(operation.number, HookOverran.slug, cause)


def _is_plain(hook: Callable[..., Any]) -> bool:
    return not (inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook))


def _last(operation: Operation, chunk: Any) -> Answer | Refused:
    """Make the answer of the chunk that ends a stream."""
    if isinstance(chunk, Error):
        return Refused(operation.number, "", _sendable(str(chunk.data)))
    if chunk is None:  # which is how a hook that returns nothing says that it is done, and no chunk
        raise operation.wrong(chunk, "a chunk")
    return operation.end(chunk)


def _state(operation: Operation, chunk: ResumeState) -> State:
    """Encode how far a hook says that it has come."""
    try:
        data = msgspec.json.encode(msgspec.to_builtins(chunk.data))
    except Exception as error:  # it may hold anything, and encoding it run any code of the author's
        raise HookReturned(f"{operation.hook} yielded a ResumeState that cannot be kept: {error}") from error
    if len(data) > LARGEST_STATE or not data.startswith(b"{"):
        raise HookReturned(
            f"{operation.hook} yielded a ResumeState that is no object, or larger than {LARGEST_STATE} bytes"
        )
    return State(operation.number, data)


def _failure(operation: Operation, error: BaseException) -> Refused | Failed:
    if isinstance(error, RequestError) and not operation.asked:  # what a hook raises is never for the caller
        location = list(error.location) if isinstance(error, Malformed) else []
        return Refused(operation.number, error.slug, _sendable(str(error)), location)
    slug = error.slug if isinstance(error, GradingFailed | SandboxError) else HookRaised.slug
    return Failed(operation.number, slug, _told(error))


def _told(error: BaseException) -> str:
    return _sendable("".join(traceback.format_exception(error)).rstrip())


def _sendable(text: str) -> str:
    return _spelled(_shortened(text))


def _shortened(text: str) -> str:
    """Leave out the middle of what nobody would read."""
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[{len(text) - LONGEST} characters are left out]\n{text[-half:]}"


def _spelled(text: str) -> str:
    """Spell out what UTF-8 cannot say."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut_off(connection: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, connection)
    os.close(nothing)
