"""The comparison is one of like with like."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_benchhost_and_its_peers_give_the_same_answers() -> None:
    harness = Path(__file__).with_name("run.py")
    done = subprocess.run([sys.executable, harness, "--only", "agreement"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
