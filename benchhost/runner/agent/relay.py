"""Answering what is asked in a sandbox that is on another machine, in which nothing here can listen.

A small program in the sandbox listens there. What it is asked it says on its standard output, each request a line, and
the answers come to it as files. So the sandbox needs Python, and no network.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec

from benchhost.contract import Exited, Process, Sandbox, Stderr
from benchhost.errors import SandboxError, SandboxUnsupported
from benchhost.log import get_logger
from benchhost.runner.agent.protocol import LARGEST, MOST_AT_ONCE, Answer, Ask

_log = get_logger()

MOST_SAID = 1 << 40
"""Bytes that the program may write: all that the agent asks, in a longer spelling."""

BEGINS_WITHIN = 60.0
"""Seconds within which the program listens."""

MOST_HEARD = 2 * MOST_AT_ONCE
"""Requests that are answered at once here, of which the program asks half. What is beyond it has not come from that."""

_PROGRAM = f"""
import base64, http.server, itertools, json, os, socketserver, sys, threading, time
folder, numbers, lock = sys.argv[1], itertools.count(), threading.Lock()
room = threading.Semaphore({MOST_AT_ONCE})
os.makedirs(folder, mode=0o700)
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        with room:
            self.answer_one()
    def answer_one(self):
        size = self.headers.get("Content-Length") or "0"
        if "Transfer-Encoding" in self.headers or not size.isdigit():
            return self.send_error(411)
        if int(size) > {LARGEST}:
            return self.send_error(413)
        body = base64.b64encode(self.rfile.read(int(size))).decode()
        with lock:
            number = next(numbers)
            print(json.dumps({{"number": number, "path": self.path.partition("?")[0], "body": body}}), flush=True)
        path = os.path.join(folder, str(number))
        while True:
            try:
                with open(path, "rb") as file:
                    head, _, body = file.read().partition(b"\\n")
                told = json.loads(head.decode())
                if len(body) == told["length"]:
                    break
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        os.unlink(path)
        self.send_response(told["status"])
        self.send_header("Content-Type", told["content"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = answer
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads, request_queue_size = True, 128
server = Server(("127.0.0.1", 0), Handler)
print(json.dumps({{"port": server.server_address[1]}}), flush=True)
server.serve_forever()
"""


class _Said(msgspec.Struct):
    """A line of the program: where it listens, or what it was asked."""

    port: int | None = None
    number: int | None = None
    path: str = ""
    body: bytes = b""  # which is base64 in JSON


_said = msgspec.json.Decoder(_Said)


@asynccontextmanager
async def relayed(sandbox: Sandbox, ask: Ask) -> AsyncIterator[int]:
    """Have ``ask`` answer what comes to a port of the sandbox's loopback, which is yielded.

    Raises :class:`~benchhost.errors.SandboxUnsupported` when the program does not run there.
    """
    folder = f"/tmp/.benchhost-relay-{uuid.uuid4().hex}"  # noqa: S108 - in a sandbox
    async with AsyncExitStack() as stack:
        command = ["python3", "-c", _PROGRAM, folder]
        process = await stack.enter_async_context(sandbox.start(command, cwd="/", timeout=None, max_output=MOST_SAID))
        lines = _lines(process)
        try:
            async with asyncio.timeout(BEGINS_WITHIN):
                port = _said.decode(await anext(lines)).port
        except (TimeoutError, StopAsyncIteration, msgspec.MsgspecError, _Ended) as error:
            raise SandboxUnsupported(
                "it would be relayed by Python in the sandbox, and that does not run there: "
                f"{str(error) or 'no word of it'}"
            ) from error
        if port is None:
            raise SandboxUnsupported("it would be relayed by Python in the sandbox, and that does not listen")
        relaying = asyncio.create_task(_relay(sandbox, folder, lines, ask))
        stack.push_async_callback(_stopped, relaying)
        yield port


async def _relay(sandbox: Sandbox, folder: str, lines: AsyncIterator[bytes], ask: Ask) -> None:
    under_way: set[asyncio.Task[None]] = set()

    async def answer(said: _Said) -> None:
        try:
            told = await ask(said.path, said.body)
        except Exception:  # one request that fails is none of the others'
            _log.exception("a request of an agent could not be answered")
            told = Answer(500, b"{}")
        head = {"status": told.status, "content": told.content, "length": len(told.body)}
        with suppress(SandboxError):  # nobody is there any more, or the agent will not wait for ever
            await sandbox.write(f"{folder}/{said.number}", msgspec.json.encode(head) + b"\n" + told.body, 0o600)

    async with asyncio.TaskGroup() as answering:
        with suppress(_Ended, SandboxError):  # the agent may end it, and nobody then asks any more
            async for line in lines:
                with suppress(msgspec.MsgspecError, ValueError):  # what is in the sandbox may write there, too
                    said = _said.decode(line)
                    if said.number is not None and len(under_way) < MOST_HEARD:
                        task = answering.create_task(answer(said))
                        under_way.add(task)
                        task.add_done_callback(under_way.discard)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Ended(Exception):
    """The program is over; the message is how, and what it said last to its standard error."""


async def _lines(process: Process) -> AsyncIterator[bytes]:
    rest, complaint = bytearray(), b""
    async for output in process:
        if isinstance(output, Exited):
            said = complaint.decode("utf-8", "replace").strip()[-300:]
            raise _Ended(f"{output.reason}, exit code {output.code}{': ' if said else ''}{said}")
        if isinstance(output, Stderr):
            complaint = (complaint + output.data)[-1000:]
            continue
        *whole, last = output.data.split(b"\n")
        for line in whole:
            yield bytes(rest) + line
            rest.clear()
        rest += last
        if len(rest) > 2 * LARGEST:
            raise _Ended("a line of it is too long")
