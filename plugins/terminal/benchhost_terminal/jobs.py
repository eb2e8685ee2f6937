"""The jobs: a folder each, of which only the description and the kind are shown."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

import msgspec

from benchhost import Placed, Public, Task
from benchhost_terminal.checks import Check

TIMEOUT = 300.0
"""Seconds for a job that says nothing else."""


class Job(Task, kw_only=True):
    """One job.

    ``files`` are placed in its directory and ``setup``, a script, is run there when the sandbox is set up: an agent
    sees them there. ``tests``, ``checks`` and ``solution``, a script that does the job, it never sees.
    """

    kind: Public[str]
    files: Placed[dict[str, str]] = msgspec.field(default_factory=dict)
    setup: Placed[str] = ""
    tests: dict[str, str] = msgspec.field(default_factory=dict)
    checks: list[Check]
    solution: str


class Described(msgspec.Struct, forbid_unknown_fields=True):
    """What the ``job.toml`` of a folder says."""

    kind: str
    question: str
    checks: list[Check]
    timeout: float = TIMEOUT


def jobs() -> Iterator[Job]:
    """Read all jobs, in the order of their names."""
    for folder in sorted(files("benchhost_terminal").joinpath("tasks").iterdir(), key=lambda each: each.name):
        if not folder.is_dir() or folder.name.startswith("_"):
            continue
        described = msgspec.convert(tomllib.loads(folder.joinpath("job.toml").read_text("utf-8")), Described)
        setup = folder.joinpath("setup.sh")
        yield Job(
            id=folder.name,
            question=described.question.strip(),
            timeout=described.timeout,
            kind=described.kind,
            files=dict(_texts(folder.joinpath("files"))),
            setup=setup.read_text("utf-8") if setup.is_file() else "",
            tests=dict(_texts(folder.joinpath("tests"))),
            checks=described.checks,
            solution=folder.joinpath("solution.sh").read_text("utf-8"),
        )


def _texts(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the files of a folder and of those in it, by their path in it."""
    if not folder.is_dir():
        return
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _texts(each, f"{prefix}{each.name}/")
        else:
            yield f"{prefix}{each.name}", each.read_text("utf-8")
