"""Who holds connections to this worker: how many each peer may have, and which are let go.

The server process accepts connections before the application hears of them, so a peer could take them all and say
nothing. Twice a second the open ones are counted, and what a peer has beyond its share is closed, where no request is
under way; so is a connection whose peer takes nothing of what it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import ipaddress
import os
import socket
import stat
import struct
import termios
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

from benchhost.errors import Busy
from benchhost.log import get_logger
from benchhost.server.socket import READS_WITHIN

_log = get_logger()

EVERY = 0.5
"""Seconds between two counts."""

T = TypeVar("T")

Address = tuple[str, int]
"""Where a connection comes from: an IP address and a port."""


@functools.lru_cache(maxsize=4096)
def peer_of(address: str) -> str:
    """Say who is behind an address: of IPv6, whoever has one address has the 64 bits behind its network, too."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False))


class Connections:
    """The connections of a worker that listens on ``port``; ``most`` is the share of a peer."""

    def __init__(self, port: int, most: int) -> None:
        self._port = port
        self._most = most
        self._under_way: dict[str, int] = {}
        self._used: dict[Address, int] = {}
        self._waiting: dict[Address, tuple[int, float]] = {}

    def request(self, address: Address | None) -> AbstractContextManager[None]:
        """Count a request, or a WebSocket, while it is under way.

        To enter it raises :class:`~benchhost.errors.Busy` when its peer has too many.
        """
        if address is None:
            return contextlib.nullcontext()
        return _Request(self._under_way, self._used, self._most, (address[0], address[1]))

    async def watch(self) -> None:
        """Let go of what is too much, until this is cancelled."""
        quiet = 0.0
        while True:
            await asyncio.sleep(EVERY)
            quiet += EVERY
            try:
                if len(_descriptors()) > self._most:
                    self.let_go_of_too_many()
                if quiet >= READS_WITHIN / 10:
                    quiet = 0.0
                    self.let_go_of_stuck(asyncio.get_running_loop().time())
            except OSError as error:  # no descriptor is left to look with: the next time, there may be
                _log.warning("connections could not be counted", error=str(error))

    def let_go_of_too_many(self) -> int:
        """Close what peers have beyond their share and do not use; return how many connections those were."""
        counted: Counter[str] = Counter()
        idle: dict[str, list[tuple[int, Address]]] = defaultdict(list)
        for number, address in self._open():
            counted[peer_of(address[0])] += 1
            if address not in self._used:
                idle[peer_of(address[0])].append((number, address))
        closed = 0
        for peer, count in counted.items():
            excess = idle[peer][: max(0, count - self._most)]
            if excess:
                _log.warning(
                    "a peer has more connections than its share: some are closed", peer=peer, closed=len(excess)
                )
            for number, address in excess:
                closed += self._hang_up(number, address)
        return closed

    def let_go_of_stuck(self, now: float) -> int:
        """Close connections whose peers have taken nothing of what waits for them; return how many those were."""
        before, self._waiting, closed = self._waiting, {}, 0
        for number, address in self._open():
            left = self._unsent(number, address)
            size, since = before.get(address, (left, now))
            since = since if size == left else now
            if left and now - since >= READS_WITHIN:
                closed += self._hang_up(number, address)
            elif left:
                self._waiting[address] = (left, since)
        return closed

    def _open(self) -> list[tuple[int, Address]]:
        """Find the connections to the port, by their descriptors."""
        found = ((number, self._address(number)) for number in _descriptors())
        return [(number, address) for number, address in found if address is not None]

    def _address(self, number: int) -> Address | None:
        with _held(number) as connection:
            return None if connection is None else self._peer(connection)

    def _peer(self, connection: socket.socket) -> Address | None:
        """Say from where a connection to the port comes; ``None`` for any other socket."""
        try:
            if connection.getsockname()[1] != self._port:
                return None
            address, port, *_ = connection.getpeername()
        except (OSError, IndexError, ValueError):  # it listens, is gone, or is of another family
            return None
        return address, port

    def _hang_up(self, number: int, address: Address) -> bool:
        with _held(number) as connection:
            if connection is None or self._peer(connection) != address:  # its number is by now that of another
                return False
            with contextlib.suppress(OSError):  # it has hung up itself
                connection.shutdown(socket.SHUT_RDWR)
            return True

    def _unsent(self, number: int, address: Address) -> int:
        """Say how many bytes the peer has not taken yet."""
        with _held(number) as connection:
            if connection is None or self._peer(connection) != address:
                return 0
            left: int = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
            return left


class _Request(AbstractContextManager[None]):
    """A request that is counted for its peer and its connection. A generator would cost more than the count."""

    def __init__(self, under_way: dict[str, int], used: dict[Address, int], most: int, address: Address) -> None:
        self._under_way = under_way
        self._used = used
        self._most = most
        self._address = address
        self._peer = peer_of(address[0])

    def __enter__(self) -> None:
        under_way = self._under_way.get(self._peer, 0)
        if under_way >= self._most:
            raise Busy("Too many requests from your address are under way; retry later.", 1.0)
        self._under_way[self._peer] = under_way + 1
        self._used[self._address] = self._used.get(self._address, 0) + 1

    def __exit__(self, *_: object) -> None:
        _subtract(self._under_way, self._peer)
        _subtract(self._used, self._address)


def _descriptors() -> list[int]:
    return [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208 - thousands of them, twice a second


def _subtract(counter: dict[T, int], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


@contextlib.contextmanager
def _held(number: int) -> Iterator[socket.socket | None]:
    """Hold a socket of another owner by a descriptor of one's own, so that it is the same one for as long.

    No file is held so. To close any descriptor of a file lets go of all locks that this process has on it (POSIX), and
    SQLite's are such locks: other processes would then write over what this one is using of the store.
    """
    try:
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            yield None
            return
        copy = os.dup(number)
    except OSError:  # it is closed already
        yield None
        return
    try:
        connection = socket.socket(fileno=copy)
    except OSError:  # its number was given to a file between the two lines above: the copy is left open, see above
        yield None
        return
    with connection:
        yield connection
