"""The root of a sandbox: what of this machine can be seen in it, and where its own files lie.

The *space* is what a sandbox may fill: a file system in memory of a fixed size, or a folder that is measured again
and again. The sandbox's root lies in it. Its programs are mounted over it, for reading only; with an image, the space
takes what is changed of the image.

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
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
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
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "etc/hosts": f"127.0.0.1 localhost {_MACHINE}\n::1 localhost\n",
    "etc/hostname": f"{_MACHINE}\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""What a root without an image has of its own."""

SHARED_MEMORY = 64 * 1024 * 1024
"""Bytes of /dev/shm."""

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
    _attach(mounts.fresh("tmpfs", {"size": "64k", "mode": "700"}, _PLAIN), STAGE)
    for name in ("space", "image", "root"):
        os.mkdir(f"{STAGE}/{name}")
    _attach(sources.space, f"{STAGE}/space")
    if sources.image is None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{STAGE}/space/root", 0o755)
        lowest = mounts.copy(f"{STAGE}/space/root")
    else:
        _attach(sources.image, f"{STAGE}/image")
        lowest = _overlay()
    layer = os.open(f"{STAGE}/space/{layer_of(sources.image)}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.restrict(lowest, _PLAIN, recursive=False)
    _attach(lowest, ROOT)
    root = os.open(ROOT, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if sources.image is None:
        _furnish(root)
        for path, mount in programs:
            is_folder = stat.S_ISDIR(os.fstat(mount).st_mode)
            mounts.restrict(mount, mounts.READ_ONLY | _PLAIN)
            mounts.attach(mount, _target(root, path, folder=is_folder))
    _mount_proc(root)
    _mount_devices(root, devices)
    os.fchdir(root)
    kernel.pivot_root_to_here()
    os.close(root)
    kernel.name_machine(_MACHINE)
    kernel.bring_loopback_up()
    return layer


def layer_of(image: object) -> str:
    """Say where in the space that lies which is the sandbox's own: with an image, it is what is changed of it."""
    return "root" if image is None else "upper"


def _attach(mount: int, path: str) -> None:
    """Attach a mount to a path that nobody else can change."""
    mounts.attach(mount, os.open(path, os.O_PATH | os.O_CLOEXEC))


def _overlay() -> int:
    for name in ("upper", "work"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{STAGE}/space/{name}", 0o755)
    options: dict[str, str | None] = {
        "lowerdir": f"{STAGE}/image",
        "upperdir": f"{STAGE}/space/upper",
        "workdir": f"{STAGE}/space/work",
        "userxattr": None,
    }
    return mounts.fresh("overlay", options)


def _programs() -> Iterator[tuple[str, int]]:
    """Open the programs and settings of this machine, as far as the sandbox's user may see them."""
    for path in (*PROGRAMS, *SETTINGS):
        if path in PROGRAMS and os.path.islink(path):
            continue  # it is a link in the sandbox too
        with contextlib.suppress(FileNotFoundError, PermissionError, NotADirectoryError):
            yield path, mounts.copy(path)


def _furnish(root: int) -> None:
    """Make what a root without an image has of its own, unless it is there: the space may be one that is restored."""
    for path, mode in _FOLDERS.items():
        folder = _target(root, path, folder=True)
        os.chmod(f"/proc/self/fd/{folder}", mode)
        os.close(folder)
    os.close(_target(root, "etc", folder=True))
    for path, content in _FILES.items():
        os.close(_target(root, path, folder=False))
        file = mounts.open_inside(root, path, os.O_RDWR)
        if os.fstat(file).st_size == 0:
            os.write(file, content.encode())
        os.close(file)
    for path in PROGRAMS:
        if os.path.islink(path):
            with contextlib.suppress(FileExistsError):
                os.symlink(os.readlink(path), path.lstrip("/"), dir_fd=root)


def _target(root: int, path: str, *, folder: bool) -> int:
    """Open a path below ``root`` to mount on, and make it if need be. A link that lies there is taken away."""
    *above, name = path.strip("/").split("/")
    parent = os.dup(root)
    try:
        for each in above:
            inner = _made(parent, each, folder=True)
            os.close(parent)
            parent = inner
        return _made(parent, name, folder=folder)
    finally:
        os.close(parent)


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


def _mount_proc(root: int) -> None:
    mounts.attach(mounts.fresh("proc", attributes=_PLAIN | mounts.NO_PROGRAMS), _target(root, "proc", folder=True))
    settings = mounts.copy(f"{ROOT}/proc/sys")
    mounts.restrict(settings, mounts.READ_ONLY)
    mounts.attach(settings, mounts.open_inside(root, "proc/sys"))
    for name in _HIDDEN:
        with contextlib.suppress(FileNotFoundError):
            target = mounts.open_inside(root, f"proc/{name}")
            mounts.attach(mounts.copy("/dev/null"), target)
    os.close(_target(root, "sys", folder=True))


def _mount_devices(root: int, devices: list[tuple[str, int]]) -> None:
    options: dict[str, str | None] = {"size": "64k", "nr_inodes": "64", "mode": "755"}
    mounts.attach(mounts.fresh("tmpfs", options, mounts.NO_SETUID), _target(root, "dev", folder=True))
    folder = mounts.open_inside(root, "dev", os.O_RDONLY | os.O_DIRECTORY)
    for name, device in devices:
        mounts.attach(device, _target(folder, name, folder=False))
    for name, leads_to in _LINKS.items():
        os.symlink(leads_to, name, dir_fd=folder)
    memory = mounts.fresh("tmpfs", {"size": str(SHARED_MEMORY), "nr_inodes": "16k", "mode": "1777"}, _PLAIN)
    mounts.attach(memory, _target(folder, "shm", folder=True))
    terminals: dict[str, str | None] = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"}
    mounts.attach(mounts.fresh("devpts", terminals, mounts.NO_SETUID), _target(folder, "pts", folder=True))
    mounts.restrict(folder, mounts.READ_ONLY, recursive=False)
    os.close(folder)
