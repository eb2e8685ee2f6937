"""What a tenant can see in sandboxes is searched too: what is said there, the files, and what goes wrong."""

from __future__ import annotations

import pytest

from benchhost.integrity.leaks import search
from benchhost.integrity.saboteur import IN_SANDBOXES
from benchhost.server import sockets
from benchhost.settings import Settings
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

PLACE = "/work"

SOURCE = """
from benchhost import *

PLACE = "/work"


class Job(Task, kw_only=True):
    files: Placed[dict[str, str]]
    answer: str
    check: str
    note: str


class Sound(Benchmark[Job]):
    accepted_submission_schemas = {"text": {"script"}}

    def load_datasets(self):
        files = {"numbers.txt": "one two three four five"}
        hidden = {"answer": "fifteen-and-a-half", "check": "grep -q fifteen sum.txt", "note": "only for the author"}
        return {"default": [Job(id="j", question="Sum?", files=files, **hidden)]}

    def retrieve_task(self, task):
        return Environment(image="host", problem_path=f"{PLACE}/problem.md", cwd=PLACE,
                           resources=Resources(vcpu=1, memory=1, disk=1))

    async def setup_task(self, task, sandbox):
        for name, content in task.files.items():
            await sandbox.write(f"{PLACE}/{name}", content.encode())
        yield Message("placed: " + " ".join(task.files))

    async def place_submission(self, task, submission, sandbox):
        await sandbox.write(f"{PLACE}/submitted", submission.data)

    async def evaluate_instance(self, task, sandbox):
        done = await sandbox.run(["cat", f"{PLACE}/sum.txt"])
        return Result(score=float(done.text == task.answer), private={"check": task.check})


class Plugin(Sound):
"""

LEAKY = """
    async def setup_task(self, task, sandbox):
        async for message in super().setup_task(task, sandbox):
            yield message
        await sandbox.write(f"{PLACE}/.cache/answer", task.answer.encode().hex().encode())

    async def evaluate_instance(self, task, sandbox):
        await sandbox.write(f"{PLACE}/check.sh", task.check.encode())
        yield Message(f"looking for {task.note}")
        yield Result(score=0.0, feedback=task.files["numbers.txt"])
"""

FILES = "GET /v1/sandboxes/{sandbox_id}/files"
JUDGING = "WEBSOCKET /b/{name}/ws/evaluate-instance"


@pytest.fixture
def searched(tmp_path, monkeypatch):
    """Install a benchmark, given by what its class says beyond that of a sound one, and search it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    async def searched(body="    pass", *, acts=(), sandbox="local"):
        install_plugin(tmp_path, "jobs", f"{SOURCE}{body}\n")
        return await search(Settings(sandbox=sandbox), "jobs", acts=acts)

    return searched


async def test_what_hooks_leave_or_say_in_a_sandbox_is_a_leak_but_what_is_placed_there_is_not(searched):
    report = await searched(LEAKY)
    found = {(leak.route, leak.at, leak.field, leak.task) for leak in report.leaks}
    assert (FILES, f"{PLACE}/.cache/answer after it was set up", "answer", "j") in found
    assert (FILES, f"{PLACE}/check.sh after it was judged", "check", "j") in found
    assert (JUDGING, "data", "note", "j") in found
    assert not [leak for leak in report.leaks if leak.route == FILES and leak.field.startswith("files")]
    elsewhere = {leak.route for leak in report.leaks if leak.field == "files.numbers.txt"}
    assert elsewhere == {"POST /b/{name}/v1/evaluate"}  # whose sandbox is nobody's
    assert report.not_searched == []


async def test_a_sound_benchmark_is_clean_however_its_hooks_fail_in_sandboxes(searched):
    report = await searched(acts=tuple(IN_SANDBOXES))
    assert (report.leaks, report.not_searched, report.sandboxes) == ([], [], True)
    for route in (f"{FILES[:-6]}/exec".replace("GET", "POST"), FILES):
        assert report.routes[route][200] > 0
    assert report.routes["POST /b/{name}/v1/evaluate"][200] > 10


async def test_a_host_that_told_why_a_hook_failed_in_a_sandbox_would_be_found_out(searched, monkeypatch):
    monkeypatch.setattr(sockets, "_said", str)
    report = await searched(acts=["setting-up"])
    found = {(leak.route, leak.act) for leak in report.leaks}
    assert found == {("WEBSOCKET /b/{name}/ws/setup-task", "setting-up")}


async def test_without_sandboxes_it_is_said_what_was_not_searched(searched):
    report = await searched(sandbox=None)
    assert (report.clean, report.sandboxes) == (True, False)
    [said] = report.not_searched
    assert said.startswith("what evaluate_instance, place_submission, setup_task show: there are no sandboxes here (")
