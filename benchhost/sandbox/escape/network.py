"""Attacks over sockets: on services of this machine, on its network, and on the kernel's own."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from benchhost.sandbox.escape.attack import Attack, Evidence, Heard, NotApplicable, Trap
from benchhost.sandbox.escape.scene import Scene
from benchhost.sandbox.escape.traps import nothing, told

_EVERY = 0.02


def _connected(listener: socket.socket, to: str) -> Evidence:
    async def evidence(_: Heard) -> str | None:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return None
        return f"it connected to {to}"

    return evidence


@contextmanager
def _listening(family: socket.AddressFamily, address: Any) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        yield listener


@asynccontextmanager
async def _service_on_loopback(_: Scene) -> AsyncIterator[Trap]:
    with _listening(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        evidence = _connected(listener, "a service on the loopback of the host")
        yield Trap(evidence, {"PORT": str(listener.getsockname()[1])})


@asynccontextmanager
async def _service_on_network(_: Scene) -> AsyncIterator[Trap]:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # which sends nothing
            address = probe.getsockname()[0]
    except OSError as error:
        raise NotApplicable("this machine has no network") from error
    with _listening(socket.AF_INET, (address, 0)) as listener:
        evidence = _connected(listener, "an address of the host")
        yield Trap(evidence, {"ADDRESS": address, "PORT": str(listener.getsockname()[1])})


@asynccontextmanager
async def _datagrams(scene: Scene) -> AsyncIterator[Trap]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)

        async def evidence(_: Heard) -> str | None:
            with contextlib.suppress(BlockingIOError):
                if scene.mark.encode() in receiver.recv(1000):
                    return "its datagram arrived on the host"
            return None

        yield Trap(evidence, {"PORT": str(receiver.getsockname()[1]), "MARK": scene.mark})


@asynccontextmanager
async def _abstract_service(scene: Scene) -> AsyncIterator[Trap]:
    with _listening(socket.AF_UNIX, f"\0{scene.mark}") as listener:
        yield Trap(_connected(listener, "an abstract socket of the host"), {"NAME": scene.mark})


@asynccontextmanager
async def _service_in_folder(scene: Scene) -> AsyncIterator[Trap]:
    with scene.open_folder() as folder, _listening(socket.AF_UNIX, str(folder / "socket")) as listener:
        (folder / "socket").chmod(0o777)
        told_ = {"SOCKET": str(folder / "socket"), "PID": str(os.getpid())}
        yield Trap(_connected(listener, "a socket in a folder of the host"), told_)


@asynccontextmanager
async def _traffic(scene: Scene) -> AsyncIterator[Trap]:
    """Have the host talk to itself, and look whether that is overheard."""
    ended = threading.Event()

    def talk() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, contextlib.suppress(ConnectionError):
            while not ended.wait(_EVERY):
                sender.sendto(scene.secret.encode(), receiver.getsockname())

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield Trap(told(scene.secret, "the host's traffic"))
        finally:
            ended.set()
            thread.join()


ATTACKS = (
    Attack(
        name="tcp-loopback",
        tries="connects to a service on the loopback of the host",
        kept_by="a network of its own, or no sockets",
        lay=_service_on_loopback,
        program='socket.create_connection(("127.0.0.1", int(E["PORT"])), 2)',
    ),
    Attack(
        name="tcp-network",
        tries="connects to the host by its address in the network",
        kept_by="a network of its own, or no sockets",
        lay=_service_on_network,
        program='socket.create_connection((E["ADDRESS"], int(E["PORT"])), 2)',
    ),
    Attack(
        name="udp-loopback",
        tries="sends a datagram to the loopback of the host, as to its resolver of names",
        kept_by="a network of its own, or no sockets",
        lay=_datagrams,
        program="""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(E["MARK"].encode(), ("127.0.0.1", int(E["PORT"])))
""",
    ),
    Attack(
        name="abstract-socket",
        tries="connects to an abstract Unix socket of the host",
        kept_by="a network of its own, or no sockets",
        lay=_abstract_service,
        program='socket.socket(socket.AF_UNIX).connect("\\0" + E["NAME"])',
    ),
    Attack(
        name="unix-socket",
        tries="connects to a Unix socket of the host in a folder, as that of a container engine",
        kept_by="a root of its own, or no sockets",
        lay=_service_in_folder,
        program="""
for path in (E["SOCKET"], "/proc/1/root" + E["SOCKET"], "/proc/" + E["PID"] + "/root" + E["SOCKET"]):
    attempt(lambda: socket.socket(socket.AF_UNIX).connect(path))
""",
    ),
    Attack(
        name="sniff",
        tries="listens to the traffic of the host with a packet socket",
        kept_by="the filter of system calls, no capabilities",
        lay=_traffic,
        needs="root",
        program="""
listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
listener.settimeout(0.3)
end = time.monotonic() + 0.5
while time.monotonic() < end:
    say("found", listener.recv(65535).decode("latin-1").encode("ascii", "ignore").decode().replace("\\n", ""))
""",
    ),
    Attack(
        name="vsock",
        tries="opens a socket to the hypervisor, which no namespace keeps in",
        kept_by="the filter of system calls",
        lay=nothing,
        program="""
socket.socket(40, socket.SOCK_STREAM)
say("reached", "AF_VSOCK")
""",
    ),
    Attack(
        name="kernel-sockets",
        tries="listens to events of devices and audits, and talks to the packet filter",
        kept_by="the filter of system calls",
        lay=nothing,
        program="""
for protocol, what in ((15, "events of devices"), (9, "audit"), (12, "netfilter")):
    def listen():
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).bind((0, 0))
        say("reached", what)
    attempt(listen)
""",
    ),
)
