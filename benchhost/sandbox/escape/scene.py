"""What surrounds an attack on the host: a folder, a bystander, a neighbour, and ways to see what runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from benchhost.contract import Provider, Sandbox

VARIABLE = "BENCHHOST_ESCAPE_CANARY"
"""A variable of the process that opens the provider, which no sandbox may see."""

_LOOKS = 5
"""How often nothing must be seen. A process that forks at that moment, and whose parent ends, is not seen."""

_BYSTANDER = """
import ctypes, os, sys
secret = ctypes.create_string_buffer(sys.stdin.readline().strip().encode())
file = os.open(sys.argv[1], os.O_RDONLY)
print(ctypes.addressof(secret), file, flush=True)
sys.stdin.read()
"""


class Bystander:
    """An innocent process of the host: it keeps a secret in its memory, its environment and an open file.

    ``mark`` is in its command line. It ends with the process that started it.
    """

    def __init__(self, secret: str, mark: str, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BYSTANDER, str(file), mark],
            env={"SECRET": secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{secret}\n")
        self._process.stdin.flush()
        address, file_number = self._process.stdout.readline().split()
        self.pid = self._process.pid
        self.address, self.file = int(address), int(file_number)

    def lives(self) -> bool:
        """Say whether it has been left alone."""
        return self._process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


class Scene:
    """Where one attack takes place.

    ``secret`` is known on the host alone, and new for each attack; ``file`` holds it. ``mark`` is in the
    command line of every process of the attack. ``places`` are folders of the host in which the provider keeps
    its sandboxes. ``sandbox`` is where the attack comes from, ``neighbour`` another one.
    """

    def __init__(self, folder: Path, places: tuple[Path, ...], provider: Provider) -> None:
        self.secret = secrets.token_hex(16)
        self.mark = f"attack-{secrets.token_hex(8)}"
        self.places = places
        self.provider = provider
        self.sandbox: Sandbox
        self.neighbour: Sandbox
        self.folder = folder / self.mark
        self.folder.mkdir(mode=0o755)
        self.file = self.folder / "secret"
        self.file.write_text(self.secret)

    def bystander(self) -> Bystander:
        """Start a bystander, to be used as a context."""
        return Bystander(self.secret, f"bystander-{self.secret}", self.file)

    @contextlib.contextmanager
    def open_folder(self) -> Iterator[Path]:
        """Make a folder in which everybody may write."""
        folder = self.folder / "open"
        folder.mkdir()
        folder.chmod(0o777)
        yield folder

    def end_leftovers(self) -> None:
        """End and delete whatever is left of the attack, also outside of the sandbox."""
        for pid in processes(self.mark):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for path in Path("/tmp").glob(f"*{self.mark}*"):  # where they write
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


def processes(mark: str) -> list[int]:
    """List the processes that have a mark in their command line, as far as this process sees."""
    encoded = mark.encode()
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if encoded in Path(entry.path, "cmdline").read_bytes():
                    found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


class Watch:
    """Looks again and again at the processes of an attack, while it goes on: how many there were, and how large.

    ``privileged`` are the ids of those that had become the superuser of this machine by a setuid program.
    """

    def __init__(self, mark: str, every: float = 0.02) -> None:
        self._mark = mark
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most = 0
        self.largest = 0
        self.privileged: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE")
        while not self._ended.is_set():
            found = processes(self._mark)
            size = 0
            for pid in found:
                with contextlib.suppress(OSError):
                    resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
                    size += (int(resident) - int(shared)) * page
                    real, effective = _users(pid)
                    if effective == 0 and real != 0:
                        self.privileged.add(pid)
            self.most = max(self.most, len(found))
            self.largest = max(self.largest, size)
            self._ended.wait(self._every)


def _users(pid: int) -> tuple[int, int]:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("Uid:"))
    return int(line.split()[1]), int(line.split()[2])


def until_gone(mark: str, seconds: float) -> list[int]:
    """Wait until no process has a mark; return those that still have one after some seconds."""
    end = time.monotonic() + seconds
    unseen = 0
    while unseen < _LOOKS:
        left = processes(mark)
        if left and time.monotonic() > end:
            return left
        unseen = 0 if left else unseen + 1
        time.sleep(0.02)
    return []
