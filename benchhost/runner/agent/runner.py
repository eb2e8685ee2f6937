"""The runner that has an agent attempt each task, by its commands, in the sandbox of the attempt."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import (
    Context,
    Environment,
    Exited,
    GenerationResult,
    GenerationStatus,
    Model,
    Runner,
    Sandbox,
    Stdout,
    Task,
)
from benchhost.errors import SandboxFileError, SandboxUnavailable, SandboxUnsupported, UsageError
from benchhost.log import get_logger, mask, register_secret
from benchhost.runner.agent.bundle import copy_bundle, digest_of_bundle
from benchhost.runner.agent.contract import PROBLEM, AgentContract
from benchhost.runner.agent.gateway import model_within
from benchhost.runner.agent.kept import fetch_artifacts

_log = get_logger()

INSTALL_TIMEOUT = 600.0
"""Seconds that installing an agent may take."""

RUN_TIMEOUT = 3600.0
"""Seconds that an agent may take when neither its task nor its contract says how long."""

MOST_OUTPUT = 64 * 1024 * 1024
"""Bytes that an agent may write to its outputs; one that writes more is ended."""

LONGEST_TOLD = 4096
"""Characters of an agent's output, the last ones, that are told with an error or stand for a response."""

NOTHING_SAID = "it printed nothing"

ITS_FAILURES = ("install failed (", "the agent failed (", "the agent left nothing", "the agent's generation.json ")
"""How what is said of an attempt begins that failed because of the agent."""

_TIMED_OUT = 124
"""The exit code of ``timeout(1)``, by which agents say that they gave up for want of time."""


class Kept(msgspec.Struct, frozen=True):
    """What is kept of an attempt.

    So many bytes of what the agent says, beyond which it is ended, and of its response; and its artifacts.
    """

    output: int = MOST_OUTPUT
    artifacts: bool = True


_EVERYTHING = Kept()


class _Generation(msgspec.Struct):
    """What an agent writes of its own attempt, as far as it is read; ``answer`` is the older name of ``data``."""

    data: str | None = None
    answer: str | None = None
    status: GenerationStatus = GenerationStatus.SUCCESS
    error: str | None = None
    total_turns: int | None = None
    generation_version: str | None = None


class AgentRunner(Runner[Task]):
    """Runs an agent; made by :func:`agent_runner`. Its version stands for its contract and its files."""

    def __init__(
        self,
        contract: AgentContract,
        values: Mapping[str, Any],
        model: str,
        folder: Path | None,
        *,
        lends: bool,
        must_lend: bool,
        kept: Kept,
        scratch: Path | None,
    ) -> None:
        super().__init__()
        self._values = dict(values)
        self.params = msgspec.defstruct("Params", [(name, Any) for name in values])(**values)
        self.name = contract.name
        self._contract = contract
        self._model = model
        self._lends = lends or not contract.secrets  # without a key, nothing but the model of the run can be asked
        self._must_lend = must_lend
        self._kept = kept
        self._scratch = scratch
        self._folder = folder
        self._bundle: Path | None = None
        self._told = False
        self._opened = ExitStack()
        files = "" if folder is None else digest_of_bundle(folder)
        self.version = hashlib.sha256(msgspec.json.encode([contract, files])).hexdigest()[:16]  # type: ignore[misc]
        self._secrets = {name: os.environ[name] for name in contract.secrets}
        register_secret(*self._secrets.values())

    async def open(self) -> None:
        """Copy the agent's files: what is changed in them from now on is no part of this run."""
        if self._folder is not None:
            scratch = tempfile.TemporaryDirectory(prefix="benchhost-agent-", dir=self._scratch)
            copy = Path(self._opened.enter_context(scratch)) / self.name
            if copy_bundle(self._folder, copy):
                self._bundle = copy

    async def close(self) -> None:
        """Delete the copy of the agent's files."""
        self._opened.close()

    async def generate(self, task: Task, model: Model, context: Context) -> GenerationResult:
        """Install the agent in the sandbox of the attempt, run it, and fetch what it has made."""
        environment = await context.environment()
        sandbox = await context.sandbox()
        values = {**self._values, PROBLEM: environment.problem_path, "task_id": task.id, "model": self._model}
        home = environment.cwd
        if self._bundle is not None:
            home = f"/bundle/{self._contract.name}"
            with context.call.waiting():
                await sandbox.upload(self._bundle, home)
        if self._contract.install_cmd:
            with context.call.waiting():
                command = self._contract.command(self._contract.install_cmd, values)
                ended, said = await self._run(sandbox, command, home, {}, INSTALL_TIMEOUT, context.log_dir / "install")
            if not ended.ok:
                return _failed(task, f"install failed ({_how(ended)}): {said or NOTHING_SAID}")
        command = self._contract.command(self._contract.run_cmd, values)
        seconds = self._seconds(environment, context)
        async with model_within(sandbox, model if self._lends else None, context.sampling) as lent:
            if lent.why_not is not None and self._must_lend:
                raise SandboxUnsupported(f"the model of the run cannot be lent to the agent: {lent.why_not}")
            if lent.why_not is not None and not self._told:
                self._told = True
                _log.warning("the agent must reach its model by itself", agent=self.name, why=lent.why_not)
            log = context.log_dir / "agent"
            ended, said = await self._run(sandbox, command, environment.cwd, lent.env, seconds, log)
        if lent.failure is not None:  # so this was no attempt of the agent's, whatever its exit code says
            raise lent.failure
        if ended.reason == "sandbox_gone":
            raise SandboxUnavailable(f"the sandbox was gone before the agent had ended: {said}")
        artifacts = self._contract.artifacts if self._kept.artifacts else []
        missing = await fetch_artifacts(sandbox, artifacts, task.id, context.log_dir / "artifacts")
        return await self._made_of(task, sandbox, ended, said, missing, context)

    def _seconds(self, environment: Environment, context: Context) -> float:
        limits = [self._contract.timeout, environment.agent_timeout, context.seconds_left]
        return min((seconds for seconds in limits if seconds is not None), default=RUN_TIMEOUT)

    async def _run(
        self, sandbox: Sandbox, command: str, cwd: str, env: Mapping[str, str], seconds: float, log: Path
    ) -> tuple[Exited, str]:
        """Run a command; keep both its outputs, whatever comes of it, and return how it ended and what it said last."""
        env = {"PYTHONSAFEPATH": "1", **env, **self._secrets}
        said, ended = b"", Exited(code=None, reason="sandbox_gone")
        paths = log.with_suffix(".stdout"), log.with_suffix(".stderr")
        # Without a buffer, what was said is there even when this process is killed.
        with paths[0].open("wb", buffering=0) as out, paths[1].open("wb", buffering=0) as err:
            async with sandbox.start(
                command, cwd=cwd, env=env, timeout=seconds, max_output=self._kept.output
            ) as process:
                async for output in process:
                    if isinstance(output, Exited):
                        ended = output
                    else:
                        (out if isinstance(output, Stdout) else err).write(output.data)
                        said = (said + output.data)[-4 * LONGEST_TOLD :]
        return ended, str(mask(said.decode("utf-8", "replace").strip()[-LONGEST_TOLD:]))

    async def _made_of(
        self, task: Task, sandbox: Sandbox, ended: Exited, said: str, missing: str | None, context: Context
    ) -> GenerationResult:
        """Say what came of the attempt. What the agent says itself of it goes before its exit code."""
        out_of_time = ended.reason == "timeout" or ended.code == _TIMED_OUT
        result: GenerationResult | None = None
        if self._contract.final_output is not None:
            result = await self._final_output(task, sandbox, context)
        elif ended.ok or out_of_time:
            result = GenerationResult(task_id=task.id, status=GenerationStatus.SUCCESS, data=said)
        if out_of_time:
            told = f"the agent was not finished in time ({_how(ended)})"
            return GenerationResult(
                task_id=task.id, status=GenerationStatus.MAX_TIME, data=result.data if result else "", error=told
            )
        if result is None:
            what = "left nothing at its final_output" if ended.ok else f"failed ({_how(ended)})"
            return _failed(task, f"the agent {what}: {said or NOTHING_SAID}")
        if missing is not None and result.status is GenerationStatus.SUCCESS:
            result.status, result.error = GenerationStatus.ERROR, missing
        return result

    async def _final_output(self, task: Task, sandbox: Sandbox, context: Context) -> GenerationResult | None:
        """Fetch what the agent has made; ``None`` if that is nothing."""
        where = self._contract.command(self._contract.final_output or "", {"task_id": task.id})
        [where] = shlex.split(where) or [""]
        most = self._kept.output
        content = await _read(sandbox, f"{where}/{task.id}/generation.json", most)
        if content is None and where.endswith(".json"):
            content = await _read(sandbox, where, most)
        if content is None:
            text = await _read(sandbox, where, most)
            if text is None:
                return None
            return GenerationResult(
                task_id=task.id, status=GenerationStatus.SUCCESS, data=text.decode("utf-8", "replace")
            )
        (context.log_dir / "generation_raw.json").write_bytes(content)
        try:
            given = msgspec.json.decode(content, type=_Generation, strict=False)
        except (msgspec.DecodeError, UnicodeError) as error:
            return _failed(task, f"the agent's generation.json cannot be read: {error}")
        return GenerationResult(
            task_id=task.id,
            status=given.status,
            data=given.data if given.data is not None else given.answer or "",
            error=given.error,
            total_turns=given.total_turns,
            generation_version=given.generation_version,
        )


def agent_runner(
    contract: AgentContract,
    folder: Path | None,
    given: Mapping[str, Any],
    model: str,
    *,
    makes_text: bool,
    lends: bool = True,
    must_lend: bool = False,
    kept: Kept = _EVERYTHING,
    scratch: Path | None = None,
) -> AgentRunner:
    """Make the runner of an agent from its contract and the folder with its files; ``given`` are its parameters.

    ``makes_text`` says that the benchmark judges a text, which the agent must then leave somewhere, and ``lends``
    that the agent may ask the model of the run from inside of its sandbox. An agent that has no other way to a model
    ``must`` be lent that one, or there is no attempt. The copy of its files is made in ``scratch``, else among the
    temporary files.

    Raises :class:`~benchhost.errors.UsageError` before anything is run: for parameters and models that the agent does
    not take, and secrets that are not in the environment.
    """
    values = contract.params(given)
    contract.allows(model)
    if missing := sorted(name for name in contract.secrets if not os.environ.get(name)):
        raise UsageError(f"the agent {contract.name} needs the variables {', '.join(missing)}, which are not set")
    if makes_text and contract.final_output is None:
        raise UsageError(f"the agent {contract.name} says no final_output, where its response would be")
    return AgentRunner(contract, values, model, folder, lends=lends, must_lend=must_lend, kept=kept, scratch=scratch)


async def _read(sandbox: Sandbox, path: str, most: int) -> bytes | None:
    try:
        return await sandbox.read(path, most)
    except SandboxFileError:
        return None


def _failed(task: Task, error: str) -> GenerationResult:
    return GenerationResult(task_id=task.id, status=GenerationStatus.ERROR, data="", error=error)


def _how(ended: Exited) -> str:
    return f"exit {ended.code}" if ended.reason in ("exited", "signal") else ended.reason.replace("_", " ")
