"""The small program that passes requests out of a sandbox on another machine, run here as it is run there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from contextlib import asynccontextmanager

import pytest

from benchhost.contract import Exited, Process, Stderr, Stdout
from benchhost.errors import SandboxUnsupported
from benchhost.runner.agent import relay
from benchhost.runner.agent.protocol import LARGEST, MOST_AT_ONCE, Answer

pytestmark = pytest.mark.anyio


class Machine:
    """As much of a sandbox on another machine as is needed here: a process of this one, and its files."""

    def __init__(self, python=sys.executable):
        self.python = python
        self.program = None

    @asynccontextmanager
    async def start(self, command, *, cwd, timeout, max_output):
        pipe = asyncio.subprocess.PIPE
        self.program = await asyncio.create_subprocess_exec(
            self.python, *command[1:], stdout=pipe, stderr=pipe, limit=2**26
        )
        try:
            yield Said(self.program)
        finally:
            if self.program.returncode is None:
                self.program.kill()
            await self.program.wait()
            shutil.rmtree(command[-1], ignore_errors=True)

    async def write(self, path, data, mode):
        file = os.open(path, os.O_WRONLY | os.O_CREAT, mode)
        os.write(file, data)
        os.close(file)


class Said(Process):
    def __init__(self, program):
        self._program = program

    async def __aiter__(self):
        while data := await self._program.stdout.read(2**20):
            yield Stdout(data)
        yield Stderr(await self._program.stderr.read())
        yield Exited(code=await self._program.wait(), reason="exited")

    async def kill(self):
        raise NotImplementedError


async def echo(path, body):
    return Answer(200, json.dumps([path, body.decode()]).encode())


async def post(port, body=b"", head=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /v1/x?y HTTP/1.1\r\nHost: x\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    said = await reader.read()
    writer.close()
    return int(said.split()[1]), said.partition(b"\r\n\r\n")[2]


async def test_what_is_asked_there_is_answered_here():
    async with relay.relayed(Machine(), echo) as port:
        answers = await asyncio.gather(*(post(port, b"%d" % n) for n in range(2 * MOST_AT_ONCE)))
        large = await post(port, b"x" * 2**20)
    assert answers == [(200, b'["/v1/x", "%d"]' % n) for n in range(2 * MOST_AT_ONCE)]
    assert len(large[1]) > 2**20


async def test_one_request_that_cannot_be_answered_is_none_of_the_others():
    async def ask(path, body):
        if not body:
            raise RuntimeError("nobody expected that")
        return Answer(200, b"1")

    async with relay.relayed(Machine(), ask) as port:
        assert [await post(port), await post(port, b"x")] == [(500, b"{}"), (200, b"1")]


async def test_what_has_no_length_or_too_much_of_it_is_refused_there():
    async with relay.relayed(Machine(), echo) as port:
        assert (await post(port, head=b"Transfer-Encoding: chunked\r\n"))[0] == 411
        assert (await post(port, head=b"Content-Length: -1\r\n"))[0] == 411
        assert (await post(port, head=b"Content-Length: %d\r\n" % (LARGEST + 1)))[0] == 413
        assert (await post(port))[0] == 200


async def test_who_writes_in_place_of_the_program_cannot_have_more_asked_than_it_could(monkeypatch):
    held, begun = asyncio.Event(), []

    async def ask(path, body):
        begun.append(body)
        await held.wait()
        return Answer(200, b"")

    forged = b'no line\n{"number": 1, "body": "*"}\n{"number": "x"}\n' + b'{"number": 9, "body": "Zm9yZ2Vk"}\n' * 500
    said = asyncio.Event()

    async def lines(process):
        first = True
        async for output in process:
            for line in output.data.splitlines():
                yield line
            if first:
                first = False
                for line in forged.splitlines():
                    yield line
                said.set()

    monkeypatch.setattr(relay, "_lines", lines)
    async with relay.relayed(Machine(), ask) as port:
        await said.wait()
        await asyncio.sleep(0)
        assert begun == [b"forged"] * relay.MOST_HEARD
        held.set()
        assert (await post(port))[0] == 200, "and it goes on"


@pytest.fixture
def no_python(tmp_path):
    path = tmp_path / "python3"
    path.write_text("#!/bin/sh\necho no such thing >&2\nexit 127\n")
    path.chmod(0o755)
    return Machine(str(path))


async def test_where_there_is_no_python_it_is_said(no_python):
    with pytest.raises(SandboxUnsupported, match="does not run there: exited, exit code 127: no such thing"):
        async with relay.relayed(no_python, echo):
            pass


async def test_nothing_is_answered_any_more_when_the_agent_has_ended():
    cancelled = asyncio.Event()

    async def ask(path, body):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    machine = Machine()
    async with relay.relayed(machine, ask) as port:
        asking = asyncio.create_task(post(port))
        await asyncio.sleep(0.3)
    await asyncio.gather(asking, return_exceptions=True)
    assert cancelled.is_set()
    assert machine.program.returncode is not None
