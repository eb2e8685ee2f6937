"""A provider whose sandboxes are folders: it isolates nothing, and is enough to see who does what with a sandbox.

Installed by tests as a plugin of its own (``install``), since graders open providers by their entry point.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

from benchhost.contract import (
    Capabilities,
    Exited,
    Process,
    Provider,
    Sandbox,
    SandboxInfo,
    Stderr,
    Stdout,
)
from benchhost.errors import (
    SandboxBusy,
    SandboxFileError,
    SandboxNotFound,
    SandboxRefused,
    SandboxUnavailable,
    SandboxUnsupported,
)
from benchhost.testing import install_plugin


def install(folder: Path) -> None:
    """Install this module as the provider ``folders``."""
    source = Path(__file__).read_text()
    install_plugin(folder, "folders", source, attribute="Folders", group="benchhost.sandboxes")


class Running(Process):
    def __init__(self, process, timeout, max_output):
        self.process, self.timeout, self.max_output = process, timeout, max_output
        self.reason = "exited"

    async def __aiter__(self):
        said = asyncio.Queue()

        async def pump(stream, kind):
            while data := await stream.read(65536):
                await said.put(kind(data))
            await said.put(None)

        pumps = [
            asyncio.create_task(pump(self.process.stdout, Stdout)),
            asyncio.create_task(pump(self.process.stderr, Stderr)),
        ]
        began, size, open_ones = time.monotonic(), 0, 2
        try:
            async with asyncio.timeout(self.timeout):
                while open_ones:
                    if (output := await said.get()) is None:
                        open_ones -= 1
                        continue
                    size += len(output.data)
                    if size > self.max_output:
                        self.reason = "output_limit"
                        break
                    yield output
        except TimeoutError:
            self.reason = "timeout"
        finally:
            for each in pumps:
                each.cancel()
        if self.reason != "exited":
            self.end()
        code = await self.process.wait()
        yield Exited(code=code, reason=self.reason, seconds=time.monotonic() - began)

    async def kill(self):
        self.reason = "cancelled"
        self.end()

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


class Folder(Sandbox):
    provider = "folders"

    def __init__(self, root):
        self.root = root
        self.id = root.name

    def at(self, path):
        found = (self.root / "files" / path.lstrip("/")).resolve()
        if not self.root.exists():
            raise SandboxNotFound(f"the sandbox {self.id} is gone")
        if not found.is_relative_to(self.root.resolve()):
            raise SandboxFileError(f"{path} is outside")
        return found

    async def info(self):
        try:
            told = json.loads((self.root / "info.json").read_text())
        except FileNotFoundError:
            return SandboxInfo(id=self.id, provider="folders", state="gone")
        return SandboxInfo(id=self.id, provider="folders", state="running", **told)

    @asynccontextmanager
    async def start(self, command, *, cwd=None, env=None, stdin=b"", timeout=300.0, max_output=10 * 1024 * 1024):
        where = self.at(cwd or "/")
        where.mkdir(parents=True, exist_ok=True)
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        with tempfile.TemporaryFile() as given:  # a pipe may be closed by the time that it is written to
            given.write(stdin)
            given.seek(0)
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=where,
                env={"PATH": os.environ["PATH"], "ROOT": str(self.root / "files"), **(env or {})},
                stdin=given,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        running = Running(process, timeout, max_output)
        try:
            yield running
        finally:
            running.end()
            await process.wait()

    async def listen(self, port):
        raise SandboxUnsupported("a folder cannot be listened in")

    async def read(self, path, limit=64 * 1024 * 1024):
        found = self.at(path)
        if not found.is_file():
            raise SandboxFileError(f"{path}: there is no such file")
        if found.stat().st_size > limit:
            raise SandboxFileError(f"{path} is larger than {limit} bytes")
        return found.read_bytes()

    async def write(self, path, data, mode=0o644):
        found = self.at(path)
        found.parent.mkdir(parents=True, exist_ok=True)
        if found.name == "written slowly":
            await asyncio.sleep(2.0)
        found.write_bytes(data)
        found.chmod(mode)

    async def upload(self, source, path):
        shutil.copytree(source, self.at(path), dirs_exist_ok=True, symlinks=True)

    async def download(self, path, target, limit=64 * 1024 * 1024):
        shutil.copytree(self.at(path), target, symlinks=True)


class Folders(Provider):
    """``config`` has the ``folder``; a file ``most`` in it says how many sandboxes there may be."""

    name = "folders"

    def __init__(self, state):
        self.state = state
        state.mkdir(parents=True, exist_ok=True)

    @classmethod
    async def open(cls, config):
        if config.get("key") == "wrong":
            raise SandboxRefused("the key SECRET-KEY is wrong")
        if "folder" not in config:
            raise SandboxUnavailable("no folder is given")
        return cls(Path(config["folder"]))

    async def capabilities(self):
        return Capabilities(isolation="nothing")

    async def create(self, spec):
        if spec.image == "none":
            raise SandboxUnsupported("there is no image none")
        most = self.state / "most"
        if most.exists() and len([each for each in self.state.iterdir() if each.is_dir()]) >= int(most.read_text()):
            raise SandboxBusy("as many sandboxes as may be")
        root = self.state / secrets.token_hex(16)
        (root / "files").mkdir(parents=True)
        told = {"labels": spec.labels, "image": spec.image, "created_at": time.time()}
        (root / "info.json").write_text(json.dumps(told))
        self.note(f"created {root.name} {spec.network} {spec.image}")
        return Folder(root)

    async def get(self, id):
        root = self.state / id
        if "/" in id or id in ("", ".", "..") or not (root / "info.json").exists():
            raise SandboxNotFound(f"there is no sandbox {id}")
        return Folder(root)

    async def list(self, labels=None):
        found = [await Folder(each).info() for each in self.state.iterdir() if (each / "info.json").exists()]
        wanted = (labels or {}).items()
        return sorted((info for info in found if wanted <= info.labels.items()), key=lambda info: info.created_at)

    async def delete(self, id):
        shutil.rmtree(self.state / id, ignore_errors=True)
        self.note(f"deleted {id}")

    def note(self, line):
        with (self.state / "log").open("a") as log:
            log.write(f"{line}\n")

    async def snapshot(self, id, name):
        raise SandboxUnsupported("folders have no snapshots")

    async def aclose(self):
        return
