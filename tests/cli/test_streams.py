"""What a command does when its standard streams are closed, full, or of another encoding."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RUN = (sys.executable, "-m", "benchhost", "run", "arithmetic", "--limit", "3", "--model", "scripted/reference")


def through_a_shell(redirection: str, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    said = ["sh", "-c", f'exec "$@" {redirection}', "sh", *command]
    return subprocess.run(said, env=os.environ | variables, capture_output=True, text=True)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_streams_is_a_run_like_any_other(benchhost, redirection) -> None:
    ended = through_a_shell(redirection, *RUN, "--run-id", "r")
    assert ended.returncode == 0, ended.stderr
    assert benchhost("runs", "show", "r", "--json").json["summary"]["score"] == 1.0


@pytest.mark.parametrize("command", [RUN, (*RUN, "--json"), (sys.executable, "-m", "benchhost", "settings")])
def test_what_finds_no_room_for_its_output_says_so_in_a_sentence(state, command) -> None:
    ended = through_a_shell(">/dev/full", *command)
    assert ended.returncode == 1
    assert ended.stderr.endswith("Error: the output cannot be written: No space left on device\n")
    assert "Traceback" not in ended.stderr


def test_a_letter_that_an_encoding_does_not_have_is_written_as_an_escape(state) -> None:
    ended = through_a_shell("", *RUN, "--label", "grün →", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert "\nlabel      gr\\xfcn \\u2192" in ended.stdout
