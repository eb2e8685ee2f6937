"""What runs cost: the runner's CPU time and memory, and how soon a large run is carried on."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from statistics import median

import msgspec
import plugin_site
from effort import Cost, Effort, cost_of, peak_of
from servers import BIN, HERE, model_server
from sums import sum_at
from table import Row, added, less, under

OURS, PEER = "benchhost", "openai SDK, JSON files"
BENCHMARKS = {100: "hundred", 10_000: "ten-thousand", 100_000: "hundred-thousand"}
CLASSES = {"hundred": "Hundred", "ten-thousand": "TenThousand", "hundred-thousand": "HundredThousand"}


class Desk:
    """A folder from which the benchmarks of :mod:`plugin` are run at the command line."""

    def __init__(self, effort: Effort) -> None:
        folder = effort.fresh()
        folder.mkdir()
        site = plugin_site.install(folder, CLASSES)
        self.state = folder / "state"
        self.environment = {"PYTHONPATH": str(site), "OPENAI_API_KEY": "perf"}

    def command(self, *words: str) -> list[str]:
        """Make a command that keeps its state here."""
        return [str(BIN / "benchhost"), *words, "--json", "--state", str(self.state)]

    def run(self, *words: str) -> Cost:
        """Carry a command out."""
        return cost_of(self.command(*words), self.environment)

    def seconds_to_first_attempt(self, run_id: str, task_id: str, *words: str) -> float:
        """Carry a command out; return when it began its attempt at a task, in seconds since it was started."""
        began = time.time()
        self.run(*words)
        with closing(sqlite3.connect(self.state / "benchhost.db")) as store:
            ((started,),) = store.execute(f"SELECT started_at {_ATTEMPT}", (run_id, task_id))
        return float(started) - began

    def forget(self, run_id: str, task_id: str) -> None:
        """Take an attempt out of a run, as if the run had been killed before it."""
        with closing(sqlite3.connect(self.state / "benchhost.db")) as store, store:
            gone = store.execute(f"DELETE {_ATTEMPT}", (run_id, task_id)).rowcount
        if gone != 1:
            raise RuntimeError(f"{run_id} was to have one attempt at {task_id}, not {gone}")


_ATTEMPT = "FROM attempt WHERE run = (SELECT number FROM run WHERE id = ?) AND task = ?"


def runner(effort: Effort) -> list[Row]:
    """Many tasks against a model that takes its time: what the runner itself costs."""
    size, connections = (500, 250) if effort.quick else (2_000, 500)
    desk = Desk(effort)
    costs: dict[str, list[Cost]] = {OURS: [], PEER: []}
    with model_server(effort.fresh()) as model:
        model.wait()
        url = f"http://127.0.0.1:{model.port}{model.base}"

        def ours() -> Cost:
            flags = ("--limit", str(size), "--base-url", url, "--max-connections", str(connections))
            cost = desk.run("run", "ten-thousand", "--model", "openai/sums", *flags)
            _all_right(msgspec.json.decode(cost.output)["summary"], size)
            return cost

        def theirs() -> Cost:
            script = [sys.executable, str(HERE / "peer_runner.py")]
            cost = cost_of([*script, url, str(size), str(connections), str(effort.fresh())])
            _all_right(msgspec.json.decode(cost.output), size)
            return cost

        contenders: dict[str, Callable[[], Cost]] = {OURS: ours, PEER: theirs}
        for _ in range(effort.rounds):
            for name, contender in contenders.items():
                costs[name].append(contender())
    cpu = {name: 1000 * median(cost.cpu for cost in found) / size for name, found in costs.items()}
    seconds = {name: median(cost.seconds for cost in found) for name, found in costs.items()}
    what = f"run of {size:,} tasks, {connections} connections, model of 200 ms"
    return [
        less(f"{what}, CPU ms per task", cpu[OURS], PEER, cpu[PEER], 0.2),
        less(f"{what}, s", seconds[OURS], PEER, seconds[PEER]),
    ]


def _all_right(found: dict[str, float], size: int) -> None:
    if (found["tasks"], found["mean"]) != (size, 1.0):
        raise RuntimeError(f"all {size} tasks were to be solved, but {found}")


def runner_memory(effort: Effort) -> list[Row]:
    """How much more memory a large run takes than a small one: of the same benchmark, and of a small one."""
    small, large = (100, 10_000) if effort.quick else (10_000, 100_000)

    def peak(benchmark: str, *flags: str) -> float:
        desk = Desk(effort)
        return peak_of(desk.command("run", benchmark, "--model", "scripted/echo", *flags), desk.environment)

    whole = peak(BENCHMARKS[large])
    part, other = peak(BENCHMARKS[large], "--limit", str(small)), peak(BENCHMARKS[small])
    what = f"run of {large:,} tasks, peak MB (PSS)"
    return [
        added(what, whole, f"run of {small:,} of these tasks", part),
        added(what, whole, f"run of a benchmark of {small:,}", other),
    ]


def resume(effort: Effort) -> list[Row]:
    """From the command to the first attempt of a run that is carried on, of which only the last task is owed."""
    size = 10_000 if effort.quick else 100_000
    desk, last = Desk(effort), sum_at(size - 1).id
    begin = ("run", BENCHMARKS[size], "--model", "scripted/echo", "--run-id")
    desk.run(*begin, "large")
    old, new = [], []
    for index in range(effort.rounds):
        desk.forget("large", last)
        old.append(desk.seconds_to_first_attempt("large", last, "runs", "resume", "large"))
        new.append(desk.seconds_to_first_attempt(f"new-{index}", last, *begin, f"new-{index}", last))
    what = f"resume a run of {size:,} finished attempts, s to its first attempt"
    return [under(what, median(old), "a new run of one of these tasks", median(new), 2.0)]
