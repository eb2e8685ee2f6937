"""Sandboxes of the host that callers have: whose they are, and what can be done with them over HTTP."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from benchhost.server.bodies import TIMES
from benchhost.testing import install_plugin, serving
from benchhost.testing.server import RunningServer

TENANTS = """
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark[Task]):
    def load_datasets(self):
        return {"default": [Task(id="good", question="?")]}

    async def evaluate_instance(self, task, sandbox):
        return Result(score=1.0)
"""

KEY = "key-of-this-host-0123456789"


@pytest.fixture(scope="module")
def here(tmp_path_factory, folders):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "tenants", TENANTS)
    folders.install(folder)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, here):
    flags = ["--only", "tenants", "--sandbox", "folders", "--allow-sandboxes", "--max-sandboxes-per-tenant", "3"]
    flags += ["--sandbox-images", "x,none,dir:*"]
    with serving(tmp_path_factory.mktemp("state"), *flags, "--max-body-mb", "1", plugins=[here]) as running:
        yield running


@pytest.fixture
def client(server, make_documented_client):
    client = make_documented_client(server.url)
    yield client
    for sandbox in client.get("/v1/sandboxes").json["sandboxes"]:
        client.request("DELETE", f"/v1/sandboxes/{sandbox['id']}")


def make_key(state, tenant):
    command = [sys.executable, "-m", "benchhost", "keys", "create", "--tenant", tenant, "--state", str(state)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make(client, **what):
    answer = client.post("/v1/sandboxes", what)
    assert answer.status == 201, answer
    return answer.json["id"]


def run(client, id_, command, **more):
    answer = client.post(f"/v1/sandboxes/{id_}/exec", {"command": command, **more})
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/jsonl"
    *said, last = map(json.loads, answer.body.splitlines())
    return {
        kind: b"".join(base64.b64decode(each["data"]) for each in said if each["type"] == kind)
        for kind in ("stdout", "stderr")
    } | {"end": last}


def test_a_sandbox_is_made_listed_shown_and_deleted(client, server: RunningServer):
    answer = client.post("/v1/sandboxes", {"image": "x", "labels": {"for": "me"}})
    told = answer.json
    assert (told["provider"], told["state"], told["image"], told["labels"]) == (
        "folders",
        "running",
        "x",
        {"for": "me"},
    )
    assert told["id"].startswith("folders:")
    assert client.get("/v1/sandboxes").json == {"sandboxes": [told]}
    assert client.get(f"/v1/sandboxes/{told['id']}").json == told
    assert client.request("DELETE", f"/v1/sandboxes/{told['id']}").status == 204
    assert client.get(f"/v1/sandboxes/{told['id']}").status == 404
    assert client.get("/v1/sandboxes").json == {"sandboxes": []}


def test_a_command_says_both_outputs_and_how_it_ended(client):
    id_ = make(client)
    done = run(client, id_, 'cat; printf "\\377" >&2; echo $WORD; exit 3', stdin="given ", env={"WORD": "said"})
    assert (done["stdout"], done["stderr"]) == (b"given said\n", b"\xff")
    assert (done["end"]["type"], done["end"]["code"], done["end"]["reason"]) == ("exited", 3, "exited")
    assert run(client, id_, ["echo", "a  b"])["stdout"] == b"a  b\n"
    assert run(client, id_, "sleep 60", timeout=0.2)["end"]["reason"] == "timeout"
    assert run(client, id_, "yes", max_output=1000)["end"]["reason"] == "output_limit"


def test_a_file_has_its_part_of_the_room_for_bodies_until_it_is_written(client):
    id_ = make(client)

    def write(name: str) -> int:
        return client.request("PUT", f"/v1/sandboxes/{id_}/files", b"x" * (1024 * 1024), path=f"/tmp/{name}").status

    with ThreadPoolExecutor() as threads:
        writing = [threads.submit(write, "written slowly") for _ in range(TIMES)]
        time.sleep(1.0)
        assert write("one too many") == 429
        assert [each.result() for each in writing] == [204] * TIMES
    assert write("one more") == 204


def test_what_a_command_says_is_heard_while_it_runs_and_who_hangs_up_ends_it(client, server: RunningServer):
    id_ = make(client)
    files = server.state / "sandboxes" / id_.partition(":")[2] / "files"
    body = json.dumps({"command": "echo begun; sleep 1; echo x > a; sleep 60"}).encode()
    with client.open("POST", f"/v1/sandboxes/{id_}/exec", body, {"content-type": "application/json"}) as response:
        assert base64.b64decode(json.loads(response.readline())["data"]) == b"begun\n"
        assert not (files / "a").exists(), "it still sleeps"
    time.sleep(1.5)
    assert not (files / "a").exists(), "it was ended"


def test_a_file_is_written_and_read_as_bytes(client):
    id_ = make(client)
    content = bytes(range(256)) * 100
    files = f"/v1/sandboxes/{id_}/files"
    assert client.request("PUT", files, content, path="/a/b c", mode="755").status == 204
    answer = client.get(files, path="/a/b c")
    assert (answer.status, answer.body) == (200, content)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert run(client, id_, "test -x 'a/b c'")["end"]["code"] == 0
    assert client.get(files, path="/nope").status == 422
    assert client.get(files, path="/../../../../etc/passwd").status == 422
    assert client.get(files).status == 422
    assert client.request("PUT", files, b"", path="/x", mode="999").status == 422
    for size in (1024 * 1024 + 1, 50_000_000):
        assert client.request("PUT", files, b"x" * size, path="/x").status == 413


@pytest.mark.parametrize(
    "body, status",
    [
        ({"image": "x", "snapshot": "y"}, 422),
        ({"imgae": "x"}, 422),
        ({"image": "none"}, 422),
        ({"image": "secret"}, 422),
        ({"snapshot": "secret"}, 422),
        ({"image": "dir:/etc"}, 422),
        ({"image": "oci:/var/lib/images/some.tar"}, 422),
        ({"resources": {"memory": 33}}, 422),
        ({"resources": {"disk": 0}}, 422),
        ({"lifetime": 0}, 422),
        ({"lifetime": None}, 422),
        ({"lifetime": 604801}, 422),
        ({"labels": {"benchhost-owner": "x"}}, 422),
        (b"{", 422),
    ],
)
def test_what_cannot_be_made_is_refused(body, status, client):
    answer = client.post("/v1/sandboxes", body)
    assert answer.status == status, answer
    assert client.get("/v1/sandboxes").json == {"sandboxes": []}


def test_a_body_that_a_page_of_another_site_may_send_is_not_taken(client):
    assert client.request("POST", "/v1/sandboxes", b"{}", {"content-type": "text/plain"}).status == 422
    id_ = make(client)
    body = b'{"command": "true"}'
    assert client.request("POST", f"/v1/sandboxes/{id_}/exec", body, {"content-type": "text/plain"}).status == 422


def test_there_is_a_limit_for_each_tenant(client):
    for _ in range(3):
        make(client)
    answer = client.post("/v1/sandboxes", {})
    assert answer.status == 429
    assert "3 sandboxes" in answer.detail
    assert int(answer.headers["retry-after"]) > 0


def test_the_limit_holds_for_who_asks_many_times_at_once(server, client, make_documented_client):
    clients = [make_documented_client(server.url) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda each: each.post("/v1/sandboxes", {}).status, clients))
    assert set(statuses) <= {201, 429}
    assert len(client.get("/v1/sandboxes").json["sandboxes"]) == statuses.count(201) <= 3


def test_an_id_that_is_nobodys_is_unknown(client):
    for path in ("/v1/sandboxes/folders:nope", "/v1/sandboxes/nope", "/v1/sandboxes/folders:..", "/v1/sandboxes/.."):
        assert client.get(path).status == 404


def test_they_are_off_unless_the_operator_allows_them(tmp_path, here, make_client):
    with serving(tmp_path, "--only", "tenants", "--sandbox", "folders", plugins=[here]) as server:
        client = make_client(server.url)
        for method, path in (("GET", ""), ("GET", "/folders:x"), ("DELETE", "/folders:x")):
            answer = client.request(method, f"/v1/sandboxes{path}")
            assert answer.status == 403
            assert "--allow-sandboxes" in answer.detail
        assert client.post("/v1/sandboxes", {}).status == 403
        assert not (server.state / "sandboxes").exists(), "nothing is opened that nobody may use"


PLACE = "/work"

JOURNEY = """
from benchhost import Benchmark, Environment, Result, Task
from benchhost.sandbox import stream_command

PLACE = "/work"

class Sum(Task, kw_only=True):
    test: str

class Plugin(Benchmark[Sum]):
    accepted_submission_schemas = {"text": {"python"}}

    def load_datasets(self):
        test = "from total import total; assert total([1, 2, 3]) == 6"
        return {"default": [Sum(id="sum", question="Write total.py.", test=test)]}

    def retrieve_task(self, task):
        return Environment(image="host", problem_path=f"{PLACE}/problem.md", cwd=PLACE)

    async def setup_task(self, task, sandbox):
        await sandbox.write(f"{PLACE}/problem.md", task.question.encode())
        async for message in stream_command(sandbox, "ls", cwd=PLACE):
            yield message

    async def evaluate_instance(self, task, sandbox):
        await sandbox.write(f"{PLACE}/test.py", task.test.encode())
        return Result(score=float((await sandbox.run("python3 test.py", cwd=PLACE)).ok))

    async def place_submission(self, task, submission, sandbox):
        await sandbox.write(f"{PLACE}/total.py", submission.data)
"""


def test_the_whole_journey_is_made_in_sandboxes_of_this_machine(tmp_path, make_client, vals):
    install_plugin(tmp_path / "plugins", "journey", JOURNEY)
    flags = ["--only", "journey", "--allow-sandboxes"]
    with serving(tmp_path / "state", *flags, plugins=[tmp_path / "plugins"]) as server:
        client = make_client(server.url)
        agent = vals.ValsClient(f"{server.url}/b/journey")
        told = client.get("/b/journey/retrieve-task", task_id="sum").json
        id_ = make(client, image=told["docker_image"], cwd=told["cwd"])
        assert anyio.run(agent.setup_task, "sum", id_) == {"status": "ok"}
        assert agent.messages == ["problem.md"]
        assert run(client, id_, "cat problem.md")["stdout"] == b"Write total.py."
        work = {"path": f"{PLACE}/total.py"}
        assert client.request("PUT", f"/v1/sandboxes/{id_}/files", b"total = sum\n", **work).status == 204
        result = anyio.run(agent.evaluate_instance, "sum", id_)
        assert result["score"] == 1.0
        payload = {"type": "text", "schema": "python", "data": "total = max\n"}
        body = {"run_id": "r", "task_id": "sum", "payload": payload}
        submitted = client.post("/b/journey/v1/evaluate", body).json
        assert (submitted["status"], submitted["result"]["score"]) == ("evaluated", 0.0)
        final = client.post("/b/journey/final-score", {"evaluation_results": {"sum": result}}).json
        assert final["final_score"] == 1.0
        assert [each["id"] for each in client.get("/v1/sandboxes").json["sandboxes"]] == [id_]
        assert client.request("DELETE", f"/v1/sandboxes/{id_}").status == 204


def test_a_tenant_sees_and_uses_nothing_of_another(tmp_path, here, make_client, vals):
    allowlist = {"tenants": {name: {"datasets": ["default"]} for name in ("one", "two")}}
    state = tmp_path / "state"
    flags = ["--only", "tenants", "--sandbox", "folders", "--allow-sandboxes", "--auth", "keys"]
    environ = {"BENCHHOST_ALLOWLIST_JSON": json.dumps(allowlist)}
    keys = {name: make_key(state, name) for name in ("one", "two")}
    with serving(state, *flags, plugins=[here], environ=environ) as server:
        clients = {name: make_client(server.url, {"authorization": f"Bearer {key}"}) for name, key in keys.items()}
        id_ = make(clients["one"])
        assert make_client(server.url).get(f"/v1/sandboxes/{id_}").status == 401
        other = clients["two"]
        assert other.get("/v1/sandboxes").json == {"sandboxes": []}
        assert other.get(f"/v1/sandboxes/{id_}").status == 404
        assert other.request("DELETE", f"/v1/sandboxes/{id_}").status == 404
        assert other.post(f"/v1/sandboxes/{id_}/exec", {"command": "true"}).status == 404
        assert other.get(f"/v1/sandboxes/{id_}/files", path="/x").status == 404
        assert other.request("PUT", f"/v1/sandboxes/{id_}/files", b"x", path="/x").status == 404

        def evaluate(name):
            client = vals.ValsClient(f"{server.url}/b/tenants", {"Authorization": f"Bearer {keys[name]}"})
            return anyio.run(client.evaluate_instance, "good", id_)

        with pytest.raises(vals.BenchmarkServiceError, match="No such sandbox is yours"):
            evaluate("two")
        assert evaluate("one")["score"] == 1.0
        assert clients["one"].get(f"/v1/sandboxes/{id_}").status == 200
