"""Whether a process is alive is told by a lock on its file, whatever becomes of the file."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from benchhost.errors import StoreFailed
from benchhost.evaluation.owners import Owner

HOLD = """
import sys
from pathlib import Path
from benchhost.evaluation.owners import Owner
print(Owner(Path(sys.argv[1])).id, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owner(tmp_path):
    owner = Owner(tmp_path / "owners")
    yield owner
    owner.close()


@pytest.fixture
def other(owner):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, owner._folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    process.id = process.stdout.readline().strip()
    yield process
    process.kill()
    process.communicate()


def files(owner) -> set[str]:
    return {path.name for path in owner._folder.iterdir()}


def test_a_process_is_alive_until_it_is_killed_and_then_its_file_goes(owner, other):
    assert owner.is_alive(other.id)
    other.kill()
    other.wait()
    assert not owner.is_alive(other.id)
    assert files(owner) == {owner.id}


def test_a_sweep_removes_the_files_of_those_that_are_gone_and_of_no_other(owner, other):
    gone = Owner(owner._folder)
    path = gone._path
    gone.close()
    path.touch()  # as one that was killed leaves it
    owner.sweep()
    assert files(owner) == {owner.id, other.id}
    assert owner.is_alive(other.id)


def test_a_folder_of_a_process_goes_with_it_or_is_removed_by_another(owner, other, tmp_path):
    parent = tmp_path / "shared"
    for name in (other.id, "0" * 32):  # one that lives, and one that was killed
        (parent / name / "files").mkdir(parents=True)
    own = owner.folder(parent)
    assert {path.name for path in parent.iterdir()} == {own.name, other.id}
    assert own.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("removed", ["the file", "the folder", "and another put in its place"])
def test_who_has_lost_its_file_makes_it_again(owner, removed):
    watching = Owner(owner._folder)
    if removed == "the folder":
        shutil.rmtree(owner._folder)
    else:
        owner._path.unlink()
    if removed == "and another put in its place":
        owner._path.touch()
    assert removed != "the file" or not watching.is_alive(owner.id)
    owner.hold()
    assert watching.is_alive(owner.id)
    watching.close()


def test_who_has_its_file_does_not_make_it_again(owner):
    before = owner._file, owner._path.stat().st_ino
    owner.hold()
    assert (owner._file, owner._path.stat().st_ino) == before


def test_a_file_that_cannot_be_made_is_a_failure_of_the_store(tmp_path):
    (tmp_path / "owners").touch()
    with pytest.raises(StoreFailed, match="cannot be made"):
        Owner(tmp_path / "owners")


COME_AND_GO = """
import sys
from pathlib import Path
from benchhost.evaluation.owners import Owner
watching = Owner(Path(sys.argv[1]))
for _ in range(300):
    watching.sweep()
    newcomer = Owner(Path(sys.argv[1]))
    assert watching.is_alive(newcomer.id)
    newcomer.close()
"""


def test_a_newcomer_is_not_swept_away_between_making_its_file_and_locking_it(tmp_path):
    processes = [subprocess.Popen([sys.executable, "-c", COME_AND_GO, tmp_path]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
