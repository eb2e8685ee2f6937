"""Keeps one zygote for a process that judges, and asks it for children."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

from benchhost.errors import SandboxUnavailable
from benchhost.sandbox.alone import PROGRAM
from benchhost.sandbox.judge.limits import Limits

ZYGOTE = "benchhost.sandbox.judge.zygote"
SECONDS_TO_START = 60.0
SECONDS_TO_END = 10.0
LARGEST = 65536
"""Bytes of a datagram from the zygote."""

_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the one in the sandbox
    "MALLOC_ARENA_MAX": "2",
    "LD_BIND_NOW": "1",  # else each child looks up again what functions it calls
}
_LIBRARY = Path(os.__file__).parent


class Fork:
    """A child of the zygote: ``channel`` is the conversation with it, the rest is asked of the zygote.

    Everything raises :class:`~benchhost.errors.SandboxUnavailable` when the zygote is gone, or could not make the
    child.
    """

    def __init__(self, channel: socket.socket, status: socket.socket) -> None:
        self.channel = channel
        self._status = status
        self._ended: tuple[str, int] | None = None

    def starved(self) -> float:
        """Return for how many seconds the child has waited for a processor, for which it is not to blame."""
        return self._ask(b"starved") if self._ended is None else 0.0

    def end(self) -> tuple[str, int]:
        """End the child and all that it has started; return why it had ended, if it had, and its exit code."""
        try:
            while self._ended is None:
                self._ask(b"end")
        finally:
            self.channel.close()
            self._status.close()
        return self._ended

    def _ask(self, request: bytes) -> float:
        try:
            with contextlib.suppress(BrokenPipeError):  # the child has ended, and the zygote has said so
                self._status.send(request)
            try:
                data = self._status.recv(LARGEST)
            except ConnectionResetError:  # likewise, before it has read this request: what it said comes next
                data = self._status.recv(LARGEST)
        except OSError as error:
            raise SandboxUnavailable(f"the zygote of the code judge does not answer: {error}") from error
        if not data:
            raise SandboxUnavailable("the zygote of the code judge has ended")
        word, _, what = data.decode().partition(" ")
        if word == "failed":
            raise SandboxUnavailable(f"the zygote of the code judge could not make a sandbox: {what}")
        if word == "starved":
            return float(what)
        self._ended = word, int(what)
        return 0.0


@functools.lru_cache(maxsize=64)
def _told(limits: Limits) -> bytes:
    return json.dumps(limits.told()).encode()


class Nursery:
    """A zygote, started when the first child is asked for, and again when it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._host: socket.socket | None = None
        self._owner = 0
        self._end: Any = None
        self.isolation = ""

    def fork(self, limits: Limits) -> Fork:
        """Ask for a child. Raises :class:`~benchhost.errors.SandboxUnavailable` when no zygote can be had."""
        wanted = _told(limits)
        ours, theirs = socket.socketpair()
        status, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, told:
            try:
                while True:
                    host, fresh = self._zygote()
                    try:
                        socket.send_fds(host, [wanted], [theirs.fileno(), told.fileno()])
                    except OSError as error:
                        self._give_up(host)
                        if fresh:
                            raise SandboxUnavailable(f"the zygote of the code judge has ended: {error}") from error
                    else:
                        return Fork(ours, status)
            except BaseException:
                ours.close()
                status.close()
                raise

    def close(self) -> None:
        """End the zygote and all its children. It is started again when it is needed again."""
        with self._lock:
            self._host = None
            if self._end is not None:
                self._end()

    def _give_up(self, host: socket.socket) -> None:
        """End a zygote that does not answer, unless another thread has done so and started a new one meanwhile."""
        with self._lock:
            if self._host is host:
                self._host = None
                self._end()

    def _zygote(self) -> tuple[socket.socket, bool]:
        """Return the line to the zygote, and whether it has just been started."""
        with self._lock:
            if self._host is not None and self._owner == os.getpid():
                return self._host, False
            self._host, process, self.isolation = _start()
            self._owner = os.getpid()
            self._end = weakref.finalize(self, _end, self._host, process)
            return self._host, True


def _start() -> tuple[socket.socket, subprocess.Popen[bytes], str]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Whatever else this process may import is no business of a submission's.
    hidden = [path for path in sys.path if path and Path(path) not in (_LIBRARY, _LIBRARY / "lib-dynload")]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-u", PROGRAM, ZYGOTE, str(theirs.fileno()), *hidden],
            env=_ENVIRONMENT,
            cwd="/",
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        ours.settimeout(SECONDS_TO_START)
        data = ours.recv(LARGEST)
        ours.settimeout(None)
    except OSError as error:
        process.kill()
        _end(ours, process)
        raise SandboxUnavailable(f"the zygote of the code judge did not start: {error}") from error
    word, _, what = (data or b"error its zygote ended at once").decode().partition(" ")
    if word == "error":
        _end(ours, process)
        raise SandboxUnavailable(f"code cannot be judged here: {what}")
    return ours, process, what


def _end(host: socket.socket, process: subprocess.Popen[bytes]) -> None:
    host.close()
    try:
        process.wait(SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
