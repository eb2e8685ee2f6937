"""The whole way over real sockets: a client of create-benchmark-service, the host, Daytona's SDK, Daytona's double."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest
from daytona_double import KEY, Double

from benchhost.contract import SandboxSpec
from benchhost.sandbox.daytona import DaytonaProvider, close_clients
from benchhost.sandbox.local.provider import LocalProvider
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

BENCH = '''
from benchhost import Benchmark, Environment, Message, Result, Task
from benchhost.sandbox import stream_command


class Secretive(Task, kw_only=True):
    answer: str = "hidden-answer"


class Plugin(Benchmark[Secretive]):
    """Somebody is to write "done" into a file."""

    accepted_submission_schemas = {"text": ["word"]}

    def load_datasets(self):
        return {"default": [Secretive(id="good", question="?")]}

    def retrieve_task(self, task):
        return Environment(image="debian:12", problem_path="problem", cwd="/work")

    async def setup_task(self, task, sandbox):
        await sandbox.write("problem", task.id.encode())
        async for message in stream_command(sandbox, "cat problem; echo; echo ready >&2"):
            yield message

    async def place_submission(self, task, submission, sandbox):
        await sandbox.write("done", submission.data)

    async def evaluate_instance(self, task, sandbox):
        async for message in stream_command(sandbox, "echo looking; sleep 0.2; echo at it"):
            yield message
        done = await sandbox.run("cat done")
        yield Result(score=float(done.text == "done"), private={"answer": task.answer})
'''


@pytest.fixture(scope="module")
async def double(tmp_path_factory):
    local = await LocalProvider.open({"folder": str(tmp_path_factory.mktemp("local"))})
    async with Double(local).running() as double:
        yield double
        await close_clients()
    await local.aclose()


@pytest.fixture(scope="module")
def server(tmp_path_factory, double):
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "bench", BENCH)
    flags = ["--only", "bench", "--sandbox", "daytona", "--allow-sandboxes", "--daytona-hosts", double.url]
    environ = {"DAYTONA_API_KEY": KEY, "DAYTONA_API_URL": f"{double.url}/api", "DAYTONA_TARGET": "us"}
    with serving(tmp_path_factory.mktemp("state"), *flags, plugins=[plugins], environ=environ) as running:
        yield running
        assert KEY not in running.said()


@pytest.fixture
def credentials(double):
    return {"x-api-key": KEY, "x-api-url": f"{double.url}/api", "x-target": "eu"}


@pytest.fixture
async def sandbox(double):
    """A sandbox of the caller's at Daytona."""
    provider = await DaytonaProvider.open({"api_key": KEY, "api_url": f"{double.url}/api", "target": "eu"})
    sandbox = await provider.create(SandboxSpec())
    yield sandbox
    await provider.delete(sandbox.id)
    await provider.aclose()


@pytest.mark.parametrize("where", ["headers", "frame"])
async def test_a_sandbox_at_daytona_is_set_up_worked_in_and_judged(where, server, double, credentials, sandbox, vals):
    names = {"x-api-key": "DAYTONA_API_KEY", "x-api-url": "DAYTONA_API_URL", "x-target": "DAYTONA_TARGET"}
    frame = {"sandbox_provider": {"type": "daytona"} | {names[name]: value for name, value in credentials.items()}}
    client = vals.ValsClient(f"{server.url}/b/bench", credentials if where == "headers" else {})
    more = {} if where == "headers" else frame
    assert await client.setup_task("good", sandbox.id, **more) == {"status": "ok"}
    assert sorted(client.messages) == ["good", "ready"]
    await sandbox.write("done", b"done")
    result = await client.evaluate_instance("good", sandbox.id, **more)
    assert result["score"] == 1.0
    assert client.messages == ["looking", "at it"]
    assert not double.machines[sandbox.id].sessions


async def test_a_wrong_key_is_told_and_not_repeated(server, double, credentials, sandbox, vals):
    wrong = credentials | {"x-api-key": "dtn_wrong_9876543210"}
    client = vals.ValsClient(f"{server.url}/b/bench", wrong)
    with pytest.raises(vals.BenchmarkServiceError, match="refused the credentials") as failed:
        await client.setup_task("good", sandbox.id)
    assert "dtn_wrong" not in str(failed.value)
    assert "Invalid credentials" in server.said()
    assert "dtn_wrong" not in server.said()


async def test_a_sandbox_that_is_not_there_is_told(server, credentials, vals):
    client = vals.ValsClient(f"{server.url}/b/bench", credentials)
    with pytest.raises(vals.BenchmarkServiceError, match="Unknown sandbox"):
        await client.setup_task("good", "no-such-sandbox")


async def test_an_address_that_is_not_allowed_is_not_asked(server, double, credentials, sandbox, vals):
    double.seen.clear()
    other = credentials | {"x-api-url": double.url.replace("127.0.0.1", "localhost") + "/api"}
    client = vals.ValsClient(f"{server.url}/b/bench", other)
    with pytest.raises(vals.BenchmarkServiceError, match="that api_url is not allowed on this host"):
        await client.setup_task("good", sandbox.id)
    assert double.seen == []


async def test_what_is_submitted_is_judged_in_a_sandbox_of_the_hosts_that_is_deleted(server, double, make_client):
    before = set(double.machines)
    body = {"run_id": "r", "task_id": "good", "payload": {"type": "text", "schema": "word", "data": "done"}}
    answer = await anyio.to_thread.run_sync(make_client(server.url).post, "/b/bench/v1/evaluate", body)
    assert (answer.json["status"], answer.json["errors"]) == ("evaluated", [])
    assert answer.json["result"]["score"] == 1.0
    (made,) = set(double.machines) - before
    assert double.machines[made].body["networkBlockAll"] is True
    for _ in range(1000):  # 20 s
        if double.machines[made].state == "destroyed":
            return
        await anyio.sleep(0.02)
    pytest.fail("the sandbox stays")


async def test_the_host_has_sandboxes_of_its_own_at_daytona(server, double, make_client, vals):
    host = make_client(server.url)
    made = await anyio.to_thread.run_sync(host.post, "/v1/sandboxes", {})
    assert made.status == 201, made
    client = vals.ValsClient(f"{server.url}/b/bench")
    assert await client.setup_task("good", made.json["id"]) == {"status": "ok"}
    assert (await client.evaluate_instance("good", made.json["id"]))["score"] == 0.0
    deleted = await anyio.to_thread.run_sync(host.request, "DELETE", f"/v1/sandboxes/{made.json['id']}")
    assert deleted.status == 204
    assert double.machines[made.json["id"].partition(":")[2]].state == "destroyed"
