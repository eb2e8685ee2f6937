"""GSM8K: grade-school word problems whose answer is a number (Cobbe et al. 2021, arXiv 2110.14168)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from benchhost import Benchmark, Response, Result, Task
from benchhost.errors import DatasetError
from benchhost.scoring import Number, number_in, text_behind
from benchhost.tasks import read_jsonl
from benchhost_gsm8k.answer import final_number

__all__ = ["GSM8K", "Settings", "WordProblem", "final_number"]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``data`` is the path of ``test.jsonl`` as the authors of GSM8K publish it."""

    data: Path


class WordProblem(Task, kw_only=True):
    """A problem. Callers see the question; ``answer`` and the worked ``solution`` are hidden."""

    answer: Number
    solution: str


class _Row(msgspec.Struct):
    """A line of the published file. The answer is a worked solution that ends in ``#### <number>``."""

    question: str
    answer: str


class GSM8K(Benchmark[WordProblem]):
    """The 1,319 problems of the test set, marked by the final number of the response."""

    version = "1.0"
    Settings = Settings

    def load_datasets(self) -> Mapping[str, Iterator[WordProblem]]:
        """Read the file that the setting ``data`` names."""
        return {"default": problems(self.settings.data)}

    def prompt(self, task: WordProblem) -> str:
        """Ask for working, and for a last line that can be read without guessing."""
        return f"{task.question}\n\nThink step by step. End with a line of the form: #### <number>"

    def evaluate_response(self, task: WordProblem, response: Response) -> Result:
        """Compare the final number of the response with the answer."""
        number = final_number(response.text)
        correct = number == task.answer
        feedback = "no final number was found; end with a line like: #### 42" if number is None else None
        return Result(score=float(correct), passed=correct, feedback=feedback, private={"read": number})

    def reference_response(self, task: WordProblem) -> Response:
        """Give the published worked solution."""
        return Response(task.solution)


def problems(path: Path) -> Iterator[WordProblem]:
    """Read the published problems; the id says the place in the file, from ``test-0000``.

    Raises :class:`~benchhost.errors.DatasetError` when a row is not one of GSM8K's.
    """
    for index, row in enumerate(read_jsonl(path, _Row)):
        answer = number_in(text_behind(row.answer, "####") or "")
        if answer is None:
            raise DatasetError(f"{path}, problem {index + 1}: expected an answer that ends in '#### <number>'")
        yield WordProblem(id=f"test-{index:04}", question=row.question, answer=answer, solution=row.answer)
