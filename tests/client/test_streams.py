"""The client at WebSockets: what it is told, and what it does when they drop."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
from aiohttp import WSCloseCode, web

from benchhost.client import Client, Retries
from benchhost.errors import ClientError, HostBusy, HostUnreachable, TokenRefused
from benchhost.runner.remote_verdicts import is_worth_waiting
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

BOXES = """
from benchhost import Benchmark, Message, Ready, Result, ResumeState, Task

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="good", question="?"), Task(id="bad", question="?")]}

    async def setup_task(self, task, sandbox):
        yield Message("setting up")
        if task.id == "bad":
            raise ValueError("hidden")
        await sandbox.write("/problem", b"the problem")
        yield Ready("as good as new")

    async def evaluate_instance(self, task, sandbox):
        yield Message("looking")
        if task.id == "bad":
            raise ValueError("hidden")
        yield Result(score=float(await sandbox.read("/problem") == b"the problem"))

    async def evaluate_response(self, task, response, resume_state=None):
        yield ResumeState({"count": 1 if resume_state is None else resume_state["count"] + 1})
        yield Result(score=1.0, metrics={"resumed": float(resume_state is not None)})
"""

TOKEN = "a-token-of-these-tests"
QUICK = Retries(first=0.01, longest=0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory, folders):
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "boxes", BOXES)
    folders.install(plugins)
    flags = ["--only", "boxes", "--sandbox", "folders", "--allow-sandboxes"]
    environ = {"BENCHHOST_API_KEY": TOKEN}
    with serving(tmp_path_factory.mktemp("state"), *flags, plugins=[plugins], environ=environ) as running:
        yield running


@pytest.fixture
async def client(server):
    async with Client(server.url, "boxes", token=TOKEN, retries=QUICK) as client:
        yield client


@pytest.fixture
def box(server):
    """A sandbox of the host's."""
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/sandboxes", b"{}", headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["id"]


async def test_a_sandbox_is_set_up_and_judged(client, box):
    said: list[str] = []
    assert await client.setup_task("good", box, on_message=said.append) == "as good as new"
    outcome = await client.evaluate_instance("good", box, run_id="r", on_message=said.append)
    assert (outcome.status, outcome.result["score"], outcome.errors) == ("evaluated", 1.0, [])
    assert said == ["setting up", "looking"]


async def test_a_failure_to_set_up_is_an_error_and_one_to_judge_an_outcome(client, box):
    with pytest.raises(ClientError, match="Setting up task bad failed: The benchmark's hook raised an exception"):
        await client.setup_task("bad", box)
    outcome = await client.evaluate_instance("bad", box)
    assert (outcome.status, outcome.result) == ("error", None)
    assert "hook raised" in outcome.errors[0]


async def test_a_state_is_told_and_taken_back(client):
    states: list[dict[str, int]] = []
    await client.watch_response("good", "x", on_state=states.append)
    outcome = await client.watch_response("good", None, resume_state=states[0], on_state=states.append)
    assert outcome.result["metrics"] == {"resumed": 1.0}
    assert states == [{"count": 1}, {"count": 2}]


async def test_a_wrong_token_and_a_wrong_place_are_told_apart(server, box):
    async with Client(server.url, "boxes", token="wrong") as client:
        with pytest.raises(TokenRefused, match=r"code 1008, Unauthorized.* Is the token right\?"):
            await client.setup_task("good", box)
        with pytest.raises(TokenRefused, match=r"answered 401.* Is the token right\?"):
            await client.sandboxes.write(box, "/tmp/x", b"", 0o600)
    async with Client(f"{server.url}/nowhere", None, token=TOKEN) as client:
        with pytest.raises(ClientError, match="answered 403"):
            await client.setup_task("good", box)
    async with Client("http://127.0.0.1:9", "boxes") as client:
        with pytest.raises(HostUnreachable, match="the connection was refused"):
            await client.setup_task("good", box)


class Dropping:
    """A host that drops the first connections in each of several ways, and then answers."""

    def __init__(self, *ways):
        self.ways = list(ways)
        self.frames = []

    async def answer(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.frames.append(await socket.receive_json())
        way = self.ways.pop(0) if self.ways else "result"
        if way == "cut":
            await socket.send_json({"type": "message", "data": "begun"})
            request.transport.abort()
        elif way == "result":
            await socket.send_json({"type": "result", "data": {"score": 1.0}})
        elif way == "silence":
            await asyncio.sleep(60)
        else:
            await socket.close(code=way)
        return socket


@pytest.fixture
async def serve():
    """Serve one handler at a free port; return the URL."""
    runners = []

    async def serve(handler):
        app = web.Application()
        for path in ("/b/x/ws/evaluate-instance", "/ws/evaluate-instance"):
            app.router.add_get(path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    yield serve
    for runner in runners:
        await runner.cleanup()


async def test_what_drops_is_joined_again_by_the_same_frame(serve):
    host = Dropping("cut", WSCloseCode.GOING_AWAY, "cut", WSCloseCode.INTERNAL_ERROR)
    said: list[str] = []
    async with Client(await serve(host.answer), "x", retries=QUICK) as client:
        outcome = await client.evaluate_instance("t", "i", on_message=said.append)
    assert outcome.result == {"score": 1.0}
    assert host.frames == [{"task_id": "t", "instance_id": "i", "dataset": None}] * 5
    assert said == ["begun", "begun"]


async def test_another_service_is_not_asked_twice_to_judge_the_same(serve):
    host = Dropping("cut")
    async with Client(await serve(host.answer), retries=QUICK) as client:
        with pytest.raises(HostUnreachable):
            await client.evaluate_instance("t", "i")
    assert len(host.frames) == 1


async def test_it_gives_up_where_nothing_is_ever_heard(serve):
    host = Dropping(*[WSCloseCode.GOING_AWAY] * 100)
    async with Client(await serve(host.answer), "x", retries=QUICK) as client:
        with pytest.raises(HostUnreachable, match="code 1001"):
            await client.evaluate_instance("t", "i")
    assert len(host.frames) == QUICK.times + 1


async def test_a_host_of_too_many_sockets_is_busy(serve):
    host = Dropping(WSCloseCode.TRY_AGAIN_LATER)
    async with Client(await serve(host.answer), "x", retries=Retries(times=0)) as client:
        with pytest.raises(HostBusy, match="code 1013") as raised:
            await client.evaluate_instance("t", "i")
    raised.value.retry_after = 0.01
    assert await is_worth_waiting(raised.value), "a run waits for it"


async def test_a_silent_host_is_left_in_time(serve):
    host = Dropping("silence")
    async with Client(await serve(host.answer), "x", evaluation_timeout=0.2, retries=Retries(times=0)) as client:
        with pytest.raises(HostUnreachable, match="said nothing for"):
            await client.evaluate_instance("t", "i")
