"""The root that submitted code sees: the interpreter's library, what that is linked with, and a place to write in."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection

from benchhost.sandbox.local import kernel, mounts

_DEVICES = ("/dev/null", "/dev/urandom")
_USEFUL = ("/usr/share/zoneinfo", "/etc/ld.so.cache")
_LINKS = ("/lib", "/lib64")
"""Where the loader of programs looks. On most machines they are links into ``/usr``."""


class Root:
    """A root in the making.

    What lies in the directories ``hidden`` is covered, as are installed packages: a plugin's data may be among them.
    """

    def __init__(self, hidden: Collection[str]) -> None:
        self._hidden = set(hidden)
        self._seen: dict[str, tuple[int, bool]] = {}
        self._covered: list[str] = []
        self._links: dict[str, str] = {}

    def gather(self) -> None:
        """Copy the mounts of what will be seen: while root may still reach its own interpreter, wherever it lies."""
        for path in _seen():
            self._seen[path] = mounts.copy(os.path.realpath(path)), os.path.isdir(path)
        inside = self._hidden | _packages(self._seen)
        self._covered = [
            path for path in inside if os.path.isdir(path) and any(_lies_in(path, tree) for tree in self._seen)
        ]
        self._links = {path: os.readlink(path) for path in _LINKS if os.path.islink(path)}

    def move_into(self) -> None:
        """Make it, and let go of the root of the machine."""
        # It must be mounted on something to be built: on what is everywhere, and no longer needed.
        mounts.attach(mounts.fresh("tmpfs", {"size": "1m", "mode": "0755"}), os.open("/proc", os.O_PATH))
        os.chdir("/proc")
        for path, (tree, is_directory) in sorted(self._seen.items()):
            inside = path.lstrip("/")
            os.makedirs(inside if is_directory else os.path.dirname(inside), exist_ok=True)
            if not is_directory:
                os.close(os.open(inside, os.O_CREAT))
            devices = 0 if path in _DEVICES else mounts.NO_DEVICES
            mounts.restrict(tree, mounts.READ_ONLY | mounts.NO_SETUID | devices)
            mounts.attach(tree, os.open(inside, os.O_PATH))
        for path in self._covered:
            nothing = mounts.fresh("tmpfs", {"size": "4k", "mode": "0555"}, mounts.READ_ONLY)
            mounts.attach(nothing, os.open(path.lstrip("/"), os.O_PATH))
        for path, target in self._links.items():
            os.symlink(target, path.lstrip("/"))
        os.mkdir("tmp")  # each child mounts its own there
        os.symlink("/tmp", "dev/shm")
        kernel.pivot_root_to_here()
        place = os.open("/", os.O_PATH)
        mounts.restrict(place, mounts.READ_ONLY | mounts.NO_SETUID, recursive=False)
        os.close(place)


def _seen() -> set[str]:
    """Return the paths to show: the standard library, the directories of the libraries in use, and little else."""
    paths = {os.path.dirname(os.__file__), *_USEFUL, *_DEVICES}
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as mapped:
        for line in mapped:
            _, slash, path = line.rstrip("\n").partition("/")
            if ".so" in path:
                paths.add(os.path.dirname(slash + path))
    there = {path for path in paths if os.path.exists(path)}
    return {path for path in there if not any(path != other and _lies_in(path, other) for other in there)}


def _packages(trees: Collection[str]) -> set[str]:
    return {
        found
        for tree in trees
        for folder in ("", "python*/")
        for name in ("site-packages", "dist-packages")
        for found in glob.glob(f"{glob.escape(tree)}/{folder}{name}")
    }


def _lies_in(path: str, tree: str) -> bool:
    return os.path.commonpath((path, tree)) == tree
