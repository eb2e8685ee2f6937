"""What is measured. Each function starts what it needs, measures it round by round, and returns rows of the table."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from agreement import same_answers, submission
from effort import Effort, cost_of
from grading import humaneval
from runs import resume, runner, runner_memory
from sandboxes import sandboxes
from servers import BIN, Server, benchhost, benchhost_with_keys, fastapi, key_for, limit
from table import Row, added, less, more

OURS, PLAIN, RECORDING, BARE = "benchhost", "FastAPI", "FastAPI, SQLAlchemy", "bare limit"
MANY = {f"small-{index:02d}": "Hundred" for index in range(49)} | {"ten-thousand": "TenThousand"}


class Sample(NamedTuple):
    """One contender in one round: requests per CPU second, requests per second, and latencies in milliseconds."""

    per_cpu: float
    per_second: float
    p50: float
    p99: float


Samples = dict[str, Sample]


@contextmanager
def running(effort: Effort, *makers: Callable[[Path], Server]) -> Iterator[list[Server]]:
    """Keep servers running side by side, after they have been seen to answer the same."""
    with ExitStack() as stack:
        servers = [stack.enter_context(make(effort.fresh())) for make in makers]
        for server in servers:
            server.wait()
            server.wait(f"{server.base}/v1/evaluate", submission(0))
        same_answers(servers)
        yield servers


def sample(server: Server, request: str, size: int, connections: int, seconds: float) -> Sample:
    """Load one server and see what that cost it."""
    before = server.cpu()
    report = server.load(request, size, connections, seconds).report()
    spent = server.cpu() - before
    return Sample(report.answered / spent, report.answered / report.seconds, report.p50, report.p99)


def interleaved(effort: Effort, servers: Iterable[Server], request: str, size: int, connections: int) -> Samples:
    """Load the servers in turn, round by round, after a round that does not count. Return each one's medians."""
    servers = list(servers)
    for server in servers:
        sample(server, request, size, connections, effort.seconds / 4)
    rounds = [
        {server.name: sample(server, request, size, connections, effort.seconds) for server in servers}
        for _ in range(effort.rounds)
    ]
    return {
        server.name: Sample(*(median(values) for values in zip(*(one[server.name] for one in rounds), strict=True)))
        for server in servers
    }


def agreement(effort: Effort) -> list[Row]:
    """Only see whether all contenders answer the same."""
    with running(effort, benchhost, fastapi, recording, limit):
        return []


def recording(folder: Path) -> Server:
    """The FastAPI service that records."""
    return fastapi(folder, recording=True)


def evaluate(effort: Effort) -> list[Row]:
    """One response a request, of three sizes, durably recorded; of the smallest also over few and many connections."""
    rows = []
    with running(effort, benchhost, fastapi, recording, limit) as servers:
        for name, size, connections in (("1 KB", 1024, 32), ("100 KB", 100_000, 8), ("5 MB", 5_000_000, 4)):
            found = interleaved(effort, servers, "evaluate", size, connections)
            targets = {PLAIN: 1.3, RECORDING: 10.0} if size == 1024 else {}
            for other in (PLAIN, RECORDING, BARE):
                what = f"evaluate {name}, per CPU second"
                rows.append(more(what, found[OURS].per_cpu, other, found[other].per_cpu, targets.get(other)))
            ours, theirs = found[OURS], found[PLAIN]
            what = f"evaluate {name}, {connections} connections"
            rows.append(more(f"{what}, per second", ours.per_second, PLAIN, theirs.per_second))
            rows.append(less(f"{what}, p50 in ms", ours.p50, PLAIN, theirs.p50))
            rows.append(less(f"{what}, p99 in ms", ours.p99, PLAIN, theirs.p99))
        for connections in (8, 128):
            found = interleaved(effort, servers, "evaluate", 1024, connections)
            what = f"evaluate 1 KB, {connections} connections, per CPU second"
            rows += [more(what, found[OURS].per_cpu, other, found[other].per_cpu) for other in (PLAIN, RECORDING)]
    return rows


def access(effort: Effort) -> list[Row]:
    """What it costs to know who calls and what they may use."""
    with running(effort, benchhost_with_keys, benchhost) as servers:
        found = interleaved(effort, servers, "evaluate", 1024, 32)
    keys, open_ = found[servers[0].name], found[OURS]
    what = "evaluate 1 KB with a key of a tenant"
    return [
        more(f"{what}, per CPU second", keys.per_cpu, "open", open_.per_cpu, 0.85),
        more(f"{what}, per second", keys.per_second, "open", open_.per_second, 0.85),
    ]


def stream(effort: Effort) -> list[Row]:
    """Lines of progress that are watched over WebSockets, as fast as they are said."""
    rows = []
    with running(effort, benchhost, fastapi) as servers:
        for clients, lines, target in ((1, 20_000, 8.0), (200, 500, 4.0)):
            found = interleaved(effort, servers, "stream", lines, clients)
            ours, theirs = found[OURS], found[PLAIN]
            what = f"lines streamed to {clients} client{'s' if clients > 1 else ''}"
            rows.append(more(f"{what}, per CPU second", ours.per_cpu, PLAIN, theirs.per_cpu, target))
            rows.append(more(f"{what}, per second", ours.per_second, PLAIN, theirs.per_second))
            rows.append(less(f"{what}, p50 in ms of {lines:,} lines", ours.p50, PLAIN, theirs.p50))
    return rows


def fairness(effort: Effort) -> list[Row]:
    """What a tenant that floods a benchmark does to another that asks for one evaluation after the other."""
    return [row for workers in (1, 2) for row in _beside_a_flood(effort, workers)]


def _beside_a_flood(effort: Effort, workers: int) -> list[Row]:
    """Measure it over some workers, by as many patient callers, whose connections the kernel gives to any of these."""
    alone, beside, flooding = [], [], []
    server = benchhost_with_keys(effort.fresh(), {"patient": "Patient"})
    server.environment |= {"BENCHHOST_MAX_RUNNING": "8", "BENCHHOST_WORKERS": str(workers)}
    flooder = key_for(server, "flooder")
    with server:
        server.wait()
        server.wait(f"{server.base}/v1/evaluate", submission(0))
        for _ in range(effort.rounds):
            alone.append(server.load("evaluate", 1024, workers, 2 * effort.seconds, pause=0.02).report())
            flood = server.load("evaluate", 1024, 200, 2 * effort.seconds + 2, token=flooder)
            time.sleep(1)  # by then its queue is long
            beside.append(server.load("evaluate", 1024, workers, 2 * effort.seconds, pause=0.02).report())
            flooding.append(flood.report())
    idle, busy = (median(each.p99 for each in reports) for reports in (alone, beside))
    where = "" if workers == 1 else f", over {workers} workers"
    what = f"p99 in ms of a 50 ms evaluation beside a tenant with 200 at once, of which 8 run{where}"
    return [
        less(what, busy, "own p99 alone", idle, 2),
        less(
            f"{what}; p50",
            median(each.p50 for each in beside),
            "p50 of the flooding tenant",
            median(each.p50 for each in flooding),
        ),
    ]


def batch(effort: Effort) -> list[Row]:
    """Five hundred responses a call, against FastAPI with one a request."""
    with running(effort, benchhost, fastapi, recording) as (ours, *others):
        rounds = [
            (
                500 * sample(ours, "batch", 500, 2, effort.seconds).per_cpu,
                *(sample(other, "evaluate", 1024, 32, effort.seconds).per_cpu for other in others),
            )
            for _ in range(effort.rounds + 1)
        ]
    mine, plain, recorded = (median(values) for values in zip(*rounds[1:], strict=True))
    what = "evaluate-batch of 500 of 1 KB, items per CPU second"
    return [more(what, mine, PLAIN, plain, 15), more(what, mine, RECORDING, recorded)]


def listings(effort: Effort) -> list[Row]:
    """All ids, and all public tasks, of ten thousand."""
    with running(effort, benchhost, fastapi) as servers:
        ids = interleaved(effort, servers, "verify", 10_000, 4)
        tasks = interleaved(effort, servers, "tasks", 10_000, 4)
    return [
        more("all ids of 10,000, per CPU second", ids[OURS].per_cpu, PLAIN, ids[PLAIN].per_cpu, 5),
        more("task list of 10,000, per CPU second", tasks[OURS].per_cpu, PLAIN, tasks[PLAIN].per_cpu, 8),
    ]


@contextmanager
def hundred_thousand(effort: Effort, *, bare: bool = True) -> Iterator[list[Server]]:
    """Servers with as many tasks as the largest final score has results."""
    makers: list[Callable[[Path], Server]] = [
        lambda folder: benchhost(folder, {"hundred-thousand": "HundredThousand"}),
        lambda folder: fastapi(folder, 100_000),
    ]
    if bare:
        makers.append(lambda folder: limit(folder, 100_000))
    with ExitStack() as stack:
        servers = [stack.enter_context(make(effort.fresh())) for make in makers]
        for server in servers:
            server.wait(f"{server.base}/v1/evaluate", submission(0))
        yield servers


def final_score(effort: Effort) -> list[Row]:
    """Final scores of many results."""
    rows = []
    with hundred_thousand(effort) as servers:
        for size in (10_000, 100_000):
            found = interleaved(effort, servers, "final-score", size, 2)
            what = f"final-score of {size:,}, per CPU second"
            rows.append(more(what, found[OURS].per_cpu, PLAIN, found[PLAIN].per_cpu))
            rows.append(more(what, found[OURS].per_cpu, BARE, found[BARE].per_cpu))
        found = interleaved(effort, servers[:2], "v1-score", 100_000, 2)
        what, peer = "v1/score of 100,000, per CPU second", found[PLAIN].per_cpu
        rows.append(more(what, found[OURS].per_cpu, PLAIN, peer, 8.0))  # where the service types results, too
    return rows


def neighbours(effort: Effort) -> list[Row]:
    """What final scores of a hundred thousand, one after the other, do to small requests meanwhile."""
    alone: dict[str, list[float]] = {OURS: [], PLAIN: []}
    beside: dict[str, list[float]] = {OURS: [], PLAIN: []}
    with hundred_thousand(effort, bare=False) as servers:
        for _, server in itertools.product(range(effort.rounds), servers):
            alone[server.name].append(server.load("evaluate", 1024, 4, 2 * effort.seconds, pause=0.02).report().p99)
            heavy = server.load("final-score", 100_000, 1, 2 * effort.seconds + 1)
            beside[server.name].append(server.load("evaluate", 1024, 4, 2 * effort.seconds, pause=0.02).report().p99)
            heavy.report()
    what = "p99 in ms of evaluate 1 KB beside final-score of 100,000"
    return [
        less(what, median(beside[OURS]), "own p99 alone", median(alone[OURS]), 5),
        less(what, median(beside[OURS]), PLAIN, median(beside[PLAIN])),
        Row("the same ratio for FastAPI", "", "", "", f"{median(beside[PLAIN]) / median(alone[PLAIN]):.2f}x"),
    ]


def memory(effort: Effort) -> list[Row]:
    """Memory of all processes of a server with one worker, after it has served for a while."""
    with running(effort, benchhost, fastapi, recording) as servers:
        interleaved(effort, servers, "evaluate", 1024, 32)
        ours, plain, recorded = (server.memory() for server in servers)
    what = "memory with one worker and 10,000 tasks, MB (PSS)"
    return [less(what, ours, PLAIN, plain), less(what, ours, RECORDING, recorded)]


def startup(effort: Effort) -> list[Row]:
    """From nothing to the first healthy and to the first graded answer."""
    makers = {"1 plugin": benchhost, "50 plugins": lambda folder: benchhost(folder, MANY), PLAIN: fastapi}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in makers}
    for _, (name, make) in itertools.product(range(effort.rounds), makers.items()):
        with make(effort.fresh()) as server:
            healthy = server.wait()
            found[name].append((*healthy, *server.wait(f"{server.base}/v1/evaluate", submission(0))))
    middle = {name: [median(values) for values in zip(*times, strict=True)] for name, times in found.items()}
    rows = []
    for index, what in enumerate(
        ("healthy answer, s", "healthy answer, CPU s", "graded answer, s", "graded answer, CPU s")
    ):
        one, many, peer = middle["1 plugin"][index], middle["50 plugins"][index], middle[PLAIN][index]
        rows.append(less(f"start to first {what}, 1 plugin", one, PLAIN, peer, 1.0 if index == 0 else None))
        if index == 0:
            rows.append(added(f"start to first {what}, 50 plugins", many, PLAIN, peer, 0.5))
        else:
            rows.append(less(f"start to first {what}, 50 plugins", many, PLAIN, peer))
    return rows


def command_line(effort: Effort) -> list[Row]:
    """CPU seconds of the lightest things, against an interpreter that does nothing."""
    commands = {
        "import benchhost": [sys.executable, "-c", "import benchhost"],
        "benchhost --help": [str(BIN / "benchhost"), "--help"],
        "nothing": [sys.executable, "-c", "pass"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _, (name, command) in itertools.product(range(4 * effort.rounds), commands.items()):
        found[name].append(cost_of(command).cpu)
    empty = median(found["nothing"])
    return [
        added("import benchhost, CPU s", median(found["import benchhost"]), "empty interpreter", empty, 0.06),
        added("benchhost --help, CPU s", median(found["benchhost --help"]), "empty interpreter", empty, 0.1),
    ]


MEASURES: dict[str, Callable[[Effort], list[Row]]] = {
    "agreement": agreement,
    "evaluate": evaluate,
    "access": access,
    "stream": stream,
    "fairness": fairness,
    "batch": batch,
    "listings": listings,
    "final-score": final_score,
    "neighbours": neighbours,
    "memory": memory,
    "startup": startup,
    "command-line": command_line,
    "humaneval": humaneval,
    "runner": runner,
    "runner-memory": runner_memory,
    "resume": resume,
    "sandbox": sandboxes,
}
