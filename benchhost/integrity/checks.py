"""What a benchmark is examined for, and what was found."""

from __future__ import annotations

from typing import Literal

import msgspec

CHECKS = {
    "loads": "The plugin loads: its settings fit, every task can be encoded and has an id of its own.",
    "prompts-render": "Every task has a prompt, a text that is not empty.",
    "hooks-answer": "No hook raises, overruns its time, ends its process or returns something unusable.",
    "reference-full-marks": "The reference response to every task scores full marks: 1 or more, and not as failed.",
    "silence-not-full-marks": "No empty response scores full marks, and no sandbox in which nothing was done.",
    "noise-not-full-marks": "Responses of noise score full marks in less than one case in ten.",
    "grading-deterministic": "The same response to the same task is judged alike, however often.",
    "final-score": "A final score is made of all results, of some, of none, and of nulls.",
    "loop-free": "No `async def` hook keeps the event loop to itself for longer than 0.1 s.",
    "answers-hidden": "No public field of a task contains a hidden one.",
    "probing-bounded": "What a declared policy of probing lets be told is bounded, and is less than all answers.",
    "environments": "Every task says in which sandbox it is to be attempted.",
    "sandbox-grading": "Tasks are set up and judged in fresh sandboxes, as submissions are.",
}
"""Every check with what it promises when it is passed."""

Outcome = Literal["passed", "warned", "failed", "skipped"]

MOST_FINDINGS = 10
"""How many findings of one check are told; all are counted."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that is not as it should be. ``cause`` is a traceback, which may quote what is hidden."""

    said: str
    dataset: str = ""
    task: str = ""
    cause: str = ""


class Checked(msgspec.Struct, kw_only=True):
    """What came of one check: ``examined`` things were looked at, and ``found`` of them were not as they should be.

    ``findings`` are the first of these. ``note`` says why it was skipped, or what was left out.
    """

    check: str
    promise: str
    outcome: Outcome = "passed"
    examined: int = 0
    found: int = 0
    findings: list[Finding] = []
    note: str = ""

    def look(self, finding: Finding | None = None) -> None:
        """Count one thing that was looked at, and what was found of it."""
        self.examined += 1
        if finding is not None:
            self.find(finding, "failed")

    def find(self, finding: Finding, outcome: Literal["warned", "failed"]) -> None:
        """Count something that is not as it should be."""
        self.found += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        if self.outcome != "failed":
            self.outcome = outcome

    def skip(self, why: str) -> None:
        """Say why it was not done."""
        self.outcome = "skipped"
        self.note = why


class Extent(msgspec.Struct, frozen=True):
    """How much of a dataset was looked at."""

    tasks: int
    examined: int


class Report(msgspec.Struct, kw_only=True):
    """What came of the examination of a benchmark; ``sound`` when no check failed."""

    benchmark: str
    version: str | None
    sound: bool
    datasets: dict[str, Extent]
    checks: list[Checked]
