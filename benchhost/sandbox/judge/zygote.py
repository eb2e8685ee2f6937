"""A small process that forks one child for each submission, keeps it within its limits, and sees it dead.

It is a program of its own (:mod:`.program`, started by :mod:`.nursery`): it has never seen a test or an answer, and it
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
import time
from typing import Any

from benchhost.sandbox.judge import judged, walls

# What submissions often import; here it is loaded once. Much more would make each fork slower.
WARM = (
    *("bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools"),
    *("hashlib", "heapq", "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "typing"),
)

TICK = 0.05
"""Seconds between two looks at what children use."""

LARGEST = 4096
"""Bytes of a datagram."""


class Child:
    """A forked child. ``reason`` says why it ended."""

    def __init__(self, pid: int, status: socket.socket, limits: dict[str, Any]) -> None:
        status.setblocking(False)
        self.pid = pid
        self.handle = os.pidfd_open(pid)
        self.status = status
        self.memory = limits["memory"]
        self.ends = time.monotonic() + limits["lifetime"]
        self.reason = "ended"
        # Once it has been several processes or threads, it may be these that it waits for.
        self.alone = True

    def kill(self, reason: str) -> None:
        """End it, and with it everything in its namespace of processes."""
        self.reason = reason
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def tell(self, message: dict[str, Any]) -> None:
        """Tell the host something about it."""
        _send(self.status, message)


class Zygote:
    """Serves one host."""

    def __init__(self, host: socket.socket, around: walls.Walls) -> None:
        self._host = host
        self._walls = around
        self._children: dict[int, Child] = {}  # by the descriptors of its socket and of its handle
        self._poll = select.poll()
        self._poll.register(host, select.POLLIN)

    def serve(self) -> None:
        """Do what the host asks until it hangs up."""
        looked = 0.0
        while True:
            for descriptor, _ in self._poll.poll(TICK * 1000 if self._children else None):
                if descriptor == self._host.fileno():
                    if not self._take():
                        return
                elif (child := self._children.get(descriptor)) is not None:
                    # The number may have been given to another child meanwhile: neither of these waits.
                    self._reap(child) if descriptor == child.handle else self._hear(child)
            if self._children and (now := time.monotonic()) - looked > TICK:
                looked = now
                self._look(now)

    def _take(self) -> bool:
        data, handles, _, _ = socket.recv_fds(self._host, LARGEST, 2)
        if not data:
            return False
        if len(handles) < 2:  # no descriptor is left for them; the host notices that its ends are closed
            for handle in handles:
                os.close(handle)
            return True
        limits = json.loads(data)
        channel, status = handles[0], socket.socket(fileno=handles[1])
        try:
            pid = self._walls.fork()
        except OSError as error:
            _send(status, {"failed": f"no process is to be had ({error.strerror})"})
            status.close()
        else:
            if pid == 0:
                self._be_child(limits, channel, status)
            child = Child(pid, status, limits)
            for descriptor in (status.fileno(), child.handle):
                self._children[descriptor] = child
                self._poll.register(descriptor, select.POLLIN)
        os.close(channel)
        return True

    def _be_child(self, limits: dict[str, Any], channel: int, status: socket.socket) -> None:
        try:
            self._walls.enter(limits, channel)
        except BaseException as error:
            _send(status, {"failed": f"{type(error).__name__}: {error}"})
            os._exit(1)
        judged.serve(walls.CHANNEL, limits["answer"])

    def _hear(self, child: Child) -> None:
        try:
            request = child.status.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            request = b""
        if request == b"starved":
            child.tell({"starved": self._walls.starved(child.pid) if child.alone else 0.0})
            return
        if not request:  # the host has hung up
            self._poll.unregister(child.status)
        child.kill(child.reason)

    def _reap(self, child: Child) -> None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if not pid:
            return
        for descriptor in (child.status.fileno(), child.handle):
            del self._children[descriptor]
            with contextlib.suppress(KeyError):
                self._poll.unregister(descriptor)
        os.close(child.handle)
        child.tell({"ended": child.reason, "code": os.waitstatus_to_exitcode(status)})
        child.status.close()

    def _look(self, now: float) -> None:
        children = set(self._children.values())
        used = self._walls.used([child.pid for child in children])
        for child in children:
            child.alone = child.alone and used[child.pid].alone
            if used[child.pid].memory > child.memory:
                child.kill("memory")
            elif now > child.ends:
                child.kill("lifetime")


def main(host: socket.socket, hidden: list[str]) -> None:
    """Get warm, put up the walls, and serve. What lies in the directories ``hidden`` is not seen from within."""
    for module in WARM:
        __import__(module)
    try:
        around = walls.put_up(hidden)
    except walls.NoWalls as error:
        _send(host, {"error": str(error)})
        return
    if around is None:  # it goes on in another process
        host.close()
        os.wait()
        return
    _send(host, {"isolation": around.isolation})
    gc.collect()
    gc.freeze()
    Zygote(host, around).serve()


def _send(to: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody is interested any more
        to.send(json.dumps(message).encode())
