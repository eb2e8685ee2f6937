"""Fuzzes the decoders, guided by what code is reached, with atheris.

What breaks one is left in the working directory as ``crash-…``: the first byte says which, and it read the rest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

MISSING = (
    "atheris is not installed: it has no wheel for this Python or machine, and what hypothesis finds is all there is"
)


def main() -> None:
    """Fuzz each decoder for so many seconds, or all together so many times; end with 1 when one broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which decoders; all, if none is named")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=int, default=60, help="for how long each is fuzzed")
    how_long.add_argument("--runs", type=int, help="how often all of them together are tried, always alike")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("atheris") is None:
        sys.exit(MISSING)
    if given.here is not None:
        # One seed for what is bounded, so that it finds tomorrow what it finds today.
        limits = [f"-max_total_time={given.seconds}"] if given.runs is None else [f"-runs={given.runs}", "-seed=1"]
        _fuzz(given.names, given.here, limits)
    from decoders import SEEDS

    names = given.names or sorted(SEEDS)
    if given.runs is None:
        held = [_holds([name], SEEDS, f"--seconds={given.seconds}") for name in names]
    else:
        held = [_holds(names, SEEDS, f"--runs={given.runs}")]
    sys.exit(not all(held))


def _holds(names: list[str], seeds: dict[str, bytes], how_long: str) -> bool:
    """Fuzz decoders in a process of their own, from bytes that are almost right."""
    with tempfile.TemporaryDirectory() as corpus:
        for n, name in enumerate(names):
            (Path(corpus) / name).write_bytes(bytes([n]) + seeds[name])
        again = [sys.executable, __file__, how_long, "--here", corpus, *names]
        done = subprocess.run(again, capture_output=True, text=True, errors="replace", check=False)
    print(f"{', '.join(names)}: {'holds' if done.returncode == 0 else 'BROKEN'}", flush=True)
    if done.returncode:
        print(done.stderr[-30_000:], flush=True)
    return done.returncode == 0


def _fuzz(names: list[str], corpus: str, limits: list[str]) -> None:
    """Fuzz decoders from what is in a folder, and end the process: with 0 if they hold."""
    import atheris

    with atheris.instrument_imports(include=["benchhost", "decoders"]):
        from decoders import TARGETS
    atheris.Setup([sys.argv[0], *limits, "-close_fd_mask=1", corpus], _together(names, TARGETS))
    atheris.Fuzz()


def _together(names: list[str], targets: dict[str, Callable[[bytes], None]]) -> Callable[[bytes], None]:
    """Make one decoder of many: the first byte says which of them reads the rest."""

    def fuzzed(data: bytes) -> None:
        name = names[data[0] % len(names)] if data else names[0]
        try:
            targets[name](data[1:])
        except Exception:
            traceback.print_exc()
            print(f"This broke {name}.", file=sys.stderr, flush=True)
            raise

    return fuzzed


if __name__ == "__main__":
    main()
