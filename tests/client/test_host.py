"""The client at a real host."""

import msgspec
import pytest

from benchhost.client import Client
from benchhost.errors import ClientError, HostUnreachable, TokenRefused, UsageError
from benchhost.wire.vals import Verdict

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pets(host, token, quick):
    async with Client(host, "pets", token=token, retries=quick) as client:
        assert (await client.health()).status == "ok"
        yield client


@pytest.mark.parametrize(
    "where", [("", "pets"), ("/", "pets"), ("/b/pets", None), ("/b/pets/", None), ("/b/pets", "pets")]
)
async def test_a_benchmark_is_found_by_either_url(host, token, where):
    path, name = where
    async with Client(host + path, name, token=token) as client:
        assert client.url == f"{host}/b/pets"
        assert len(await client.task_ids()) == 5


async def test_the_version_tells_of_the_dataset(pets):
    version = await pets.version("many")
    assert version.service_name == "plugin-pets"
    assert version.eval_mode == "text"
    assert version.dataset_version != (await pets.version()).dataset_version


async def test_task_ids_are_selected_by_the_host(pets):
    assert await pets.task_ids(slice="1:5:2") == ["pet-1", "pet-3"]
    assert await pets.task_ids(task_ids=["pet-3", "pet-0", "pet-3"]) == ["pet-3", "pet-0"]
    assert await pets.task_ids(task_ids=[]) == []


async def test_more_task_ids_than_fit_into_a_url_are_asked_for(pets):
    ids = [f"pet number {n} & its name/ü" for n in reversed(range(2000))]
    assert await pets.task_ids(task_ids=ids, dataset="many") == ids


async def test_an_unknown_task_id_is_refused_with_what_the_host_said(pets):
    with pytest.raises(
        ClientError, match=r"Listing the ids of tasks failed: .* answered 400: Task ID not found: cat"
    ) as caught:
        await pets.task_ids(task_ids=["pet-0", "cat"])
    assert (caught.value.status, caught.value.problem, caught.value.retriable) == (400, "unknown-task", False)
    assert caught.value.detail == "Task ID not found: cat"


async def test_tasks_keep_the_fields_that_only_this_benchmark_has(pets):
    listed = await pets.tasks()
    assert (listed.dataset, len(listed)) == ("default", 5)
    assert listed.dataset_version == (await pets.version()).dataset_version
    tasks = list(listed)
    assert [(task.id, task.question, task.timeout) for task in tasks[:2]] == [
        ("pet-0", "Which?", None),
        ("pet-1", "Which?", 9.0),
    ]
    assert msgspec.json.decode(tasks[0].json) == {"id": "pet-0", "question": "Which?", "timeout": None, "legs": 4}


async def test_a_response_is_judged(pets):
    outcome = await pets.evaluate("run", "pet-1", "hidden")
    assert (outcome.task_id, outcome.status, outcome.result["score"]) == ("pet-1", "evaluated", 1.0)
    assert (outcome.evaluator_version, outcome.errors) == ("7", [])
    found = await pets.evaluation(outcome.evaluation_id)
    assert (found.run_id, found.task_id, found.result.score) == ("run", "pet-1", 1.0)


async def test_a_failure_to_judge_is_an_outcome(pets):
    outcome = await pets.evaluate("run", "pet-1", "raise")
    assert (outcome.status, outcome.result) == ("error", None)
    assert outcome.evaluation_id in outcome.errors[0]
    assert "hidden cause" not in str(outcome)


async def test_a_response_outside_of_a_run_has_a_bare_result(pets):
    assert (await pets.evaluate_response("pet-1", "hidden"))["score"] == 1.0


async def test_a_batch_is_judged_and_each_outcome_has_its_position(pets):
    submissions = [(f"pet number {n} & its name/ü", "hidden" if n % 3 else "wrong") for n in range(300)]
    outcomes = {n: outcome async for n, outcome in pets.evaluate_batch("batch", submissions, "many")}
    assert sorted(outcomes) == list(range(300))
    for n, (task_id, response) in enumerate(submissions):
        assert outcomes[n].task_id == task_id
        assert outcomes[n].result["score"] == float(response == "hidden")
        assert outcomes[n].evaluation_id


async def test_the_same_response_twice_in_a_batch_is_one_evaluation(pets):
    submissions = [("pet-1", "twice"), ("pet-1", "twice"), ("pet-2", "twice")]
    outcomes = {n: outcome.evaluation_id async for n, outcome in pets.evaluate_batch("twice", submissions)}
    assert outcomes[0] == outcomes[1] != outcomes[2]


async def test_an_empty_batch_asks_nobody(refusing):
    async with Client(refusing, "pets") as client:
        assert [outcome async for outcome in client.evaluate_batch("run", [])] == []


async def test_a_batch_with_an_unknown_task_is_refused_whole(pets):
    with pytest.raises(ClientError, match=r"Task not found: cat \(submission 1\)") as caught:
        [outcome async for outcome in pets.evaluate_batch("run", [("pet-1", "x"), ("cat", "x")])]
    assert caught.value.status == 404


async def test_verdicts_and_results_are_summed_up(pets):
    outcome = await pets.evaluate("score", "pet-1", "hidden")
    verdicts = {"pet-1": outcome, "pet-2": Verdict("did_not_complete"), "pet-3": None}
    score = await pets.score("score", verdicts)
    assert (score.tasks_evaluated, score.final_score) == (list(verdicts), 1.0)
    assert (score.metadata["given"], score.metadata["scored"]) == (3, 1)
    final = await pets.final_score({"pet-1": outcome.result, "pet-2": None})
    assert (final.final_score, final.metadata["coverage"]) == (1.0, 0.5)


async def test_the_installed_arithmetic_is_served(host, token):
    async with Client(host, "arithmetic", token=token) as client:
        task = next(iter(await client.tasks()))
        left, sign, right = task.question.removeprefix("What is ").removesuffix("?").split()
        answer = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[sign]
        assert (await client.evaluate("run", task.id, str(answer))).result["passed"] is True


# What goes wrong, and what is said of it.


async def test_the_benchmarks_of_a_host_are_named_when_another_is_asked_for(host, token):
    async with Client(host, "cats", token=token) as client:
        with pytest.raises(ClientError, match=r"The host has: arithmetic, pets, unlisted\. .*/b/<name>") as caught:
            await client.tasks()
    assert (caught.value.status, caught.value.problem) == (404, "unknown-benchmark")


async def test_the_benchmarks_of_a_host_are_named_when_none_is(host, token):
    async with Client(host, token=token) as client:
        with pytest.raises(ClientError, match=r"The host has: arithmetic, pets, unlisted\."):
            await client.tasks()
        with pytest.raises(ClientError, match=r"The host has: arithmetic, pets, unlisted\."):
            await client.evaluate("run", "one", "x")


async def test_the_plugins_of_a_host_are_listed(pets):
    states = {plugin.name: plugin.state for plugin in await pets.plugins()}
    assert states["pets"] == "serving"
    assert set(states) == {"arithmetic", "pets", "unlisted"}


async def test_a_host_that_wants_a_token_says_so(host):
    async with Client(host, "pets") as client:
        with pytest.raises(TokenRefused, match=r"answered 401: Unauthorized. No token was given: give one \(--token\)"):
            await client.task_ids()


async def test_a_wrong_token_is_refused_and_not_repeated(host):
    async with Client(host, "pets", token="wrong-secret-token") as client:
        with pytest.raises(TokenRefused, match="Is the token right") as caught:
            await client.task_ids()
    assert "wrong-secret-token" not in str(caught.value)


async def test_a_benchmark_that_does_not_list_its_tasks_wants_a_file(host, token):
    async with Client(host, "unlisted", token=token) as client:
        with pytest.raises(
            ClientError, match=r"does not list its tasks: give them in a file \(--dataset-file\)"
        ) as caught:
            await client.tasks()
        assert caught.value.status == 501
        assert (await client.evaluate("run", "one", "x")).result["score"] == 1.0


async def test_a_host_that_is_not_there_is_not_waited_for(refusing):
    async with Client(refusing, "pets") as client:
        with pytest.raises(HostUnreachable, match=r"the connection was refused\. Is the server running") as caught:
            await client.health()
    assert not caught.value.sent


async def test_a_pinned_version_that_a_service_does_not_name_is_not_believed(service):
    async with Client(service.url, dataset_version="1.0") as client:
        assert (await client.health()).status == "ok"  # which is about no version
        with pytest.raises(ClientError, match=r"version 1\.0 of the dataset was asked for, and .* answers for none"):
            await client.task_ids()


def test_what_cannot_be_a_version_is_refused_before_anything_is_sent():
    with pytest.raises(UsageError, match="can be no version"):
        Client("http://localhost:1", dataset_version="1 0")
