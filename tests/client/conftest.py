"""The services that the client talks to: a real host, and a double of what is not ours."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from benchhost.client import Retries
from benchhost.testing import install_plugin, serving

TOKEN = "a-token-of-the-tests"

PETS = """
from benchhost import Benchmark, Public, Response, Result, Task


class Pet(Task, kw_only=True):
    legs: Public[int] = 4
    answer: str = "hidden"


class Plugin(Benchmark[Pet]):
    version = "7"

    def load_datasets(self):
        return {
            "default": [Pet(id=f"pet-{n}", question="Which?", timeout=9.0 if n else None) for n in range(5)],
            "many": [Pet(id=f"pet number {n} & its name/ü", question="?") for n in range(2000)],
        }

    def evaluate_response(self, task, response):
        if response.text == "raise":
            raise ValueError("the hidden cause")
        return Result(score=float(response.text == task.answer), metrics={"length": len(response.text)})
"""

UNLISTED = """
from benchhost import Benchmark, Result, Task


class Plugin(Benchmark[Task]):
    listed = False

    def load_datasets(self):
        return {"default": [Task(id="one", question="?")]}

    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """A real host with a token, of arithmetic and of two benchmarks of the tests."""
    plugins = tmp_path_factory.mktemp("plugins")
    install_plugin(plugins, "pets", PETS)
    install_plugin(plugins, "unlisted", UNLISTED)
    environ = {"BENCHMARK_API_KEY": TOKEN}
    state = tmp_path_factory.mktemp("state")
    with serving(state, "--only", "arithmetic,pets,unlisted", plugins=[plugins], environ=environ) as running:
        yield running.url


@pytest.fixture(scope="session")
def token():
    return TOKEN


@pytest.fixture(scope="session")
def quick():
    """Retries without long waits."""
    return Retries(first=0.001, longest=0.01)


class Service:
    """Another implementation of the contract: the seed's routes, spelled as the seed spells them, and no others.

    Without ``v1`` there is nothing below /v1, as in its newest version. ``first`` are handlers that answer
    the first requests of a path in the place of the service. ``requests`` is every request that came, as
    (method, path, headers, body).
    """

    def __init__(self):
        self.v1 = True
        self.first = {}
        self.requests = []
        self.url = ""

    def seen(self, path):
        return [body for _, where, _, body in self.requests if where == path]

    async def answer(self, request):
        body = await request.text()
        self.requests.append((request.method, request.path, request.headers, json.loads(body) if body else None))
        if self.first.get(request.path):
            return await self.first[request.path].pop(0)(request)
        routes = {
            ("GET", "/health"): self.health,
            ("GET", "/verify-task-ids"): self.verify_task_ids,
            ("POST", "/evaluate-response/"): self.evaluate_response,
            ("POST", "/final-score/"): self.final_score,
        }
        if self.v1:
            routes["POST", "/v1/evaluate"] = self.evaluate
            routes["GET", "/v1/datasets/default/tasks"] = self.unlisted
        route = routes.get((request.method, request.path))
        if route is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        return await route(request)

    async def health(self, request):
        return web.json_response({"status": "ok"})

    async def verify_task_ids(self, request):
        return web.json_response({"task_ids": request.query.getall("task_ids", ["a", "b", "c"])})

    async def evaluate_response(self, request):
        said = await request.json()
        if said["task_id"] == "broken":
            return web.json_response({"detail": "Internal server error"}, status=500)
        return web.json_response({"pass_percentage": 100.0 if said["response"] == "right" else 0.0})

    async def evaluate(self, request):
        said = await request.json()
        if said["task_id"] == "unknown":
            return web.json_response({"detail": "Task not found: unknown"}, status=404)
        await asyncio.sleep(0.001)
        return web.json_response(
            {
                "run_id": said["run_id"],
                "task_id": said["task_id"],
                "status": "evaluated",
                "evaluator_version": None,
                "result": {"pass_percentage": 100.0 if said["payload"]["data"] == "right" else 0.0},
                "errors": [],
                "of a later version": True,
            }
        )

    async def unlisted(self, request):
        detail = "Service.list_tasks must explicitly map internal tasks to V1Task"
        return web.json_response({"detail": detail}, status=501)

    async def final_score(self, request):
        results = (await request.json())["evaluation_results"]
        given = [result["pass_percentage"] if result else 0.0 for result in results.values()]
        return web.json_response(
            {"tasks_evaluated": list(results), "final_score": sum(given) / len(given), "metadata": None}
        )


@asynccontextmanager
async def running(answer):
    """Serve with a function from request to response; yield the URL."""
    server = web.Server(answer, handler_cancellation=True)  # when the client hangs up
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def service():
    """A foreign service that runs."""
    made = Service()
    async with running(made.answer) as made.url:
        yield made


@pytest.fixture(scope="session")
def serve():
    """Serve with a function from request to response, in a block that is given the URL."""
    return running


@pytest.fixture(scope="session")
def refusing():
    """A URL at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"
