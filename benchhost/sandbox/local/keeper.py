"""The keeper of the sandboxes of a folder: it forks their holders, watches what they use, and takes them away.

There is one for each folder, whoever uses it: the lock says so. Everybody who has opened the provider is connected
to it. When the last of them hangs up, killed or not, the sandboxes end, but for those that are to stay; and when there
are none of these either, the keeper does. When the keeper is killed, all holders lose their lifelines.

It has one thread and imports little, because what it imports is what forking a holder costs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchhost.sandbox.local import boxes, kernel, tiers
from benchhost.sandbox.local.boxes import Box
from benchhost.sandbox.local.messages import Closed, Message, listen, receive, send

LOCK = "lock"
SANDBOXES = "sandboxes"

READY = b"ready"
"""What it says when it listens. Whatever else it says is why it does not."""

READY_WITHIN = 60.0
"""Seconds that a sandbox may take to get ready."""


class AlreadyKept(Exception):
    """Another keeper has the folder."""


@dataclass
class Keeper:
    """A keeper, which serves until nobody needs it."""

    folder: str
    listener: socket.socket
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    connections: set[socket.socket] = field(default_factory=set)
    boxes: dict[str, Box] = field(default_factory=dict)

    def serve(self) -> None:
        """Serve until nobody is connected and no sandbox is left."""
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, lambda *_: None)  # whoever is connected decides
        self._on(woken, lambda: self._reap(woken))
        self._on(self.listener, self._accept)
        until = time.monotonic() + READY_WITHIN  # whoever started it is about to connect
        while self.connections or self.boxes or time.monotonic() < until:
            if self.connections:
                until = 0.0
            patience = boxes.MEMORY_EVERY if self.boxes else 1.0 if until else None
            for key, _ in self.selector.select(patience):
                key.data()
            now = time.monotonic()
            for box in self.boxes.values():
                box.look(now)

    def _on(self, file: int | socket.socket, do: Callable[[], object]) -> None:
        self.selector.register(file, selectors.EVENT_READ, do)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self.welcome(self.listener.accept()[0])

    def welcome(self, connection: socket.socket) -> None:
        """Listen to somebody, for whom the sandboxes are kept while they are connected."""
        connection.setblocking(False)
        self.connections.add(connection)
        self._on(connection, lambda: self._hear(connection))

    def _hear(self, connection: socket.socket) -> None:
        try:
            request, files = receive(connection)
            for file in files:
                os.close(file)
            if request["op"] == "attach":
                _answer(connection, tiers.choose(request["isolation"], request["weakest"]))
            elif request["op"] == "create":
                self._create(connection, request)
            elif request["op"] == "delete":
                self._delete(connection, request["id"])
        except BlockingIOError:
            pass
        except Closed:
            self.selector.unregister(connection)
            self.connections.discard(connection)
            connection.close()
            if not self.connections:
                self._end_all()
        except (LookupError, ValueError, TypeError) as error:
            _answer(connection, {"error": "unavailable", "message": f"it cannot be understood: {error!r}"})

    def _create(self, connection: socket.socket, asked: Message) -> None:
        if len(self.boxes) >= asked["most"]:
            said = f"{len(self.boxes)} sandboxes are there, as many as may be; delete some, or raise max_sandboxes"
            _answer(connection, {"error": "busy", "message": said})
            return
        try:
            box = boxes.make(os.path.join(self.folder, SANDBOXES), asked, tier=asked["tier"])
        except OSError as error:
            _answer(connection, {"error": "unavailable", "message": f"no sandbox can be made: {error}"})
            return
        self.boxes[box.id] = box
        self._on(box.ready, lambda: self._made(connection, box))

    def _made(self, connection: socket.socket, box: Box) -> None:
        said = os.read(box.ready, 4096)
        self.selector.unregister(box.ready)
        os.close(box.ready)
        box.ready = -1
        if said:
            message = f"no sandbox can be made: {said.decode(errors='replace')}"
            _answer(connection, {"error": "unavailable", "message": message})
            self._end(box)
            return
        boxes.write_label(box)
        _answer(connection, {"id": box.id})

    def _delete(self, connection: socket.socket, box_id: str) -> None:
        box = self.boxes.get(box_id)
        if box is None:
            _answer(connection, {})
            return
        box.waiting.append(connection)
        self._end(box)

    def _end(self, box: Box) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(box.pid, signal.SIGKILL)

    def _end_all(self) -> None:
        for box in self.boxes.values():
            if not box.stays:
                self._end(box)

    def _reap(self, woken: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for box in list(self.boxes.values()):
                    if box.pid == pid:
                        self._gone(box)
                    elif box.measuring == pid:
                        box.measuring = None
                        if status:
                            box.overrun("disk_limit")

    def _gone(self, box: Box) -> None:
        del self.boxes[box.id]
        if box.ready >= 0:
            self.selector.unregister(box.ready)
        box.let_go()
        boxes.remove(box.folder)
        for connection in box.waiting:
            _answer(connection, {})


def _answer(connection: socket.socket, message: Message) -> None:
    with contextlib.suppress(OSError):  # it has hung up, which will be heard
        send(connection, message)


def keep(folder: str, host: Iterable[int]) -> None:
    """Keep the sandboxes of a folder, and say on the standard output when it is ready.

    ``host`` has the descriptor of a socket, if there is a host that whoever starts it is only a part of.

    Raises :class:`AlreadyKept`.
    """
    os.makedirs(os.path.join(folder, SANDBOXES), mode=0o700, exist_ok=True)
    lock = os.open(os.path.join(folder, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyKept from None
    for name in os.listdir(os.path.join(folder, SANDBOXES)):  # their keeper is gone, and so are they
        boxes.remove(os.path.join(folder, SANDBOXES, name))
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    keeper = Keeper(folder, listen(opened))
    os.close(opened)
    for each in host:
        keeper.welcome(socket.socket(fileno=each))
    os.write(1, READY)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)
    keeper.serve()


def main() -> None:
    """Be the keeper, in a session of its own and nobody's child."""
    if os.fork():
        os._exit(0)
    folder, host = sys.argv[1], [int(each) for each in sys.argv[3:]]
    kernel.hide_arguments("benchhost-sandbox")  # holders are forked from here, and seen in their sandboxes
    os.setsid()
    os.umask(0o077)
    try:
        keep(folder, host)
    except AlreadyKept:
        os.write(1, READY)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(1, f"{error}".encode())
        raise
