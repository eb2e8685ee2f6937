"""The WebSockets of a benchmark, as clients of create-benchmark-service use them, and as none should."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time

import pytest
import websockets

from benchhost.client import Client, Retries, streams
from benchhost.client.transport import Transport
from benchhost.errors import HostBusy
from benchhost.testing import install_plugin, serving

pytestmark = pytest.mark.anyio

BENCH = '''
import asyncio

from benchhost import Benchmark, Error, Message, Ready, Response, Result, ResumeState, Task
from benchhost.sandbox import stream_command

PLACE = "/work"


class Secretive(Task, kw_only=True):
    answer: str = "hidden-answer"


class Plugin(Benchmark[Secretive]):
    """What is in the sandbox, or in the response, decides what the hooks do."""

    version = "2"

    def load_datasets(self):
        tasks = [Secretive(id=name, question="?") for name in ("good", "bad", "declines", "talks", "slow")]
        return {"default": tasks, "closed": [Secretive(id="good", question="?")]}

    async def setup_task(self, task, sandbox):
        await sandbox.write(f"{PLACE}/problem", task.id.encode())
        async for message in stream_command(sandbox, "cat problem; echo; echo ready", cwd=PLACE):
            yield message
        if task.id == "slow":
            yield Message("waiting")
            await waits(sandbox)
            await sandbox.write(f"{PLACE}/set-up", b"1")
        if task.id == "bad":
            raise ValueError(f"the answer is {task.answer}")
        if task.id == "declines":
            yield Error("there is no compiler")

    async def evaluate_instance(self, task, sandbox):
        yield Message("looking at it")
        if task.id == "slow":
            count = int(await said(sandbox, f"{PLACE}/times") or 0) + 1
            await sandbox.write(f"{PLACE}/times", str(count).encode())
            yield Message("waiting")
            await waits(sandbox)
        if task.id == "bad":
            raise ValueError(f"the answer is {task.answer}")
        done = await said(sandbox, f"{PLACE}/done")
        yield Result(score=float(done == "done"), metrics={}, private={"answer": task.answer})

    async def evaluate_response(self, task, response, resume_state=None):
        if response.text == "sleep":
            await asyncio.sleep(1.5)
        if response.text.startswith("lines:"):
            for number in range(int(response.text.partition(":")[2])):
                yield Message(f"line {number} " + "x" * 100)
        if response.text == "state, then hang" and resume_state is None:
            yield ResumeState({"count": 5})
            await asyncio.sleep(60)
        if response.text == "state" or resume_state is not None:
            count = (resume_state or {"count": 0})["count"]
            yield ResumeState({"count": count + 1})
            yield Result(score=0.0, metrics={"count": count})
        if response.text == "large":
            yield Result(score=0.0, feedback="x" * (11 * 1024 * 1024))
        yield Result(score=1.0)


async def said(sandbox, path):
    completed = await sandbox.run(["cat", path[1:]])
    return completed.text if completed.ok else ""


async def waits(sandbox):
    while not (await sandbox.run("test -e work/go")).ok:
        await asyncio.sleep(0.05)
'''

TEXT = """
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="good", question="?")]}

    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""

RESULT = {"score": 1.0, "passed": None, "metrics": {}, "feedback": None}


@pytest.fixture(scope="module")
def plugins_here(tmp_path_factory, folders):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "bench", BENCH)
    install_plugin(folder, "text", TEXT)
    folders.install(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, plugins_here):
    flags = ["--only", "bench,text", "--sandbox", "folders", "--allow-sandboxes", "--socket-timeout", "2"]
    flags += ["--socket-heartbeat", "0.3", "--max-sockets", "150"]
    with serving(tmp_path_factory.mktemp("state"), *flags, plugins=[plugins_here]) as running:
        yield running


@pytest.fixture
def bench(server, vals):
    return vals.ValsClient(f"{server.url}/b/bench", known=vals.LATER)


@pytest.fixture
def box(server, make_client):
    """A sandbox of the host's: its id, and the folder in which its files are."""
    return box_of(server, make_client)


def box_of(server, make_client):
    made = make_client(server.url).post("/v1/sandboxes", {})
    assert made.status == 201, made
    return Box(made.json["id"], server.state / "sandboxes" / made.json["id"].partition(":")[2] / "files")


class Box:
    def __init__(self, id_, files):
        self.id = id_
        self.files = files

    def put(self, path, text):
        (self.files / path).parent.mkdir(parents=True, exist_ok=True)
        (self.files / path).write_text(text)


async def test_a_sandbox_is_set_up_worked_in_and_judged_by_a_seed_client(server, vals, box):
    client = vals.ValsClient(f"{server.url}/b/bench", known=vals.SEED)
    assert await client.setup_task("good", box.id) == {"status": "ok"}
    assert client.messages == ["good", "ready"]
    box.put("work/done", "done")
    assert await client.evaluate_instance("good", box.id) == RESULT
    assert client.messages == ["looking at it"]


async def test_a_response_is_judged_and_recorded_once(bench, server, make_client):
    assert await bench.evaluate_response("good", "lines:3") == RESULT
    assert [line.partition(" x")[0] for line in bench.messages] == ["line 0", "line 1", "line 2"]
    assert await bench.evaluate_response("good", "lines:3") == RESULT
    assert bench.messages == [], "what is finished is answered from the record"
    answer = make_client(server.url).post("/b/bench/evaluate-response", {"task_id": "good", "response": "lines:3"})
    assert answer.json == RESULT


async def test_nulls_and_unknown_keys_are_taken_and_a_slash_at_the_end_too(bench):
    frame = {"task_id": "good", "response": "", "eval_resume_state": None, "sandbox_provider": None, "dataset": None}
    assert await bench.stream("/ws/evaluate-response/", {**frame, "new": 1}) == RESULT
    assert await bench.stream("/ws/evaluate-response", {"task_id": "good", "response": ""}) == RESULT


async def test_lines_that_come_together_are_sent_together(bench):
    async with bench.connect("/ws/evaluate-response") as socket:
        await socket.send(json.dumps({"task_id": "talks", "response": "lines:20000"}))
        chunks = [json.loads(text) async for text in socket]
    lines = "\n".join(chunk["data"] for chunk in chunks[:-1]).split("\n")
    assert [line.split(" ")[1] for line in lines] == [str(number) for number in range(20000)]
    assert len(chunks) < 500
    assert max(len(chunk["data"]) for chunk in chunks[:-1]) <= 128 * 1024
    assert chunks[-1]["type"] == "result"


async def test_a_resume_state_is_handed_out_and_taken_back(bench):
    assert (await bench.evaluate_response("good", "state"))["metrics"] == {"count": 0.0}
    assert bench.states == [{"count": 1}]
    assert (await bench.resume_evaluation("good", {"count": 1}))["metrics"] == {"count": 1.0}
    assert bench.states == [{"count": 2}]


@pytest.mark.parametrize(
    "path, frame, said",
    [
        ("/ws/evaluate-response", "no JSON", "frame: not valid JSON"),
        ("/ws/evaluate-response", '{"unknown":' + "[" * 20_000 + "]" * 20_000 + "}", "frame: is nested too deeply"),
        ("/ws/evaluate-response", b"{}", "expected a text frame"),
        ("/ws/evaluate-response", "[" * 100_000, "Expected `object`, got `array`"),
        ("/ws/evaluate-response", {"response": "x"}, "task_id"),
        ("/ws/evaluate-response", {"task_id": "good"}, "expected one of response and eval_resume_state"),
        ("/ws/evaluate-response", {"task_id": "good", "response": "", "eval_resume_state": {}}, "expected one of"),
        ("/ws/evaluate-response", {"task_id": "good", "response": 1}, "frame.response: Expected `str | null`"),
        ("/ws/evaluate-response", {"task_id": "nope", "response": ""}, "Task ID not found: nope"),
        ("/ws/evaluate-response", {"task_id": "good", "response": "", "dataset": "no"}, "Dataset 'no' not found"),
        ("/ws/evaluate-instance", {"task_id": "good", "instance_id": "abc"}, "x-api-key, x-api-url, x-target"),
        ("/ws/setup-task", {"task_id": "good", "instance_id": "abc"}, "x-api-key, x-api-url, x-target"),
        ("/ws/evaluate-instance", {"task_id": "good", "instance_id": "folders:nope"}, "No such sandbox is yours"),
        ("/ws/evaluate-instance", {"task_id": "good"}, "instance_id"),
        (
            "/ws/evaluate-instance",
            {"task_id": "good", "instance_id": "a", "sandbox_provider": {"type": "modal", "MODAL_TOKEN_ID": "SECRET"}},
            "no such provider",
        ),
        (
            "/ws/evaluate-instance",
            {"task_id": "good", "instance_id": "a", "sandbox_provider": {"type": "daytona", "DAYTONA_API_KEY": 7}},
            "sandbox_provider.DAYTONA_API_KEY: expected text",
        ),
    ],
)
async def test_a_first_frame_that_is_wrong_is_said_to_be_and_not_repeated(path, frame, said, bench, vals):
    with pytest.raises(vals.BenchmarkServiceError) as caught:
        await bench.stream(path, frame)
    assert said in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_who_says_nothing_is_told_so_in_time(bench, vals):
    with pytest.raises(vals.BenchmarkServiceError, match="nothing came within 2 s"):
        await bench.stream("/ws/evaluate-response", None)


@pytest.mark.parametrize("call", ["setup_task", "evaluate_instance"])
async def test_what_a_hook_raises_is_not_told(call, bench, box, vals, server):
    with pytest.raises(vals.BenchmarkServiceError) as caught:
        await getattr(bench, call)("bad", box.id)
    assert "hidden-answer" not in str(caught.value)
    assert "The benchmark's hook raised an exception" in str(caught.value)
    number = str(caught.value).partition("Quote ")[2].removeprefix("evaluation ").partition(" ")[0]
    assert number in server.said()


async def test_what_a_hook_says_of_an_error_is_told(bench, box, vals):
    with pytest.raises(vals.BenchmarkServiceError, match=r"^there is no compiler$"):
        await bench.setup_task("declines", box.id)


async def test_a_benchmark_without_the_hook_says_so(server, vals, box):
    client = vals.ValsClient(f"{server.url}/b/text")
    with pytest.raises(vals.BenchmarkServiceError, match="does not implement setup_task"):
        await client.setup_task("good", box.id)
    assert await client.evaluate_response("good", "x") == RESULT


async def test_a_result_that_fits_in_no_frame_is_not_sent(bench, vals):
    with pytest.raises(vals.BenchmarkServiceError, match="too large for a frame"):
        await bench.evaluate_response("good", "large")


async def test_an_unknown_benchmark_is_an_error_and_an_unknown_path_no_socket(server, vals):
    with pytest.raises(vals.BenchmarkServiceError, match="No benchmark of that name is installed"):
        await vals.ValsClient(f"{server.url}/b/nope").evaluate_response("good", "x")
    with pytest.raises(websockets.InvalidStatus) as caught:
        await vals.ValsClient(f"{server.url}/b/bench").stream("/ws/nope", {})
    assert caught.value.response.status_code == 403


async def test_a_page_of_another_site_opens_no_socket(server, vals):
    client = vals.ValsClient(f"{server.url}/b/bench")
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with client.connect("/ws/evaluate-response", origin="https://evil.example"):
            pytest.fail("it was opened")
    assert caught.value.response.status_code == 403
    async with client.connect("/ws/evaluate-response", origin=server.url) as socket:
        await socket.send(json.dumps({"task_id": "good", "response": "x"}))
        assert json.loads(await socket.recv())["data"] == RESULT


async def test_a_version_that_is_asked_for_is_refused_and_not_ignored(server, vals):
    client = vals.ValsClient(f"{server.url}/b/bench", {"X-Benchmark-Dataset-Version": "1"})
    async with client.connect("/ws/evaluate-response") as socket:
        await socket.send(json.dumps({"task_id": "good", "response": "x"}))
        said = json.loads(await socket.recv())
    assert said == {"type": "error", "data": "Dataset version selection is not supported", "status_code": 400}


async def test_docker_is_refused_by_the_code_that_clients_know(bench, vals):
    with pytest.raises(vals.StreamClosed) as caught:
        await bench.setup_task("good", "x", sandbox_provider={"type": "docker"})
    assert (caught.value.code, caught.value.reason) == (1008, "Docker sandboxes are disabled on this service")


async def test_silence_is_broken_and_pings_are_answered(bench):
    async with bench.connect("/ws/evaluate-response") as socket:
        await socket.send(json.dumps({"task_id": "good", "response": "sleep"}))
        await asyncio.wait_for(await socket.ping(), 30)
        chunks = [json.loads(text) async for text in socket]
    assert len(chunks) >= 3
    assert all("still runs after" in chunk["data"] for chunk in chunks[:-1])
    assert chunks[-1] == {"type": "result", "data": RESULT}


async def begun(bench, path, frame):
    """Send a frame, and hang up when the hook waits; return the id by which it can be looked up, if it was said."""
    async with bench.connect(path) as socket:
        await socket.send(json.dumps(frame))
        async for text in socket:
            if "waiting" in json.loads(text)["data"]:
                return


async def test_who_hangs_up_loses_no_evaluation_and_joins_it_by_the_same_frame(bench, box):
    frame = {"task_id": "slow", "instance_id": box.id, "dataset": None}
    await begun(bench, "/ws/evaluate-instance", frame)
    box.put("work/done", "done")
    async with bench.connect("/ws/evaluate-instance") as first, bench.connect("/ws/evaluate-instance") as second:
        await first.send(json.dumps(frame))
        await second.send(json.dumps(frame))
        assert "still runs" in json.loads(await first.recv())["data"]
        box.put("work/go", "")
        for socket in (first, second):
            assert json.loads([text async for text in socket][-1]) == {"type": "result", "data": RESULT}
    assert (box.files / "work/times").read_text() == "1"
    box.put("work/done", "undone")
    assert await bench.evaluate_instance("slow", box.id) == RESULT
    assert "was judged before" in bench.messages[0]
    assert (await bench.evaluate_instance("slow", box.id, run_id="again"))["score"] == 0.0
    assert (box.files / "work/times").read_text() == "2"


async def test_a_setup_goes_on_when_its_client_hangs_up(bench, box):
    await begun(bench, "/ws/setup-task", {"task_id": "slow", "instance_id": box.id})
    box.put("work/go", "")
    end = time.monotonic() + 30
    while not (box.files / "work/set-up").exists():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_an_evaluation_goes_on_from_its_state_when_the_host_is_killed(tmp_path, plugins_here, vals):
    frame = {"task_id": "good", "response": "state, then hang"}
    with serving(tmp_path, "--only", "bench", plugins=[plugins_here]) as server:
        async with vals.ValsClient(f"{server.url}/b/bench").connect("/ws/evaluate-response") as socket:
            await socket.send(json.dumps(frame))
            assert json.loads(await socket.recv()) == {"type": "eval_resume_state", "data": {"count": 5}}
            await is_kept(server.state)
            server.kill()
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
    with serving(tmp_path, "--only", "bench", plugins=[plugins_here]) as server:
        client = vals.ValsClient(f"{server.url}/b/bench", known=vals.LATER)
        assert (await client.stream("/ws/evaluate-response", frame))["metrics"] == {"count": 5.0}


async def is_kept(state):
    end = time.monotonic() + 30
    while True:
        with contextlib.closing(sqlite3.connect(state / "benchhost.db")) as database:
            if database.execute("SELECT count(*) FROM resume_state").fetchone() == (1,):
                return
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_client_that_reads_nothing_holds_nobody_up(bench, vals):
    async with bench.connect("/ws/evaluate-response", max_queue=1) as deaf:
        await deaf.send(json.dumps({"task_id": "talks", "response": "lines:300000"}))  # 33 MB, and nobody reads
        other = vals.ValsClient(bench.url.replace("ws://", "http://"))
        assert await other.evaluate_response("talks", "lines:300000") == RESULT
        lines = 0
        async for text in deaf:
            chunk = json.loads(text)
            lines += chunk["data"].count("\n") + 1 if chunk["type"] == "message" else 0
        assert chunk["type"] == "result", "it is told the end, and how much was left out"
        assert lines < 300_000


async def test_more_sockets_than_may_be_are_told_to_come_back(bench, vals):
    frame = json.dumps({"task_id": "slow", "response": "x"})
    sockets = [await bench.connect("/ws/evaluate-response") for _ in range(150)]
    try:
        with pytest.raises(vals.StreamClosed) as caught:
            await bench.stream("/ws/evaluate-response", None)
        assert caught.value.code == 1013
    finally:
        for socket in sockets:
            await socket.send(frame)
            await socket.close()
    assert await bench.evaluate_response("good", "afterwards") == RESULT


async def test_where_as_many_run_as_may_a_client_is_told_to_come_back_and_ours_does(
    tmp_path, plugins_here, vals, make_client, monkeypatch
):
    refused, pause = asyncio.Event(), Transport.pause

    async def noted(self, request, error, tried):
        assert isinstance(error, HostBusy), error
        refused.set()
        await pause(self, request, error, tried)

    monkeypatch.setattr(Transport, "pause", noted)
    monkeypatch.setattr(streams, "COME_BACK", 0.05)
    flags = ["--only", "bench", "--sandbox", "folders", "--allow-sandboxes", "--max-running", "1", "--max-queued", "0"]
    with serving(tmp_path, *flags, plugins=[plugins_here]) as server:
        box = box_of(server, make_client)
        bench = vals.ValsClient(f"{server.url}/b/bench", known=vals.LATER)
        async with (
            bench.connect("/ws/evaluate-instance") as first,
            Client(server.url, "bench", retries=Retries(times=1000)) as client,
        ):
            await first.send(json.dumps({"task_id": "slow", "instance_id": box.id}))
            assert json.loads(await first.recv())["data"].startswith("looking at it")
            with pytest.raises(vals.StreamClosed) as caught:
                await bench.resume_evaluation("good", {"count": 1})
            said = "The benchmark bench has 1 evaluations running or waiting; retry later."
            assert (caught.value.code, caught.value.reason) == (1013, said)
            ours = asyncio.create_task(client.watch_response("good", None, resume_state={"count": 1}))
            await refused.wait()
            box.put("work/go", "")
            assert (await ours).result["metrics"] == {"count": 1.0}


KEY = "key-of-this-host-0123456789"


async def test_who_is_not_let_in_is_told_by_the_code_of_the_close(tmp_path, plugins_here, vals):
    with serving(tmp_path, "--only", "text", plugins=[plugins_here], environ={"BENCHMARK_API_KEY": KEY}) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            for name in ("text", "nope"):
                with pytest.raises(vals.StreamClosed) as caught:
                    await vals.ValsClient(f"{server.url}/b/{name}", headers).evaluate_response("good", "x")
                assert (caught.value.code, caught.value.reason) == (1008, "Unauthorized")
        client = vals.ValsClient(f"{server.url}/b/text", {"Authorization": f"Bearer {KEY}"})
        assert await client.evaluate_response("good", "x") == RESULT
