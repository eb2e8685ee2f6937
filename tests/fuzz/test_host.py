"""A host whose callers show keys is asked for everything that its document and its sockets offer, and for more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sysconfig
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import websockets
from hypothesis import given
from hypothesis import strategies as st

CONFIG = """
[parameters]
"path.dataset" = "default"
"""

TASK = st.sampled_from(["t0", "t1", "", "nope", "..", "t0\0", "t0\r\nX: y"]) | st.text(max_size=20)
VALUE = st.none() | st.booleans() | st.integers() | TASK | st.lists(TASK, max_size=3) | st.dictionaries(TASK, TASK)
FRAME = st.fixed_dictionaries(
    {"task_id": TASK},
    optional={
        "response": VALUE,
        "eval_resume_state": VALUE,
        "dataset": VALUE,
        "run_id": VALUE,
        "instance_id": VALUE,
        "sandbox_provider": VALUE,
    },
).map(json.dumps)
SECRET = "sk-0123456789-do-not-repeat"
PUBLIC = ("/health", "/b/whole/health", "/b/whole/version")


def test_schemathesis_finds_nothing_with_a_key_of_a_tenant(keyed, examples, tmp_path):
    server, key = keyed
    (tmp_path / "document.json").write_bytes(asked(server, "/openapi.json", key)[1])
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        str(Path(sysconfig.get_path("scripts")) / "schemathesis"),
        "--config-file=schemathesis.toml",
        "run",
        "document.json",
        f"--url={server.url}",
        "--checks=all",
        "--exclude-checks=positive_data_acceptance",  # no schema can say which tasks and slices there are
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={examples}",
        "--generation-deterministic",
        "--no-color",
        "--continue-on-failure",
        f"--header=Authorization: Bearer {key}",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in server.said()


@given(
    st.sampled_from(["setup-task", "evaluate-instance", "evaluate-response"]),
    FRAME | st.text(max_size=100) | st.binary(max_size=100),
    st.dictionaries(st.sampled_from(["x-api-key", "x-api-url", "x-target", "x-vals-run-id"]), st.just(SECRET)),
)
def test_any_frame_is_answered_with_one_last_chunk_that_tells_nothing_of_the_host(keyed, path, frame, headers):
    server, key = keyed
    url = server.url.replace("http", "ws", 1)

    async def talk():
        shown = {**headers, "Authorization": f"Bearer {key}"}
        async with websockets.connect(f"{url}/b/whole/ws/{path}", additional_headers=shown, proxy=None) as socket:
            said = []
            with contextlib.suppress(websockets.ConnectionClosedError):  # which the code below says more of
                await socket.send(frame)
                async for text in socket:
                    said.append(text)  # noqa: PERF401 - what came before it broke off counts
            return said, socket.close_code

    said, code = asyncio.run(asyncio.wait_for(talk(), 30))
    assert code in (1000, 1008)
    assert code == 1008 or json.loads(said[-1])["type"] in ("result", "error")
    told = "".join(said)
    assert not any(each in told for each in ("Traceback", 'File "', "/site-packages/", SECRET, key))


@given(st.text(max_size=30), st.sampled_from(["%2f", "%2e%2e/", "//", "..;/", "%00", "\\", "%0d%0a", "/", "?", ""]))
def test_no_spelling_of_a_path_goes_past_the_door(keyed, text, trick):
    server, _ = keyed
    for path in (f"/b/whole/health{trick}{quote(text)}", f"/health/{trick}/b/whole/verify-task-ids{quote(text)}"):
        status, body = asked(server, path)
        spelled = path.partition("?")[0].replace("%2f", "/")
        while "//" in spelled:
            spelled = spelled.replace("//", "/")
        assert status in ((200,) if spelled.rstrip("/") in PUBLIC else (401,)), (path, body)


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_slice_and_ids_of_any_text_are_answered_or_refused(keyed, bounds, task_id):
    server, key = keyed
    query = f"slice={quote(bounds)}", f"task_ids={quote(task_id)}", f"dataset={quote(task_id)}"
    for each in query:
        status, body = asked(server, f"/b/whole/verify-task-ids?{each}", key)
        assert status in (200, 400, 403), body
        json.loads(body)


def asked(server, path, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
