"""HumanEval: hand-written Python problems with unit tests (Chen et al. 2021, arXiv 2107.03374)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Annotated, Any

import msgspec

from benchhost import Benchmark, Public, Response, Result, Task
from benchhost.sandbox import Candidate, CodeJudge, Limits, Verdict
from benchhost.tasks import read_jsonl
from benchhost_humaneval.program import programs

__all__ = ["HumanEval", "Problem", "Settings", "problems", "programs"]

FEEDBACK = {
    "failed": "a test failed",
    "raised": "an exception was raised while a test ran",
    "not_plain": "an answer is no plain value",
    "too_large": "an answer is too large",
    "timeout": "the time was up",
    "memory_limit": "the memory was used up",
    "ended": "the process of the program ended before the tests did",
    "garbled": "the program interfered with the tests",
    "missing": "the program does not define the function",
}
"""What the submitter is told. Nothing of it is in the submission's own words: those could repeat a test's values."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``data`` is the path of ``HumanEval.jsonl.gz``, or of a file like it; ``seconds`` what a program may take."""

    data: Path
    seconds: Annotated[float, msgspec.Meta(gt=0)] = 3.0


class Problem(Task, kw_only=True):
    """A problem. Callers see its prompt, which is the ``question``, and the name of the function."""

    entry_point: Public[str]
    test: str
    canonical_solution: str


class _Row(msgspec.Struct):
    """A line of the published file."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str


class HumanEval(Benchmark[Problem]):
    """The 164 problems. A response passes when its function passes the problem's tests within the time."""

    version = "1.0"
    Settings = Settings

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self._judge = CodeJudge(Limits(seconds=self.settings.seconds, answer=1 << 16))
        self._tests: dict[str, Callable[[Candidate], None]] = {}

    def load_datasets(self) -> Mapping[str, Iterator[Problem]]:
        """Read the file that the setting ``data`` names."""
        return {"default": problems(self.settings.data)}

    def prompt(self, task: Problem) -> str:
        """Ask for the whole function, which a chat model answers better than half a function."""
        return (
            "Complete this Python function. Answer with the whole function in one fenced block of code.\n\n"
            f"```python\n{task.question}```"
        )

    def evaluate_response(self, task: Problem, response: Response) -> Result:
        """Run the program in the sandbox and the tests here."""
        if (test := self._tests.get(task.id)) is None:
            test = self._tests[task.id] = test_of(task)
        verdict = self._judge.judge(programs(task.question, task.entry_point, response.text), task.entry_point, test)
        return Result(
            score=float(verdict.passed),
            passed=verdict.passed,
            feedback=feedback(verdict),
            private={"reason": verdict.reason, "detail": verdict.detail},
        )

    def reference_response(self, task: Problem) -> Response:
        """Give the published solution."""
        return Response(task.canonical_solution)


def problems(path: Path) -> Iterator[Problem]:
    """Read the published problems. Raises :class:`~benchhost.errors.DatasetError` when a row is not one."""
    for row in read_jsonl(path, _Row):
        yield Problem(
            id=row.task_id,
            question=row.prompt,
            entry_point=row.entry_point,
            test=row.test,
            canonical_solution=row.canonical_solution,
        )


def test_of(task: Problem) -> Callable[[Candidate], None]:
    """Make a problem's ``check`` ready to be called with a candidate, as often as need be.

    The prompt is run before it, since some tests use what it imports or defines. Under the name of the function,
    too, they find the candidate.
    """
    prompt, test = _compiled(task.question, "prompt", task), _compiled(task.test, "test", task)

    def run(candidate: Candidate) -> None:
        namespace: dict[str, Any] = {"__name__": "test"}
        exec(prompt, namespace)  # noqa: S102 - it is the benchmark's own code
        namespace[task.entry_point] = candidate
        exec(test, namespace)  # noqa: S102
        namespace["check"](candidate)

    return run


def feedback(verdict: Verdict) -> str | None:
    """Say to the submitter what went wrong, without a word about the tests."""
    if verdict.passed:
        return None
    return FEEDBACK[verdict.reason] if verdict.began else f"the program cannot be loaded: {verdict.detail}"


def _compiled(source: str, what: str, task: Problem) -> CodeType:
    return compile(source, f"<{what} of {task.id}>", "exec", dont_inherit=True)
