"""A run that is stopped or killed, in the real command: what is kept, what is owed, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

WITHIN = 60.0
SLOW = ("run", "slow", "--model", "scripted/echo", "--run-id", "r", "--json", "--max-connections", "2")


def wait_for(begun: Path, attempts: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many attempts were begun."""
    end = time.monotonic() + WITHIN
    while len(list(begun.iterdir())) < attempts:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_ctrl_c_once_finishes_what_is_under_way_and_nothing_is_done_twice(launch, benchhost, slow) -> None:
    process = launch(*SLOW, "-k", "seconds=0.2")
    wait_for(slow, 5, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WITHIN)
    assert process.returncode == 4, err
    assert "Press Ctrl-C again" in err
    stopped = json.loads(out)
    assert (stopped["status"], stopped["reason"]) == ("incomplete", "stopped by hand")
    kept = stopped["summary"]["scored"]
    assert kept == len(list(slow.iterdir())), "what was begun was finished"

    resumed = benchhost("runs", "resume", "r", "-k", "seconds=0", "--allow-drift", "params", "--json")
    assert resumed.code == 0, resumed.err
    assert (resumed.json["summary"]["scored"], resumed.json["summary"]["attempts"]) == (40, 40)
    assert len(list(slow.iterdir())) == 40


def test_ctrl_c_twice_stops_at_once(launch, slow) -> None:
    process = launch(*SLOW, "-k", "seconds=600")
    wait_for(slow, 2, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "Press Ctrl-C again" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WITHIN)
    assert process.returncode == 4, err
    assert json.loads(out)["summary"]["scored"] == 0


def test_ctrl_c_a_third_time_leaves_at_once(launch, benchhost, slow, state) -> None:
    process = launch(*SLOW, "-k", "seconds=600", "-k", "closing=600")
    wait_for(slow, 2, process)
    assert process.stderr is not None
    for told in ("Press Ctrl-C again", "Stopping at once", "Left without closing anything"):
        process.send_signal(signal.SIGINT)
        while told not in (line := process.stderr.readline()):
            assert line, "it has ended without a word"
    process.communicate(timeout=WITHIN)
    assert process.returncode == -signal.SIGINT, "which a shell shows as 130"
    assert "interrupted" in benchhost("runs", "show", "r").out


def test_a_run_that_was_killed_is_carried_on_to_the_same_records(launch, benchhost, slow) -> None:
    process = launch(*SLOW, "-k", "seconds=0.1")
    wait_for(slow, 6, process)
    process.kill()
    process.communicate(timeout=WITHIN)
    [run] = benchhost("runs", "list", "--json").json["runs"]
    assert run["status"] == "interrupted"
    resumed = benchhost("runs", "resume", "r", "-k", "seconds=0.1", "--json")
    assert resumed.code == 0, resumed.err
    benchhost("run", "slow", "--model", "scripted/echo", "--run-id", "whole", "-k", "seconds=0.1")
    assert records("r", benchhost) == records("whole", benchhost)


def test_a_run_that_is_under_way_is_neither_carried_on_nor_deleted_by_another(launch, benchhost, slow) -> None:
    process = launch(*SLOW, "-k", "seconds=600")
    wait_for(slow, 1, process)
    for command in (["resume", "r"], ["rm", "r", "--yes"]):
        said = benchhost("runs", *command)
        assert (said.code, said.out) == (5, "")
        assert "under way in another process" in said.err
    assert benchhost("runs", "list", "--json").json["runs"][0]["status"] == "running"


def test_the_real_command_ends_with_the_code_and_prints_the_table(launch, state) -> None:
    process = launch("run", "arithmetic", "--limit", "3", "--model", "scripted/reference")
    out, err = process.communicate(timeout=WITHIN)
    assert process.returncode == 0, err
    assert "3 of 3 scored" in out
    refused = launch("run", "arithmetic", "--model", "scripted/echo", "--slice", "0:2", "--ids-file", "x")
    out, err = refused.communicate(timeout=WITHIN)
    assert (refused.returncode, out) == (2, "")
    assert err.startswith("Error: --ids-file and --slice are mutually exclusive")


def records(run: str, benchhost) -> dict[str, tuple[object, ...]]:
    """What is recorded of each task in the end."""
    benchhost("runs", "export", run, "--layout", "jsonl")
    attempts = [json.loads(line) for line in Path(f"{run}.jsonl").read_text().splitlines()]
    return {
        each["task"]: (each["status"], each["response_digest"], each["evaluation_status"], each["score"], each["epoch"])
        for each in attempts
        if each["latest"]
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_task_ends_the_command_and_records_nothing(launch, benchhost, state, number) -> None:
    process = launch("run", "arithmetic", "--model", "scripted/echo")
    end = time.monotonic() + WITHIN
    while not (state / "benchhost.db").exists():  # which is opened before the plugin is loaded
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(number)
    _out, err = process.communicate(timeout=WITHIN)
    assert (process.returncode, "Traceback" in err) == (4, False), err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(
    "command, folder",
    [(("leakcheck", "arithmetic"), "leakcheck-*"), (("sandbox", "escape-suite"), "benchhost-sandboxes-*/sandboxes/*")],
    ids=["leakcheck", "escape-suite"],
)
def test_a_command_that_is_ended_leaves_no_folder_behind(launch, tmp_path, monkeypatch, command, folder, number):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    process = launch(*command)
    end = time.monotonic() + WITHIN
    while not list(place.glob(folder)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=WITHIN)
    assert (process.returncode, out, err.strip()) == (1, "", "Aborted!")
    assert list(place.iterdir()) == []
