"""The decoders hold also when the code that is reached guides what they are given: here for a moment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import guided
import pytest

pytestmark = pytest.mark.skipif(guided.find_spec("atheris") is None, reason=guided.MISSING)

GUIDED = Path(guided.__file__)

HOLES = """
def hole(data):
    if len(data) > 1 and data[0] == 0xD5 and data[1] == 0x1E:
        raise ZeroDivisionError("deep in it")


TARGETS = {"hole": hole, "sound": lambda data: None}
SEEDS = {"hole": b"seed", "sound": b"seed"}
"""


def fuzz(script, folder, *arguments):
    return subprocess.run([sys.executable, script, *arguments], cwd=folder, capture_output=True, text=True, timeout=170)


def test_no_decoder_breaks(tmp_path):
    done = fuzz(GUIDED, tmp_path, "--runs", "100000")
    assert (done.returncode, done.stdout.count("holds")) == (0, 1), done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_hole_is_found_by_what_leads_to_it_and_told(tmp_path):
    (tmp_path / "decoders.py").write_text(HOLES)
    done = fuzz(shutil.copy(GUIDED, tmp_path), tmp_path, "--runs", "100000")
    assert done.returncode == 1
    assert "hole, sound: BROKEN" in done.stdout
    assert "ZeroDivisionError: deep in it\nThis broke hole." in done.stdout
    [found] = tmp_path.glob("crash-*")
    assert found.read_bytes()[1:3] == b"\xd5\x1e"
    assert fuzz(tmp_path / "guided.py", tmp_path, "--runs", "100", "sound").returncode == 0
