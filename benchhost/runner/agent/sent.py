"""An agent that a caller sends with a request: it is lent a sandbox and a model, and nothing else of the host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from benchhost.errors import UsageError
from benchhost.runner.agent.contract import AgentContract
from benchhost.runner.agent.runner import AgentRunner, Kept, agent_runner
from benchhost.wire.runs import AgentFile, AgentSent

LARGEST = 8 * 1024 * 1024
"""Bytes of all files of an agent together."""

KEPT = Kept(output=1024 * 1024, artifacts=False)
"""What is kept of an attempt: it lies with the host, which every caller could fill otherwise."""


def sent_agent(sent: AgentSent, given: Mapping[str, Any], model: str, folder: Path, *, makes_text: bool) -> AgentRunner:
    """Make the runner of an agent that was sent; its files are kept in ``folder``, which is empty.

    It is lent the model of the run, and gets no variable of the host: a contract that wants ``secrets`` is refused.

    Raises :class:`~benchhost.errors.UsageError`; its message is for who sent the agent.
    """
    try:
        contract = msgspec.convert(sent.contract, AgentContract)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"the agent's contract: {error}") from error
    if contract.secrets:
        names = ", ".join(sorted(contract.secrets))
        raise UsageError(
            f"the agent {contract.name} wants {names} as secrets, and those of a host are lent to nobody: an agent "
            "that is sent asks the model of the run, for which it needs none"
        )
    files = folder / "sent"
    files.mkdir()
    _put(sent.files, files)
    return agent_runner(contract, files, given, model, makes_text=makes_text, must_lend=True, kept=KEPT, scratch=folder)


def _put(files: Mapping[str, AgentFile], folder: Path) -> None:
    left = LARGEST
    for name, file in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts or "\0" in name or len(name) > 200:
            raise UsageError(f"the agent's file {name[:200]!r}: expected a path below the folder of the agent")
        content = file.base64 if file.text is None else file.text.encode()
        if content is None or (file.text is not None and file.base64 is not None):
            raise UsageError(f"the agent's file {name}: expected its content, as text or as base64")
        left -= len(content)
        if left < 0:
            raise UsageError(f"the agent's files are larger than {LARGEST // 1024**2} MiB together")
        target = folder.joinpath(*path.parts)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as written:
                written.write(content)
        except (OSError, UnicodeEncodeError) as error:
            raise UsageError(f"the agent's file {name} cannot be, beside the others that were sent") from error
        target.chmod(0o755 if file.executable else 0o644)
