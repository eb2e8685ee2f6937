"""Attacks on the host while it takes files out of a sandbox, or puts files into it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from benchhost.errors import SandboxFileError
from benchhost.sandbox.escape.attack import Attack, Heard, Trap
from benchhost.sandbox.escape.scene import Scene

_PATIENCE = 15.0
_MOST = 1024 * 1024
_ROUNDS = 40

_OUT = "OUT = f\"{TMP}/{E['OUT']}\"\n"
"""Where in the sandbox lies what is to be taken out."""


@asynccontextmanager
async def _written_by_host(scene: Scene) -> AsyncIterator[Trap]:
    """Write and upload to where the program says, and look whether it arrived on the host itself."""
    with scene.open_folder() as folder:
        source = scene.folder / "source"
        source.mkdir()
        (source / "uploaded").write_text("x")

        async def evidence(_: Heard) -> str | None:
            place = f"/tmp/out-{scene.mark}"
            attempts: tuple[Callable[[], Awaitable[None]], ...] = (
                lambda: scene.sandbox.write(f"{place}/link/written", b"x"),
                lambda: scene.sandbox.write(f"{place}/file", b"x"),
                lambda: scene.sandbox.upload(source, f"{place}/link"),
                lambda: scene.sandbox.upload(source, f"{place}/link/folder"),
                lambda: scene.sandbox.upload(source / "uploaded", f"{place}/file"),
            )
            for attempt in attempts:
                with contextlib.suppress(SandboxFileError):
                    await asyncio.wait_for(attempt(), _PATIENCE)
            arrived = sorted(path.name for path in folder.iterdir())
            return f"what was written into the sandbox arrived on the host: {', '.join(arrived)}" if arrived else None

        yield Trap(evidence, {"FOLDER": str(folder), "OUT": f"out-{scene.mark}"})


def _taken(*, limit: int = _MOST) -> Callable[[Scene], contextlib.AbstractAsyncContextManager[Trap]]:
    """Read and download what the program has prepared, and look what has come out."""

    @asynccontextmanager
    async def lay(scene: Scene) -> AsyncIterator[Trap]:
        place = f"/tmp/out-{scene.mark}"
        target = scene.folder / "around" / "target"
        target.parent.mkdir()

        async def evidence(_: Heard) -> str | None:
            read = b""
            with contextlib.suppress(SandboxFileError):
                read = await _in_time(scene.sandbox.read(f"{place}/file", limit))
            if scene.secret.encode() in read:
                return "the host read its own file in the name of the sandbox"
            with contextlib.suppress(SandboxFileError):
                await _in_time(scene.sandbox.download(place, target, limit))
            return _found(scene, target) or _misplaced(target)

        yield Trap(evidence, {"FILE": str(scene.file), "FOLDER": str(scene.folder), "OUT": place.removeprefix("/tmp/")})

    return lay


async def _in_time(work: Awaitable[bytes | None]) -> bytes:
    return await asyncio.wait_for(work, _PATIENCE) or b""


def _found(scene: Scene, target: Path) -> str | None:
    """Say what should not be in a downloaded folder."""
    size = 0
    for path in target.rglob("*"):
        if path.is_symlink():
            if not path.resolve().is_relative_to(target.resolve()):
                return "a link that came out leads to elsewhere on the host"
        elif path.is_file():
            about = path.stat()
            size += about.st_size
            if about.st_size < _MOST and scene.secret in path.read_text(errors="replace"):
                return "a file of the host came out of the sandbox"
        elif not path.is_dir():
            return f"something that is no file came out: {path.name!r}"
    return f"{size:,} bytes came out, of {_MOST:,}" if size > 2 * _MOST else None


def _misplaced(target: Path) -> str | None:
    others = [path.name for path in target.parent.iterdir() if path != target]
    return f"files came out beside where they belong: {others}" if others else None


@asynccontextmanager
async def _race(scene: Scene) -> AsyncIterator[Trap]:
    """Read and download again and again while the program exchanges a folder for a link to the host."""
    place = f"/tmp/race-{scene.mark}"

    async def take() -> str | None:
        for _ in range(100):
            with contextlib.suppress(SandboxFileError):
                await scene.sandbox.read(f"{place}/ready")
                break
            await asyncio.sleep(0.02)
        for number in range(_ROUNDS):
            target = scene.folder / f"target-{number}"
            with contextlib.suppress(SandboxFileError):
                if scene.secret.encode() in await scene.sandbox.read(f"{place}/changing/secret"):
                    return "the host read its own file in the name of the sandbox"
            with contextlib.suppress(SandboxFileError):
                await scene.sandbox.download(place, target, _MOST)
            if found := _found(scene, target):
                return found
        return None

    of_host = scene.folder / "of-host"
    of_host.mkdir()
    (of_host / "secret").write_text(scene.secret)
    taking = asyncio.create_task(take())

    async def evidence(_: Heard) -> str | None:
        return await taking

    try:
        yield Trap(evidence, {"FOLDER": str(of_host), "OUT": place.removeprefix("/tmp/")})
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


ATTACKS = (
    Attack(
        name="write-through-link",
        tries="has the host write through a symbolic link that leads to the host",
        kept_by="paths that are looked up inside of the sandbox",
        lay=_written_by_host,
        program=_OUT
        + """
os.makedirs(OUT)
os.symlink(E["FOLDER"], OUT + "/link")
os.symlink(E["FOLDER"] + "/file", OUT + "/file")
""",
    ),
    Attack(
        name="read-through-link",
        tries="has the host read, and take out, its own files by way of links",
        kept_by="paths that are looked up inside of the sandbox; links that lead out are left behind",
        lay=_taken(),
        program=_OUT
        + """
os.makedirs(OUT + "/below")
os.symlink(E["FILE"], OUT + "/file")
os.symlink("/.." * 9 + E["FILE"], OUT + "/below/up")
os.symlink(E["FOLDER"], OUT + "/folder")
os.symlink("below/up", OUT + "/second")
os.symlink("/proc/self/root" + E["FILE"], OUT + "/proc")
""",
    ),
    Attack(
        name="link-race",
        tries="exchanges a folder for a link while the host takes it out",
        kept_by="paths that are looked up once, inside of the sandbox",
        lay=_race,
        timeout=20.0,
        program=_OUT
        + """
out = OUT
os.makedirs(out + "/changing")
with open(out + "/changing/secret", "w") as file:
    file.write("harmless")
os.symlink(E["FOLDER"], out + "/link")
open(out + "/ready", "w").close()
end = time.monotonic() + 1.2
while time.monotonic() < end:
    call(316, 276, -100, (out + "/changing").encode(), -100, (out + "/link").encode(), 2)  # renameat2, exchanging
""",
    ),
    Attack(
        name="strange-files",
        tries="has the host take out pipes, sockets and devices, of which reading has no end",
        kept_by="only files, folders and links are taken out",
        lay=_taken(),
        needs="harm",
        program=_OUT
        + """
os.makedirs(OUT)
os.mkfifo(OUT + "/pipe")
os.mkfifo(OUT + "/file")
attempt(lambda: socket.socket(socket.AF_UNIX).bind(OUT + "/socket"))
attempt(os.link, "/dev/zero", OUT + "/zero")
os.symlink("/dev/zero", OUT + "/link-to-zero")
""",
    ),
    Attack(
        name="huge-files",
        tries="has the host take out a file that is larger than its disk",
        kept_by="a limit of what is taken out",
        lay=_taken(),
        needs="harm",
        program=_OUT
        + """
os.makedirs(OUT)
for name in ("file", "other"):
    with open(OUT + "/" + name, "wb") as file:
        for size in (1 << 40, 1 << 33, 1 << 29):
            if attempt(file.truncate, size) is not None:
                break
""",
    ),
    Attack(
        name="strange-names",
        tries="has the host take out files whose names mean something to shells, archives and terminals",
        kept_by="names that are nothing but names",
        lay=_taken(),
        needs="harm",
        program=_OUT
        + """
os.makedirs(OUT)
names = [b"-rf", b"a\\nb", b"..\\\\..\\\\x", b"\\xff\\xfe", b"C:", b"$(touch x)", b"x" * 255, b"...", b" ", b"\\x1b[2J"]
for name in names:
    with open(OUT.encode() + b"/" + name, "wb") as file:
        file.write(b"x")
deep = OUT
for _ in range(100):
    deep += "/deep"
os.makedirs(deep)
open(OUT + "/file", "w").close()
""",
    ),
)
