"""What is true of every route: how a path may be spelled, what a body must be, what an error looks like."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlsplit

import msgspec
import pytest

from benchhost.server.raw import Call

EVERY_GET = [
    "/health",
    "/v1/plugins",
    "/openapi.json",
    "/b/q/health",
    "/b/q/version",
    "/b/q/verify-task-ids",
    "/b/q/v1/datasets/default/tasks",
]
BODIES = {
    "/b/q/evaluate-response": {"task_id": "q1", "response": "2"},
    "/b/q/v1/evaluate": {"run_id": "", "task_id": "q1", "payload": {"type": "text", "schema": "", "data": "2"}},
    "/b/q/v1/evaluate-batch": {"submissions": [{"task_id": "q1", "response": "2"}]},
    "/b/q/final-score": {"evaluation_results": {"q1": {"score": 1.0}}},
    "/b/q/v1/score": {"run_id": "r", "evaluation_results": {"q1": {"status": "evaluated", "result": {"score": 1.0}}}},
}
EVERY_POST = list(BODIES)


@pytest.mark.parametrize("path", EVERY_GET)
def test_a_path_is_answered_with_and_without_a_slash_at_its_end(host, path):
    plain, slashed = host.get(path), host.get(f"{path}/")
    assert (plain.status, slashed.status) == (200, 200)
    assert plain.body == slashed.body


@pytest.mark.parametrize("path", EVERY_POST)
def test_a_body_is_taken_with_and_without_a_slash_at_the_end_of_the_path(host, path):
    plain, slashed = host.post(path, BODIES[path]), host.post(f"{path}/", BODIES[path])
    assert (plain.status, slashed.status) == (200, 200)
    assert plain.body == slashed.body


@pytest.mark.parametrize("path", ["//health", "//b/q/health", "/b/q//health", "//b//q///verify-task-ids//"])
def test_slashes_that_a_client_has_doubled_do_no_harm(host, path):
    assert host.get(path).status == 200


def test_a_body_is_taken_when_slashes_are_doubled(host):
    assert host.post("//b/q//v1//evaluate", BODIES["/b/q/v1/evaluate"]).status == 200


@pytest.mark.parametrize("path", ["/b", "/b/q", "/nope", "/b/q/nope", "/b/nope/nope", "/docs", "/openapi", "/B/q"])
def test_an_unknown_path_is_not_found(host, path):
    answer = host.get(path)
    assert (answer.status, answer.detail) == (404, "Not Found")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "GET", "POST"])
@pytest.mark.parametrize("path", [*EVERY_GET, *EVERY_POST])
def test_a_wrong_method_is_refused_with_the_right_ones(host, method, path):
    right = "POST" if path in BODIES else "GET"
    if method == right:
        return
    answer = host.request(method, path)
    assert answer.status == 405
    assert {each.strip() for each in answer.headers["allow"].split(",")} == {right, "OPTIONS"}
    if method != "HEAD":
        assert answer.detail == "Method Not Allowed"


def test_a_benchmark_that_is_not_installed_is_not_found(host):
    for answer in (host.get("/b/nope/health"), host.post("/b/nope/v1/evaluate", {})):
        assert (answer.status, answer.detail) == (404, "No benchmark of that name is installed.")


def test_a_faulty_benchmark_answers_that_it_is_and_not_why(host):
    for answer in (host.get("/b/broken/health"), host.post("/b/broken/v1/evaluate", {})):
        assert answer.status == 503
        assert answer.detail == (
            "The benchmark broken is installed but cannot be served: its module or object could not be imported."
        )


def test_plugins_are_listed_with_their_faults(host):
    plugins = {plugin["name"]: plugin for plugin in host.get("/v1/plugins").json["plugins"]}
    assert plugins["q"] == {
        "name": "q",
        "state": "serving",
        "distribution": "plugin-q",
        "distribution_version": "1.0",
        "object": "plugin_q:Plugin",
        "version": "3",
        "datasets": {"default": 10, "odd names": 5, "empty": 0},
        "reason": None,
        "message": None,
    }
    assert plugins["broken"]["reason"] == "import-failed"
    assert plugins["broken"]["message"] == "its module or object could not be imported"


@pytest.mark.parametrize("path", EVERY_POST)
def test_unknown_keys_and_nulls_for_what_may_be_left_out_are_accepted(host, path):
    assert host.post(path, {**BODIES[path], "dataset": None, "versions": None, "unknown": {"deep": [1]}}).status == 200


@pytest.mark.parametrize("path", EVERY_POST)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b'{"dataset":"\xff"}',
        b'{"dataset":"\\ud800"}',
        b'{"dataset":NaN}',
        b'{"dataset":Infinity}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_is_no_json_is_refused(host, path, body):
    answer = host.post(path, body)
    assert answer.status == 422
    assert answer.detail == [{"type": "malformed", "loc": ["body"], "msg": "the body is not valid JSON"}]


@pytest.mark.parametrize("path", EVERY_POST)
@pytest.mark.parametrize(
    "body",
    [
        b'{"unknown":' + b"[" * 100_000,
        b'{"unknown":' + b'{"a":' * 100_000,
        b'{"unknown":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"evaluation_results":{"q1":{"unknown":' + b"[" * 100_000,
    ],
    ids=["lists", "objects", "lists that end", "a result"],
)
def test_what_is_nested_too_deeply_is_called_so(host, path, body):
    answer = host.post(path, body)
    assert answer.status == 422
    assert answer.detail == [{"type": "malformed", "loc": ["body"], "msg": "the body is nested too deeply"}]


@pytest.mark.parametrize("path", EVERY_POST)
def test_nothing_may_stand_behind_the_body(host, path):
    answer = host.post(path, json.dumps(BODIES[path]).encode() + b" {}")
    assert (answer.status, answer.detail[0]["msg"]) == (422, "the body is not valid JSON")


@pytest.mark.parametrize("path", EVERY_POST)
@pytest.mark.parametrize("body", [b"null", b"[]", b'"text"', b"3", b"[" * 100_000], ids=lambda body: repr(body[:10]))
def test_a_body_must_be_an_object(host, path, body):
    answer = host.post(path, body)
    assert answer.status == 422
    [problem] = answer.detail
    assert problem["loc"] == ["body"]
    assert problem["msg"].startswith(("Expected `object`", "the body is not valid JSON"))


@pytest.mark.parametrize("path", EVERY_POST)
def test_a_missing_field_is_named(host, path):
    for field in BODIES[path]:
        if (path, field) == ("/b/q/v1/evaluate-batch", "run_id"):
            continue
        body = {name: value for name, value in BODIES[path].items() if name != field}
        answer = host.post(path, body)
        assert answer.status == 422
        assert [problem["loc"] for problem in answer.detail] == [["body", field]]


SECRET = "sk-0123456789-do-not-repeat"


@pytest.mark.parametrize(
    "path, change, location",
    [
        ("/b/q/evaluate-response", {"task_id": {"key": SECRET}}, ["body", "task_id"]),
        ("/b/q/evaluate-response", {"response": [SECRET]}, ["body", "response"]),
        ("/b/q/evaluate-response", {"dataset": [SECRET]}, ["body", "dataset"]),
        ("/b/q/v1/evaluate", {"payload": SECRET}, ["body", "payload"]),
        ("/b/q/v1/evaluate", {"payload": {"type": "text", "data": SECRET}}, ["body", "payload", "schema"]),
        (
            "/b/q/v1/evaluate",
            {"payload": {"type": SECRET, "schema": SECRET, "data": SECRET}},
            ["body", "payload", "type"],
        ),
        ("/b/q/v1/evaluate", {"versions": {"runner": [SECRET]}}, ["body", "versions", "runner"]),
        (
            "/b/q/v1/evaluate-batch",
            {"submissions": [{"task_id": "q1", "response": "2"}, {"task_id": SECRET}]},
            ["body", "submissions", 1, "response"],
        ),
        ("/b/q/final-score", {"evaluation_results": [SECRET]}, ["body", "evaluation_results"]),
        ("/b/q/final-score", {"evaluation_results": {"q2": None, "q1": SECRET}}, ["body", "evaluation_results", "q1"]),
        (
            "/b/q/final-score",
            {"evaluation_results": {"q1": {"score": SECRET}}},
            ["body", "evaluation_results", "q1", "score"],
        ),
        (
            "/b/q/final-score",
            {"evaluation_results": {"q1": {"feedback": SECRET}}},
            ["body", "evaluation_results", "q1", "score"],
        ),
        (
            "/b/q/final-score",
            {"evaluation_results": {"q1": {"status": SECRET}}},
            ["body", "evaluation_results", "q1", "status"],
        ),
        (
            "/b/q/final-score",
            {"evaluation_results": {"q1": {"status": "evaluated", "result": {"score": 1, "metrics": {"m": SECRET}}}}},
            ["body", "evaluation_results", "q1", "result", "metrics"],
        ),
        ("/b/q/v1/score", {"evaluation_results": {"q2": None, "q1": [SECRET]}}, ["body", "evaluation_results", "q1"]),
        (
            "/b/q/v1/score",
            {"evaluation_results": {"q1": {"status": SECRET}}},
            ["body", "evaluation_results", "q1", "status"],
        ),
        (
            "/b/q/v1/score",
            {"evaluation_results": {"q1": {"status": "evaluated", "result": {"score": [SECRET]}}}},
            ["body", "evaluation_results", "q1", "result", "score"],
        ),
    ],
)
def test_a_wrong_field_is_named_and_what_was_sent_is_not_repeated(host, path, change, location):
    answer = host.post(path, {**BODIES[path], **change}, {"x-api-key": SECRET, "authorization": f"Basic {SECRET}"})
    assert answer.status == 422
    [problem] = answer.detail
    assert (problem["type"], problem["loc"]) == ("malformed", location)
    assert problem["msg"]
    assert set(problem) == {"type", "loc", "msg"}
    assert SECRET.encode() not in answer.body


def test_a_number_that_is_out_of_range_is_named_among_many_results(host):
    result = '{"score":1e999}'
    for path, wrong, location in (
        ("final-score", result, ["score"]),
        ("v1/score", f'{{"status":"evaluated","result":{result}}}', ["result", "score"]),
    ):
        answer = host.post(f"/b/q/{path}", f'{{"run_id":"","evaluation_results":{{"q2":null,"q1":{wrong}}}}}'.encode())
        assert answer.status == 422
        assert answer.detail[0]["loc"] == ["body", "evaluation_results", "q1", *location]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/jsonx", ""])
def test_a_body_must_say_that_it_is_json(host, content_type):
    headers = {"content-type": content_type} if content_type else {}
    answer = host.request("POST", "/b/q/final-score", b'{"evaluation_results":{}}', headers)
    assert answer.status == 422
    assert [problem["loc"] for problem in answer.detail] == [["header", "content-type"]]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;"])
def test_the_content_type_may_be_spelled_as_http_allows(host, content_type):
    headers = {"content-type": content_type}
    assert host.request("POST", "/b/q/final-score", b'{"evaluation_results":{}}', headers).status == 200


def test_the_largest_body_is_accepted_and_one_byte_more_is_not(host):
    head, tail = b'{"evaluation_results":{},"unknown":"', b'"}'
    largest = head + b"x" * (1024 * 1024 - len(head) - len(tail)) + tail
    assert host.post("/b/q/final-score", largest).status == 200
    answer = host.post("/b/q/final-score", largest + b" ")
    assert (answer.status, answer.detail) == (413, "The body is larger than the 1 MB that this host accepts.")


HEAD = b"POST /b/q/final-score HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
JUST_TOO_LARGE = 1024 * 1024 + 1


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"content-length: 99999999999\r\n\r\n{",
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + f"{JUST_TOO_LARGE:x}\r\n".encode() + b" " * JUST_TOO_LARGE,
    ],
    ids=["by its length", "in chunks"],
)
def test_a_body_is_refused_as_soon_as_it_is_known_to_be_too_large(server, sent):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_who_asks_before_sending_what_is_too_large_is_refused_and_not_told_to_send_it(server):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(HEAD + b"content-length: 99999999\r\nexpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("size", [2_000_000, 50_000_000])
def test_a_client_that_sends_too_much_still_sees_the_answer(host, size):
    headers = {"content-type": "application/json"}
    for body in (b"x" * size, (b"x" * 100_000 for _ in range(size // 100_000))):
        answer = host.request("POST", "/b/q/final-score", body, headers)
        assert (answer.status, answer.detail) == (413, "The body is larger than the 1 MB that this host accepts.")


@pytest.mark.parametrize(
    "path, content_type, status",
    [
        ("/b/q/evaluate-response", b"text/plain", b"422"),
        ("/b/nope/evaluate-response", b"application/json", b"404"),
    ],
)
def test_a_client_that_still_sends_what_is_refused_unread_sees_why(server, path, content_type, status):
    address, head = urlsplit(server.url), HEAD.replace(b"/b/q/final-score", path.encode())
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.replace(b"application/json", content_type) + b"content-length: 900000\r\n\r\n")
        for _ in range(9):
            connection.sendall(b" " * 100_000)
            time.sleep(0.05)
        assert connection.recv(100).startswith(b"HTTP/1.1 " + status)


def test_a_body_is_let_go_of_when_it_is_decoded():
    call = Call(host=None, benchmark=None, admitted=None, accept="", body=b'"a response"', scope={})
    assert call.decoded(msgspec.json.Decoder(str)) == "a response"
    assert not call.body


def test_a_body_may_come_in_chunks(host):
    chunks = [b'{"evaluation', b'_results"', b":{}}"]
    assert host.request("POST", "/b/q/final-score", iter(chunks), {"content-type": "application/json"}).status == 200


def test_every_error_is_a_problem_by_rfc_9457_whose_detail_vals_clients_read(host):
    answer = host.get("/b/q/verify-task-ids", task_ids="nope")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json == {
        "type": "urn:benchhost:problem:unknown-task",
        "title": "Unknown task",
        "status": 400,
        "detail": "Task ID not found: nope",
    }
