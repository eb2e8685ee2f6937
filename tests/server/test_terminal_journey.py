"""The journey of a client of create-benchmark-service through the terminal: set up, worked in, judged, scored."""

from __future__ import annotations

import anyio
import anyio.to_thread
import pytest
from daytona_double import KEY, Double

from benchhost.contract import SandboxSpec
from benchhost.sandbox.daytona import DaytonaProvider, close_clients
from benchhost.sandbox.local.provider import LocalProvider
from benchhost.testing import serving
from benchhost_terminal import CWD
from benchhost_terminal.jobs import jobs

pytestmark = pytest.mark.anyio

JOBS = {job.id: job for job in jobs()}
DONE, NOT_DONE = "nested-archive", "merge-configs"


@pytest.fixture(scope="module")
async def double(tmp_path_factory):
    local = await LocalProvider.open({"folder": str(tmp_path_factory.mktemp("local"))})
    async with Double(local).running() as double:
        yield double
        await close_clients()
    await local.aclose()


@pytest.fixture(scope="module")
def server(tmp_path_factory, double):
    flags = ["--only", "terminal", "--allow-sandboxes", "--daytona-hosts", double.url]
    with serving(tmp_path_factory.mktemp("state"), *flags) as running:
        yield running


def told(answer):
    assert answer.status < 300, answer
    return answer.json


async def journey(server, make_client, client, make, work):
    """Do one job and leave another alone; return the answer of the final score."""
    host = make_client(server.url)
    results = {}
    for job in (JOBS[DONE], JOBS[NOT_DONE]):
        task = told(await anyio.to_thread.run_sync(host.get, f"/b/terminal/retrieve-task/?task_id={job.id}"))
        assert (task["cwd"], task["agent_timeout"]) == (CWD, job.timeout)
        sandbox = await make(task)
        assert await client.setup_task(job.id, sandbox) == {"status": "ok"}
        if job.id == DONE:
            await work(sandbox, job.solution, task["cwd"])
        results[job.id] = await client.evaluate_instance(job.id, sandbox)
        assert client.messages[-1].startswith(f"check {len(job.checks)} of {len(job.checks)}: ")
    assert (results[DONE]["score"], results[DONE]["passed"]) == (1.0, True)
    assert (results[NOT_DONE]["score"], results[NOT_DONE]["feedback"]) == (0.5, "1 of 2 checks passed")
    body = {"evaluation_results": results}
    return told(await anyio.to_thread.run_sync(host.post, "/b/terminal/final-score/", body))


async def test_without_an_account_it_runs_in_sandboxes_of_the_host(server, make_client, vals):
    host = make_client(server.url)

    async def make(task):
        spec = {"image": task["source"]["image"]}
        return told(await anyio.to_thread.run_sync(host.post, "/v1/sandboxes", spec))["id"]

    async def work(sandbox, script, cwd):
        command = {"command": script, "cwd": cwd}
        told(await anyio.to_thread.run_sync(host.post, f"/v1/sandboxes/{sandbox}/exec", command))

    final = await journey(server, make_client, vals.ValsClient(f"{server.url}/b/terminal"), make, work)
    assert (final["final_score"], final["tasks_evaluated"]) == (0.75, [DONE, NOT_DONE])


async def test_with_an_account_it_runs_at_daytona(server, double, make_client, vals):
    credentials = {"x-api-key": KEY, "x-api-url": f"{double.url}/api", "x-target": "eu"}
    provider = await DaytonaProvider.open({"api_key": KEY, "api_url": f"{double.url}/api", "target": "eu"})

    async def make(task):
        return (await provider.create(SandboxSpec())).id

    async def work(sandbox, script, cwd):
        done = await (await provider.get(sandbox)).run(script, cwd=cwd)
        assert done.ok, done

    client = vals.ValsClient(f"{server.url}/b/terminal", credentials)
    final = await journey(server, make_client, client, make, work)
    assert final["final_score"] == 0.75
    await provider.aclose()


async def test_a_script_that_is_submitted_is_judged_in_a_fresh_sandbox(server, make_client):
    host = make_client(server.url)
    for script, score in ((JOBS[DONE].solution, 1.0), ("echo nothing", 0.0)):
        body = {
            "run_id": f"r{score}",
            "task_id": DONE,
            "payload": {"type": "text", "schema": "script", "data": script},
        }
        answer = told(await anyio.to_thread.run_sync(host.post, "/b/terminal/v1/evaluate", body))
        assert answer["status"] == "evaluated", server.said()
        assert answer["result"]["score"] == score
