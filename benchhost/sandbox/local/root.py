"""The root of a sandbox: what of this machine can be seen in it, and where its own files lie.

The *space* is what a sandbox may fill: a file system in memory of a fixed size, or a folder that is measured again
and again. The sandbox's own files lie in it. Its programs are mounted over them, for reading only; with an image, the
space takes what is changed of the image.

Everything is mounted by descriptor (:mod:`.mounts`), before the first command runs and never again.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from benchhost.sandbox.local import kernel, mounts

PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Where programs lie, on this machine and in the sandbox."""

SETTINGS = (
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/profile",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
)
"""What programs expect to be told, and what tells nothing about this machine but what is installed."""

_LINKED = {path: os.readlink(path) for path in PROGRAMS if os.path.islink(path)}
"""Where programs lie by way of a link. It is one in the sandbox, too."""

_SHOWN = tuple(path for path in (*PROGRAMS, *SETTINGS) if path not in _LINKED and os.path.exists(path))
"""What of all that this machine has, as the keeper found it when it started."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_HIDDEN = (
    "cmdline",
    "keys",
    "key-users",
    "kcore",
    "kmsg",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "latency_stats",
)
"""What of /proc is not about the sandbox."""

_FOLDERS = {"work": 0o755, "home/user": 0o755, "root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777, "run": 0o755}
_MACHINE = "sandbox"
_FILES: dict[str, str] = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "etc/hosts": f"127.0.0.1 localhost {_MACHINE}\n::1 localhost\n",
    "etc/hostname": f"{_MACHINE}\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""What a root without an image has of its own."""


def _all_folders() -> dict[str, int]:
    """Say which folders a root without an image has, each after the one that it lies in."""
    targets = {path.lstrip("/"): os.path.isdir(path) for path in _SHOWN}
    folders = {*_FOLDERS, "proc", "sys", "dev", *(path for path, is_folder in targets.items() if is_folder)}
    above = {path[:end] for path in (*folders, *_FILES, *targets) for end, sign in enumerate(path) if sign == "/"}
    return {path: _FOLDERS.get(path, 0o755) for path in sorted(folders | above)}


_ALL_FOLDERS = _all_folders()
_ALL_FILES = {path.lstrip("/"): "" for path in _SHOWN if not os.path.isdir(path)} | _FILES
"""With those that are only there to be mounted over."""

SHARED_MEMORY = 64 * 1024 * 1024
"""Bytes of /dev/shm."""

OWN = "own"
"""Where in the space that lies which is the sandbox's own: all of it, or what is changed of what lies below."""

STAGE = "/tmp"  # noqa: S108 - a place to mount on, in a namespace that nobody else sees
"""Where a root is put together. What lies there on this machine is opened before."""

ROOT = f"{STAGE}/root"
"""Where it is, put together, until it is entered."""

_PLAIN = mounts.NO_SETUID | mounts.NO_DEVICES


@dataclass
class Space:
    """What a sandbox may fill: ``size`` bytes in memory, or ``folder``."""

    folder: str | None
    size: int


@dataclass
class Sources:
    """What a root is made of, as mounts that are attached nowhere yet. ``image`` is ``None`` without one."""

    space: int
    image: int | None


def open_sources(space: Space, image: str | None) -> Sources:
    """Open what only the host may reach, while this process still is the host's user."""
    return Sources(
        space=-1 if space.folder is None else mounts.copy(space.folder),
        image=None if image is None else mounts.copy(image),
    )


def build(sources: Sources, space: Space) -> int:
    """Put the root together and enter it. This process is in namespaces of its own, as the sandbox's user.

    Returns the directory with what is the sandbox's own, and nothing that is mounted over it.
    """
    programs = [] if sources.image is not None else [*_programs()]
    devices = [(name, mounts.copy(f"/dev/{name}")) for name in DEVICES]
    if sources.space < 0:
        sources.space = mounts.fresh("tmpfs", {"size": str(space.size), "nr_inodes": "1m", "mode": "755"}, _PLAIN)
    _attach(mounts.fresh("tmpfs", {"size": "256k", "mode": "700"}, _PLAIN), STAGE)
    for name in ("space", "below", "root"):
        os.mkdir(f"{STAGE}/{name}", 0o755)
    _attach(sources.space, f"{STAGE}/space")
    own = f"{STAGE}/space/{OWN}"
    with contextlib.suppress(FileExistsError):  # it is a snapshot's
        os.mkdir(own, 0o755)
    layer = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    is_new = not os.listdir(layer)
    if sources.image is not None:
        _attach(sources.image, f"{STAGE}/below")
        lowest = _overlay()
    else:
        lowest = _furnished(own, is_new=is_new, in_memory=space.folder is None)
    mounts.restrict(lowest, _PLAIN, recursive=False)
    _attach(lowest, ROOT)
    tree = _Tree(os.open(ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    if sources.image is None and not is_new:
        for path, mode in _FOLDERS.items():  # whatever lies there now
            os.chmod(f"/proc/self/fd/{tree.folder(path)}", mode)
    for path, mount in programs:
        is_folder = stat.S_ISDIR(os.fstat(mount).st_mode)
        mounts.restrict(mount, mounts.READ_ONLY | _PLAIN)
        mounts.attach(mount, tree.target(path, folder=is_folder))
    _mount_proc(tree)
    _mount_devices(tree, devices)
    os.fchdir(tree.root)
    kernel.pivot_root_to_here()
    tree.close()
    kernel.name_machine(_MACHINE)
    kernel.bring_loopback_up()
    return layer


def _furnished(own: str, *, is_new: bool, in_memory: bool) -> int:
    """Make what the programs of this machine are mounted over.

    On a disk, the many small things that every root has lie in memory, below the sandbox's own files: to make a file
    costs a busy disk far more. Where the space's file system has no overlays, they lie among its own.
    """
    if not in_memory:
        _furnish(f"{STAGE}/below")
        with contextlib.suppress(OSError):
            return _overlay()
    if is_new:
        _furnish(own)
    return mounts.copy(own)


def _attach(mount: int, path: str) -> None:
    """Attach a mount to a path that nobody else can change."""
    mounts.attach(mount, os.open(path, os.O_PATH | os.O_CLOEXEC))


def _overlay() -> int:
    scratch = f"{STAGE}/space/work"
    with contextlib.suppress(FileExistsError):
        os.mkdir(scratch, 0o755)
    options: dict[str, str | None] = {
        "lowerdir": f"{STAGE}/below",
        "upperdir": f"{STAGE}/space/{OWN}",
        "workdir": scratch,
        "userxattr": None,
    }
    overlay = mounts.fresh("overlay", options)
    # What the kernel has made there is opened to whoever takes the state folder away.
    os.chmod(os.path.join(scratch, "work"), 0o700)
    return overlay


def _programs() -> Iterator[tuple[str, int]]:
    """Open the programs and settings of this machine, as far as the sandbox's user may see them."""
    for path in _SHOWN:
        with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
            yield path, mounts.copy(path)


def _furnish(place: str) -> None:
    """Make what every root without an image has, in a place that is empty and that nobody else has touched."""
    for path, mode in _ALL_FOLDERS.items():
        os.mkdir(f"{place}/{path}", mode)
        if mode & 0o022:
            os.chmod(f"{place}/{path}", mode)
    for path, content in _ALL_FILES.items():
        file = os.open(f"{place}/{path}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        if content:
            os.write(file, content.encode())
        os.close(file)
    for path, leads_to in _LINKED.items():
        os.symlink(leads_to, place + path)


class _Tree:
    """A root that is put together. Its directories stay open meanwhile, so that the way to each is gone once."""

    def __init__(self, root: int) -> None:
        self.root = root
        self._open = {"": root}

    def folder(self, path: str) -> int:
        """Open a directory, and make it if need be."""
        if path not in self._open:
            self._open[path] = self.target(path, folder=True)
        return self._open[path]

    def target(self, path: str, *, folder: bool) -> int:
        """Open a path to mount on, and make it if need be. A link that lies there is taken away."""
        above, _, name = path.strip("/").rpartition("/")
        return _made(self.folder(above), name, folder=folder)

    def close(self) -> None:
        """Close its directories, and its root."""
        for each in self._open.values():
            os.close(each)


def _made(parent: int, name: str, *, folder: bool) -> int:
    try:
        found = mounts.open_inside(parent, name)
    except FileNotFoundError:
        pass
    except OSError:  # a link
        os.unlink(name, dir_fd=parent)
    else:
        if stat.S_ISDIR(os.fstat(found).st_mode) == folder:
            return found
        os.close(found)
        os.rename(name, f".{name}.replaced", src_dir_fd=parent, dst_dir_fd=parent)
    if folder:
        os.mkdir(name, 0o755, dir_fd=parent)
    else:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
    return mounts.open_inside(parent, name)


def _mount_proc(tree: _Tree) -> None:
    mounts.attach(mounts.fresh("proc", attributes=_PLAIN | mounts.NO_PROGRAMS), tree.target("proc", folder=True))
    settings = mounts.copy(f"{ROOT}/proc/sys")
    mounts.restrict(settings, mounts.READ_ONLY)
    mounts.attach(settings, mounts.open_inside(tree.root, "proc/sys"))
    for name in _HIDDEN:
        with contextlib.suppress(FileNotFoundError):
            target = mounts.open_inside(tree.root, f"proc/{name}")
            mounts.attach(mounts.copy("/dev/null"), target)
    tree.folder("sys")


def _mount_devices(tree: _Tree, devices: list[tuple[str, int]]) -> None:
    options: dict[str, str | None] = {"size": "64k", "nr_inodes": "64", "mode": "755"}
    mounts.attach(mounts.fresh("tmpfs", options, mounts.NO_SETUID), tree.target("dev", folder=True))
    folder = mounts.open_inside(tree.root, "dev", os.O_RDONLY | os.O_DIRECTORY)
    for name, device in devices:
        mounts.attach(device, _made(folder, name, folder=False))
    for name, leads_to in _LINKS.items():
        os.symlink(leads_to, name, dir_fd=folder)
    memory = mounts.fresh("tmpfs", {"size": str(SHARED_MEMORY), "nr_inodes": "16k", "mode": "1777"}, _PLAIN)
    mounts.attach(memory, _made(folder, "shm", folder=True))
    terminals: dict[str, str | None] = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"}
    mounts.attach(mounts.fresh("devpts", terminals, mounts.NO_SETUID), _made(folder, "pts", folder=True))
    mounts.restrict(folder, mounts.READ_ONLY, recursive=False)
    os.close(folder)
