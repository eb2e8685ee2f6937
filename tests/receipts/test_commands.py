"""From a run to a receipt that somebody else verifies, by the command line."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A folder with a receipt of a run of five tasks in two epochs, and the key of the host."""
    folder = tmp_path_factory.mktemp("sealed")
    ran = benchhost(folder, "run", "arithmetic", "--limit", "5", "--epochs", "2", "--model", "scripted/reference",
                    "--run-id", "r")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert benchhost(folder, "runs", "seal", "r").returncode == 0
    (folder / "host.pub").write_text(benchhost(folder, "receipts", "key").stdout)
    return folder


def benchhost(folder, *arguments):
    command = [sys.executable, "-m", "benchhost", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_receipt_of_a_run_is_verified_without_the_host(sealed, tmp_path):
    for name in ("r.receipt.json", "host.pub"):
        (tmp_path / name).write_bytes((sealed / name).read_bytes())
    found = benchhost(tmp_path, "verify", "r.receipt.json", "--key", "host.pub")
    assert (found.returncode, found.stderr) == (0, "")
    assert "10 of 10 scored, 10 given, 10 responses" in found.stdout
    assert "It is what was sealed." in found.stdout
    assert sorted(each.name for each in tmp_path.iterdir()) == ["host.pub", "r.receipt.json"]


def test_a_changed_score_is_named_with_its_task_and_the_exit_code_is_1(sealed):
    data = (sealed / "r.receipt.json").read_text()
    (sealed / "forged.json").write_text(data.replace('"score":1.0,"result"', '"score":0.0,"result"', 1))
    found = benchhost(sealed, "verify", "forged.json", "--key", "host.pub")
    assert found.returncode == 1
    assert "entries[0] (addition-0000): it is not what was sealed" in found.stdout
    told = benchhost(sealed, "verify", "forged.json", "--key", "host.pub", "--json")
    assert (told.returncode, json.loads(told.stdout)["genuine"]) == (1, False)


def test_a_terminal_obeys_nothing_that_stands_in_a_forged_receipt(sealed):
    data = (sealed / "r.receipt.json").read_text()
    (sealed / "rude.json").write_text(data.replace("addition-0000", "addition-\\u001b[2J\\n0000"))
    found = benchhost(sealed, "verify", "rude.json", "--key", "host.pub")
    assert found.returncode == 1
    assert "entries[0] (addition-\ufffd[2J 0000): it is not what was sealed" in found.stdout


def test_one_task_is_proven_by_itself(sealed):
    assert benchhost(sealed, "receipts", "prove", "r.receipt.json", "addition-0003", "--epoch", "2", "--to", "p.json")
    found = benchhost(sealed, "verify", "p.json", "--key", "host.pub")
    assert found.returncode == 0
    assert "addition-0003, epoch 2: evaluated, score 1" in found.stdout


def test_without_entries_no_task_is_named(sealed):
    assert benchhost(sealed, "runs", "seal", "r", "--no-entries", "--to", "short.json").returncode == 0
    assert "addition" not in (sealed / "short.json").read_text()
    assert benchhost(sealed, "verify", "short.json", "--key", "host.pub").returncode == 0
    refused = benchhost(sealed, "receipts", "prove", "short.json", "addition-0000")
    assert refused.returncode == 2
    assert "without the outcomes" in refused.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["verify", "nothing.json", "--key", "host.pub"], "nothing.json cannot be read"),
        (["verify", "r.receipt.json", "--key", "r.receipt.json"], "no public key"),
        (["receipts", "prove", "r.receipt.json", "nope"], "no outcome of the task nope"),
        (["receipts", "prove", "host.pub", "nope"], "host.pub is no receipt"),
        (["runs", "seal", "nope"], "no run has the id nope"),
        (["runs", "seal", "r", "--to", "no/such/folder"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(sealed, arguments, said):
    found = benchhost(sealed, *arguments)
    assert found.returncode == 2
    assert said in found.stderr


def test_a_run_that_has_not_ended_is_not_sealed(sealed):
    assert benchhost(sealed, "run", "arithmetic", "--limit", "2", "--model", "scripted/echo", "--run-id", "g",
                     "--skip-eval").returncode == 0  # fmt: skip
    found = benchhost(sealed, "runs", "seal", "g")
    assert found.returncode == 5
    assert "the run g is generated" in found.stderr
