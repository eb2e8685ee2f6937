"""What an agent can do to whoever lends it a model."""

import asyncio
import json
import socket

import pytest

from benchhost.contract import Completion
from benchhost.errors import ContextOverflow, ModelUnavailable, SandboxUnsupported
from benchhost.runner.agent import listening
from benchhost.runner.agent.gateway import model_within

pytestmark = pytest.mark.anyio


class Loopback:
    """As much of a sandbox as is needed here: its loopback is this machine's."""

    async def listen(self, port):
        listener = socket.create_server(("127.0.0.1", port))
        listener.setblocking(False)
        return listener


class Answers:
    name = "house/model"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = asyncio.Event()

    async def complete(self, prompt, sampling=None, call=None):
        self.asked.set()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.Event().wait()
        return Completion(text=answer, finish_reason="stop")


def place(lent):
    return lent.env["OPENAI_BASE_URL"].removeprefix("http://127.0.0.1:").removesuffix("/v1")


async def connected(lent):
    return await asyncio.open_connection("127.0.0.1", int(place(lent)))


async def ask(lent, head=b"", body=b'{"model": "model", "messages": [{"role": "user", "content": "x"}]}'):
    """Ask once; return the status and what was answered."""
    reader, writer = await connected(lent)
    lines = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + head
    writer.write(lines + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    said = await reader.read()
    writer.close()
    return int(said.split()[1]), json.loads(said.partition(b"\r\n\r\n")[2])


async def test_a_failure_of_the_model_is_known_until_it_answers_again():
    async with model_within(Loopback(), Answers(ModelUnavailable("down"), "said")) as lent:
        assert (await ask(lent))[0] == 502
        assert isinstance(lent.failure, ModelUnavailable)
        assert (await ask(lent))[1]["choices"][0]["message"]["content"] == "said"
        assert lent.failure is None


async def test_what_the_agent_asked_for_is_its_own_failure():
    async with model_within(Loopback(), Answers("said", ContextOverflow("too long"))) as lent:
        await ask(lent)
        status, said = await ask(lent)
        assert (status, said["error"]["code"]) == (400, "context_overflow")
        assert lent.failure is None


async def test_a_model_that_was_asked_and_has_never_answered_has_failed_whatever_it_was_asked():
    async with model_within(Loopback(), Answers(ContextOverflow("too long"))) as lent:
        await ask(lent)
        assert isinstance(lent.failure, ContextOverflow)
        assert (await ask(lent, body=b'{"model": "another", "messages": []}'))[0] == 400
        assert "the model of this run is house/model, not 'another'" in str(lent.failure)


async def test_where_a_model_cannot_be_lent_it_is_said_why():
    class Walled:
        provider = "local"

        async def listen(self, port):
            raise SandboxUnsupported("no network of its own")

    async with model_within(Walled(), Answers()) as lent:
        assert (lent.env, lent.why_not) == ({}, "no network of its own")


async def test_nobody_waits_for_an_answer_when_the_agent_has_ended():
    model = Answers(None)
    async with asyncio.timeout(10):
        async with model_within(Loopback(), model) as lent:
            asking = asyncio.create_task(ask(lent))
            await model.asked.wait()
        await asyncio.gather(asking, return_exceptions=True)


async def test_who_opens_too_many_connections_is_hung_up_on_and_answered_at_the_others(monkeypatch):
    monkeypatch.setattr(listening, "MOST_CONNECTIONS", 3)
    async with model_within(Loopback(), Answers("said")) as lent:
        held = [await connected(lent) for _ in range(3)]
        await asyncio.sleep(0.05)
        reader, writer = await connected(lent)
        assert await reader.read() == b""
        writer.close()
        for _, each in held:
            each.close()
        await asyncio.sleep(0.05)
        assert (await ask(lent))[0] == 200


async def test_a_request_that_is_packed_is_not_unpacked():
    import gzip

    packed = gzip.compress(b'{"model": "model", "messages": []}')
    async with model_within(Loopback(), Answers()) as lent:
        assert (await ask(lent, b"Content-Encoding: gzip\r\n", packed))[0] == 400
