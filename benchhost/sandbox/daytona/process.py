"""A command at Daytona: a session of its own, its log as it grows, and an end that comes in any case."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import anyio

from benchhost.contract import Exited, ExitReason, Output, Process, Stderr, Stdout
from benchhost.errors import SandboxError, SandboxNotFound, SandboxUnavailable
from benchhost.sandbox.daytona import script
from benchhost.sandbox.daytona.clients import Client
from benchhost.sandbox.daytona.failures import is_a, not_done, transient

POLL = 5.0
"""Seconds between two looks at a command beside its log."""

GONE_AFTER = 10.0
"""Seconds after which a command that has no exit code and cannot be found has come to an end that nobody heard of."""

DRAIN = 1.0
"""Seconds without news after which the rest of a log is waited for no more, when a command has ended."""

LONGEST_DRAIN = 10.0
"""Seconds that the rest of a log is waited for at most."""

LOOK_TIMEOUT = 10.0
"""Seconds that looking at a command may take."""

KILL_TIMEOUT = 15.0
"""Seconds that ending a command may take."""

LISTEN_TRIES = 6
"""How often a log is asked for again that breaks off and has brought nothing new."""

LISTEN_WAIT = 0.25
"""Seconds before it is asked for again; they double as long as it brings nothing new."""

_SIGNALS = range(129, 160)
"""Exit codes by which a shell says that a signal ended a command."""


class DaytonaProcess(Process):
    """A command in a session of its own.

    The session is deleted when the command is over. Its log is followed, again from the beginning when the
    connection breaks, and beside it the command itself is looked at: a log may never end, or end without a code.
    """

    def __init__(self, client: Client, process: Any, name: str, *, timeout: float | None, max_output: int) -> None:
        self._client = client
        self._process = process
        self._name = name
        self._session = f"benchhost-{name}"
        self._command: str | None = None
        self._timeout = timeout
        self._room = max_output
        self._dropped = 0
        self._out, self._err = script.Reading(), script.Reading()
        self._heard: deque[Output] = deque()
        self._news = asyncio.Event()  # for who listens to us
        self._turn = asyncio.Event()  # for the watch: something has happened
        self._broke_off = False
        self._missed_since: float | None = None
        self._stop: ExitReason | None = None
        self._exited: Exited | SandboxError | None = None
        self._watching: asyncio.Task[None] | None = None

    async def begin(self, line: str) -> None:
        """Make the session, and run the line in it.

        Raises :class:`~benchhost.errors.SandboxError` when that cannot be done.
        """
        request = self._client.sdk.SessionExecuteRequest(command=line, run_async=True)

        async def make_session() -> None:
            try:
                await self._process.create_session(self._session)
            except Exception as error:
                if not is_a(error, "DaytonaConflictError"):  # which says that the try before has made it
                    raise

        async def run() -> str:
            try:
                ran: str = (await self._process.execute_session_command(self._session, request)).cmd_id
            except Exception as error:
                if not transient(error) or not_done(error):
                    raise
                # It may be running all the same, and must not run twice.
                commands = (await self._process.get_session(self._session)).commands
                if not commands:
                    raise
                ran = commands[0].id
            return ran

        await self._client.ask("run a command", make_session)
        self._command = ""
        self._command = await self._client.ask("run a command", run)
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def __aiter__(self) -> AsyncIterator[Output]:
        while True:
            while self._heard:
                yield self._heard.popleft()
            if isinstance(self._exited, SandboxError):
                raise self._exited
            if self._exited is not None:
                yield self._exited
                return
            self._news.clear()
            await self._news.wait()

    async def kill(self) -> None:
        if self._watching is not None:
            self._end_for("cancelled")
            await asyncio.shield(self._watching)

    async def close(self) -> None:
        """End the command if it runs still, and have its session deleted."""
        try:
            with anyio.move_on_after(KILL_TIMEOUT + LONGEST_DRAIN, shield=True):
                await self.kill()
        finally:
            self._client.later(self._tidy())

    async def _tidy(self) -> None:
        if self._command is not None and self._exited is None:
            await self._kill_all()
        try:
            await self._client.ask("delete a session", lambda: self._process.delete_session(self._session))
            if not self._over:
                line = script.clear(self._name)
                await self._client.ask("tidy up", lambda: self._process.exec(line, timeout=int(KILL_TIMEOUT)))
        except SandboxNotFound:
            return

    @property
    def _over(self) -> bool:
        """Whether the script has said on both outputs that the command has ended."""
        return self._out.ended is not None and self._err.ended is not None

    def _end_for(self, reason: ExitReason) -> None:
        self._stop = self._stop or reason
        self._turn.set()

    async def _watch(self) -> None:
        """See the command to its end, and say how it ended."""
        began = time.monotonic()
        listening = asyncio.get_running_loop().create_task(self._listen())
        try:
            code, reason = await self._until_over(began, listening)
            self._exited = Exited(code=code, reason=reason, seconds=time.monotonic() - began, dropped=self._dropped)
        except Exception as error:  # whatever the SDK may raise: somebody waits for the end
            self._exited = error if isinstance(error, SandboxError) else self._client.failure(error, "run a command")
        finally:
            listening.cancel()
            self._news.set()

    async def _until_over(self, began: float, listening: asyncio.Task[None]) -> tuple[int | None, ExitReason]:
        looked = began
        while True:
            self._turn.clear()
            now = time.monotonic()
            if self._timeout is not None and now - began >= self._timeout:
                self._end_for("timeout")
            if self._over:
                return self._ended(self._stop)
            if self._stop is not None:
                await self._kill_all()
                with contextlib.suppress(SandboxError):
                    await self._hear_the_rest(listening)
                return self._ended(self._stop)
            if self._broke_off or now - looked >= POLL:
                self._broke_off = False
                looked = now
                if (over := await self._look(listening)) is not None:
                    return over
                continue
            wait = POLL - (now - looked)
            if self._timeout is not None:
                wait = min(wait, self._timeout - (now - began))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._turn.wait(), wait)

    async def _look(self, listening: asyncio.Task[None]) -> tuple[int | None, ExitReason] | None:
        """Look at the command beside its log; say how it ended, if it has."""
        deaf = listening.done()  # its log has been given up
        try:
            command = await self._client.ask(
                "look at a command",
                lambda: self._process.get_session_command(self._session, self._command),
                timeout=LOOK_TIMEOUT,
                tries=3 if deaf else 1,
            )
            runs = command.exit_code is None and await self._lives()
            if deaf:
                await self._read_log()
        except SandboxNotFound:
            return None, "sandbox_gone"
        except SandboxError:
            if deaf:  # neither is heard of it, nor can it be seen
                raise
            return None
        if runs:
            self._missed_since = None
            return None
        now = time.monotonic()
        self._missed_since = self._missed_since or now
        if command.exit_code is None and now - self._missed_since < GONE_AFTER:  # it may be about to begin, or to end
            return None
        await self._hear_the_rest(listening)
        if self._over:
            return self._ended(self._stop)
        if not (self._out.spoke or self._err.spoke) and (noise := self._out.noise + self._err.noise):
            raise SandboxUnavailable(f"the sandbox cannot run commands for benchhost: {noise.strip()[:500]}")
        await self._kill_all()  # what carries the command has ended before it
        return None, "sandbox_gone"

    async def _lives(self) -> bool:
        """Ask whether the script that carries the command is there: when it was killed, there will be no exit code."""
        alive = script.alive(self._name)
        asked = await self._client.ask(
            "look at a command",
            lambda: self._process.exec(alive, timeout=int(LOOK_TIMEOUT)),
            timeout=LOOK_TIMEOUT + 5,
            tries=1,
        )
        return bool(asked.exit_code == 0)

    async def _kill_all(self) -> None:
        """End the command and all that it has started; the session, when it is deleted, ends what is left."""
        line = script.kill(self._name)
        with contextlib.suppress(SandboxError):
            await self._client.ask(
                "end a command",
                lambda: self._process.exec(line, timeout=int(KILL_TIMEOUT)),
                timeout=KILL_TIMEOUT,
                tries=2,
            )

    async def _hear_the_rest(self, listening: asyncio.Task[None]) -> None:
        """Wait for the rest of the log, as long as there is more of it; when it does not come, ask for it whole.

        Raises :class:`~benchhost.errors.SandboxError`.
        """
        ends = time.monotonic() + LONGEST_DRAIN
        self._broke_off = False
        while not (self._over or self._broke_off or listening.done()) and time.monotonic() < ends:
            self._turn.clear()
            try:
                await asyncio.wait_for(self._turn.wait(), DRAIN)
            except TimeoutError:
                break
        if not self._over:
            listening.cancel()
            await asyncio.wait([listening])
            await self._read_log()

    async def _read_log(self) -> None:
        """Ask for the log as far as it goes, and take what is new. Nobody may be listening to it."""
        logs = await self._client.ask(
            "read what a command says",
            lambda: self._process.get_session_command_logs(self._session, self._command),
            tries=2,
        )
        for reading, take, text in (
            (self._out, self._take_out, logs.stdout),
            (self._err, self._take_err, logs.stderr),
        ):
            reading.again()
            take(text or "")

    def _ended(self, stop: ExitReason | None) -> tuple[int | None, ExitReason]:
        """Read the code that the script has said."""
        if self._out.ended is None:
            return None, stop or "sandbox_gone"
        if self._out.ended == script.NO_SUCH_DIRECTORY:
            self._say(Stderr(b"the directory to start in is not there\n"))
            return 127, stop or "exited"
        code = int(self._out.ended)
        return (128 - code, stop or "signal") if code in _SIGNALS else (code, stop or "exited")

    async def _listen(self) -> None:
        """Follow the log, again when it breaks off; give up when it keeps breaking off without anything new."""
        tries = 0
        while tries < LISTEN_TRIES:
            before = self._out.lines + self._err.lines
            self._out.again()
            self._err.again()
            # However it ends, what counts is whether the script has said that the command is over.
            with contextlib.suppress(Exception):
                await self._process.get_session_command_logs_async(
                    self._session, self._command, self._take_out, self._take_err
                )
            if self._over:
                return
            tries = 0 if self._out.lines + self._err.lines > before else tries + 1
            self._broke_off = True
            self._turn.set()
            await asyncio.sleep(LISTEN_WAIT * 2**tries)

    def _take_out(self, text: str) -> None:
        for data in self._out.feed(text):
            self._pass_on(data, Stdout)
        self._turn.set()

    def _take_err(self, text: str) -> None:
        for data in self._err.feed(text):
            self._pass_on(data, Stderr)
        self._turn.set()

    def _pass_on(self, data: bytes, kind: type[Stdout | Stderr]) -> None:
        passed = data[: self._room]
        self._room -= len(passed)
        self._dropped += len(data) - len(passed)
        if passed:
            self._say(kind(passed))
        if len(passed) < len(data):
            self._end_for("output_limit")

    def _say(self, said: Output) -> None:
        self._heard.append(said)
        self._news.set()
