"""`benchhost run --host` of a benchmark that is done in sandboxes: where both the host and the command reach them."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from anyio.from_thread import start_blocking_portal
from daytona_double import KEY, Double

from benchhost.sandbox.daytona import DaytonaProvider, close_clients
from benchhost.sandbox.local.provider import LocalProvider
from benchhost.testing import install_plugin, serving
from benchhost_terminal.jobs import jobs

DONE, NOT_DONE = "nested-archive", "merge-configs"
PLACE = "/work"
PROBLEM, ANSWER = f"{PLACE}/problem.txt", f"{PLACE}/answer"
ASKED = f"Write hello into {ANSWER}."
SOLUTION = next(job.solution for job in jobs() if job.id == DONE)
CONTRACT = """
name: asker
install_cmd: test -f more/solution.sh
run_cmd: python3 /bundle/asker/agent.py {problem_statement_path} {task_id} {model}
"""
AGENT = f"""
import json, os, subprocess, sys
from urllib.request import Request, urlopen

problem, task, model = sys.argv[1:]
asked = json.dumps({{"model": model, "messages": [{{"role": "user", "content": open(problem).read()}}]}})
headers = {{"Content-Type": "application/json"}}
answer = json.load(urlopen(Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", asked.encode(), headers)))
assert answer["choices"][0]["message"]["content"] == open(problem).read()
print("asked", flush=True)
if task == "{DONE}":
    subprocess.run(["sh", "/bundle/asker/more/solution.sh"], check=True)
"""

ASKS = """
from benchhost import Benchmark, Environment, Result, Task

PLACE = "/work"

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="one", question="What?")]}

    def retrieve_task(self, task):
        return Environment(image="host", problem_path=f"{PLACE}/problem", cwd=PLACE)

    async def evaluate_instance(self, task, sandbox):
        return Result(score=float(await sandbox.read(f"{PLACE}/copy") == b"What?"))
"""


@pytest.fixture(scope="module")
def portal():
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def double(portal, tmp_path_factory):
    local = portal.call(LocalProvider.open, {"folder": str(tmp_path_factory.mktemp("local"))})
    with portal.wrap_async_context_manager(Double(local).running()) as double:
        yield double
    portal.call(local.aclose)


@pytest.fixture(scope="module")
def host(tmp_path_factory, double):
    flags = ["--only", "terminal", "--allow-sandboxes", "--daytona-hosts", double.url]
    with serving(tmp_path_factory.mktemp("host"), *flags) as running:
        yield running


@pytest.fixture(scope="module")
def host_of_images(tmp_path_factory, double):
    """Serve the same with an image that Daytona knows."""
    state = tmp_path_factory.mktemp("images")
    (state / "benchhost.toml").write_text('[benchmarks.terminal]\nimage = "debian:12-slim"\n')
    flags = ["--config", str(state / "benchhost.toml"), "--only", "terminal", "--daytona-hosts", double.url]
    with serving(state, *flags) as running:
        yield running


@pytest.fixture
def agent(tmp_path):
    folder = tmp_path / "asker"
    (folder / "more").mkdir(parents=True)
    (folder / "contract.yaml").write_text(CONTRACT)
    (folder / "agent.py").write_text(AGENT)
    (folder / "more" / "solution.sh").write_text(SOLUTION)
    return folder


@pytest.fixture
def at_daytona(state, double, monkeypatch):
    monkeypatch.setenv("BENCHHOST_SANDBOX", "daytona")
    monkeypatch.setenv("BENCHHOST_DAYTONA_HOSTS", double.url)
    monkeypatch.setenv("DAYTONA_API_KEY", KEY)
    monkeypatch.setenv("DAYTONA_API_URL", f"{double.url}/api")
    monkeypatch.setenv("DAYTONA_TARGET", "us")


def run(benchhost, host, *flags):
    said = benchhost("run", "terminal", DONE, NOT_DONE, "--host", host, "--json", "--run-id", "r", *flags)
    assert said.code == 0, said.out
    return said.json["summary"]


def test_an_agent_works_in_the_sandboxes_of_the_host_and_asks_the_model_that_stays_here(benchhost, host, agent, state):
    summary = run(benchhost, host.url, "--agent", agent, "--model", "scripted/echo")
    assert (summary["score"], summary["scored"], summary["spend"]["calls"]) == (0.75, 2, 2)
    assert (state / "runs/r" / DONE / "epoch-1/attempt-1/agent.stdout").read_text() == "asked\n"
    assert list((host.state / "sandboxes" / "sandboxes").iterdir()) == [], "none is left"


def test_a_runner_works_in_the_sandboxes_of_the_host(benchhost, host, responses):
    model = responses({DONE: f"```sh\n{SOLUTION}\n```\nDONE", NOT_DONE: "DONE"})
    assert run(benchhost, host.url, "--model", model)["score"] == 0.75


def test_an_agent_works_at_daytona_where_the_host_judges(benchhost, host_of_images, agent, at_daytona, double):
    summary = run(benchhost, host_of_images.url, "--agent", agent, "--model", "scripted/echo")
    assert (summary["score"], summary["scored"], summary["spend"]["calls"]) == (0.75, 2, 2)
    assert all(machine.state == "destroyed" for machine in double.machines.values()), "none is left"


@pytest.fixture(scope="module")
def service(portal, double):
    """A service of create-benchmark-service, as the first ones were, that judges what is done at Daytona."""
    seen = []

    async def opened(request, frame):
        headers = {name: request.headers[name] for name in ("x-api-key", "x-api-url", "x-target")}
        config = dict(zip(("api_key", "api_url", "target"), headers.values(), strict=True))
        provider = await DaytonaProvider.open(config | {"hosts": double.url})
        return provider, await provider.get(frame["instance_id"])

    def socket(work):
        async def answer(request):
            connection = web.WebSocketResponse()
            await connection.prepare(request)
            frame = await connection.receive_json()
            seen.append((request.path, frame["task_id"]))
            provider, sandbox = await opened(request, frame)
            await connection.send_json({"type": "message", "data": "at it"})
            await connection.send_json({"type": "result", "data": await work(sandbox)})
            await provider.aclose()
            await connection.close()
            return connection

        return answer

    async def set_up(sandbox):
        await sandbox.write(PROBLEM, ASKED.encode())
        return {"status": "ok"}

    async def judge(sandbox):
        return {"score": 100.0 * (await sandbox.read(ANSWER) == b"hello\n"), "resolved": True}

    async def tasks(request):
        return web.json_response({"dataset": "default", "tasks": [{"id": "a", "question": "?"}]})

    async def version(request):
        return web.json_response({"framework_version": "0.1", "service_name": "old", "service_version": "1"})

    async def retrieve(request):
        resources = {"vcpu": 1, "memory": 1, "disk": 3}
        told = {"docker_image": "python:3.12", "problem_path": PROBLEM, "cwd": PLACE}
        return web.json_response(told | {"agent_timeout": None, "resources": resources})

    async def score(request):
        given = (await request.json())["evaluation_results"]
        told = {"tasks_evaluated": ["a"], "final_score": given["a"]["score"], "metadata": {"given": given}}
        return web.json_response(told)

    @web.middleware
    async def noting(request, handler):
        credentials.append((request.path, any(KEY in value for value in request.headers.values())))
        return await handler(request)

    credentials = []
    app = web.Application(middlewares=[noting])
    app.router.add_get("/version", version)
    app.router.add_get("/v1/datasets/default/tasks", tasks)
    app.router.add_get("/retrieve-task/", retrieve)
    app.router.add_post("/final-score/", score)
    app.router.add_get("/ws/setup-task", socket(set_up))
    app.router.add_get("/ws/evaluate-instance", socket(judge))
    serving_ = web.AppRunner(app, shutdown_timeout=0.1)

    async def start():
        await serving_.setup()
        await web.TCPSite(serving_, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{serving_.addresses[0][1]}"

    yield portal.call(start), seen, credentials
    portal.call(serving_.cleanup)
    portal.call(close_clients)


@pytest.fixture
def writer(tmp_path):
    contract = tmp_path / "writer.yaml"
    contract.write_text(f"name: writer\nrun_cmd: cat {{problem_statement_path}}; echo hello > {ANSWER}\n")
    return contract


def test_another_service_is_run_against_with_sandboxes_at_daytona(
    benchhost, service, writer, state, at_daytona, double
):
    url, seen, credentials = service
    flags = ("--host", url, "--agent", writer, "--model", "scripted/echo", "--run-id", "r", "--json")
    said = benchhost("run", "old", *flags)
    assert said.code == 0, said.out
    assert said.json["summary"]["final"]["score"] == 100.0
    assert seen == [("/ws/setup-task", "a"), ("/ws/evaluate-instance", "a")]
    assert {path for path, had in credentials if had} == {path for path, _ in seen}, "no other request has them"
    told = (state / "runs/r/a/epoch-1/attempt-1/agent.stdout").read_text()
    assert told == ASKED
    assert KEY not in json.dumps(benchhost("runs", "show", "r", "--json").json)
    assert all(machine.state == "destroyed" for machine in double.machines.values())


def test_a_provider_that_there_is_not_is_not_taken_for_the_sandboxes_of_the_host(
    benchhost, host, agent, state, monkeypatch
):
    monkeypatch.setenv("BENCHHOST_SANDBOX", "daytuna")
    said = benchhost("run", "terminal", "--host", host.url, "--agent", agent, "--model", "scripted/echo")
    assert (said.code, said.out) == (2, "")
    assert "no installed provider of sandboxes is called so" in said.err


def test_where_nobody_could_reach_the_sandboxes_it_is_said_what_to_use(benchhost, service, writer, state):
    said = benchhost("run", "old", "--host", service[0], "--agent", writer, "--model", "scripted/echo")
    assert said.code == 2
    assert "cannot reach those of this machine: use Daytona" in said.err


def test_credentials_that_are_missing_are_named(benchhost, service, writer, at_daytona, monkeypatch):
    monkeypatch.delenv("DAYTONA_TARGET")
    said = benchhost("run", "old", "--host", service[0], "--agent", writer, "--model", "scripted/echo")
    assert said.code == 2
    assert "sandboxes at Daytona need the variables DAYTONA_TARGET" in said.err


def test_a_runner_of_a_benchmark_of_texts_needs_no_sandboxes(benchhost, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHHOST_SANDBOX", "daytona")
    monkeypatch.setenv("DAYTONA_API_KEY", KEY)
    with serving(tmp_path / "host", "--only", "arithmetic") as running:
        flags = ("--host", running.url, "--runner", "default", "--model", "scripted/echo", "--limit", "2", "--json")
        said = benchhost("run", "arithmetic", *flags)
    assert (said.code, said.json["summary"]["scored"]) == (0, 2), said.out


def test_a_benchmark_that_sets_nothing_up_has_its_question_put_into_the_sandbox(benchhost, tmp_path):
    install_plugin(tmp_path / "plugins", "asks", ASKS)
    (tmp_path / "copier.yaml").write_text("name: copier\nrun_cmd: cp {problem_statement_path} copy\n")
    with serving(tmp_path / "host", "--allow-sandboxes", "--only", "asks", plugins=[tmp_path / "plugins"]) as running:
        flags = ("--host", running.url, "--agent", tmp_path / "copier.yaml", "--model", "scripted/echo", "--json")
        said = benchhost("run", "asks", *flags)
    assert (said.code, said.json["summary"]["score"]) == (0, 1.0), said.out


def test_a_host_that_makes_no_sandboxes_is_named_with_what_its_operator_can_do(benchhost, tmp_path, agent):
    with serving(tmp_path / "host", "--only", "terminal") as running:
        flags = ("--host", running.url, "--agent", agent, "--model", "scripted/echo")
        said = benchhost("run", "terminal", *flags)
    assert said.code == 2
    assert "benchhost serve --allow-sandboxes" in said.err
    assert "BENCHHOST_SANDBOX=daytona" in said.err
