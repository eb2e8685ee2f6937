"""Fuzzes the decoders, guided by what code is reached, with atheris.

Each runs in a process of its own. What breaks one is left in the working directory as ``crash-…``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz each decoder for so many seconds; end with 1 when one broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which decoders; all, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for how long each is fuzzed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("atheris is not installed, and has no wheel for every Python: what hypothesis finds is all there is")
    with atheris.instrument_imports(include=["benchhost"]):
        from decoders import SEEDS, TARGETS
    if given.here:
        [name] = given.names
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "seed").write_bytes(SEEDS[name])
            atheris.Setup([sys.argv[0], f"-max_total_time={given.seconds}", "-close_fd_mask=1", folder], TARGETS[name])
            atheris.Fuzz()
    broken = []
    for name in given.names or sorted(TARGETS):
        again = [sys.executable, __file__, "--here", "--seconds", str(given.seconds), name]
        done = subprocess.run(again, capture_output=True, text=True, check=False)
        print(f"{name}: {'holds' if done.returncode == 0 else 'BROKEN'}", flush=True)
        if done.returncode:
            broken.append(name)
            print(done.stdout[-3000:] + done.stderr[-3000:], flush=True)
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
