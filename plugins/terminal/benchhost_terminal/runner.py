"""A plain agent: the model says what to run, it is run in the sandbox, and the model is told what came of it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from benchhost import Context, GenerationResult, GenerationStatus, Model, Runner, Task
from benchhost.contract import ChatMessage, Completed
from benchhost.scoring import code_blocks

COMMAND_TIMEOUT = 60.0
"""Seconds that one block of script may take."""

LONGEST_TOLD = 4000
"""Characters of each output, the first and the last ones, that the model is told."""


class Params(msgspec.Struct):
    """``turns`` is how often the model may have something run."""

    turns: Annotated[int, msgspec.Meta(ge=1)] = 20


class Shell(Runner[Task]):
    """The model is outside of the sandbox: only what it says is run there, and no network is needed in it."""

    version = "1"
    Params = Params

    async def generate(self, task: Task, model: Model, context: Context) -> GenerationResult:
        """Go on until the model says that it is done, or has had its turns."""
        environment = await context.environment()
        sandbox = await context.sandbox()
        messages = [ChatMessage("user", await context.prompt())]
        status, turns = GenerationStatus.MAX_TURNS, 0
        while turns < self.params.turns:
            turns += 1
            reply = (await model.complete(messages)).text
            messages.append(ChatMessage("assistant", reply))
            scripts = code_blocks(reply, "sh")
            if scripts:
                done = await sandbox.run("\n".join(scripts), cwd=environment.cwd, timeout=COMMAND_TIMEOUT)
                messages.append(ChatMessage("user", _told(done)))
            if not scripts or _says_done(reply):
                status = GenerationStatus.SUCCESS
                break
        (context.log_dir / "conversation.json").write_bytes(msgspec.json.format(msgspec.json.encode(messages)))
        last = next(message.content for message in reversed(messages) if message.role == "assistant")
        return GenerationResult(task_id=task.id, status=status, data=last, total_turns=turns)


def _says_done(reply: str) -> bool:
    return any(line.strip().strip("*.`") == "DONE" for line in reply.splitlines())


def _told(done: Completed) -> str:
    ended = done.exited
    how = f"exit code {ended.code}" if ended.reason == "exited" else f"it was ended: {ended.reason}"
    said = [f"[{how}]"]
    for name, output in (("stdout", done.stdout), ("stderr", done.stderr)):
        text = output.decode("utf-8", "replace").strip()
        if len(text) > 2 * LONGEST_TOLD:
            left_out = len(text) - 2 * LONGEST_TOLD
            text = f"{text[:LONGEST_TOLD]}\n[{left_out} characters are left out]\n{text[-LONGEST_TOLD:]}"
        if text:
            said.append(f"{name}:\n{text}")
    return "\n".join(said)
