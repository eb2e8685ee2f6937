"""Sandboxes that are none: commands run on this machine. For the time until there is a provider that isolates."""

import asyncio
import contextlib
import os
import signal
import time
import uuid

import anyio

from benchhost.contract import Exited, Process, Provider, Sandbox, Stderr, Stdout
from benchhost.errors import SandboxFileError, SandboxNotFound, SandboxUnsupported


class PlainProcess(Process):
    def __init__(self, process, timeout):
        self.process, self.timeout, self.reason, self.began = process, timeout, "exited", time.monotonic()
        self.heard = asyncio.Queue()

    async def pump(self, stream, kind):
        while data := await stream.read(65536):
            self.heard.put_nowait(kind(data))

    async def __aiter__(self):
        pumps = asyncio.gather(self.pump(self.process.stdout, Stdout), self.pump(self.process.stderr, Stderr))
        waiting = asyncio.ensure_future(self.wait(pumps))
        while True:
            said = await self.heard.get()
            yield said
            if isinstance(said, Exited):
                await waiting
                return

    async def wait(self, pumps):
        try:
            await asyncio.wait_for(self.process.wait(), self.timeout)
        except TimeoutError:
            await self.kill("timeout")
            await self.process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pumps, 0.3)
        self.heard.put_nowait(Exited(code=self.process.returncode, reason=self.reason))

    async def kill(self, reason="cancelled"):
        if self.process.returncode is None:
            self.reason = reason
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


class PlainSandbox(Sandbox):
    provider = "plain"

    def __init__(self, env):
        self.id, self.env = uuid.uuid4().hex, env

    async def info(self):
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def start(self, command, *, cwd=None, env=None, stdin=b"", timeout=300, max_output=0):
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd or "/tmp",
            env={"PATH": os.environ["PATH"], **self.env, **(env or {})},
            stdin=-1,
            stdout=-1,
            stderr=-1,
            start_new_session=True,
        )
        process.stdin.write(stdin)
        process.stdin.close()
        ran = PlainProcess(process, timeout)
        try:
            yield ran
        finally:
            await ran.kill()
            await process.wait()

    async def listen(self, port):
        raise SandboxUnsupported("a folder cannot be listened in")

    async def read(self, path, limit=0):
        return await anyio.Path(path).read_bytes()

    async def write(self, path, data, mode=0o644):
        try:
            await anyio.Path(path).parent.mkdir(parents=True, exist_ok=True)
            await anyio.Path(path).write_bytes(data)
        except OSError as error:
            raise SandboxFileError(str(error)) from None

    async def upload(self, source, path):
        raise NotImplementedError

    async def download(self, path, target, limit=0):
        raise NotImplementedError


class PlainProvider(Provider):
    name = "plain"

    def __init__(self):
        self.made = {}

    @classmethod
    async def open(cls, config):
        return cls()

    async def capabilities(self):
        raise NotImplementedError

    async def create(self, spec):
        sandbox = PlainSandbox(spec.env)
        self.made[sandbox.id] = sandbox
        return sandbox

    async def get(self, id):
        if id not in self.made:
            raise SandboxNotFound(id)
        return self.made[id]

    async def list(self, labels=None):
        return []

    async def delete(self, id):
        self.made.pop(id, None)

    async def snapshot(self, id, name):
        return name

    async def aclose(self):
        pass
