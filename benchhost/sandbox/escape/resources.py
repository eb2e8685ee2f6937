"""Attacks by greed: processes, memory, disk and output without end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchhost.contract.environment import Resources
from benchhost.sandbox.escape.attack import Attack, Heard, Trap
from benchhost.sandbox.escape.scene import Scene, Watch

GIVEN = Resources(vcpu=1, memory=1, disk=1)
"""What the sandboxes of the suite are given."""

MOST_OUTPUT = 1024 * 1024
"""Bytes of output that an attack may make."""

_TOO_MANY = 400
"""Processes. A sandbox may have 256. Where the kernel keeps no limit, they are counted again and again, and grow
meanwhile: what tells is whether so many are left to go on."""
_GIGABYTE = 1024**3
_TOLERATED = 1.35
"""Times what was given. Where the kernel keeps no limit, memory is looked at again and again, and grows meanwhile."""
_GOAL = 1600
"""Megabytes that are tried."""


@asynccontextmanager
async def _counted(scene: Scene) -> AsyncIterator[Trap]:
    with Watch(scene.mark) as watch:

        async def evidence(heard: Heard) -> str | None:
            if watch.most <= _TOO_MANY or not heard.lines("held"):
                return None
            return f"it was left {watch.most} processes at once"

        yield Trap(evidence)


@asynccontextmanager
async def _weighed(scene: Scene) -> AsyncIterator[Trap]:
    with Watch(scene.mark) as watch:

        async def evidence(heard: Heard) -> str | None:
            if watch.largest < GIVEN.memory * _GIGABYTE * _TOLERATED or not heard.lines("held"):
                return None
            return f"it was left {watch.largest / _GIGABYTE:.2f} GB of memory, of {GIVEN.memory}"

        yield Trap(evidence, {"MEGABYTES": str(_GOAL)})


@asynccontextmanager
async def _written(_: Scene) -> AsyncIterator[Trap]:
    """Believe a program that says it could write so much, and was left to go on."""

    async def evidence(heard: Heard) -> str | None:
        sizes = [int(size) for size in heard.lines("written")]
        if max(sizes, default=0) < GIVEN.disk * _GIGABYTE * _TOLERATED:
            return None
        return f"it filled {max(sizes) / _GIGABYTE:.2f} GB, of {GIVEN.disk}"

    yield Trap(evidence, {"MEGABYTES": str(_GOAL)})


@asynccontextmanager
async def _flooded(_: Scene) -> AsyncIterator[Trap]:
    async def evidence(heard: Heard) -> str | None:
        if len(heard.said) > 2 * MOST_OUTPUT:
            return f"{len(heard.said):,} bytes of its output were taken, of {MOST_OUTPUT:,}"
        return None if heard.exited.reason == "output_limit" else f"it ended otherwise: {heard.exited}"

    yield Trap(evidence)


_FILL = """
size, files = 0, []
def fill(path):
    global size
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600) if isinstance(path, str) else path
    files.append((file, path))
    for place in range(int(E["MEGABYTES"]) // len(places) // 32):
        os.posix_fallocate(file, place << 25, 1 << 25)
        size += 1 << 25
try:
    for path in places:
        attempt(fill, path)
    if size >= (int(E["MEGABYTES"]) - 64) << 20:
        time.sleep(2.5)  # in which somebody looks
    say("written", size)
finally:
    for file, path in files:
        os.close(file)
        if isinstance(path, str):
            os.unlink(path)
"""

ATTACKS = (
    Attack(
        name="fork-bomb",
        tries="starts processes without end",
        kept_by="a limit of processes",
        lay=_counted,
        violent=True,
        program="""
for _ in range(600):
    if os.fork() == 0:
        time.sleep(10)
        os._exit(0)
time.sleep(2.5)  # in which somebody looks
say("held")
""",
    ),
    Attack(
        name="memory-bomb",
        tries="takes more memory than it was given",
        kept_by="a limit of memory, by the kernel or by looking again and again",
        lay=_weighed,
        violent=True,
        program="""
taken = []
for _ in range(int(E["MEGABYTES"]) // 16):
    taken.append(b"x" * (16 << 20))
time.sleep(1.2)  # in which somebody looks
say("held")
""",
    ),
    Attack(
        name="memory-bombs",
        tries="takes more memory than it was given, in many processes that are small",
        kept_by="a limit of all processes together, by the kernel or by looking again and again",
        lay=_weighed,
        violent=True,
        program="""
children = []
for _ in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        taken = b"x" * ((int(E["MEGABYTES"]) // 8) << 20)
        time.sleep(3)
        os._exit(0)
time.sleep(2)
if not any(os.waitpid(child, os.WNOHANG)[0] for child in children):
    say("held")
""",
    ),
    Attack(
        name="memory-files",
        tries="takes memory in files that belong to no process",
        kept_by="sized filesystems; no files in memory where they are not counted",
        lay=_written,
        violent=True,
        program="""
places = [f"/dev/shm/fill-{os.getpid()}"]
made = attempt(os.memfd_create, "fill")
if made is not None:
    places.append(made)
"""
        + _FILL,
    ),
    Attack(
        name="disk-fill",
        tries="fills the disk where it works",
        kept_by="a limit of the disk, by the kernel or by looking again and again",
        lay=_written,
        violent=True,
        program='places = [f"{os.getcwd()}/fill-{os.getpid()}-{number}" for number in range(2)]\n' + _FILL,
    ),
    Attack(
        name="disk-fill-elsewhere",
        tries="fills the disk in all other places where it may write",
        kept_by="sized filesystems, a limit of the disk",
        lay=_written,
        violent=True,
        program="""
places = [
    f"{folder}/fill-{os.getpid()}"
    for folder in (TMP, "/var/tmp", "/run", "/home", "/root", "/srv", "/")
    if os.access(folder, os.W_OK)
] or [TMP + "/fill"]
"""
        + _FILL,
    ),
    Attack(
        name="output-flood",
        tries="says more than anybody can keep",
        kept_by="a limit of output",
        lay=_flooded,
        violent=True,
        program="""
for _ in range(640):
    os.write(1, b"flood " * 10922)
""",
    ),
)
