"""The files of an attempt that an agent's contract asks to keep."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from benchhost.contract import Sandbox
from benchhost.errors import SandboxFileError
from benchhost.runner.agent.contract import Artifact

MOST_FILES = 10
LARGEST = 250 * 1024 * 1024
"""What is kept of one attempt at most, in files or folders and in bytes of all of them together, as in Valkyrie."""


async def fetch_artifacts(sandbox: Sandbox, artifacts: Sequence[Artifact], task_id: str, folder: Path) -> str | None:
    """Copy artifacts into ``folder``; return what is wrong when a required one is missing or too large."""
    wrong: list[str] = []
    left, room = MOST_FILES, LARGEST
    for artifact in artifacts:
        found = (await _matching(sandbox, artifact.source.replace("{task_id}", task_id)))[:left]
        left -= len(found)
        failed: list[str] = [] if found else [f"nothing is at {artifact.source}"]
        for source in found:
            target = folder / _below(artifact.path)
            if len(found) > 1:
                target /= PurePosixPath(source).name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                await sandbox.download(source, target, limit=room)
                room -= _size(target)
            except (SandboxFileError, OSError) as error:
                failed.append(str(error))
        if failed and artifact.required:
            wrong.append(f"the artifact {artifact.path} is missing: {'; '.join(failed)}")
    return "; ".join(wrong) or None


def _size(path: Path) -> int:
    """Say how many bytes there are in a file, or in all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file())


async def _matching(sandbox: Sandbox, pattern: str) -> list[str]:
    """Find the files that a pattern stands for. Only ``*``, ``?`` and ``[…]`` mean something to the shell in it."""
    safe = "".join(character if character in "*?[]-" else shlex.quote(character) for character in pattern)
    found = await sandbox.run(f'for each in {safe}; do if [ -e "$each" ]; then printf "%s\\0" "$each"; fi; done')
    return [path.decode("utf-8", "surrogateescape") for path in found.stdout.split(b"\0") if path]


def _below(path: str) -> Path:
    """Take a path as one below a folder, whatever it says of its parents."""
    return Path(*[part for part in PurePosixPath(path).parts if part not in ("/", "..")] or ["artifact"])
