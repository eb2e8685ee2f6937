"""What a stranger who only has the address can do to a host, by what is sent, how slowly, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gzip
import json
import select
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest

from benchhost.errors import Busy, Malformed
from benchhost.server.bodies import TIMES, Bodies
from benchhost.server.connections import Connections, peer_of
from benchhost.server.heads import LARGEST_HEAD, name_in, names_of
from benchhost.server.refused import TooSlow
from benchhost.server.socket import READS_WITHIN
from benchhost.settings import Settings
from benchhost.testing import serving

SCORES = b'{"evaluation_results":{}}'
PATIENCE, SHARE = 1.0, 40


@pytest.fixture(scope="module")
def strict(tmp_path_factory, plugins):
    """A host that waits for little and lets a peer have few connections."""
    flags = ["--only", "q", "--max-body-mb", "1", "--read-timeout", str(PATIENCE)]
    flags += ["--max-connections-per-peer", str(SHARE)]
    with serving(tmp_path_factory.mktemp("state"), *flags, plugins=[plugins]) as running:
        yield running


def connect(server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def told(server, sent: bytes) -> bytes:
    """All that the server says to these bytes, until it hangs up."""
    with connect(server) as connection:
        connection.sendall(sent)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def problem(answer: bytes) -> tuple[int, str]:
    """The status of an answer, and the slug of the problem that it must be."""
    head, _, body = answer.partition(b"\r\n\r\n")
    said = json.loads(body)
    assert f" {said['status']} ".encode() in head.partition(b"\r\n")[0]
    return said["status"], said["type"].removeprefix("urn:benchhost:problem:")


def get(path: bytes = b"/health", *headers: bytes, host: bytes = b"localhost", version: bytes = b"1.1") -> bytes:
    lines = [b"GET " + path + b" HTTP/" + version, b"Connection: close", *headers]
    return b"\r\n".join([*lines, *([b"Host: " + host] if host else []), b"", b""])


def post(*headers: bytes, body: bytes = SCORES, media: bytes = b"Content-Type: application/json") -> bytes:
    lines = [b"POST /b/q/final-score HTTP/1.1", b"Host: localhost", b"Connection: close", media, *headers]
    if not any(header.lower().startswith(b"transfer-encoding") for header in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SCORES), SCORES)


# Ambiguity, and size


@pytest.mark.parametrize(
    "sent, answer",
    [
        (get(b"/health", b"Host: localhost"), (400, "head-refused")),
        (get(host=b""), (400, "head-refused")),
        (post(b"Content-Type: application/json"), (400, "head-refused")),
        (post(b"Content-Type: text/plain"), (400, "head-refused")),
        (get(b"/health", b"X: " + b"a" * LARGEST_HEAD), (431, "head-too-large")),
        (get(b"/b/q/version", *(b"X-%d: %b" % (n, b"a" * 1000) for n in range(33))), (431, "head-too-large")),
        (post(b"Content-Encoding: gzip", body=gzip.compress(b" " * 2**24)), (415, "encoded")),
        (post(b"Content-Encoding: br, gzip"), (415, "encoded")),
        (post(b"Transfer-Encoding: gzip, chunked", body=CHUNKED), (415, "encoded")),
        (get(host=b"rebound.example:8000"), (421, "wrong-host")),
        (get(host=b"127.0.0.1.rebound.example"), (421, "wrong-host")),
        (get(host=b"[::1].rebound.example"), (421, "wrong-host")),
        (get(host=b"localhost@rebound.example"), (421, "wrong-host")),
    ],
)
def test_a_head_that_cannot_be_gone_by_is_refused_with_what_is_wrong(strict, sent, answer):
    assert problem(told(strict, sent)) == answer


@pytest.mark.parametrize(
    "sent, status",
    [
        (get(b"/health", *(b"X-%d: a" % n for n in range(101))), 431),
        (get(b"/health", b"X: " + b"a" * 10**6), 431),
        (get(b"/" + b"a" * 70_000), 414),
        (get(b"/health", b"X : a"), 400),
        (get(b"/health", b"X: a\r\n b"), 400),
        (get(b"/health", b"X: a\0b"), 400),
        (get(b"/health", b"X: a\rY: b"), 400),
        (post(b"Content-Length: 26"), 400),
        (post(b"Transfer-Encoding: xchunked", body=CHUNKED), 400),
        (post(b"Content-Length: none", b"Transfer-Encoding: chunked", body=CHUNKED), 400),
        (b"GET /health\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
    ],
)
def test_what_is_no_http_ends_the_connection(strict, sent, status):
    answer = told(strict, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "sent",
    [
        get(version=b"1.0", host=b""),
        get(host=b"127.0.0.1:1"),
        get(host=b"[::1]:8000"),
        get(host=b"LOCALHOST."),
        get(b"/health", b"X: " + b"a" * (LARGEST_HEAD - 200)),
        post(b"Content-Encoding: identity"),
        post(b"Transfer-Encoding: chunked", body=CHUNKED),
        post(b"Transfer-Encoding: chunked", b"Content-Length: 4", body=CHUNKED),
        post(b"Expect: 100-continue"),
    ],
)
def test_what_http_allows_is_taken(strict, sent):
    assert b" 200 OK\r\n" in told(strict, sent)


def test_many_requests_at_once_on_a_connection_are_answered_one_after_the_other(strict):
    asked = get(b"/b/q/verify-task-ids").replace(b"Connection: close\r\n", b"")
    said = told(strict, asked * 50 + get(b"/b/q/nope"))
    assert said.count(b"HTTP/1.1 200 ") == 50
    assert said.rpartition(b"HTTP/1.1 ")[2].startswith(b"404 ")


@pytest.mark.parametrize(
    "settings, names",
    [
        ({}, {"localhost"}),
        ({"host": "::1"}, {"localhost"}),
        ({"api_key": "k"}, None),
        ({"host": "0.0.0.0", "allow_open": True}, None),
        ({"hosts": ("Bench.Example",)}, {"localhost", "bench.example"}),
        ({"api_key": "k", "hosts": ("bench.example",)}, {"localhost", "bench.example"}),
    ],
)
def test_an_open_host_on_this_machine_goes_by_names_that_only_this_machine_can_mean(settings, names):
    assert names_of(Settings(**settings)) == names


@pytest.mark.parametrize(
    "header, name",
    [
        (b"A.b:80", "a.b"),
        (b"[::1]:80", "::1"),
        (b"", ""),
        (b"a.b.", "a.b"),
        (b"::1", ""),
        (b"a@b", "a@b"),
        (b"[::1].a", "[::1].a"),
    ],
)
def test_the_name_in_a_host_header_is_without_its_port(header, name):
    assert name_in(header) == name


@pytest.mark.parametrize(
    "path, body",
    [
        ("/b/q/v1/evaluate", {"task_id": "q1", "payload": {"type": "text", "schema": "", "data": "2"}}),
        ("/b/q/v1/evaluate-batch", {"submissions": [{"task_id": "q1", "response": "2"}]}),
        ("/b/q/v1/score", {"evaluation_results": {}}),
    ],
)
def test_the_name_of_a_run_is_recorded_and_so_it_is_no_book(strict, make_client, path, body):
    client = make_client(strict.url)
    assert client.post(path, {"run_id": "r" * 1024, **body}).status == 200
    answer = client.post(path, {"run_id": "r" * 1025, **body})
    assert (answer.status, answer.detail[0]["loc"]) == (422, ["body", "run_id"])


# Slowness


@pytest.mark.parametrize(
    "first, piece, status",
    [
        (b"", b"", b""),
        (b"GET /health HTTP/1.1\r\n", b"X: y\r\n", b""),
        (post()[: -len(SCORES)], b" ", b"408"),
        (post(b"Transfer-Encoding: chunked", body=b""), b"1\r\n \r\n", b"408"),
        (post(b"Content-Length: 100", body=b"").replace(b"Content-Length: 0\r\n", b""), b"", b"408"),
    ],
    ids=["silence", "a head in drops", "a body in drops", "chunks in drops", "a body that does not come"],
)
def test_who_is_slow_is_not_waited_for(strict, first, piece, status):
    began = time.monotonic()
    said = b""
    with connect(strict) as connection:
        connection.settimeout(0.2)
        connection.sendall(first)
        while time.monotonic() - began < 30:
            with contextlib.suppress(TimeoutError):
                try:
                    got = connection.recv(65536)
                except ConnectionError:
                    break
                said += got
                if not got:
                    break
                continue
            with contextlib.suppress(OSError):
                connection.sendall(piece)
    assert PATIENCE * 0.9 <= time.monotonic() - began < 30
    assert said.partition(b"\r\n")[0].split(b" ")[1:2] == ([status] if status else [])


@pytest.mark.anyio
async def test_a_large_body_is_given_time_by_its_size():
    bodies = Bodies(largest=2**20, patience=0.05)
    sizes = iter([32 * 1024, 32 * 1024, 0])

    async def receive():
        size = next(sizes)
        if not size:
            await asyncio.sleep(0.5)  # of the second that 64 KiB are worth
        return {"type": "http.request", "body": b"x" * size, "more_body": size > 0}

    assert len(await bodies.read(receive, bodies.room())) == 64 * 1024

    async def never():
        await asyncio.sleep(60)

    with pytest.raises(TooSlow, match=r"within 0\.05 s"):
        await bodies.read(never, bodies.room())


@pytest.mark.anyio
async def test_a_body_of_the_length_that_was_announced_has_ended_and_of_a_shorter_one_more_is_awaited():
    bodies = Bodies(largest=2**20, patience=10.0)

    async def read(announced, *parts):
        messages = iter({"type": "http.request", "body": part, "more_body": True} for part in parts)

        async def receive():
            return next(messages, {"type": "http.disconnect"})

        room = bodies.room()
        room.expect(announced)
        return await bodies.read(receive, room)

    assert await read(4, b"ab", b"cd") == b"abcd"
    with pytest.raises(Malformed, match="ended early"):
        await read(5, b"ab", b"cd")


def test_bodies_that_are_announced_and_do_not_come_keep_nobody_out(strict):
    with contextlib.ExitStack() as opened:
        for _ in range(8):
            connection = opened.enter_context(connect(strict))
            connection.sendall(post(b"Transfer-Encoding: chunked", body=b"1\r\n{\r\n"))
        assert b" 200 OK\r\n" in told(strict, post())


def test_a_tenant_that_sends_large_bodies_without_an_end_keeps_no_other_one_out(tmp_path, plugins):
    def key_of(tenant: str) -> bytes:
        make = [sys.executable, "-m", "benchhost", "keys", "create", "--tenant", tenant, "--datasets", "q/default"]
        made = subprocess.run([*make, "--state", tmp_path], capture_output=True, text=True, check=True)
        return b"Authorization: Bearer " + made.stdout.split()[-1].encode()

    acme, initech = key_of("acme"), key_of("initech")
    flags = ["--only", "q", "--auth", "keys", "--max-body-mb", "1"]
    begun = post(acme, body=bytes(2**20))[:-1]
    with serving(tmp_path, *flags, plugins=[plugins]) as server, contextlib.ExitStack() as opened:
        held = [opened.enter_context(connect(server)) for _ in range(TIMES)]
        for connection in held:
            connection.sendall(begun)
        answered, _, _ = select.select(held, [], [], 30)
        assert problem(everything(answered[0])) == (429, "busy")
        body = b'{"evaluation_results":{%b}}' % (b" " * 2**19)
        assert b" 200 OK\r\n" in told(server, post(initech, body=body))


# Number


def test_a_peer_that_takes_more_connections_than_its_share_loses_the_idle_ones(strict):
    with contextlib.ExitStack() as opened:
        held = [opened.enter_context(connect(strict)) for _ in range(SHARE * 3)]
        for connection in held:
            connection.sendall(b"GET /health HTTP/1.1\r\n")
        end = time.monotonic() + 20
        while "more connections than its share" not in strict.said():
            assert time.monotonic() < end
            time.sleep(0.05)
    assert b" 200 OK\r\n" in told(strict, get())


def test_a_peer_has_only_so_many_requests_under_way_and_another_one_its_own():
    connections = Connections(port=1, most=2)
    with contextlib.ExitStack() as under_way:
        for port in range(2):
            under_way.enter_context(connections.request(("10.0.0.1", port)))
        with pytest.raises(Busy), connections.request(("10.0.0.1", 3)):
            pass
        under_way.enter_context(connections.request(("10.0.0.2", 1)))
    with connections.request(("10.0.0.1", 4)):
        pass


def test_who_has_a_network_of_ipv6_is_one_peer():
    assert peer_of("2001:db8::1") == peer_of("2001:db8::ffff:1") != peer_of("2001:db8:0:1::1")
    assert peer_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert peer_of("10.0.0.1") != peer_of("10.0.0.2")


def test_a_connection_in_use_is_not_closed_and_one_whose_peer_takes_nothing_is():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connections = Connections(port, most=1)
        with (
            socket.create_connection(("127.0.0.1", port)) as used,
            socket.create_connection(("127.0.0.1", port)) as idle,
        ):
            here, there = listener.accept()[0], listener.accept()[0]
            with here, there, connections.request(used.getsockname()):
                assert connections.let_go_of_too_many() == 1
                assert idle.recv(1) == b""
                here.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        here.send(bytes(65536))
                assert connections.let_go_of_stuck(0.0) == 0
                assert connections.let_go_of_stuck(READS_WITHIN - 1) == 0
                assert connections.let_go_of_stuck(READS_WITHIN) >= 1
                assert here.recv(1) == b""


def test_to_look_at_connections_lets_go_of_no_lock_on_a_file(tmp_path):
    path = tmp_path / "locked"
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)  # such as those of SQLite, and of the slots that workers share
        Connections(1, most=1).let_go_of_too_many()
        Connections(1, most=1).let_go_of_stuck(0.0)
        other = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        found = subprocess.run([sys.executable, "-c", other, path], capture_output=True, text=True)
    assert "BlockingIOError" in found.stderr


def test_nothing_of_all_this_is_a_failure_of_the_host(strict):
    assert "Traceback" not in strict.said()
