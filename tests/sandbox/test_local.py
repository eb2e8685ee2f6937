"""Sandboxes on this machine: what every provider must do, and what these promise beyond, whoever the host is."""

import os
import shutil
import site
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from benchhost.sandbox.local.provider import LocalProvider
from benchhost.testing.sandboxes import ProviderSuite

ROOT = Path(__file__).resolve().parents[2]
SOMEBODY = 54_321
"""A user of this machine that nobody is."""


class TestLocal(ProviderSuite):
    @pytest.fixture
    def place(self, tmp_path):
        return LocalProvider, {"folder": str(tmp_path / "sandboxes")}


def python_of_everybody(environ):
    """An interpreter that an ordinary user may start, and that has what these tests need."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            tried = subprocess.run(
                [candidate, "-c", "import msgspec, pytest, sys; print(sys.version_info[:2])"],
                env=environ,
                user=SOMEBODY,
                group=SOMEBODY,
                extra_groups=[],
                capture_output=True,
                text=True,
            )
        except OSError:
            continue
        if tried.stdout.strip() == str(sys.version_info[:2]):
            return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever runs this is an ordinary user already")
def test_all_of_it_holds_for_an_ordinary_user_too():
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([*site.getsitepackages(), str(ROOT)])}
    python = python_of_everybody(environ)
    if python is None:
        pytest.skip(f"an ordinary user may start no Python {sys.version_info[:2]} that reads {ROOT}")
    home = Path(tempfile.mkdtemp())
    try:
        shutil.chown(home, SOMEBODY, SOMEBODY)
        arguments = ["-q", "-p", "no:cacheprovider", "-k", "not ordinary_user", "--basetemp", str(home / "tests")]
        ran = subprocess.run(
            [python, "-m", "pytest", *arguments, __file__],
            cwd=ROOT,
            env={**environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            user=SOMEBODY,
            group=SOMEBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    finally:
        shutil.rmtree(home)
