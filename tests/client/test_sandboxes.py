"""Sandboxes at a host, as its client has them."""

from __future__ import annotations

import pytest
from aiohttp import web

from benchhost.client import Client
from benchhost.errors import ClientError, SandboxFileError
from benchhost.runner.host_sandboxes import HostSandbox
from benchhost.wire.sandboxes import CommandRequest

pytestmark = pytest.mark.anyio


async def test_of_a_file_without_end_no_more_is_read_than_was_asked_for(serve):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100_000)

    async with serve(endless) as url, Client(url, "bench") as client:
        assert await client.sandboxes.read("host:1", "f", 250_000) == b"x" * 250_000
        with pytest.raises(SandboxFileError, match="f is larger than 1000000 bytes"):
            await HostSandbox(client, "host:1").read("f", limit=1_000_000)


async def test_a_line_that_is_neither_output_nor_a_problem_is_an_error_in_words(serve):
    async def answer(request):
        return web.Response(body=b"<html>\n")

    async with serve(answer) as url, Client(url, "bench") as client:
        with pytest.raises(ClientError, match=r"Running a command failed: .* sent a line that cannot be read"):
            await anext(client.sandboxes.run("host:1", CommandRequest(command="true")))


@pytest.mark.parametrize("size", [0, 10])
async def test_a_file_that_is_as_large_as_it_may_be_is_read_whole(serve, size):
    async def answer(request):
        return web.Response(body=b"x" * size)

    async with serve(answer) as url, Client(url, "bench") as client:
        assert await HostSandbox(client, "host:1").read("f", limit=size) == b"x" * size
