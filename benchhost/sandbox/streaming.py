"""A command's output as the messages of a hook."""

from __future__ import annotations

from collections.abc import AsyncIterator

from benchhost.contract import Exited, Message, Sandbox, Stderr, Stdout
from benchhost.contract.sandbox import COMMAND_TIMEOUT
from benchhost.errors import CommandFailed


async def stream_command(
    sandbox: Sandbox,
    command: str,
    cwd: str | None = None,
    ignore_error: bool = False,
    *,
    timeout: float | None = COMMAND_TIMEOUT,
) -> AsyncIterator[Message]:
    """Run a command and yield what it says, from both outputs, as messages of whole lines.

    What was never said is not yielded: lines of nothing but blanks are left out. Leaving the iteration ends the
    command and what it has started. The semantics are those of the helper of the same name in
    create-benchmark-service.

    Raises :class:`~benchhost.errors.CommandFailed`, unless ``ignore_error``, when the command does not end with
    the code 0.
    """
    rest = {Stdout: b"", Stderr: b""}
    async with sandbox.start(command, cwd=cwd, timeout=timeout) as process:
        async for said in process:
            if isinstance(said, Exited):
                for left in rest.values():
                    if left.strip():
                        yield Message(left.decode("utf-8", "replace"))
                if not (said.ok or ignore_error):
                    raise CommandFailed(said.code, said.reason)
                return
            whole, newline, rest[type(said)] = (rest[type(said)] + said.data).rpartition(b"\n")
            if newline and whole.strip():
                yield Message(whole.decode("utf-8", "replace"))
