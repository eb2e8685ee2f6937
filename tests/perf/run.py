"""Measures benchhost beside the services that it is compared with, and prints the ratios: ``make perf``.

All contenders run on the same machine at the same time, with one worker each, and are loaded in turn,
round by round, so that whatever else the machine does hits all of them alike. The figures are medians
over the rounds. CPU time is that of all processes of a server, so that work moved to a helper process
still counts.
"""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import signal
import sys
import tempfile
from pathlib import Path

from effort import Effort
from measures import MEASURES
from table import markdown, write

HOUSE = Path(__file__).parents[2]
PAGE = HOUSE / "docs" / "performance.md"


def main() -> None:
    """Measure what the command line asks for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES))
    options.add_argument("--rounds", type=int, default=5, help="how often each contender is measured (default: 5)")
    options.add_argument("--seconds", type=float, default=3.0, help="how long each time (default: 3)")
    options.add_argument("--quick", action="store_true", help="one short round: to see that it works, not to quote")
    options.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    chosen = options.parse_args()
    if chosen.write and (chosen.only or chosen.quick):
        options.error("--write puts the whole table into the page: it goes with neither --only nor --quick")
    rounds, seconds = (1, 0.5) if chosen.quick else (chosen.rounds, chosen.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped then, too
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # all contenders as pip leaves them: with their bytecode
    for folder in (HOUSE / "benchhost", Path(__file__).parent):
        compileall.compile_dir(folder, quiet=1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="benchhost-perf-") as folder:
        for name in chosen.only or MEASURES:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            rows += MEASURES[name](Effort(Path(folder), rounds, seconds, chosen.quick))
    text = f"{markdown(rows)}\n\n{machine()} Rounds: {rounds}, of {seconds:g} s for each contender."
    print(text)
    if chosen.write:
        write(PAGE, f"\n{text}\n")


def machine() -> str:
    """Describe the machine in words, without naming it."""
    system, python = platform.system(), platform.python_version()
    cores, busy = f"{os.cpu_count()} cores ({platform.machine()})", os.getloadavg()[0]
    return f"Measured on {cores}, {system}, Python {python}; load average {busy:.1f} at the end."


if __name__ == "__main__":
    main()
