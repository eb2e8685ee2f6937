"""Attacks on another sandbox of the same provider."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchhost.errors import SandboxFileError
from benchhost.sandbox.escape.attack import Attack, Heard, NotApplicable, Trap
from benchhost.sandbox.escape.scene import Scene
from benchhost.sandbox.escape.traps import told

_SERVICE = """
import os, socket, sys
family, name = socket.AF_INET, ("127.0.0.1", 0)
if sys.argv[2] == "abstract":
    family, name = socket.AF_UNIX, chr(0) + sys.argv[1]
listener = socket.socket(family)
listener.bind(name)
listener.listen()
print(0 if family == socket.AF_UNIX else listener.getsockname()[1], flush=True)
if os.fork():
    os._exit(0)
os.setsid()
null = os.open("/dev/null", os.O_RDWR)
for file in (0, 1, 2):
    os.dup2(null, file)
listener.settimeout(30)
listener.accept()
open(os.environ.get("TMPDIR", "/tmp") + "/" + sys.argv[1], "w").close()
"""


@asynccontextmanager
async def _file(scene: Scene) -> AsyncIterator[Trap]:
    """Have the neighbour keep a secret where everybody may read it, and look whether it was read or changed."""
    name = f"neighbour-{scene.mark}"
    path = f"/tmp/{name}"
    await scene.neighbour.write(path, scene.secret.encode())

    async def evidence(heard: Heard) -> str | None:
        if await scene.neighbour.read(path) != scene.secret.encode():
            return "it changed a file of another sandbox"
        return await told(scene.secret, "another sandbox")(heard)

    yield Trap(evidence, {"NAME": name, "PLACES": ":".join(map(str, scene.places))})


@asynccontextmanager
async def _process(scene: Scene) -> AsyncIterator[Trap]:
    """Have a command run in the neighbour, and look whether it goes on."""
    running = asyncio.create_task(scene.neighbour.run(f"echo $$ > ${{TMPDIR:-/tmp}}/{scene.mark}; exec sleep 30"))
    pid = b""
    while not pid.endswith(b"\n"):
        if running.done():
            raise NotApplicable(f"a command in another sandbox does not go on: {running.result()}")
        await asyncio.sleep(0.02)
        with contextlib.suppress(SandboxFileError):
            pid = await scene.neighbour.read(f"/tmp/{scene.mark}")

    async def evidence(_: Heard) -> str | None:
        await asyncio.wait([running], timeout=0.1)
        return "it ended a process of another sandbox" if running.done() else None

    try:
        yield Trap(evidence, {"PID": pid.decode().strip()})
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def _service(scene: Scene, kind: str) -> AsyncIterator[Trap]:
    """Have the neighbour listen, and look whether somebody connected."""
    command = ["python3", "-c", _SERVICE, scene.mark, kind]
    started = await scene.neighbour.run(command, timeout=10)
    if not started.ok:
        raise NotApplicable("a sandbox of this provider has no sockets that one could connect to")

    async def evidence(_: Heard) -> str | None:
        await scene.neighbour.run("sleep 0.05")
        try:
            await scene.neighbour.read(f"/tmp/{scene.mark}")
        except SandboxFileError:
            return None
        return "it connected to another sandbox"

    yield Trap(evidence, {"NAME": scene.mark, "PORT": started.text.strip()})


ATTACKS = (
    Attack(
        name="neighbour-files",
        tries="reads and changes files of another sandbox",
        kept_by="a root and a user of its own",
        lay=_file,
        program="""
places = [place for place in E["PLACES"].split(":") if place] + ["/tmp", TMP, "/work", "/home", "/dev/shm", "/var/tmp"]
found = 0
for link in ("root/tmp", "cwd"):
    places += glob.glob(f"/proc/[0-9]*/{link}")
for place in places:
    attempt(os.listdir, place)
    for folder, _, names in os.walk(place):
        found += 1
        if E["NAME"] in names:
            attempt(tell, folder + "/" + E["NAME"])
            attempt(lambda: open(folder + "/" + E["NAME"], "a").write("changed"))
        if found > 5000:
            break
""",
    ),
    Attack(
        name="neighbour-processes",
        tries="ends a process of another sandbox",
        kept_by="processes of its own, or a user of its own and Landlock",
        lay=_process,
        violent=True,  # the number may be its own, where processes have numbers of their own
        program="""
attempt(os.kill, int(E["PID"]), signal.SIGKILL)
""",
    ),
    Attack(
        name="neighbour-tcp",
        tries="connects to a service on the loopback of another sandbox",
        kept_by="a network of its own, or no sockets",
        lay=lambda scene: _service(scene, "tcp"),
        program='socket.create_connection(("127.0.0.1", int(E["PORT"])), 2)',
    ),
    Attack(
        name="neighbour-abstract",
        tries="connects to an abstract Unix socket of another sandbox",
        kept_by="a network of its own, or no sockets",
        lay=lambda scene: _service(scene, "abstract"),
        program='socket.socket(socket.AF_UNIX).connect("\\0" + E["NAME"])',
    ),
)
