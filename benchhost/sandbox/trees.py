"""Directories as archives: how they go into a sandbox, and come out of one that nobody trusts."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO

from benchhost.errors import SandboxFileError

MOST_ENTRIES = 100_000
"""Files, directories and links that are taken out of a sandbox at once."""

DEEPEST = 200
"""Directories within directories that are taken out. The standard library makes and removes them by recursion."""

MOST_ROUNDS = 8
"""How often links are looked at again because others have been removed."""


def pack(source: Path, archive: IO[bytes]) -> None:
    """Write a directory as a tar archive that every tar reads: links as they are, nothing but files and directories.

    Owners are left out. Raises :class:`~benchhost.errors.SandboxFileError`.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if not (entry.isfile() or entry.isdir() or entry.issym() or entry.islnk()):
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    try:
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(source.resolve(), arcname=".", filter=plain)
    except OSError as error:
        raise SandboxFileError(f"{source.name} cannot be read: {error.strerror}") from error


def unpack(archive: IO[bytes], target: Path, limit: int) -> None:
    """Take out a tar archive that may have been made to do harm; ``target`` must not be there yet.

    What would be outside of ``target``, links that lead there, and whatever is no file, directory or link are left
    out. Links are made last, so that nothing is written through one. Raises
    :class:`~benchhost.errors.SandboxFileError` for more than ``limit`` bytes or :data:`MOST_ENTRIES`, and leaves
    nothing behind then.
    """
    try:
        target.mkdir(parents=True)
    except FileExistsError:
        raise SandboxFileError(f"{target.name} is there already") from None
    except OSError as error:
        raise SandboxFileError(f"{target.name} cannot be made: {error.strerror}") from error
    try:
        with tarfile.open(fileobj=archive, mode="r:") as tar:
            _make_links(target, list(_take_out(tar, target, limit)))
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, (tarfile.TarError, OSError, ValueError, EOFError)):
            why = error.strerror if isinstance(error, OSError) else error  # not where on this machine
            raise SandboxFileError(f"what came out of the sandbox cannot be unpacked: {why}") from error
        raise


def _take_out(tar: tarfile.TarFile, target: Path, limit: int) -> Iterator[tuple[Path, str]]:
    """Make directories and files; yield the links that are to be made, and where they lead."""
    left = limit
    folders = {target}
    for number, entry in enumerate(tar):
        place = _inside(target, entry.name)
        if place is None or place == target:
            place = folder = target
        else:
            folder = place if entry.isdir() else place.parent
        if len(folder.parts) - len(target.parts) > DEEPEST:
            raise SandboxFileError(f"the directory has more than {DEEPEST} directories within each other")
        new = list(takewhile(lambda each: each not in folders, (folder, *folder.parents)))
        folders.update(new)  # one name may ask for two thousand directories, so these count as well
        if number + len(folders) > MOST_ENTRIES:
            raise SandboxFileError(f"the directory has more than {MOST_ENTRIES} entries")
        if place == target:
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if entry.issym():
            yield place, entry.linkname
        elif entry.isreg() or entry.islnk():
            first = _inside(target, entry.linkname) if entry.islnk() else None
            if entry.islnk() and (first is None or not first.is_file()):
                continue
            size = first.stat().st_size if first else entry.size
            left -= size
            if size < 0 or left < 0:
                raise SandboxFileError(f"the files are larger than {limit} bytes together")
            source = first.open("rb") if first else tar.extractfile(entry)
            assert source is not None
            with source, place.open("xb") as file:
                shutil.copyfileobj(source, file)
            place.chmod(stat.S_IMODE(entry.mode) & 0o755 | 0o600)


def _inside(target: Path, name: str) -> Path | None:
    path = PurePosixPath(name)
    return None if path.is_absolute() or ".." in path.parts or "\0" in name else target.joinpath(*path.parts)


def _make_links(target: Path, links: list[tuple[Path, str]]) -> None:
    """Make the links, and remove those that lead out, until none does: one may lead through another."""
    made = []  # none lies behind another: what a name goes through is a directory by now
    for place, leads_to in links:
        if not (leads_to.startswith("/") or os.path.lexists(place)):
            place.symlink_to(leads_to)
            made.append(place)
    root = os.path.realpath(target)
    for _ in range(MOST_ROUNDS):
        out = {place for place in made if not _within(root, place)}
        if not out:
            return
        for place in out:
            place.unlink()
        made = [place for place in made if place not in out]
    raise SandboxFileError("the directory has links through links through links")


def _within(root: str, place: Path) -> bool:
    try:
        place.stat()
    except FileNotFoundError:
        pass  # it may lead to what is not there yet, and does so over no more links than the kernel follows
    except OSError:
        return False
    real = os.path.realpath(place)
    return real == root or real.startswith(root + os.sep)
