"""Every job, in a real sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchhost import Result, Submission
from benchhost.contract import SandboxSpec, public
from benchhost.errors import UsageError
from benchhost.runner.plugins import runner_of
from benchhost.sandbox import open_provider
from benchhost.scoring import code_blocks
from benchhost_terminal import CWD, PROBLEM, Terminal
from benchhost_terminal.jobs import jobs
from benchhost_terminal.runner import Shell

pytestmark = pytest.mark.anyio

JOBS = {job.id: job for job in jobs()}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def provider(tmp_path_factory):
    provider = await open_provider("local", {"folder": str(tmp_path_factory.mktemp("sandboxes"))})
    yield provider
    await provider.aclose()


@pytest.fixture
async def attempt(provider):
    """Make sandboxes in which jobs are set up."""
    made = []

    async def attempt(job):
        sandbox = await provider.create(SandboxSpec(image="host"))
        made.append(sandbox.id)
        async for _ in Terminal().setup_task(job, sandbox):
            pass
        return sandbox

    yield attempt
    for sandbox_id in made:
        await provider.delete(sandbox_id)


async def judged(job, sandbox):
    *_, last = [chunk async for chunk in Terminal().evaluate_instance(job, sandbox)]
    assert isinstance(last, Result)
    return last


def test_there_are_ten_jobs_and_each_has_checks():
    assert len(JOBS) == 10
    assert all(job.checks for job in JOBS.values())


def test_callers_see_the_description_and_the_kind_of_a_job_alone():
    assert set(public(JOBS["nested-archive"])) == {"id", "question", "timeout", "kind"}


@pytest.mark.parametrize("job_id", JOBS)
async def test_the_reference_script_gets_full_marks_and_doing_nothing_does_not(attempt, job_id):
    job = JOBS[job_id]
    sandbox = await attempt(job)
    assert not (await judged(job, sandbox)).passed
    [script] = code_blocks(Terminal().reference_response(job).text, "sh")
    done = await sandbox.run(script, cwd=CWD)
    assert done.ok, done.stderr
    result = await judged(job, sandbox)
    assert (result.score, result.passed) == (1.0, True), result.private


async def test_an_agent_finds_the_problem_and_no_test(attempt):
    job = JOBS["write-rot13"]
    sandbox = await attempt(job)
    assert (await sandbox.read(PROBLEM)).decode() == job.question
    found = await sandbox.run(["find", "/work", "-type", "f"])
    assert found.text.split() == [PROBLEM]


async def test_what_is_right_in_part_gets_a_part_and_says_no_more_than_how_much(attempt):
    job = JOBS["write-rot13"]
    sandbox = await attempt(job)
    await sandbox.write(f"{CWD}/rot13", b"#!/bin/sh\ntr A-Za-z N-ZA-Mn-za-m\n", mode=0o755)
    result = await judged(job, sandbox)
    assert (result.score, result.feedback) == (0.75, "3 of 4 checks passed")
    assert [each["check"] for each in result.private["failed"]] == ["another number of places"]


async def test_the_hidden_tests_are_gone_when_a_job_was_judged(attempt):
    job = JOBS["write-rot13"]
    sandbox = await attempt(job)
    await judged(job, sandbox)
    found = await sandbox.run(["find", "/work", "-type", "f"])
    assert found.text.split() == [PROBLEM]


async def test_a_tool_that_always_says_yes_does_not_know_what_to_say(attempt):
    job = JOBS["fix-word-count"]
    sandbox = await attempt(job)
    await sandbox.write(f"{CWD}/wordcount.sh", b"echo passed; exit 0\n")
    assert (await judged(job, sandbox)).score == 0.0


async def test_a_script_that_was_submitted_is_run_in_the_sandbox(attempt):
    job = JOBS["count-errors"]
    sandbox = await attempt(job)
    submission = Submission("text", "script", job.solution.encode())
    async for _ in Terminal().place_submission(job, submission, sandbox):
        pass
    assert (await judged(job, sandbox)).passed


def test_a_model_has_at_least_one_turn():
    with pytest.raises(UsageError, match="turns"):
        runner_of(Shell, {"turns": "0"})


def test_every_job_is_sound(tmp_path):
    command = [sys.executable, "-m", "benchhost", "check", "terminal", "--sandboxed", "10", "--repeats", "1", "--json"]
    environ = {**os.environ, "BENCHHOST_STATE": str(tmp_path)}
    checked = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = {each["check"]: each for each in json.loads(checked.stdout)["checks"]}
    assert (found["sandbox-grading"]["outcome"], found["silence-not-full-marks"]["examined"]) == ("passed", 20)
    assert (found["reference-full-marks"]["outcome"], found["reference-full-marks"]["examined"]) == ("passed", 10)


def test_nothing_that_is_hidden_leaks():
    command = [sys.executable, "-m", "benchhost", "leakcheck", "terminal", "--sample", "2", "--json"]
    searched = subprocess.run(command, capture_output=True, text=True)
    assert searched.returncode == 0, searched.stdout + searched.stderr
    report = json.loads(searched.stdout)
    assert (report["sandboxes"], report["not_searched"]) == (True, [])
    assert report["routes"]["GET /v1/sandboxes/{sandbox_id}/files"]["200"] > 10
