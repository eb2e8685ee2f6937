"""Hooks that work in sandboxes: what they are given, what they may say, and what is made of their failures."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest

from benchhost.contract import SandboxSpec, Submission
from benchhost.errors import CommandFailed, HookOverran, HookRaised, HookReturned, SandboxNotFound, SandboxRefused
from benchhost.evaluation.frames import InSandbox, Note, State
from benchhost.evaluation.outcomes import Declined
from benchhost.evaluation.requests import Context
from benchhost.evaluation.setups import Setups
from benchhost.evaluation.work import Instance, Resumption
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio

PLACE = "/work"

BOXES = """
import asyncio
from benchhost import *
from benchhost.sandbox import stream_command

PLACE = "/work"

class Plugin(Benchmark[Task]):
    evaluation_timeout = 2.0
    accepted_submission_schemas = {"text": {"patch"}}

    def load_datasets(self):
        names = ["good", "plain", "says more", "declines", "raises", "fails", "nonsense", "hangs", "gone"]
        return {"default": [Task(id=name, question="?") for name in names]}

    def setup_task(self, task, sandbox):
        if task.id == "plain":
            return sandbox.write(f"{PLACE}/plain", b"written")
        return self.set_up(task, sandbox)

    async def set_up(self, task, sandbox):
        await sandbox.write(f"{PLACE}/problem", task.id.encode())
        async for line in stream_command(sandbox, "cat problem; echo; echo again", cwd=PLACE):
            yield line
        if task.id == "says more":
            yield Ready("nearly")
        if task.id == "declines":
            yield Error("there is no compiler")
        if task.id == "raises":
            raise ValueError("hidden")
        if task.id == "nonsense":
            yield Result(score=1.0)
        if task.id == "fails":
            async for line in stream_command(sandbox, "exit 3"):
                yield line

    async def evaluate_instance(self, task, sandbox, resume_state=None):
        if task.id == "hangs":
            await asyncio.sleep(60)
        done = await sandbox.read(f"{PLACE}/done")
        yield ResumeState({"read": len(done), "before": resume_state})
        yield Message("read it")
        yield Result(score=float(done == b"done"), private={"done": done.decode()})

    async def place_submission(self, task, submission, sandbox):
        await sandbox.write(f"{PLACE}/done", submission.data)

    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""

RESUMES = """
from benchhost import *

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="0", question="?")]}

    async def evaluate_response(self, task, response, resume_state=None):
        count = 0 if resume_state is None else resume_state["count"]
        yield ResumeState({"count": count + 1, "text": response.text})
        if response.text == "no object":
            yield ResumeState([1])
        yield Result(score=0.0, metrics={"count": count})
"""

SETS_NOTHING_UP = """
from benchhost import *

PLACE = "/work"

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id=name, question="Why?") for name in ["plain", "nothing", "number"]]}

    async def retrieve_task(self, task):
        return None if task.id == "nothing" else Environment(image="host", problem_path=f"{PLACE}/why", cwd=PLACE)

    def prompt(self, task):
        return 3 if task.id == "number" else f"{task.question} Be brief."

    def evaluate_instance(self, task, sandbox):
        return Result(score=1.0)
"""


@pytest.fixture(scope="module")
def plugins(tmp_path_factory, folders):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "boxes", BOXES)
    install_plugin(folder, "resumes", RESUMES)
    install_plugin(folder, "asks", SETS_NOTHING_UP)
    folders.install(folder)
    return folder


@pytest.fixture(scope="module")
async def hub(open_hub, plugins, tmp_path_factory):
    async with open_hub(tmp_path_factory.mktemp("hub"), plugins) as hub:
        yield hub


@pytest.fixture
async def place(tmp_path, folders):
    """A fresh sandbox, as a call names it."""
    config = {"folder": str(tmp_path / "sandboxes")}
    sandbox = await (await folders.Folders.open(config)).create(SandboxSpec())
    return InSandbox("folders", config, sandbox.id)


async def ask(hub, operation, task, place, said=None, name="boxes"):
    benchmark = hub.roster.get(name)
    await benchmark.ready()
    body = msgspec.msgpack.encode(place)
    tell = said.append if said is not None else None
    return json.loads((await benchmark.call(operation, dataset="default", task=task, body=body, tell=tell)).data)


async def test_setting_up_is_done_when_the_hook_ends_and_says_its_lines_together(hub, place, tmp_path):
    said: list[Note] = []
    assert await ask(hub, "setup_task", "good", place, said) == {"status": "ok"}
    assert [note.text for note in said] == ["good\nagain"]
    assert (tmp_path / "sandboxes" / place.id / f"files{PLACE}/problem").read_text() == "good"


async def test_a_hook_that_returns_nothing_has_set_up(hub, place, tmp_path):
    assert await ask(hub, "setup_task", "plain", place) == {"status": "ok"}
    assert (tmp_path / "sandboxes" / place.id / f"files{PLACE}/plain").read_text() == "written"


async def test_where_the_hook_is_left_out_the_prompt_is_put_where_the_environment_says(hub, place, tmp_path):
    assert await ask(hub, "setup_task", "plain", place, name="asks") == {"status": "ok"}
    assert (tmp_path / "sandboxes" / place.id / f"files{PLACE}/why").read_text() == "Why? Be brief."


@pytest.mark.parametrize(
    "task, said", [("nothing", "retrieve_task returned NoneType"), ("number", "prompt returned int, expected str")]
)
async def test_what_the_prompt_or_its_place_cannot_be_is_the_authors_mistake(task, said, hub, place):
    with pytest.raises(HookReturned, match=f"asks: {said}"):
        await ask(hub, "setup_task", task, place, name="asks")


async def test_a_hook_may_say_more_of_what_it_has_set_up(hub, place):
    assert await ask(hub, "setup_task", "says more", place) == {"status": "nearly"}


@pytest.mark.parametrize(
    "task, error, said",
    [
        ("declines", Declined, "there is no compiler"),
        ("raises", HookRaised, "hidden"),
        ("fails", CommandFailed, "exit code 3"),
        ("nonsense", HookReturned, "expected a benchhost.Ready, or nothing"),
    ],
)
async def test_a_sandbox_that_is_not_set_up_is_an_error(task, error, said, hub, place):
    with pytest.raises(error, match=said):
        await ask(hub, "setup_task", task, place)


async def test_a_setup_that_waits_its_turn_keeps_its_plugin_although_its_client_has_hung_up(hub, place):
    benchmark = hub.roster.get("boxes")
    await benchmark.ready()
    gate = hub.evaluator.gate(benchmark, "")
    gate.enter(1)
    taken = gate.take(1000)
    setups = Setups(hub.evaluator)
    asking = asyncio.create_task(setups.set_up(benchmark, Context(), "good", place))
    await asyncio.sleep(0.05)
    asking.cancel()
    draining = asyncio.create_task(benchmark.drain(10.0))
    await asyncio.sleep(0.1)
    assert not draining.done()
    gate.give_back(taken)
    gate.leave(1)
    await draining
    assert not setups._running


async def test_a_submission_is_placed(hub, place, tmp_path):
    placing = msgspec.structs.replace(place, submission=Submission("text", "patch", b"done"))
    assert await ask(hub, "place_submission", "good", placing) == {"status": "ok"}
    assert (tmp_path / "sandboxes" / place.id / f"files{PLACE}/done").read_text() == "done"


async def test_a_sandbox_that_cannot_be_opened_is_told_by_its_name(hub, place):
    with pytest.raises(SandboxNotFound, match="no sandbox nowhere"):
        await ask(hub, "setup_task", "good", msgspec.structs.replace(place, id="nowhere"))
    with pytest.raises(SandboxRefused):
        await ask(hub, "setup_task", "good", msgspec.structs.replace(place, config={"key": "wrong"}))


async def test_a_hook_that_overruns_in_a_sandbox_is_given_up(hub, place):
    with pytest.raises(HookOverran, match="within 2 s"):
        await ask(hub, "evaluate_instance", "hangs", place)


async def test_an_instance_is_judged_once_and_its_private_part_recorded(hub, place, tmp_path):
    (tmp_path / "sandboxes" / place.id / "files/work").mkdir()
    (tmp_path / "sandboxes" / place.id / f"files{PLACE}/done").write_text("done")
    benchmark, work = hub.roster.get("boxes"), Instance("good", place)
    first = await hub.evaluator.evaluate(benchmark, Context(), work)
    assert (first.status, json.loads(first.result)["score"]) == ("scored", 1.0)
    assert json.loads(first.private) == {"done": "done"}
    (tmp_path / "sandboxes" / place.id / f"files{PLACE}/done").write_text("undone")
    assert await hub.evaluator.evaluate(benchmark, Context(), Instance("good", place)) == first
    again = await hub.evaluator.evaluate(benchmark, Context(run="another"), work)
    assert json.loads(again.result)["score"] == 0.0


async def test_who_opens_a_sandbox_with_other_credentials_is_not_answered_from_the_record(hub, place):
    benchmark = hub.roster.get("boxes")
    await benchmark.ready()
    other = msgspec.structs.replace(place, config={**place.config, "key": "mine"})
    ids = {hub.evaluator.id_of(benchmark, Context(), Instance("good", each)) for each in (place, other)}
    assert len(ids) == 2


async def test_an_interrupted_evaluation_goes_on_from_where_it_was(hub, place, tmp_path):
    (tmp_path / "sandboxes" / place.id / "files/work").mkdir()
    (tmp_path / "sandboxes" / place.id / f"files{PLACE}/done").write_text("done")
    benchmark, work = hub.roster.get("boxes"), Instance("good", place)
    await benchmark.ready()
    claim = hub.evaluator._claim(benchmark, Context(run="interrupted"), work)
    [claimed] = await hub.store.claim([msgspec.structs.replace(claim, owner="killed")])
    await hub.store.keep_resume_state(claimed.evaluation, b'{"read": 3}')
    with hub.evaluator.events.listen(claim.id) as listener:
        assert (await hub.evaluator.evaluate(benchmark, Context(run="interrupted"), work)).attempt == 2
    lines, state = listener.take()
    assert (lines, state) == ([], None), "who has left hears nothing"
    with hub.evaluator.events.listen(claim.id) as listener:
        await hub.store.interrupt("killed")
        assert await hub.store.resume_state(claim.id) is None, "what is judged is not resumed"


async def test_who_waits_is_told_how_far_an_evaluation_has_come(hub):
    benchmark = hub.roster.get("resumes")
    await benchmark.ready()
    work = Resumption("0", b'{"count": 6}')
    evaluation_id = hub.evaluator.id_of(benchmark, Context(), work)
    with hub.evaluator.events.listen(evaluation_id) as listener:
        evaluation = await hub.evaluator.evaluate(benchmark, Context(), work)
        assert json.loads(listener.take()[1]) == {"count": 7, "text": ""}
    assert json.loads(evaluation.result)["metrics"] == {"count": 6.0}
    assert await hub.store.resume_state(evaluation_id) is None


async def test_a_state_that_is_no_object_is_a_failure_of_the_hook(hub):
    assert "is no object" in (await hub.judge("resumes", "no object")).cause


async def test_a_benchmark_that_does_not_resume_says_so(hub):
    benchmark = hub.roster.get("boxes")
    await benchmark.ready()
    evaluation = await hub.evaluator.evaluate(benchmark, Context(), Resumption("good", b"{}"))
    assert (evaluation.status, evaluation.cause) == ("error", "The benchmark boxes does not resume evaluations.")


async def test_a_state_is_told_as_soon_as_it_is_said(hub, place):
    said: list[Note | State] = []
    benchmark = hub.roster.get("resumes")
    await benchmark.ready()
    await benchmark.call("evaluate_response", dataset="default", task="0", body=b"x", tell=said.append)
    assert [json.loads(each.data)["count"] for each in said] == [1]
    await asyncio.sleep(0)
