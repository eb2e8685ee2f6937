"""A grader: the process in which the hooks of one benchmark run.

It loads the plugin, says what it found, and then does what the host asks of it. The author's code may
raise, hang, block, leak or end the process: the host's own process is another.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import socket
import time
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import msgspec

from benchhost.contract import Error, Message
from benchhost.errors import GradingFailed, HookOverran, HookRaised, HookReturned, Malformed, PluginFault, RequestError
from benchhost.evaluation.frames import (
    Alive,
    Answer,
    Call,
    Failed,
    Faulty,
    Frames,
    Load,
    Loaded,
    Note,
    Refused,
    ToGrader,
)
from benchhost.evaluation.held import Held
from benchhost.evaluation.operations import OPERATIONS, Operation
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

Tell = Callable[[str], None]


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
        gc.freeze()  # the tasks stay: the collector need not go through all of them again and again
        grader.serve(loaded, frames)
    await loop.create_future()


class _Running:
    """A call that is being worked on. ``started`` is None while it waits for a thread."""

    __slots__ = ("call", "cancelled", "started", "task")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.started: float | None = None
        self.task: asyncio.Task[None] | None = None
        self.cancelled = False


class _Grader:
    def __init__(self) -> None:
        self._running: dict[int, _Running] = {}
        self._threads = HookThreads(THREADS, self._have)
        self._ticking = False
        self._loop = asyncio.get_running_loop()
        self.plugin: asyncio.Future[Load] = self._loop.create_future()

    def serve(self, loaded: LoadedBenchmark, frames: Frames[ToGrader]) -> None:
        self._loaded = loaded
        self._frames = frames
        self._in_thread = {
            name: _is_plain(getattr(loaded.benchmark, operation.hook)) for name, operation in OPERATIONS.items()
        }

    def take(self, messages: list[ToGrader]) -> None:
        """Begin what the host asks for."""
        jobs: list[Callable[[], Any]] = []
        for call in messages:
            if isinstance(call, Load):
                self.plugin.set_result(call)
                continue
            running = self._running[call.number] = _Running(call)
            operation = OPERATIONS[call.operation](self._loaded, call)
            if self._in_thread[call.operation]:
                jobs.append(functools.partial(self._in_a_thread, running, operation))
            else:
                running.started = time.monotonic()
                running.task = self._loop.create_task(self._on_the_loop(running, operation))
        if jobs:
            self._threads.run(jobs)
        if self._running and not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)

    def _in_a_thread(self, running: _Running, operation: Operation) -> Any:
        """Run a plain hook. What it returns to be awaited is returned, for the event loop."""
        running.started = time.monotonic()
        number = operation.number
        try:
            value = operation.begin()
            if isinstance(value, msgspec.Struct):  # the usual case, told without a look at what else it may be
                return operation.end(value)
            if isinstance(value, Iterator):
                return _fold(operation, value, functools.partial(self._tell_from_thread, number))
            if isinstance(value, AsyncIterator) or inspect.isawaitable(value):
                return operation, value
            return operation.end(value)
        except BaseException as error:  # an author's code may raise anything, SystemExit included
            return _failure(operation, error)

    def _have(self, results: list[Any]) -> None:
        for result in results:
            if isinstance(result, tuple):
                operation, value = result
                running = self._running.get(operation.number)
                if running is not None:
                    running.task = self._loop.create_task(self._on_the_loop(running, operation, value))
            else:
                self._answer(result)

    async def _on_the_loop(self, running: _Running, operation: Operation, value: Any = None) -> None:
        number = operation.number
        answer: Answer | Refused | Failed
        held = Held()
        try:
            if value is None:
                value = operation.begin()
            if isinstance(value, AsyncIterator):
                tell = functools.partial(self._tell, number)
                answer = await held.over(_fold_async(operation, value, tell, self._frames.sent))
            else:
                answer = operation.end(await held.over(value) if inspect.isawaitable(value) else value)
            if isinstance(answer, Answer):
                answer.held = held.longest
        except BaseException as error:  # an author's code may raise anything, SystemExit included
            if isinstance(error, asyncio.CancelledError) and running.cancelled:
                answer = _overran(self._loaded.name, operation, running.call.deadline)
            else:
                answer = _failure(operation, error)
        self._answer(answer)

    def _answer(self, answer: Answer | Refused | Failed) -> None:
        if self._running.pop(answer.number, None) is not None:  # else it was given up before
            self._frames.send(answer)

    def _tell(self, number: int, text: str) -> None:
        if number in self._running:
            self._frames.send(Note(number, text))

    def _tell_from_thread(self, number: int, text: str) -> None:
        self._loop.call_soon_threadsafe(self._tell, number, text)

    def _tick(self) -> None:
        """Give up what overran its deadline, and let the host hear that this loop turns."""
        if not self._running:
            self._ticking = False
            return
        now = time.monotonic()
        for running in list(self._running.values()):
            if running.started is None or now - running.started < running.call.deadline:
                continue
            if running.task is not None and not running.cancelled:
                running.cancelled = True
                running.task.cancel()  # it answers for itself, unless it clings on until the next tick
                continue
            if running.task is None:
                self._threads.write_off()
            operation = OPERATIONS[running.call.operation](self._loaded, running.call)
            failed = _overran(self._loaded.name, operation, running.call.deadline)
            failed.stuck = True
            self._answer(failed)
        self._frames.send(Alive())
        self._loop.call_later(TICK, self._tick)


def _is_plain(hook: Callable[..., Any]) -> bool:
    return not (inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook))


def _fold(operation: Operation, chunks: Iterator[Any], tell: Tell) -> Answer | Refused:
    """Make one answer of a stream: the first result or error ends it, messages are told as they come."""
    for chunk in chunks:
        if (answer := _of_chunk(operation, chunk, tell)) is not None:
            if isinstance(chunks, Generator):
                chunks.close()
            return answer
    raise _no_result(operation)


async def _fold_async(
    operation: Operation, chunks: AsyncIterator[Any], tell: Tell, sent: Callable[[], Awaitable[None]]
) -> Answer | Refused:
    turned = time.monotonic()
    async for chunk in chunks:
        if (answer := _of_chunk(operation, chunk, tell)) is not None:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
            return answer
        if time.monotonic() - turned > BREATH:  # it may never await anything that gives the loop a turn
            await sent()
            turned = time.monotonic()
    raise _no_result(operation)


def _of_chunk(operation: Operation, chunk: Any, tell: Tell) -> Answer | Refused | None:
    if isinstance(chunk, Message):
        tell(_sendable(str(chunk.data)))
        return None
    if isinstance(chunk, Error):
        return Refused(operation.number, "", _sendable(str(chunk.data)))
    return operation.end(chunk)


def _no_result(operation: Operation) -> HookReturned:
    return HookReturned(f"{operation.hook} ended without yielding a benchhost.Result or a benchhost.Error")


def _failure(operation: Operation, error: BaseException) -> Refused | Failed:
    if isinstance(error, RequestError) and not operation.asked:  # what a hook raises is never for the caller
        location = list(error.location) if isinstance(error, Malformed) else []
        return Refused(operation.number, error.slug, _sendable(str(error)), location)
    slug = error.slug if isinstance(error, GradingFailed) else HookRaised.slug
    return Failed(operation.number, slug, _told(error))


def _overran(name: str, operation: Operation, deadline: float) -> Failed:
    cause = f"{name}: {operation.hook} did not finish within {deadline:g} s"
    return Failed(operation.number, HookOverran.slug, cause)


def _told(error: BaseException) -> str:
    return _sendable("".join(traceback.format_exception(error)).rstrip())


def _sendable(text: str) -> str:
    """Spell out what UTF-8 cannot say, and leave out the middle of what nobody would read."""
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}\n[{len(text) - LONGEST} characters are left out]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _cut_off(connection: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, connection)
    os.close(nothing)
