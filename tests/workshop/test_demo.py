"""`make demo` and `make demo-stop`, on a port of their own."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "docs" / "demo.py"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / ".demo"
    demo("stop", tmp_path / ".demo")


def demo(action: str, folder: Path, port: int = 0, under: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = [*under, sys.executable, str(DEMO), action, "--folder", str(folder), "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def plugins(port: int) -> list[dict[str, object]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/plugins", timeout=10) as answer:
        return json.load(answer)["plugins"]


def test_the_demo_grades_leaves_the_host_running_and_stops_it(folder: Path, port: int) -> None:
    first = demo("start", folder, port)
    assert first.returncode == 0, first.stdout + first.stderr
    found = re.search(r"arithmetic: ([\d.]+)% of (\d+) tasks, 95% interval ([\d.]+)% to ([\d.]+)%", first.stdout)
    assert found, first.stdout
    score, tasks, low, high = map(float, found.groups())
    assert tasks >= 100
    assert 0 < low < score < high < 100
    assert "arithmetic" in {plugin["name"] for plugin in plugins(port)}
    assert "  a right program: all tests passed\n  a wrong one: a test failed\n" in first.stdout
    assert "ends before the tests: the process of the program ended" in first.stdout
    assert "reads a file of this machine: an exception was raised" in first.stdout
    assert "benchhost run arithmetic --model scripted/reference" in first.stdout
    assert "benchhost run terminal count-errors --model scripted/reference" in first.stdout
    assert len(re.findall(r"^score +100\.00% ", first.stdout, re.MULTILINE)) == 2, "the tables of both runs are shown"

    second = demo("start", folder, port)
    until = first.stdout.index("\nrun ")  # which every demo calls otherwise
    assert second.stdout[:until] == first.stdout[:until], "a second demo uses the host that runs"

    stopped = demo("stop", folder)
    assert (stopped.returncode, stopped.stdout) == (0, "The demo is stopped.\n")
    with pytest.raises(urllib.error.URLError):
        plugins(port)
    assert demo("stop", folder).stdout == "No demo is running.\n"


def test_a_port_that_is_taken_is_said_to_be(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = demo("start", folder, port)
    assert refused.returncode == 1
    assert refused.stderr == f"Port {port} is taken by another program. Name another: make demo PORT={port + 1}\n"
    assert not folder.exists()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1) to forbid what is to be forbidden")
def test_where_no_sandbox_can_be_had_the_demo_says_so_and_goes_on(folder: Path, port: int) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    said = demo("start", folder, port, under=["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"])
    assert said.returncode == 0, said.stdout + said.stderr
    assert "No sandbox can be had on this machine" in said.stdout
    assert "benchhost doctor` and docs/grading-code.md say what to change." in said.stdout
    assert "run arithmetic" in said.stdout
    assert "run terminal" not in said.stdout
