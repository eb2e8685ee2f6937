"""The client at another implementation of the contract."""

import asyncio

import pytest
from aiohttp import web

from benchhost.client import Client, Outcome, Retries
from benchhost.errors import ClientError, HostBusy, HostUnreachable, TokenRefused

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(service, quick):
    async with Client(service.url + "/", retries=quick) as made:
        yield made


async def hang_up(request):
    """Close the connection in the place of an answer."""
    request.transport.abort()
    return web.Response()


def answering(status, detail="", **headers):
    async def answer(request):
        return web.json_response(
            {"detail": detail}, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    answer.__name__ = str(status)  # the name of the case
    return answer


async def collect(found, outcomes):
    async for outcome in outcomes:
        found.append(outcome)  # so that those before an error are there


async def test_a_response_is_judged_and_its_result_is_left_as_it_is(client):
    outcome = await client.evaluate("run", "a", "right")
    assert outcome == Outcome(task_id="a", status="evaluated", result={"pass_percentage": 100.0})


async def test_no_dataset_is_named_unless_one_is_given(client, service):
    await client.evaluate("run", "a", "x")
    await client.evaluate("run", "a", "x", "validation")
    payload = {"type": "text", "schema": "text", "data": "x"}
    assert service.seen("/v1/evaluate") == [
        {"run_id": "run", "task_id": "a", "payload": payload},
        {"run_id": "run", "task_id": "a", "payload": payload, "dataset": "validation"},
    ]


async def test_without_batches_the_responses_are_sent_one_by_one(client, service):
    submissions = [(f"t{n}", "right" if n % 2 else "wrong") for n in range(50)]
    outcomes = {n: outcome async for n, outcome in client.evaluate_batch("run", submissions)}
    assert {n: outcome.result["pass_percentage"] for n, outcome in outcomes.items()} == {
        n: 100.0 * (n % 2) for n in range(50)
    }
    assert [outcomes[n].task_id for n in range(50)] == [task_id for task_id, _ in submissions]
    [outcome async for outcome in client.evaluate_batch("run", submissions[:1])]
    assert len(service.seen("/v1/evaluate-batch")) == 1, "what is not there is asked for once"


async def test_no_outcome_is_lost_when_one_of_a_batch_fails(service, quick):
    submissions = [("a", "right"), ("unknown", "x"), *[(f"later {n}", "x") for n in range(20)]]
    found = []
    async with Client(service.url, retries=quick, connections=2) as client:
        with pytest.raises(ClientError, match=r"Evaluating task unknown failed: .* Task not found: unknown"):
            await collect(found, client.evaluate_batch("run", submissions))
    judged = [body["task_id"] for body in service.seen("/v1/evaluate") if body["task_id"] != "unknown"]
    assert sorted(judged) == sorted(submissions[position][0] for position, _ in found)
    assert 1 <= len(judged) <= 4, "nothing more is begun after a failure"


async def test_a_service_without_v1_is_asked_by_the_routes_that_it_has(client, service):
    service.v1 = False
    outcome = await client.evaluate("run", "a", "right")
    assert outcome == Outcome(task_id="a", status="evaluated", result={"pass_percentage": 100.0})
    again = [outcome async for _, outcome in client.evaluate_batch("run", [("b", "wrong")])]
    score = await client.score(
        "run", {"a": outcome, "b": again[0], "c": Outcome(task_id="c", status="error"), "d": None}
    )
    assert (score.tasks_evaluated, score.final_score, score.metadata) == (["a", "b", "c", "d"], 25.0, None)
    assert len(service.seen("/v1/evaluate")) == 1


async def test_a_task_that_is_not_found_is_not_a_route_that_is_not_there(client, service):
    with pytest.raises(ClientError, match="Task not found"):
        await client.evaluate("run", "unknown", "x")
    assert service.seen("/evaluate-response/") == []


async def test_a_service_that_does_not_list_its_tasks_wants_a_file(client):
    with pytest.raises(ClientError, match=r"answered 501: Service.list_tasks .* \(--dataset-file\)"):
        await client.tasks()


async def test_a_token_is_sent_as_bearer_or_as_vals_want_it(service):
    for header, sent in (("authorization", "Bearer the-secret"), ("x-descope-api-key", "the-secret")):
        async with Client(service.url, token="the-secret\n", token_header=header, headers={"x-api-key": "k"}) as client:
            await client.health()
        headers = service.requests[-1][2]
        assert (headers[header], headers["x-api-key"]) == (sent, "k")
        assert ("authorization" in headers) + ("x-descope-api-key" in headers) == 1


async def test_a_bearer_that_is_refused_is_told_of_the_other_header(service):
    service.first["/v1/evaluate"] = [
        answering(403, "The /v1/ surface requires Descope authentication, not the-secret-1")
    ]
    async with Client(service.url, token="the-secret-1") as client:
        with pytest.raises(TokenRefused, match="wants it in the header x-descope-api-key") as caught:
            await client.evaluate("run", "a", "x")
    assert "the-secret-1" not in str(caught.value) + caught.value.detail
    assert "not ***" in caught.value.detail


async def test_a_redirect_is_not_followed_with_the_token(service, serve):
    stolen = []

    async def elsewhere(request):
        stolen.append(request)
        return web.Response()

    async with serve(elsewhere) as other, Client(service.url, token="the-secret") as client:
        service.first["/health"] = [answering(307, location=f"{other}/health?key=1")]
        with pytest.raises(ClientError, match=r"It points to http://127.0.0.1:\d+/health\. Redirects are not followed"):
            await client.health()
    assert stolen == []


async def test_tasks_need_an_id_and_a_question_and_nothing_else(client, service):
    async def listing(request):
        return web.json_response({"dataset": "default", "tasks": [{"id": "a", "question": "?"}, {"id": "b"}]})

    service.first["/v1/datasets/default/tasks"] = [listing]
    tasks = iter(await client.tasks())
    first = next(tasks)
    assert (first.id, first.timeout, bytes(first.json)) == ("a", None, b'{"id": "a", "question": "?"}')
    with pytest.raises(ClientError, match=r"task 1 of the dataset default cannot be read: .*`question`"):
        next(tasks)


# Sending again.


async def test_a_question_is_asked_again_when_the_service_hangs_up(client, service):
    service.first["/health"] = [hang_up] * 3
    assert (await client.health()).status == "ok"
    service.first["/verify-task-ids"] = [answering(503), answering(502), hang_up]
    assert await client.task_ids() == ["a", "b", "c"]


async def test_a_question_is_not_asked_again_for_ever(client, service):
    service.first["/health"] = [hang_up] * 100
    with pytest.raises(HostUnreachable, match="the connection was cut") as caught:
        await client.health()
    assert caught.value.sent
    # aiohttp itself sends a GET again when a connection that was kept open turns out to be closed.
    assert 6 <= len(service.seen("/health")) <= 12


@pytest.mark.parametrize(
    "fault", [hang_up, answering(503), answering(429), answering(502), answering(500)], ids=lambda fault: fault.__name__
)
async def test_a_response_is_not_judged_twice_by_a_service_that_may_count_it(client, service, fault):
    service.first["/v1/evaluate"] = [fault]
    with pytest.raises(ClientError):
        await client.evaluate("run", "a", "x")
    assert len(service.seen("/v1/evaluate")) == 1


@pytest.mark.parametrize(
    "fault", [hang_up, answering(503), answering(429), answering(502)], ids=lambda fault: fault.__name__
)
async def test_a_response_is_sent_again_if_one_says_so(service, fault):
    service.first["/v1/evaluate"] = [fault, fault]
    async with Client(service.url, retries=Retries(first=0.001, posts=True)) as client:
        assert (await client.evaluate("run", "a", "right")).status == "evaluated"
    assert len(service.seen("/v1/evaluate")) == 3


async def test_a_service_that_says_when_to_come_back_is_taken_at_its_word(client, service):
    service.first["/v1/evaluate"] = [answering(429, "at capacity", retry_after="0.01")]
    assert (await client.evaluate("run", "a", "right")).status == "evaluated"
    service.first["/v1/evaluate"] = [answering(429, "Evaluation request limit reached", retry_after="3600")]
    with pytest.raises(HostBusy, match="limit reached") as caught:
        await client.evaluate("run", "a", "right")
    assert (caught.value.retry_after, caught.value.status) == (3600.0, 429)


async def test_a_host_that_was_there_is_waited_for_while_it_restarts(serve, quick):
    async def healthy(request):
        return web.json_response({"status": "ok"})

    async with serve(healthy) as url:
        client = Client(url, retries=quick)
        async with client:
            await client.health()
            waits = []
            original = client._transport.pause
            client._transport.pause = lambda *args: waits.append(args[-1]) or original(*args)
    async with client:
        with pytest.raises(HostUnreachable, match="refused"):
            await client.health()
    assert waits == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("n", range(8))
def test_waits_grow_and_differ_and_honour_the_service(n):
    retries = Retries()
    waits = [retries.delay(n) for _ in range(50)]
    whole = min(30.0, 0.5 * 2**n)
    assert all(whole / 2 <= wait <= whole for wait in waits)
    assert len(set(waits)) > 1
    assert 7.0 <= retries.delay(n, 7.0) <= 7.5
    assert retries.delay(n, 0.0) > 0


# Answers that are none.


@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", '"text"', "[1", '{"status": "bad"}', "\udcff"])
async def test_an_answer_that_cannot_be_read_is_an_error_that_says_so(client, service, body):
    async def nonsense(request):
        return web.Response(body=body.encode(errors="surrogateescape"), content_type="text/html")

    service.first["/health"] = [nonsense]
    with pytest.raises(
        ClientError, match=r"answered text/html.* that cannot be read .* Is this the URL of a benchmark"
    ):
        await client.health()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"detail": {"a": 1}}', b'{"detail": [1]}', b"\xff"])
async def test_an_error_in_any_shape_is_an_error(client, service, body):
    async def nonsense(request):
        return web.Response(body=body, status=500)

    service.first["/health"] = [nonsense]
    with pytest.raises(ClientError, match="/health answered 500") as caught:
        await client.health()
    assert caught.value.status == 500


async def test_the_fields_that_are_wrong_are_named(client, service):
    async def refuse(request):
        fields = [{"type": "missing", "loc": ["body", "run_id"], "msg": "Field required", "input": {}}]
        return web.json_response({"detail": fields}, status=422)

    service.first["/v1/evaluate"] = [refuse]
    with pytest.raises(ClientError, match=r"answered 422: body\.run_id: Field required"):
        await client.evaluate("run", "a", "x")


async def test_what_a_service_says_does_nothing_to_a_terminal(client, service):
    service.first["/health"] = [answering(400, "\x1b[2J\nrm" + "x" * 5000)]
    with pytest.raises(ClientError) as caught:
        await client.health()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


async def test_a_service_that_keeps_silent_is_given_up(serve):
    async def silent(request):
        await request.content.read()
        await asyncio.sleep(0.5)
        return web.Response()

    async with serve(silent) as url, Client(url, timeout=0.05, retries=Retries(times=0)) as client:
        with pytest.raises(HostUnreachable, match=r"the host said nothing for 0.05 s") as caught:
            await client.health()
    assert caught.value.sent
