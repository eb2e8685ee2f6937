"""A small process that forks one child for each submission, keeps it within its limits, and sees it dead.

It is a program of its own (started by :mod:`.nursery`): it has never seen a test or an answer, and it
loads the standard library alone, so that a fork is quick. Before it forks anything it puts walls around itself
(:mod:`.walls`).

The host sends one datagram for each child, with the child's end of the conversation and a socket by which the host and
this process talk about this child: the host says ``end``, or asks for how long the child was ``starved`` of a
processor; the last that this process says of it is how it ended. When the host hangs up, everything ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import NamedTuple

from benchhost.sandbox.judge import judged, walls

# What submissions often import; here it is loaded once. Much more would make each fork slower, and so would ``random``
# (and ``statistics``, which loads it): it seeds itself anew in every child, and that takes longer than those few need
# that load it themselves.
WARM = (
    *("bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools"),
    *("hashlib", "heapq", "itertools", "json", "math", "operator", "re", "string", "typing"),
)

TICK = 0.05
"""Seconds between two looks at what children use."""

LARGEST = 4096
"""Bytes of a datagram."""

_TWO_HANDLES = socket.CMSG_SPACE(2 * struct.calcsize("i"))
_KINDS = 64


class Child:
    """A forked child. ``status`` is the socket by which the host hears of it; ``reason`` says why it ended."""

    def __init__(self, pid: int, status: int, kind: Kind) -> None:
        self.pid = pid
        self.handle = os.pidfd_open(pid)
        self.status = status
        self.kind = kind
        self.began = time.monotonic()
        self.reason = "ended"
        # Once it has been several processes or threads, it may be these that it waits for.
        self.alone = True

    def kill(self, reason: str) -> None:
        """End it, and with it everything in its namespace of processes."""
        self.reason = reason
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)


class Kind(NamedTuple):
    """What children are like that are wanted with the same words. All but ``room`` are limits."""

    room: walls.Room
    answer: int
    memory: int
    lifetime: float


class Zygote:
    """Serves one host.

    What this process touches between two forks, it pays for with a copied page of memory, as a child does. So there is
    little to what it does for each child.
    """

    def __init__(self, host: socket.socket, around: walls.Walls) -> None:
        self._host = host
        self._listens = host.fileno()
        self._walls = around
        self._kinds: dict[bytes, Kind] = {}
        self._children: dict[int, Child] = {}  # by the descriptors of its socket and of its handle
        self._poll = select.poll()
        self._poll.register(host, select.POLLIN)

    def serve(self) -> None:
        """Do what the host asks until it hangs up."""
        looked = 0.0
        while True:
            for descriptor, _ in self._poll.poll(TICK * 1000 if self._children else None):
                if descriptor == self._listens:
                    if not self._take():
                        return
                elif (child := self._children.get(descriptor)) is not None:
                    # The number may have been given to another child meanwhile: neither of these waits.
                    self._reap(child) if descriptor == child.handle else self._hear(child)
            if self._children and (now := time.monotonic()) - looked > TICK:
                self._look(now, looked)
                looked = now

    def _take(self) -> bool:
        wanted, said, _, _ = self._host.recvmsg(LARGEST, _TWO_HANDLES)
        if not wanted:
            return False
        handles = [handle for _, _, data in said for (handle,) in struct.iter_unpack("i", data)]
        if len(handles) < 2:  # no descriptor is left for them; the host notices that its ends are closed
            for handle in handles:
                os.close(handle)
            return True
        channel, status = handles
        os.set_blocking(status, False)
        kind = self._kind(wanted)
        try:
            pid = self._walls.fork()
        except OSError as error:
            _tell(status, f"failed no process is to be had ({error.strerror})")
            os.close(status)
        else:
            if pid == 0:
                self._be_child(kind, channel, status)
            child = Child(pid, status, kind)
            for descriptor in (status, child.handle):
                self._children[descriptor] = child
                self._poll.register(descriptor, select.POLLIN)
        os.close(channel)
        return True

    def _kind(self, wanted: bytes) -> Kind:
        """Get ready for children; most are wanted with the words of the one before."""
        kind = self._kinds.get(wanted)
        if kind is None:
            if len(self._kinds) == _KINDS:
                self._kinds.clear()
            limits = json.loads(wanted)
            kind = Kind(self._walls.room(limits), limits["answer"], limits["memory"], limits["lifetime"])
            self._kinds[wanted] = kind
        return kind

    def _be_child(self, kind: Kind, channel: int, status: int) -> None:
        try:
            self._walls.enter(kind.room, channel)
        except BaseException as error:
            _tell(status, f"failed {type(error).__name__}: {error}")
            os._exit(1)
        judged.serve(walls.CHANNEL, kind.answer)

    def _hear(self, child: Child) -> None:
        try:
            request = os.read(child.status, LARGEST)
        except BlockingIOError:
            return
        except OSError:
            request = b""
        if request == b"starved":
            _tell(child.status, f"starved {self._walls.starved(child.pid) if child.alone else 0.0}")
            return
        if not request:  # the host has hung up
            self._poll.unregister(child.status)
        child.kill(child.reason)

    def _reap(self, child: Child) -> None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if not pid:
            return
        for descriptor in (child.status, child.handle):
            del self._children[descriptor]
            with contextlib.suppress(KeyError):
                self._poll.unregister(descriptor)
        os.close(child.handle)
        _tell(child.status, f"{child.reason} {os.waitstatus_to_exitcode(status)}")
        os.close(child.status)

    def _look(self, now: float, looked: float) -> None:
        """See what those use that were there at the last look. Most are gone before the next."""
        children = {child for child in self._children.values() if child.began < looked}
        if not children:
            return
        used = self._walls.used([child.pid for child in children])
        for child in children:
            child.alone = child.alone and used[child.pid].alone
            if used[child.pid].memory > child.kind.memory:
                child.kill("memory")
            elif now > child.began + child.kind.lifetime:
                child.kill("lifetime")


def main() -> None:
    """Get warm, put up the walls, and serve.

    Arguments are the descriptor of the line to the host, and the directories of which nothing is seen from within.
    """
    host, hidden = socket.socket(fileno=int(sys.argv[1])), sys.argv[2:]
    sys.argv, sys.orig_argv = [""], []  # who submits may be told what the code found: not where the packages lie
    for module in WARM:
        __import__(module)
    try:
        around = walls.put_up(hidden)
    except walls.NoWalls as error:
        _tell(host.fileno(), f"error {error}")
        return
    if around is None:  # it goes on in another process
        host.close()
        os.wait()
        return
    _tell(host.fileno(), f"isolation {around.isolation}")
    gc.collect()
    gc.freeze()
    Zygote(host, around).serve()


def _tell(listener: int, message: str) -> None:
    """Say something to the host: a word, and what it is about."""
    with contextlib.suppress(OSError):  # nobody is interested any more
        os.write(listener, message.encode())
