"""A provider that confines nothing, so that attacks succeed; and the command line as an ordinary user gives it."""

from __future__ import annotations

import asyncio
import os
import shutil
import site
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from benchhost.errors import SandboxFileError

ROOT = Path(__file__).resolve().parents[3]
SOMEBODY = 54_322
"""A user of this machine that nobody is."""


@pytest.fixture
def ordinary_user():
    """Gives a command as an ordinary user, with an interpreter that such a one may start."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as home:
        shutil.chown(home, SOMEBODY, SOMEBODY)
        environ = {
            "HOME": home,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([*site.getsitepackages(), str(ROOT)]),
        }

        def give(python, *arguments):
            return subprocess.run(
                [python, *arguments],
                cwd=home,
                env=environ,
                user=SOMEBODY,
                group=SOMEBODY,
                extra_groups=[],
                capture_output=True,
                text=True,
                timeout=120,
            )

        for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
            try:
                if give(candidate, "-c", "import benchhost.cli, msgspec, click, anyio").returncode == 0:
                    yield partial(give, candidate, "-m", "benchhost")
                    return
            except OSError:
                continue
        pytest.skip(f"an ordinary user may start no Python {version} that reads {ROOT}")


@pytest.fixture(scope="session")
def unconfined(folders):
    """The class of a provider whose sandboxes are the host itself, and whose files are the host's."""

    class Unconfined(folders.Folder):
        provider = "unconfined"

        def at(self, path):
            return Path(path) if path.startswith("/tmp/") else self.root / "files" / path.lstrip("/")

        @asynccontextmanager
        async def start(self, command, *, cwd=None, env=None, stdin=b"", timeout=300.0, max_output=0):
            words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
            process = await asyncio.create_subprocess_exec(
                *words,
                cwd=self.root / "files",
                env={**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": "/tmp", **(env or {})},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                close_fds=False,
                start_new_session=True,
            )
            running = folders.Running(process, timeout, 1 << 40)

            def only_that_process():
                if process.returncode is None:
                    process.kill()

            running.end = only_that_process
            try:
                yield running
            finally:
                running.end()
                process._transport.close()  # what has survived may hold its pipes open

        async def upload(self, source, path):
            if source.is_dir():
                shutil.copytree(source, self.at(path), dirs_exist_ok=True)
            else:
                shutil.copyfile(source, self.at(path))

        async def download(self, path, target, limit=0):
            try:
                shutil.copytree(self.at(path), target, ignore_dangling_symlinks=True)
            except (shutil.Error, OSError) as error:
                raise SandboxFileError(f"{path} changed meanwhile") from error

    class Provider(folders.Folders):
        name = "unconfined"

        async def create(self, spec):
            return Unconfined((await super().create(spec)).root)

    return Provider
