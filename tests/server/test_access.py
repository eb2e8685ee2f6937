"""Who is let in."""

from __future__ import annotations

import pytest

from benchhost.testing import install_plugin, serving

KEY = "key-of-this-host-0123456789"

SELECTIVE = '''
from benchhost import Benchmark, Error, Result, Task
from benchhost.errors import UnknownTask


class Plugin(Benchmark[Task]):
    """Who may call is said by a header."""

    def load_datasets(self):
        return {"default": [Task(id="t", question="?")]}

    def evaluate_response(self, task, response):
        return Result(score=1.0)

    async def check_auth(self, headers):
        says = headers.get("x-says")
        if says == "raise":
            raise PermissionError("the hidden list of keys")
        if says == "refuse":
            raise UnknownTask("the hidden list of keys")
        if says == "exit":
            raise SystemExit(0)
        answers = {"yes": True, "one": 1, "text": "yes", "nothing": None, "error": Error("no")}
        return answers.get(says, False)
'''

PUBLIC = ["/health", "/health/", "/b/q/health", "/b/q/version", "//b//q//version/", "/b/own/health"]
CLOSED = [
    "/",
    "/nope",
    "/v1/plugins",
    "/openapi.json",
    "/version",
    "/b/q/verify-task-ids",
    "/b/q/v1/datasets/default/tasks",
    "/b/q/nope",
    "/b/q/health/nope",
    "/b/nope/verify-task-ids",
    "/b/q/..%2f..%2fhealth/x",
    "/b/",
]


@pytest.fixture(scope="module", params=["BENCHMARK_API_KEY", "BENCHHOST_API_KEY", "benchhost.toml"])
def closed(request, tmp_path_factory, plugins, make_client):
    """A server with an API key, set in each of the ways, and a benchmark that decides for itself."""
    own = tmp_path_factory.mktemp("own")
    install_plugin(own, "own", SELECTIVE)
    state = tmp_path_factory.mktemp("closed")
    flags, environ = ["--only", "q,own"], {}
    if request.param == "benchhost.toml":
        (state / "benchhost.toml").write_text(f'api_key = "{KEY}"\n')
        flags += ["--config", str(state / "benchhost.toml")]
    else:
        environ[request.param] = KEY
    with serving(state, *flags, plugins=[plugins, own], environ=environ) as running:
        client = make_client(running.url)
        client.server = running
        yield client


def bearer(key=KEY):
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", PUBLIC)
def test_health_and_version_need_no_key(closed, path):
    assert closed.get(path).status == 200


@pytest.mark.parametrize("path", CLOSED)
def test_everything_else_needs_the_key_whether_it_is_there_or_not(closed, path):
    answer = closed.get(path)
    assert (answer.status, answer.detail) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_body_is_not_looked_at_before_the_key(closed):
    assert closed.post("/b/q/v1/evaluate", b"nonsense").status == 401
    assert closed.request("DELETE", "/b/q/v1/evaluate").status == 401
    assert closed.request("OPTIONS", "/b/q/v1/evaluate").status == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f"Bearer  {KEY}",
        f"Bearer {KEY} {KEY}",
        "Bearer ü",
    ],
)
def test_a_wrong_credential_is_none(closed, header):
    answer = closed.request("GET", "/v1/plugins", headers={"authorization": header.encode()})
    assert (answer.status, answer.detail) == (401, "Unauthorized")


@pytest.mark.parametrize("where", ["?authorization=Bearer%20{key}", "?api_key={key}"])
def test_a_key_in_the_url_is_none(closed, where):
    assert closed.get("/v1/plugins" + where.format(key=KEY)).status == 401


def test_with_the_key_everything_is_as_without_one(closed):
    assert closed.request("GET", "/v1/plugins", headers=bearer()).status == 200
    assert closed.request("GET", "/b/q/verify-task-ids", headers=bearer()).status == 200
    assert closed.request("GET", "/nope", headers=bearer()).status == 404
    assert closed.request("GET", "/b/nope/health", headers=bearer()).status == 404
    assert closed.post("/b/q/evaluate-response", {"task_id": "q1", "response": "2"}, bearer()).json["score"] == 1.0


def test_the_document_says_which_routes_need_the_key(closed):
    document = closed.request("GET", "/openapi.json", headers=bearer()).json
    assert document["components"]["securitySchemes"] == {"bearer": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            public = path.endswith(("/health", "/version")) or path in ("/v1/receipts/key", "/v1/uploads")
            own = path.startswith("/b/own/")
            assert ("security" in operation) == (not public and not own), path
            assert ("401" in operation["responses"]) == (not public), path


def test_a_benchmark_may_decide_for_itself_who_may_call(closed):
    path = "/b/own/v1/datasets/default/tasks"
    assert closed.request("GET", path, headers={"x-says": "yes"}).status == 200
    for headers in ({}, {"x-says": "no"}, bearer()):
        answer = closed.request("GET", path, headers=headers)
        assert (answer.status, answer.detail) == (401, "Unauthorized")


@pytest.mark.parametrize("says", ["raise", "refuse", "exit", "one", "text", "nothing", "error"])
@pytest.mark.parametrize("path", ["/b/own/v1/datasets/default/tasks", "/b/own/nope"])
def test_a_check_that_fails_lets_nobody_in(closed, says, path):
    answer = closed.request("GET", path, headers={"x-says": says})
    assert (answer.status, answer.detail) == (500, "Internal server error")
    assert b"hidden" not in answer.body


def test_what_a_benchmark_decides_is_about_its_own_paths(closed):
    assert closed.request("GET", "/b/q/verify-task-ids", headers={"x-says": "yes"}).status == 401
    assert closed.request("GET", "/v1/plugins", headers={"x-says": "yes"}).status == 401
    assert closed.request("GET", "/b/own%2f..%2fq/verify-task-ids", headers={"x-says": "yes"}).status == 404
    assert closed.request("GET", "/b/%6fwn/verify-task-ids").status == 401
    assert closed.request("GET", "/b/%256fwn/verify-task-ids").status == 401


def test_the_key_is_never_logged(closed):
    closed.request("GET", "/v1/plugins", headers=bearer())
    closed.request("GET", f"/{KEY}", headers=bearer())
    closed.request("GET", "/b/own/nope", headers={"x-says": "raise", **bearer()})
    assert closed.post("/b/q/v1/evaluate", {"run_id": KEY}, bearer()).status == 422
    said = closed.server.said()
    assert "Traceback" in said
    assert KEY not in said
    assert "no API key is set" not in said


def test_an_open_host_says_at_its_start_what_is_not_enforced(server):
    assert "no API key is set: everybody who can reach this server may submit to every benchmark" in server.said()
