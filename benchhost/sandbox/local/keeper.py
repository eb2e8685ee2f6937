"""The keeper of the sandboxes of a folder: it forks their holders, watches what they use, and takes them away.

There is one for each folder, whoever uses it: the lock says so. Everybody who has opened the provider is connected
to it. When the last of them hangs up, killed or not, the sandboxes end, but for those that are to stay; and when there
are none of these either, the keeper does. When the keeper is killed, all holders lose their lifelines. When somebody
takes the folder away, nobody finds anything in it any more, so everything ends.

It has one thread and imports little, because what it imports is what forking a holder costs.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchhost.sandbox.local import boxes, cgroups, kernel, tiers
from benchhost.sandbox.local.advice import advice
from benchhost.sandbox.local.boxes import Box
from benchhost.sandbox.local.execution import end_orphans
from benchhost.sandbox.local.messages import Closed, Message, listen, receive, send

LOCK = "lock"
SANDBOXES = "sandboxes"

READY = b"ready"
"""What it says when it listens. Whatever else it says is why it does not."""

READY_WITHIN = 60.0
"""Seconds that a sandbox may take to get ready."""

LOOKS_EVERY = 2.0
"""Seconds between two looks at whether the folder is still there."""


class AlreadyKept(Exception):
    """Another keeper has the folder."""


@dataclass
class Keeper:
    """A keeper, which serves until nobody needs it."""

    folder: str
    lock: int
    listener: socket.socket
    groups: cgroups.Groups | str  # or why there are none
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    connections: set[socket.socket] = field(default_factory=set)
    boxes: dict[str, Box] = field(default_factory=dict)
    removing: set[int] = field(default_factory=set)  # processes that remove files
    orphaned: bool = False  # whether a holder may have left processes to us
    asking: dict[str, socket.socket] = field(default_factory=dict)  # who waits for a sandbox, by its id

    def serve(self) -> None:
        """Serve until nobody is connected and no sandbox is left, or the folder is gone."""
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, lambda *_: None)  # whoever is connected decides
        self._on(woken, lambda: self._reap(woken))
        self._on(self.listener, self._accept)
        until = time.monotonic() + READY_WITHIN  # whoever started it is about to connect
        next_look = 0.0
        while self.connections or self.boxes or time.monotonic() < until:
            if self.connections:
                until = 0.0
            for key, _ in self.selector.select(boxes.MEMORY_EVERY if self.boxes else LOOKS_EVERY):
                if self.selector.get_map().get(key.fd) is key:  # what went before may have ended it
                    key.data()
            now = time.monotonic()
            if now >= next_look:
                next_look = now + LOOKS_EVERY
                if not self._has_folder():
                    for box in self.boxes.values():
                        box.end()
                    if not self.boxes:
                        return
            for box in self.boxes.values():
                box.look(now)
            self._end_orphans()

    def _has_folder(self) -> bool:
        """Say whether the folder is still there, and still has the lock that we hold."""
        try:
            return os.path.samestat(os.stat(os.path.join(self.folder, LOCK)), os.fstat(self.lock))
        except OSError:
            return False

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
                _answer(connection, tiers.choose(self.folder, request["isolation"], request["weakest"], self.groups))
            elif request["op"] == "create":
                self._create(connection, request)
            elif request["op"] == "delete":
                self._delete(connection, request["id"])
            elif request["op"] == "taken":
                self.asking.pop(request["id"], None)
        except BlockingIOError:
            pass
        except Closed:
            self.selector.unregister(connection)
            self.connections.discard(connection)
            connection.close()
            self._end_what_nobody_took(connection)
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
            box = boxes.make(
                os.path.join(self.folder, SANDBOXES),
                asked,
                tier=asked["tier"],
                groups=self.groups if isinstance(self.groups, cgroups.Groups) else None,
            )
        except OSError as error:
            _answer(connection, {"error": "unavailable", "message": f"no sandbox can be made: {error.strerror}"})
            return
        self.boxes[box.id] = box
        self.asking[box.id] = connection
        if box.preparing is None:
            self._begin(box)

    def _begin(self, box: Box) -> None:
        if box.ending is not None:
            self._refuse(box, "it is deleted already")
            return
        try:
            box.begin()
        except OSError as error:
            self._refuse(box, advice(error.strerror or str(error)))
        else:
            self._on(box.ready, lambda: self._made(box))

    def _refuse(self, box: Box, why: str) -> None:
        message = f"no sandbox can be made: {why}"
        _answer(self.asking.pop(box.id), {"error": "unavailable", "message": message})
        if box.pid < 0:
            self._gone(box)

    def _made(self, box: Box) -> None:
        said = os.read(box.ready, 4096)
        self.selector.unregister(box.ready)
        os.close(box.ready)
        box.ready = -1
        if said:
            self._refuse(box, said.decode(errors="replace"))
            return
        if box.ending is not None:
            return
        try:
            box.write_label()
        except OSError as error:  # the disk is full, say
            box.end()
            self._refuse(box, error.strerror or str(error))
        else:
            _answer(self.asking[box.id], {"id": box.id})

    def _end_what_nobody_took(self, connection: socket.socket) -> None:
        """End what somebody has asked for who hung up, and may never have heard of it."""
        for box_id, asker in self.asking.items():
            if asker is connection:
                self.boxes[box_id].end()

    def _delete(self, connection: socket.socket, box_id: str) -> None:
        box = self.boxes.get(box_id)
        if box is None:
            _answer(connection, {})
            return
        box.waiting.append(connection)
        box.end()

    def _end_all(self) -> None:
        for box in self.boxes.values():
            if not box.stays:
                box.end()

    def _reap(self, woken: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.removing.discard(pid)
                for box in list(self.boxes.values()):
                    if box.pid == pid:
                        self._gone(box)
                    elif box.preparing == pid:
                        box.preparing = None
                        if status:
                            self._refuse(box, "the files of the snapshot cannot be copied")
                        else:
                            self._begin(box)
                    elif box.measuring == pid:
                        box.measuring = None
                        if status:
                            box.overrun("disk_limit")

    def _gone(self, box: Box) -> None:
        del self.boxes[box.id]
        said = b""
        if box.ready >= 0:
            with contextlib.suppress(KeyError):  # it could not begin
                self.selector.unregister(box.ready)
            said = os.read(box.ready, 4096)
        if box.id in self.asking:
            self._refuse(box, said.decode(errors="replace") or "its holder has ended")
        self.orphaned = self.orphaned or box.tier == "landlock"
        try:
            removing = box.tidy_up()
        except OSError as error:  # whatever it is, the others are kept; who keeps the folder next tries again
            sys.__excepthook__(type(error), error, error.__traceback__)
        else:
            if removing is not None:
                self.removing.add(removing)
        for connection in box.waiting:
            _answer(connection, {})

    def _end_orphans(self) -> None:
        """End what a holder has left behind that was killed, and had neither namespaces nor a user of its own."""
        if not self.orphaned:
            return
        known = self.removing | {
            pid for box in self.boxes.values() for pid in (box.pid, box.preparing, box.measuring) if pid is not None
        }
        self.orphaned = end_orphans(known)


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
    left = [os.path.join(folder, SANDBOXES, name) for name in os.listdir(os.path.join(folder, SANDBOXES))]
    # Their keeper is gone, and so are they.
    removing = {pid for each in left if (pid := boxes.remove(each)) is not None}
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    groups = cgroups.find(f"{os.getpid():x}-{os.urandom(4).hex()}")
    keeper = Keeper(folder, lock, listen(opened), groups, removing=removing)
    os.close(opened)
    for each in host:
        keeper.welcome(socket.socket(fileno=each))
    os.write(1, READY)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 1)
    os.close(nothing)
    keeper.serve()
    if isinstance(groups, cgroups.Groups):
        groups.close()


def main() -> None:
    """Be the keeper, in a session of its own and nobody's child."""
    if os.fork():
        os._exit(0)
    folder, host = sys.argv[1], [int(each) for each in sys.argv[2:]]
    kernel.hide_arguments("benchhost-sandbox")  # holders are forked from here, and seen in their sandboxes
    os.setsid()
    kernel.adopt_orphans()
    gc.disable()  # it has no cycles to speak of, and holders share its memory as long as nobody writes to it
    gc.freeze()
    os.umask(0o077)
    try:
        keep(folder, host)
    except AlreadyKept:
        os.write(1, READY)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(1, f"{error}".encode())
        raise
