"""Uploads over a real server: a URL is asked for, something is put there, and submitted by its key."""

from __future__ import annotations

import base64
import copy
import hashlib
import os
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import psutil
import pytest

from benchhost.errors import SettingsError
from benchhost.server.submissions import CHANGED
from benchhost.server.uploads import check_uploads
from benchhost.settings import Settings, load
from benchhost.testing import install_plugin, serving
from benchhost.uploads import Permit, bucket

BENCH = """
import hashlib

from benchhost import Benchmark, Environment, Result, Task

PLACE = "/work"


class Plugin(Benchmark[Task]):
    accepted_submission_schemas = {"artifact": {"any"}, "text": {"any"}}

    def load_datasets(self):
        names = ("t", "u", "a b")
        return {name: [Task(id=each, question="?") for each in names] for name in ("default", "second", "odd name")}

    def retrieve_task(self, task):
        return Environment(image="python:3.11", problem_path=f"{PLACE}/problem", cwd=PLACE)

    async def place_submission(self, task, submission, sandbox):
        digest = hashlib.sha256(submission.data).hexdigest()
        await sandbox.write(f"{PLACE}/told", f"{len(submission.data)} {digest}".encode())

    async def evaluate_instance(self, task, sandbox):
        yield Result(score=1.0, feedback=(await sandbox.run("cat told", cwd=PLACE)).text)
"""

FLAGS = ["--only", "bench,other", "--sandbox", "folders", "--auth", "keys", "--workers", "2"]
LARGEST = 300_000
LIMITS = ["--max-upload-bytes", str(LARGEST), "--max-upload-mb-per-tenant", "1"]
GRANTS = {
    "acme": ["bench/default", "bench/second", "other/default"],
    "rival": ["bench/default"],
    "full": ["bench/default"],
    "a b/../c": ["bench/default"],
    "on trial": ["bench/default"],
}
MISSING = (404, "Submission artifact not found for this evaluation.")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory, folders):
    folder = tmp_path_factory.mktemp("plugins")
    install_plugin(folder, "bench", BENCH)
    install_plugin(folder, "other", BENCH)
    folders.install(folder)
    return folder


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


def benchhost(state, *arguments):
    environ = {**os.environ, "BENCHHOST_AUTH": "keys", "BENCHHOST_STATE": str(state)}
    command = [sys.executable, "-m", "benchhost", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def keys(state):
    found = {}
    for tenant, datasets in GRANTS.items():
        if tenant == "on trial":
            benchhost(state, "grant", tenant, *datasets, "--trial")
        command = ["keys", "create", "--tenant", tenant]
        command += [] if tenant == "on trial" else ["--datasets", ",".join(datasets)]
        found[tenant] = benchhost(state, *command).split()[-1]
    return found


@pytest.fixture(scope="module")
def server(state, keys, plugins):
    with serving(state, *FLAGS, *LIMITS, plugins=[plugins]) as running:
        yield running


class Caller:
    """A caller who uploads with its credential, if it has one, and puts what it uploads without any."""

    def __init__(self, client):
        self.client = client

    def url(self, filename="a.zip", *, run="r", task="t", bench="bench", headers=None, **said):
        body = {"run_id": run, "task_id": task, "filename": filename, **said}
        return self.client.post(f"/b/{bench}/v1/submissions/upload-url", body, headers)

    def put(self, url, content):
        parts = urlsplit(url)
        stranger = copy.copy(self.client)
        stranger.headers = {}
        return stranger.request("PUT", f"{parts.path}?{parts.query}", content)

    def uploaded(self, content, **where):
        told = self.url(**where).json
        answer = self.put(told["url"], content)
        assert answer.status == 200, answer
        return told["key"]

    def evaluate(self, key, *, run="r", task="t", bench="bench", dataset=None, **payload):
        payload = {"type": "artifact", "schema": "any", "data": key, **payload}
        body = {"run_id": run, "task_id": task, "payload": payload, "dataset": dataset}
        return self.client.post(f"/b/{bench}/v1/evaluate", body)


@pytest.fixture(scope="module")
def callers(server, keys, make_client, make_documented_client):
    """Each tenant as a caller, whose answers are held to the OpenAPI document where it may read it."""

    def client(tenant, key):
        make = make_client if tenant == "on trial" else make_documented_client
        return make(server.url, {"authorization": f"Bearer {key}"})

    return {tenant: Caller(client(tenant, key)) for tenant, key in keys.items()}


@pytest.fixture
def acme(callers):
    return callers["acme"]


def told_of(content):
    return f"{len(content)} {hashlib.sha256(content).hexdigest()}"


def test_what_is_uploaded_is_judged_by_its_key(acme, server):
    asked = acme.url("work.zip")
    assert asked.status == 200
    assert set(asked.json) == {"key", "url", "expires_in"}
    assert asked.json["expires_in"] == 3600
    assert asked.json["key"] == "submission-artifacts/acme/default/r/t/work.zip"
    assert asked.json["url"].startswith(f"{server.url}/v1/uploads?")
    content = os.urandom(200_000)
    put = acme.put(asked.json["url"], content)
    assert put.status == 200
    assert put.json == {
        "key": asked.json["key"],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    answer = acme.evaluate(asked.json["key"], sha256=put.json["sha256"])
    assert (answer.status, answer.json["status"]) == (200, "evaluated")
    assert answer.json["result"]["feedback"] == told_of(content)


def test_what_is_put_in_its_place_is_judged_anew_and_what_is_the_same_is_not(acme):
    key = acme.uploaded(b"first", run="again")
    first = acme.evaluate(key, run="again")
    acme.uploaded(b"second", run="again")
    second = acme.evaluate(key, run="again")
    assert [each.json["result"]["feedback"] for each in (first, second)] == [told_of(b"first"), told_of(b"second")]
    other = acme.uploaded(b"first", filename="b.zip", run="again")
    inline = "data:;base64," + base64.b64encode(b"first").decode()
    ids = {acme.evaluate(each, run="again").headers["x-evaluation-id"] for each in (other, inline)}
    assert ids == {first.headers["x-evaluation-id"]}


def test_a_key_is_good_for_its_tenant_dataset_run_task_and_benchmark_alone(callers, acme):
    key = acme.uploaded(b"mine", run="mine")
    assert acme.evaluate(key, run="mine").status == 200
    rival = callers["rival"]
    others = [
        rival.evaluate(key, run="mine"),
        acme.evaluate(key, run="yours"),
        acme.evaluate(key, run="mine", task="u"),
        acme.evaluate(key, run="mine", dataset="second"),
        acme.evaluate(key, run="mine", bench="other"),
        rival.evaluate(key.replace("acme", "rival"), run="mine"),
        acme.evaluate(key.replace("a.zip", "b.zip"), run="mine"),
        acme.evaluate(key + "/..", run="mine"),
        acme.evaluate("nonsense", run="mine"),
        acme.evaluate(key, run=""),
    ]
    assert [(each.status, each.detail) for each in others] == [MISSING] * len(others)


def test_a_tenant_of_any_name_has_a_place_of_its_own(callers):
    caller = callers["a b/../c"]
    key = caller.uploaded(b"odd")
    assert key == "submission-artifacts/a%20b%2F..%2Fc/default/r/t/a.zip"
    assert caller.evaluate(key).json["result"]["feedback"] == told_of(b"odd")


@pytest.mark.parametrize(
    "what",
    [
        {"run": "a/b"},
        {"run": ""},
        {"run": "a\n"},
        {"task": "a b"},
        {"filename": ".."},
        {"filename": "../x"},
        {"filename": "x" * 129},
        {"filename": "ä"},
        {"dataset": "odd name"},
        {"size": -1},
        {"sha256": "A" * 64},
    ],
)
def test_what_cannot_be_part_of_a_key_is_malformed(acme, what):
    answer = acme.url(**what)
    assert answer.status == 422
    names = {"run": "run_id", "task": "task_id"}
    assert answer.json["detail"][0]["loc"][-1] in {names.get(name, name) for name in what}


@pytest.mark.parametrize(
    "what, status, said",
    [
        ({"task": "nope"}, 400, "Task ID not found: nope"),
        ({"dataset": "nope"}, 403, "Dataset not allowed"),
        ({"size": LARGEST + 1}, 413, f"An upload may have {LARGEST} bytes at most, and this one has {LARGEST + 1}."),
    ],
)
def test_a_url_for_what_cannot_be_judged_is_refused(acme, what, status, said):
    answer = acme.url(**what)
    assert (answer.status, answer.detail) == (status, said)


def test_a_tenant_on_trial_uploads_nothing(callers):
    answer = callers["on trial"].url()
    assert answer.status == 403
    assert answer.detail == "Trial tenants may only access approved /v1 endpoints (/v1/*)"


def test_a_url_that_was_changed_takes_nothing(acme):
    url = acme.url(run="changed", size=5).json["url"]
    said = {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}
    base = url.partition("?")[0]
    changed = {
        "benchmark": "other",
        "key": said["key"].replace("acme", "rival"),
        "expires": str(int(said["expires"]) + 1),
        "limit": str(LARGEST * 2),
        "size": "6",
        "sha256": "0" * 64,
        "signature": said["signature"][::-1],
    }
    for name, value in changed.items():
        answer = acme.put(f"{base}?{urlencode({**said, name: value})}", b"12345")
        assert (answer.status, answer.json["type"]) == (403, "urn:benchhost:problem:upload-refused"), name
        assert "does not fit" in answer.detail
    del said["size"]
    assert acme.put(f"{base}?{urlencode(said)}", b"12345").status == 403
    assert acme.put(url, b"12345").status == 200


@pytest.mark.parametrize("name", ["expires", "limit", "size"])
@pytest.mark.parametrize("value", ["9" * 19, "9" * 30, "-1", "-" + "9" * 30, "1e400", "nan", "x", ""])
def test_a_number_that_no_host_has_signed_is_no_failure_of_the_host(acme, name, value):
    url = acme.url(run="numbers").json["url"]
    said = {each: value for each, [value] in parse_qs(urlsplit(url).query).items()}
    answer = acme.put(f"/v1/uploads?{urlencode({**said, name: value})}", b"12345")
    assert answer.status in (403, 422), answer


def test_a_url_that_has_expired_takes_nothing(acme, server):
    secret = (server.state / "upload.key").read_bytes()
    key = "submission-artifacts/acme/default/r/t/late"
    permit = Permit("bench", key, int(time.time()) - 1, LARGEST)
    answer = acme.put(f"{server.url}/v1/uploads?{permit.query(secret)}", b"late")
    assert answer.status == 403
    assert answer.detail == "This URL has expired. Ask /v1/submissions/upload-url for a new one."
    assert acme.evaluate(key).status == 404


@pytest.mark.parametrize(
    "announced, content, status, said",
    [
        ({}, b"x" * (LARGEST + 1), 413, f"{LARGEST} bytes at most"),
        ({"size": 5}, b"123456", 422, "5 bytes were announced"),
        ({"sha256": hashlib.sha256(b"good").hexdigest()}, b"evil", 422, "SHA-256"),
    ],
)
def test_what_is_not_as_it_was_announced_is_not_kept(acme, announced, content, status, said):
    told = acme.url(run="announced", filename="b", **announced).json
    answer = acme.put(told["url"], content)
    assert (answer.status, said in str(answer.json["detail"])) == (status, True), answer
    assert acme.evaluate(told["key"], run="announced").status == 404


def test_a_body_of_unknown_length_or_form_is_refused(acme, server):
    url = urlsplit(acme.url(run="odd").json["url"])
    for header, status in (
        ("Transfer-Encoding: chunked", 411),
        ("Content-Length: 5\r\nContent-Encoding: gzip", 415),
    ):
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n{header}\r\n\r\n"
        with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
            connection.sendall(head.encode() + (b"0\r\n\r\n" if status == 411 else b"hello"))
            assert connection.makefile("rb").readline().split()[1] == str(status).encode()


def test_a_client_that_hangs_up_leaves_what_was(acme, server):
    key = acme.uploaded(b"before", run="hang")
    url = urlsplit(acme.url(run="hang").json["url"])
    head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"half")
    end = time.monotonic() + 30
    while list((server.state / "uploads").rglob("*.part")):
        assert time.monotonic() < end, "what was arriving is deleted"
        time.sleep(0.05)
    assert acme.evaluate(key, run="hang").json["result"]["feedback"] == told_of(b"before")


def test_a_tenant_that_has_filled_its_part_is_told_and_others_go_on(callers):
    full = callers["full"]
    for n in range(3):
        full.uploaded(b"x" * LARGEST, filename=f"{n}")
    answer = full.put(full.url("one-more").json["url"], b"x" * LARGEST)
    assert (answer.status, answer.json["type"]) == (507, "urn:benchhost:problem:upload-space-full")
    assert "error_id" not in answer.json
    callers["rival"].uploaded(b"x" * LARGEST)


def test_bytes_that_should_be_others_are_not_judged(acme):
    key = acme.uploaded(b"swapped", run="digest")
    answer = acme.evaluate(key, run="digest", sha256=hashlib.sha256(b"sent").hexdigest())
    assert (answer.status, answer.json["type"]) == (409, "urn:benchhost:problem:conflict")
    assert acme.evaluate(key, run="digest", sha256=hashlib.sha256(b"swapped").hexdigest()).status == 200


def test_a_url_goes_back_by_the_way_that_the_caller_came(acme, server):
    def base(**headers):
        return acme.url(headers={name.replace("_", "-"): value for name, value in headers.items()}).json["url"]

    port = urlsplit(server.url).port
    assert base().startswith(f"http://127.0.0.1:{port}/v1/uploads?")
    assert base(host="bench.example.org").startswith("http://bench.example.org/v1/uploads?")
    proxied = base(host="bench.example.org", x_forwarded_proto="https")
    assert proxied.startswith("https://bench.example.org/v1/uploads?")
    assert base(x_forwarded_proto="javascript").startswith("http://")
    refused = acme.url(headers={"host": "a b<"})
    assert (refused.status, refused.json["type"]) == (400, "urn:benchhost:problem:head-refused")


def test_nothing_secret_is_in_the_log(server, acme):
    url = acme.url(run="log").json["url"]
    acme.put(url, b"x")
    secret = (server.state / "upload.key").read_bytes()
    assert parse_qs(urlsplit(url).query)["signature"][0] not in server.said()
    assert secret.hex() not in server.said()
    assert (server.state / "upload.key").stat().st_mode & 0o077 == 0


def test_what_is_large_is_not_held_in_memory_and_a_public_url_wins(tmp_path, plugins, make_client):
    size = 128 * 1024 * 1024
    flags = ["--only", "bench", "--max-upload-bytes", str(size), "--max-body-mb", "1"]
    flags += ["--public-url", "https://bench.example.org/grading/"]
    with serving(tmp_path, *flags, plugins=[plugins]) as server:
        [worker] = psutil.Process(server.process.pid).children()
        caller = Caller(make_client(server.url))
        told = caller.url().json
        assert told["key"] == "submission-artifacts/unauthenticated/default/r/t/a.zip"
        before = worker.memory_info().rss
        assert told["url"].startswith("https://bench.example.org/grading/v1/uploads?benchmark=bench&key=")
        url = told["url"].replace("/grading/", "/")  # as a proxy in front would
        assert caller.put(url, b"x" * size).status == 200
        assert worker.memory_info().rss - before < size / 4


def test_what_was_uploaded_is_judged_after_a_restart_and_gone_after_its_time(tmp_path, plugins, make_client):
    flags = ["--only", "bench", "--sandbox", "folders"]
    with serving(tmp_path, *flags, plugins=[plugins]) as server:
        caller = Caller(make_client(server.url))
        key = caller.uploaded(b"kept")
        url = caller.url("later").json["url"]
    with serving(tmp_path, *flags, plugins=[plugins]) as server:
        caller = Caller(make_client(server.url))
        assert caller.evaluate(key).json["result"]["feedback"] == told_of(b"kept")
        assert caller.put(url, b"later").status == 200, "the URL of before is good, too"
    for path in (tmp_path / "uploads").rglob("*"):
        if path.is_file() and path.name != "lock":
            os.utime(path, (0, time.time() - 100_000))
    with serving(tmp_path, *flags, plugins=[plugins]) as server:
        caller = Caller(make_client(server.url))
        assert caller.evaluate(key).status == 404
        end = time.monotonic() + 30
        while [path for path in (tmp_path / "uploads").rglob("*") if path.is_file() and path.name != "lock"]:
            assert time.monotonic() < end, "what is too old is deleted at the start"
            time.sleep(0.05)


PATIENT = """
import asyncio
import os


class Patient(Plugin):
    async def setup_task(self, task, sandbox):
        if task.id == "u":
            await self.until_told()

    async def evaluate_instance(self, task, sandbox):
        if task.id == "t":
            await self.until_told()
        async for chunk in super().evaluate_instance(task, sandbox):
            yield chunk

    async def until_told(self):
        with open({go!r} + ".begun", "a") as begun:
            begun.write("x")
        while not os.path.exists({go!r}):
            await asyncio.sleep(0.02)
"""


@pytest.fixture
def patient(tmp_path, folders):
    """A plugin that waits for a file, with ``t`` to judge it, with ``u`` to set its sandbox up; and that file."""
    go, plugins = tmp_path / "go", tmp_path / "plugins"
    install_plugin(plugins, "bench", BENCH + PATIENT.format(go=str(go)), attribute="Patient")
    install_plugin(plugins, "quick", BENCH)
    folders.install(plugins)
    return plugins, go


def begun(go, number):
    """Wait until so many wait for the file."""
    end = time.monotonic() + 30
    path = go.with_suffix(".begun")
    while not path.exists() or path.stat().st_size < number:
        assert time.monotonic() < end, f"{number} have begun"
        time.sleep(0.02)


def test_however_many_uploads_wait_for_their_verdict_another_is_judged(tmp_path, patient, make_client):
    plugins, go = patient
    flags = ["--only", "bench,quick", "--sandbox", "folders", "--max-upload-bytes", str(LARGEST)]
    with serving(tmp_path / "state", *flags, plugins=[plugins]) as server, ThreadPoolExecutor(6) as threads:
        caller = Caller(make_client(server.url))
        contents = [bytes([n]) * LARGEST for n in range(6)]
        keys = [caller.uploaded(content, filename=f"{n}") for n, content in enumerate(contents)]
        waiting = [threads.submit(Caller(make_client(server.url)).evaluate, key) for key in keys]
        try:
            begun(go, 6)
            run = {"run": "other", "bench": "quick"}
            other = caller.evaluate(caller.uploaded(b"y" * LARGEST, **run), **run)
            assert other.json["result"]["feedback"] == told_of(b"y" * LARGEST)
        finally:
            go.touch()
        told = [each.result(30).json["result"]["feedback"] for each in waiting]
        assert told == [told_of(content) for content in contents]


def test_what_is_replaced_while_it_waits_is_not_judged_as_what_it_was(tmp_path, patient, make_client):
    plugins, go = patient
    flags = ["--only", "bench", "--sandbox", "folders"]
    with serving(tmp_path / "state", *flags, plugins=[plugins]) as server, ThreadPoolExecutor(1) as threads:
        caller = Caller(make_client(server.url))
        key = caller.uploaded(b"first", task="u")
        waiting = threads.submit(Caller(make_client(server.url)).evaluate, key, task="u")
        try:
            begun(go, 1)
            caller.uploaded(b"second", task="u")
        finally:
            go.touch()
        told = waiting.result(30).json
        assert (told["status"], told["errors"]) == ("error", [CHANGED])
        assert caller.evaluate(key, task="u").json["result"]["feedback"] == told_of(b"second")


def test_a_host_without_uploads_says_what_its_clients_know(tmp_path, plugins, make_client):
    flags = ["--only", "bench", "--sandbox", "folders", "--no-allow-uploads"]
    with serving(tmp_path, *flags, plugins=[plugins]) as server:
        caller = Caller(make_client(server.url))
        answer = caller.url()
        assert answer.status == 503
        assert answer.detail == (
            "Submission uploads are not configured on this deployment; set SUBMISSION_ARTIFACT_BUCKET and AWS_REGION"
        )
        assert answer.json["type"] == "urn:benchhost:problem:uploads-not-configured"
        query = "benchmark=b&key=k&expires=1&limit=1&signature=s"
        assert caller.put(f"/v1/uploads?{query}", b"x").status == 404
        assert caller.evaluate("submission-artifacts/unauthenticated/default/r/t/a").status == 404


def test_a_bucket_takes_the_uploads_where_there_is_one(tmp_path, plugins, make_client):
    from s3_double import BUCKET, ENVIRON, REGION, s3

    environ = {
        **ENVIRON,
        "AWS_REGION": REGION,
        "SUBMISSION_ARTIFACT_BUCKET": BUCKET,
        "SUBMISSION_ARTIFACT_MAX_DOWNLOAD_BYTES": "1000",
    }
    with s3() as double:
        environ["BENCHHOST_UPLOAD_ENDPOINT"] = double.url
        flags = ["--only", "bench", "--sandbox", "folders", "--workers", "2"]
        with serving(tmp_path, *flags, plugins=[plugins], environ=environ) as server:
            caller = Caller(make_client(server.url))
            told = caller.url().json
            parts = urlsplit(told["url"])
            assert f"{parts.scheme}://{parts.netloc}" == double.url
            assert parts.path == f"/{BUCKET}/bench/{told['key']}"
            there = Caller(make_client(double.url))
            assert there.put(told["url"].replace("a.zip", "b.zip"), b"x").status == 403
            for content in (b"first", b"second"):
                assert there.put(told["url"], content).status == 200
                assert caller.evaluate(told["key"]).json["result"]["feedback"] == told_of(content)
            assert there.put(told["url"], b"x" * 1001).status == 200
            assert caller.evaluate(told["key"]).status == 413
            double.later = 100_000
            answer = caller.evaluate(told["key"])
            assert (answer.status, answer.detail) == (503, "Uploads are not available at the moment")
            assert "the bucket submissions cannot be read" in server.said()
            assert ENVIRON["AWS_SECRET_ACCESS_KEY"] not in server.said()


@pytest.mark.parametrize(
    "environ, said",
    [
        ({"SUBMISSION_ARTIFACT_BUCKET": "b"}, "set AWS_REGION or upload_region"),
        ({"SUBMISSION_ARTIFACT_MAX_DOWNLOAD_BYTES": "many"}, "max_upload_bytes: expected a whole number of 1 or more"),
        ({"SUBMISSION_ARTIFACT_MAX_DOWNLOAD_BYTES": "0"}, "variable SUBMISSION_ARTIFACT_MAX_DOWNLOAD_BYTES"),
        ({"BENCHHOST_UPLOAD_ENDPOINT": "http://minio:9000"}, "no upload_bucket is set"),
        ({"BENCHHOST_PUBLIC_URL": "bench.example.org"}, "public_url: expected a URL such as"),
        ({"BENCHHOST_PUBLIC_URL": "https://x.org/?a=b"}, "public_url: expected a URL such as"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(environ, said):
    with pytest.raises(SettingsError, match=re.escape(said)):
        check_uploads(load(None, environ, {}))


def test_a_bucket_in_no_region_stops_the_host_before_it_starts(tmp_path):
    command = [sys.executable, "-m", "benchhost", "serve", "--port", "0", "--state", str(tmp_path / "state")]
    clean = {name: value for name, value in os.environ.items() if name != "AWS_REGION"}
    environ = {**clean, "SUBMISSION_ARTIFACT_BUCKET": "b"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done
    assert "upload_bucket is 'b', and nothing says in which region it is" in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_bucket_needs_what_speaks_to_it(monkeypatch):
    monkeypatch.setattr(bucket, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'benchhost\[s3\]'"):
        check_uploads(Settings(upload_bucket="b", upload_region="r"))
