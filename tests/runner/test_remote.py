"""A source at another host: a real benchhost, and a double of another implementation of the contract."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from benchhost.client import Client, Retries
from benchhost.contract import EvaluationStatus, Result
from benchhost.errors import ClientError, TokenRefused, UnknownTask
from benchhost.models import Limiter, resolve
from benchhost.runner.config import RunConfig
from benchhost.runner.default import DefaultRunner
from benchhost.runner.given import GivenTasks
from benchhost.runner.remote import RemoteSource
from benchhost.runner.run import Run
from benchhost.runner.source import Submission
from benchhost.store import open_store
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-tests"
QUICK = Retries(first=0.001, longest=0.01)

RIDDLES = """
from benchhost import Benchmark, Error, FinalScore, Public, Result, Task


class Riddle(Task, kw_only=True):
    kind: Public[str] = "riddle"
    answer: str


class Plugin(Benchmark[Riddle]):
    version = "5"

    def load_datasets(self):
        riddles = [Riddle(id=f"r{n}", question=f"{n}?", answer=str(n)) for n in range(6)]
        return {"default": riddles, "one": riddles[:1]}

    def prompt(self, task):
        return f"Solve {task.question}"

    def evaluate_response(self, task, response):
        if response.text == "raise":
            raise ValueError(f"hidden: {task.answer}")
        return Result(score=float(response.text.startswith(task.answer)), feedback="read", private={"a": task.answer})

    def reference_response(self, task):
        return task.answer
"""

SCORED = """
from benchhost import Benchmark, FinalScore, Result, Task


class Plugin(Benchmark[Task]):
    listed = False

    def load_datasets(self):
        return {"default": [Task(id=f"s{n}", question="?") for n in range(2)]}

    def evaluate_response(self, task, response):
        return Result(score=1.0)

    def calculate_final_score(self, results, dataset):
        return FinalScore(score=42.0, metadata={"given": sorted(results)})
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "riddles", RIDDLES)
    install_plugin(plugins, "scored", SCORED)
    flags = ("--only", "riddles,scored", "--max-running", "2", "--max-queued", "2")
    environ = {"BENCHHOST_API_KEY": TOKEN}
    with serving(tmp_path_factory.mktemp("state"), *flags, plugins=[plugins], environ=environ) as server:
        yield server.url


@asynccontextmanager
async def opened(url, benchmark=None, dataset=None, token=TOKEN):
    async with Client(url, benchmark, token=token, retries=QUICK) as client:
        yield await RemoteSource.open(client, dataset)


async def judged(source, *submissions, run="r"):
    found = {}
    async for verdicts in source.evaluate(run, [Submission(*each) for each in submissions]):
        for position, verdict in verdicts:
            assert position not in found
            found[position] = verdict
    return [found[position] for position in range(len(submissions))]


async def test_a_source_has_the_tasks_and_versions_of_its_host(host):
    async with opened(host, "riddles") as source:
        assert source.ids == [f"r{n}" for n in range(6)]
        assert (source.benchmark, source.dataset, source.kind) == ("riddles", "default", "host")
        assert source.host == f"{host}/b/riddles"
        assert source.evaluator_version == "5"
        assert source.reference is None
        assert msgspec.json.decode(source.task("r3")) == {
            "id": "r3",
            "question": "3?",
            "timeout": None,
            "kind": "riddle",
        }
        assert await source.prompt("r3") == "3?"
        assert len({source.digest(task_id) for task_id in source.ids}) == 6
        with pytest.raises(UnknownTask):
            source.task("r9")
    async with opened(host, "riddles", "one") as one:
        assert one.ids == ["r0"]
        assert one.version != source.version


async def test_responses_are_judged_by_the_host_and_a_failure_is_that_of_one_alone(host):
    async with opened(host, "riddles") as source:
        right, wrong, raised = await judged(source, ("r1", "1"), ("r2", "1"), ("r3", "raise"))
    assert (right.status, right.result) == (EvaluationStatus.EVALUATED, Result(score=1.0, feedback="read"))
    assert right.evaluator_version == source.evaluator_version
    assert wrong.result.score == 0.0
    assert raised.status is EvaluationStatus.JUDGE_ERROR
    assert raised.result is None
    assert "hidden" not in raised.errors[0]


async def test_more_than_the_host_takes_at_once_is_sent_in_parts(host):
    async with opened(host, "riddles") as source:  # the host takes four
        verdicts = await judged(source, *((f"r{n}", f"{n}{'!' * k}") for n in range(6) for k in range(5)))
    assert [verdict.result.score for verdict in verdicts] == [1.0] * 30


async def test_a_task_that_the_host_does_not_know_fails_alone(host):
    async with opened(host, "riddles") as source:
        verdicts = await judged(source, ("r1", "1"), ("nobody", "1"), ("r2", "2"))
    assert [verdict.status for verdict in verdicts] == ["evaluated", "error", "evaluated"]
    assert "Task not found: nobody" in verdicts[1].errors[0]


async def test_the_plain_mean_of_a_host_is_no_score_of_the_benchmarks_own(host):
    async with opened(host, "riddles") as source:
        assert await source.score("r", {"r1": Result(score=1.0), "r2": None}) is None
    async with opened(host, "scored") as source:
        final = await source.score("r", {"s0": Result(score=1.0), "s1": None})
    assert (final.score, final.metadata) == (42.0, {"given": ["s0", "s1"]})


async def test_a_host_that_keeps_its_list_says_how_to_give_the_tasks(host, tmp_path):
    async with opened(host, "scored") as source:
        with pytest.raises(ClientError, match="--dataset-file"):
            _ = source.ids
        file = tmp_path / "tasks.json"
        file.write_text(json.dumps([{"id": "s1", "question": "What?"}]))
        given = GivenTasks.from_file(source, file)
        assert list(given.ids) == ["s1"]
        [verdict] = await judged(given, ("s1", "anything"))
        assert verdict.result.score == 1.0


async def test_what_is_wrong_with_the_address_or_the_token_is_said(host):
    with pytest.raises(TokenRefused, match="Is the token right"):
        async with opened(host, "riddles", token="another-token"):
            pass
    with pytest.raises(TokenRefused, match="--token"):
        async with opened(host, "riddles", token=None):
            pass
    with pytest.raises(ClientError, match="The host has: riddles, scored"):
        async with opened(host, "riddle"):
            pass
    with pytest.raises(ClientError, match="Dataset 'nowhere' not found"):
        async with opened(host, "riddles", "nowhere"):
            pass


async def test_a_run_against_a_host_is_a_run(host, tmp_path):
    async with opened(host, "riddles") as source, open_store("memory:") as store:
        config = RunConfig(
            benchmark=source.benchmark,
            dataset_version=source.version,
            source=source.kind,
            host=source.host,
            evaluator_version=source.evaluator_version,
            model="scripted/echo",
            task_count=len(source.ids),
        )
        model = resolve("scripted/echo", {}, limiter=Limiter())

        def run(config=config):
            return Run("r1", config, store=store, source=source, runner=DefaultRunner(), model=model, state=tmp_path)

        outcome = await run().execute()
        assert (outcome.status, outcome.exit_code) == ("complete", 0)
        assert (outcome.summary.score, outcome.summary.coverage) == (1.0, 1.0)
        assert outcome.summary.slices == {}
        again = await run().execute()
        assert again.summary.attempts == 6
        reference = resolve("scripted/reference", {}, limiter=Limiter())
        other = msgspec.structs.replace(config, model="scripted/reference")
        refused = await Run(
            "r2", other, store=store, source=source, runner=DefaultRunner(), model=reference, state=tmp_path
        ).execute()
        assert refused.summary.scored == 0
        assert "never leave their host" in refused.summary.errors[0].message


class Foreign:
    """Another implementation of the contract, with one benchmark at its root, and results that are its own."""

    def __init__(self):
        self.busy = 0
        self.listed = True
        self.scored = None
        self.asked = []

    async def answer(self, request):
        self.asked.append((request.path, json.loads(await request.text() or "null")))
        body = json.loads(await request.text() or "null")
        answer = getattr(self, request.path.strip("/").replace("/", "_").replace("-", "_"), None)
        return web.json_response({"detail": "Not Found"}, status=404) if answer is None else await answer(body)

    async def version(self, _):
        return web.json_response({"service_name": "sums service", "service_version": "0.3"})

    async def v1_datasets_default_tasks(self, _):
        if not self.listed:
            return web.json_response({"detail": "Not implemented"}, status=501)
        tasks = [{"question": f"{n} + {n}?", "id": f"sum {n}", "level": n} for n in range(3)]
        return web.json_response({"dataset": "default", "tasks": tasks})

    async def v1_evaluate(self, body):
        if self.busy:
            self.busy -= 1
            return web.json_response({"detail": "Busy"}, status=429, headers={"retry-after": "0.01"})
        if body["payload"]["data"] == "break":
            return web.json_response({"detail": "Internal Server Error"}, status=500)
        result = {"nothing": 1} if body["payload"]["data"] == "odd" else {"pass_percentage": 50.0, "notes": ["half"]}
        return web.json_response({**body, "status": "evaluated", "evaluator_version": "judge-7", "result": result})

    async def v1_score(self, body):
        self.scored = body
        return web.json_response(
            {"run_id": body["run_id"], "tasks_evaluated": [], "final_score": 50.0, "metadata": ["theirs"]}
        )


@pytest.fixture
async def foreign():
    made = Foreign()
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_another_implementation_is_a_source_too(foreign):
    async with opened(foreign.url) as source:
        assert source.benchmark == "sums-service"
        assert source.ids == ["sum 0", "sum 1", "sum 2"]
        assert source.evaluator_version == "0.3"
        assert len(source.version) == 64
        half, odd, broken, other = await judged(
            source, ("sum 0", "x"), ("sum 1", "odd"), ("sum 2", "break"), ("sum 1", "y")
        )
        assert half.result.score == other.result.score == 0.5
        assert half.evaluator_version is None  # so that the run's is recorded, and a resume finds it judged
        assert (odd.status, odd.kind) == (EvaluationStatus.ERROR, "no-score")
        assert (broken.status, broken.status.retriable) == (EvaluationStatus.INFRA_ERROR, True)
        final = await source.score("r", {"sum 0": half.result, "sum 1": None})
    assert (final.score, final.metadata) == (50.0, {"metadata": ["theirs"]})
    sent = foreign.scored["evaluation_results"]
    assert sent["sum 0"]["result"] == {"pass_percentage": 50.0, "notes": ["half"]}
    assert sent["sum 1"] is None


async def test_tasks_are_fetched_once_and_a_response_is_posted_once_with_its_task_and_dataset(foreign):
    async with opened(foreign.url) as source:
        await judged(source, ("sum 1", "x"), ("sum 2", "y"))
        assert source.ids[0] == "sum 0"
    assert [path for path, _ in foreign.asked].count("/v1/datasets/default/tasks") == 1
    posted = [body for path, body in foreign.asked if path == "/v1/evaluate"]
    assert sorted((body["task_id"], body["payload"]["data"]) for body in posted) == [("sum 1", "x"), ("sum 2", "y")]


async def test_a_host_that_is_busy_is_asked_until_it_is_not(foreign):
    foreign.busy = 20  # more often than the client asks by itself
    async with opened(foreign.url) as source:
        [verdict] = await judged(source, ("sum 0", "x"))
    assert (verdict.result.score, foreign.busy) == (0.5, 0)


async def test_the_order_of_fields_is_no_other_task(foreign):
    async with opened(foreign.url) as source:
        digest = source.digest("sum 1")
        source._tasks["sum 1"] = msgspec.Raw(b'{"level": 1, "id":"sum 1",  "question": "1 + 1?"}')
        assert source.digest("sum 1") == digest
        source._tasks["sum 1"] = msgspec.Raw(b'{"level": 2, "id":"sum 1",  "question": "1 + 1?"}')
        assert source.digest("sum 1") != digest


async def test_a_foreign_service_that_does_not_list_can_judge(foreign):
    foreign.listed = False
    async with opened(foreign.url) as source:
        with pytest.raises(ClientError, match="--dataset-file"):
            _ = source.ids
        [verdict] = await judged(source, ("sum 0", "x"))
    assert verdict.result.score == 0.5


async def test_what_cannot_be_reached_is_a_verdict_that_is_tried_again_later(foreign, unused_port):
    async with opened(foreign.url) as source:
        source._client._routes.url = f"http://127.0.0.1:{unused_port}"
        [verdict] = await judged(source, ("sum 0", "x"))
    assert verdict.status is EvaluationStatus.INFRA_ERROR
    assert verdict.kind == "host-unreachable"


@pytest.fixture
def unused_port():

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
