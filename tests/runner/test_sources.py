"""Where tasks come from and who judges: real benchmarks in this process, and tasks from files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from benchhost import Benchmark, Public, Response, Task, registry
from benchhost.errors import DatasetError, HookReturned, UnknownDataset, UnknownTask, UsageError
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.frames import Item
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.limits import Limits
from benchhost.evaluation.operations import OPERATIONS
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.roster import Hosting, Roster
from benchhost.models import resolve
from benchhost.runner.config import RunConfig, RunOptions
from benchhost.runner.default import DefaultRunner
from benchhost.runner.exits import ExitCode
from benchhost.runner.given import GivenTasks, read_task_file
from benchhost.runner.local import LocalSource
from benchhost.runner.run import Outcome, Run
from benchhost.runner.source import Source, Submission
from benchhost.store import Quota, Store, open_store

pytestmark = pytest.mark.anyio


class House:
    """The two benchmarks of this repository, hosted in this process over one store."""

    def __init__(self, roster: Roster, store: Store, state: Path) -> None:
        self.roster = roster
        self.store = store
        self.state = state
        self.evaluator = self.hub()

    def hub(self, **limits: Any) -> Evaluator:
        return Evaluator(self.store, Owner(self.state / "owners"), Limits(**limits))

    def benchmark(self, name: str) -> HostedBenchmark:
        return self.roster.get(name)

    async def source(self, name: str, **how: Any) -> LocalSource:
        return await LocalSource.open(self.benchmark(name), self.evaluator, **{"trusted": True} | how)

    async def run(self, source: Source, model: str, run: str = "first", **options: Any) -> Outcome:
        config = RunConfig(
            benchmark=source.benchmark,
            dataset_version=source.version,
            source=source.kind,
            evaluator_version=source.evaluator_version,
            model=model,
            task_count=len(source.ids),
        )
        asked = resolve(model, {})
        session = Run(
            run,
            config,
            store=self.store,
            source=source,
            runner=DefaultRunner(),
            model=asked,
            state=self.state,
            options=RunOptions(**options),
        )
        try:
            return await session.execute()
        finally:
            await asked.aclose()


@pytest.fixture
async def house(data: Path, tmp_path: Path) -> AsyncIterator[House]:
    settings = {"gsm8k": {"data": str(data / "gsm8k" / "test.jsonl")}}
    roster = Roster(Hosting(settings_of=lambda name: settings.get(name, {}), only=("arithmetic", "gsm8k")))
    await roster.open()
    async with open_store(tmp_path / "store.db") as store:
        yield House(roster, store, tmp_path / "state")
    await roster.close()


def replay(data: Path, model: str, folder: Path) -> str:
    rows = map(json.loads, (data / "gsm8k" / "model_solutions_6b.jsonl").read_text("utf-8").splitlines())
    file = folder / f"{model}.jsonl"
    file.write_text(
        "".join(
            json.dumps({"task_id": f"test-{row['index']:04}", "response": row["solution"]}) + "\n"
            for row in rows
            if row["model"] == model
        )
    )
    return f"scripted/file:{file}"


async def test_replaying_published_solutions_reproduces_the_published_accuracies(house, data, tmp_path):
    source = await house.source("gsm8k")
    for model, correct in {"6b_finetuning": 286, "6b_verification": 515}.items():
        outcome = await house.run(source, replay(data, model, tmp_path), run=model)
        assert (outcome.status, outcome.exit_code) == ("complete", ExitCode.COMPLETE)
        summary = outcome.summary
        assert (summary.given, summary.scored, summary.passed) == (1319, 1319, correct)
        assert summary.score == correct / 1319
        assert summary.interval.method == "wilson"
        assert summary.interval.low < correct / 1319 < summary.interval.high


async def test_a_run_whose_tenant_has_reached_its_quota_stops_and_is_carried_on_when_there_is_room(house):
    quota = Quota(tenant="acme", benchmark="arithmetic", period="year", limit=5)
    await house.store.set_quota(quota, at=1.0, by="operator")
    source = await house.source("arithmetic", tenant="acme")
    outcome = await house.run(source, "scripted/reference", concurrency=1, evaluations=1)
    assert (outcome.status, outcome.summary.scored) == ("incomplete", 5)
    assert outcome.reason.startswith("20 evaluations in a row failed alike (quota-reached): ")
    await house.store.remove_quota("acme", "arithmetic", at=2.0, by="operator")
    assert (await house.run(source, "scripted/reference")).summary.scored == 1000


async def test_the_gold_answers_get_full_marks_and_are_asked_the_benchmarks_way(house):
    source = await house.source("arithmetic")
    assert (await source.prompt("addition-0000")).endswith("Answer with the number alone.")
    outcome = await house.run(source, "scripted/reference")
    assert (outcome.summary.passed, outcome.summary.given, outcome.summary.spend.unpriced) == (1000, 1000, 0)
    assert {value: one.score for value, one in outcome.summary.slices["kind"].items()} == {
        "addition": 1.0,
        "multiplication": 1.0,
        "subtraction": 1.0,
    }


async def test_who_is_not_trusted_gets_no_gold_answer_and_the_run_stops_before_it_has_tried_them_all(house):
    source = await house.source("arithmetic", trusted=False)
    assert source.reference is None
    outcome = await house.run(source, "scripted/reference", concurrency=1)
    assert (outcome.status, outcome.summary.attempted, outcome.summary.scored) == ("incomplete", 20, 0)
    assert "they never leave their host" in outcome.reason


async def test_the_same_response_in_one_run_is_judged_once(house):
    source = await house.source("arithmetic")
    submissions = [Submission("addition-0000", "5"), Submission("addition-0000", "5"), Submission("addition-0003", "x")]
    first = {place: verdict async for page in source.evaluate("r", submissions) for place, verdict in page}
    again = {place: verdict async for page in source.evaluate("r", submissions) for place, verdict in page}
    assert sorted(first) == [0, 1, 2]
    assert first == again
    assert first[0].evaluation_id == first[1].evaluation_id != first[2].evaluation_id
    assert sum((await house.store.counts()).values()) == 2


async def test_a_hub_with_little_room_judges_a_large_batch_all_the_same(house):
    hub = house.hub(running=2, queued=1)
    source = await LocalSource.open(house.benchmark("arithmetic"), hub)
    submissions = [Submission(task_id, "1") for task_id in source.ids[:50]]
    places = [place async for page in source.evaluate("r", submissions) for place, _ in page]
    assert sorted(places) == list(range(50))


async def test_a_task_that_the_dataset_does_not_have_is_an_error_of_that_submission_alone(house):
    source = await house.source("arithmetic")
    submissions = [Submission("unheard", "1"), Submission("addition-0000", "1")]
    verdicts = {place: verdict async for page in source.evaluate("r", submissions) for place, verdict in page}
    assert (verdicts[0].status, verdicts[0].kind, verdicts[1].status) == ("error", "unknown-task", "evaluated")
    with pytest.raises(UnknownTask):
        source.task("unheard")


async def test_a_label_hides_the_fingerprint_and_an_unknown_dataset_is_named(house):
    assert (await house.source("arithmetic", version="label")).version == "label"
    with pytest.raises(UnknownDataset, match="Available datasets: default"):
        await house.source("arithmetic", dataset="unheard")


async def test_tasks_from_a_file_are_asked_as_they_stand_there_and_judged_by_the_benchmark(house, tmp_path):
    grader = await house.source("arithmetic")
    question = json.loads(grader.task("addition-0000"))["question"]
    file = tmp_path / "tasks.json"
    file.write_text(json.dumps({"dataset_name": "default", "tests": [{"id": "addition-0000", "question": question}]}))
    source = GivenTasks.from_file(grader, file)
    assert (source.kind, source.ids, await source.prompt("addition-0000")) == ("file", ["addition-0000"], question)
    outcome = await house.run(source, "scripted/reference")
    assert (outcome.summary.given, outcome.summary.passed) == (1, 1)


async def test_a_problem_is_one_task_with_the_text_of_a_file(house, tmp_path):
    (tmp_path / "problem.txt").write_text("\n  What is it?  \n")
    source = GivenTasks.from_problem(await house.source("arithmetic"), tmp_path / "problem.txt", "addition-0000")
    assert (source.kind, source.ids, await source.prompt("addition-0000")) == (
        "problem",
        ["addition-0000"],
        "What is it?",
    )
    outcome = await house.run(source, "scripted/echo")
    assert (outcome.summary.given, outcome.summary.mean) == (1, 0.0)


TASKS = [{"id": "a", "question": "1?"}, {"id": "b", "question": "2?", "extra": [1]}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(TASKS),
        json.dumps({"tests": TASKS}),
        json.dumps({"tasks": TASKS, "dataset": "d"}),
        "\n".join(map(json.dumps, TASKS)) + "\n\n",
    ],
    ids=["list", "tests", "tasks", "lines"],
)
def test_a_file_of_tasks_may_have_any_of_the_usual_shapes(tmp_path, text):
    (tmp_path / "f").write_text(text)
    assert read_task_file(tmp_path / "f").tasks == TASKS


def test_a_line_separator_of_unicode_does_not_end_a_line(tmp_path):
    (tmp_path / "f").write_text('{"id": "a", "question": "one\u2028two"}\n{"id": "b", "question": "?"}\n', "utf-8")
    assert [task["id"] for task in read_task_file(tmp_path / "f").tasks] == ["a", "b"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("no json", "line 1: not JSON"),
        ('{"id": "a", "question": "?"}\n{"id": ', "line 2: not JSON"),
        ("[1]", "expected tasks"),
        pytest.param("[" * 3000, "f is nested too deeply", id="deep"),
        pytest.param('{"id": "a", "question": "?"}\n' + "[" * 3000, "line 2: nested too deeply", id="deep line"),
        ('{"tests": {}}', "expected tasks"),
        ("", "expected tasks|no tasks"),
        ('[{"question": "?"}]', "task number 1 has no usable id"),
        ('[{"id": "a\\n", "question": "?"}]', "task number 1 has no usable id"),
        ('[{"id": "a"}]', "task number 1, 'a', has no question"),
        ('[{"id": "a", "question": "?"}, {"id": "a", "question": "?"}]', "two tasks have the id 'a'"),
    ],
)
async def test_a_file_that_holds_no_tasks_is_refused_in_words(doubling, tmp_path, text, said):
    (tmp_path / "f").write_text(text)
    with pytest.raises(DatasetError, match=said):
        GivenTasks.from_file(doubling(), tmp_path / "f")


async def test_a_problem_without_a_question_is_the_callers_mistake(doubling, tmp_path):
    (tmp_path / "f").write_text(" \n")
    with pytest.raises(UsageError, match="f is empty: there is no question in it"):
        GivenTasks.from_problem(doubling(), tmp_path / "f", "t1")


def test_a_file_that_is_not_there_is_the_callers_mistake(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_task_file(tmp_path / "f")


def test_the_version_of_given_tasks_follows_their_content(doubling):
    one = GivenTasks(doubling(), TASKS, "file")
    assert one.version == GivenTasks(doubling(), TASKS, "file").version
    assert one.version != GivenTasks(doubling(), TASKS[:1], "file").version
    assert one.digest("a") != one.digest("b")


class Sum(Task, kw_only=True):
    parity: Public[str]
    answer: str


async def test_what_is_hidden_of_the_tasks_of_a_runner_slices_no_results(desk, doubling):
    loaded = [Sum(id=f"t{n}", question="?", parity="even" if n % 2 == 0 else "odd", answer=f"{n}") for n in range(4)]
    source = GivenTasks.from_runner(doubling(), loaded)
    assert json.loads(source.task("t1"))["answer"] == "1", "the runner itself is given all of it"
    outcome = await desk.run(source=source, task_count=4, dataset_version=source.version)
    assert {field: set(values) for field, values in outcome.summary.slices.items()} == {"parity": {"even", "odd"}}
    assert [json.loads(one.facets) for one in await desk.attempts()] == [{"parity": each.parity} for each in loaded]


class Odd(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="a", question="?"), Task(id="b", question="?")]}

    def prompt(self, task):
        return {"a": "caf\ud800"}.get(task.id)

    def reference_response(self, task):
        return {"a": Response("gold")}.get(task.id, "no Response")


def asked(loaded: Any, operation: str, task: str) -> bytes:
    made = OPERATIONS[operation](loaded, 1, "default", Item(task, b""))
    return made.end(made.begin()).data


async def test_what_the_hooks_for_prompts_and_gold_answers_return_is_checked():
    loaded = (await registry.of(odd=Odd))["odd"]
    assert asked(loaded, "prompt", "a") == b'"caf?"'
    assert asked(loaded, "reference_response", "a") == b'"gold"'
    with pytest.raises(HookReturned, match="prompt returned NoneType, expected a str"):
        asked(loaded, "prompt", "b")
    with pytest.raises(HookReturned, match=r"expected a benchhost\.Response or None"):
        asked(loaded, "reference_response", "b")
    with pytest.raises(UnknownTask):
        asked(loaded, "prompt", "unheard")
