"""A thousand sums, differences and products: the smallest benchmark that has everything."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Mapping

from benchhost import Benchmark, Public, Response, Result, Task
from benchhost.scoring import number_in

KINDS = {"addition": ("+", operator.add), "subtraction": ("-", operator.sub), "multiplication": ("*", operator.mul)}


class Calculation(Task, kw_only=True):
    """``kind`` is shown to callers. ``answer`` is not, because it is not marked ``Public``."""

    kind: Public[str]
    answer: int


class Arithmetic(Benchmark[Calculation]):
    """Two numbers of one to four digits each are added, subtracted or multiplied."""

    version = "1.0"

    def load_datasets(self) -> Mapping[str, Iterator[Calculation]]:
        """Generate the tasks: the same ones whenever and wherever."""
        return {"default": calculations(1000)}

    def prompt(self, task: Calculation) -> str:
        """Ask for the number alone, since a response that names several numbers is marked wrong."""
        return f"{task.question} Answer with the number alone."

    def evaluate_response(self, task: Calculation, response: Response) -> Result:
        """Compare the one number of the response with the answer."""
        correct = number_in(response.text) == task.answer
        return Result(score=float(correct), passed=correct)

    def reference_response(self, task: Calculation) -> Response:
        """Give the answer itself, so that the benchmark can be checked before anyone submits."""
        return Response(str(task.answer))


def calculations(count: int) -> Iterator[Calculation]:
    """Generate ``count`` tasks, of the three kinds and four sizes in turn."""
    # Python promises the sequence of random() for a seed on every version, but not that of randrange().
    draw = random.Random(2024).random
    for number in range(count):
        kind = list(KINDS)[number % 3]
        sign, compute = KINDS[kind]
        digits = number // 3 % 4 + 1
        left, right = int(draw() * 10**digits), int(draw() * 10**digits)
        yield Calculation(
            id=f"{kind}-{number:04}",
            question=f"What is {left} {sign} {right}?",
            kind=kind,
            answer=compute(left, right),
        )
