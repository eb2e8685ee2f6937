"""The images that are kept on this machine, unpacked: found by the names that they were given, or by their digest.

::

    <folder>/names/<digest of the name>.json    which image a name means
    <folder>/unpacked/<digest>/      an image: image.json, and its files in rootfs/
    <folder>/locks/<digest>          held by the process that unpacks or removes it

An image is unpacked beside its place and then moved there, so that what is there is whole. Any number of processes
may use a store at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local.archives import Archive, Packed, Settings, opened
from benchhost.sandbox.local.layers import MOST_BYTES, MOST_FILES, Tree

_HUB = "docker.io/"
_HUB_LIBRARY = "docker.io/library/"


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is kept here. ``root`` is the folder of its files; ``loaded_at`` is in seconds since 1970."""

    digest: str
    root: Path
    settings: Settings
    loaded_at: float
    names: tuple[str, ...] = ()


class _Kept(msgspec.Struct):
    """What is written beside the files of an image."""

    digest: str
    settings: Settings
    loaded_at: float


class _Named(msgspec.Struct):
    name: str
    digest: str


class ImageStore:
    """The images in a folder, which is made when the first is loaded."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
        self._names = folder / "names"
        self._unpacked = folder / "unpacked"
        self._locks = folder / "locks"
        self._most_bytes = most_bytes
        self._most_files = most_files

    def load(self, file: Path, name: str | None = None) -> Stored:
        """Keep the image in a file or folder under a name; without one, under those that it has itself.

        Raises :class:`~benchhost.errors.ImageUnavailable` when there is no image that can be unpacked, or no name.
        """
        packed, stored = self._unpack(file)
        names = [name] if name else list(packed.names)
        if not names:
            raise ImageUnavailable("it has no name of its own: give it one (--as NAME)")
        for each in names:
            self._write_name(_full(each), stored.digest)
        return msgspec.structs.replace(stored, names=tuple(map(_full, names)))

    def unpack(self, file: Path) -> Stored:
        """Unpack the image in a file or folder, unless that has been done already.

        Raises :class:`~benchhost.errors.ImageUnavailable`.
        """
        return self._unpack(file)[1]

    def find(self, name: str) -> Stored | None:
        """Find an image by a name, with or without its tag, or by its digest."""
        named = self._read_name(_full(name))
        return self._read(named.digest if named is not None else name)

    def all(self) -> list[Stored]:
        """List the images, the oldest first, each with its names."""
        names: dict[str, list[str]] = {}
        for path in self._names.glob("*.json"):
            named = msgspec.json.decode(path.read_bytes(), type=_Named)
            names.setdefault(named.digest, []).append(named.name)
        found = [self._read(f"sha256:{path.name}") for path in self._unpacked.glob("*") if "." not in path.name]
        images = [
            msgspec.structs.replace(image, names=tuple(sorted(names.get(image.digest, ()))))
            for image in found
            if image is not None
        ]
        return sorted(images, key=lambda image: image.loaded_at)

    def remove(self, name: str) -> None:
        """Forget a name, and the image too when it has no other; or forget an image, by its digest, with its names.

        Sandboxes that are made of it lose its files. Raises :class:`~benchhost.errors.ImageUnavailable`
        when there is no such image.
        """
        stored = self.find(name)
        if stored is None:
            raise ImageUnavailable(f"no image is called {name!r}: `benchhost sandbox image ls` lists those there are")
        names = next((each.names for each in self.all() if each.digest == stored.digest), ())
        going = names if name == stored.digest else (_full(name),)
        for each in going:
            self._path_of(each).unlink(missing_ok=True)
        if set(names) <= set(going):
            place = self._place_of(stored.digest)
            with self._locked(stored.digest):
                shutil.rmtree(place.rename(place.with_suffix(".removed")))

    def _unpack(self, file: Path) -> tuple[Packed, Stored]:
        try:
            self._unpacked.mkdir(parents=True, exist_ok=True)
            with opened(file, self._unpacked, most_bytes=self._most_bytes) as archive:
                packed = archive.image()
                with self._locked(packed.digest):
                    stored = self._read(packed.digest) or self._make(archive, packed)
        except OSError as error:
            raise ImageUnavailable(f"it cannot be unpacked: {error.strerror or error}") from error
        return packed, stored

    def _make(self, archive: Archive, packed: Packed) -> Stored:
        """Unpack an image, with its lock held."""
        place = self._place_of(packed.digest)
        beside = place.with_suffix(".unfinished")
        shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
        root = beside / "rootfs"
        root.mkdir(parents=True)
        root.chmod(0o755)
        tree = Tree(root, most_bytes=self._most_bytes, most_files=self._most_files)
        try:
            for layer in packed.layers:
                with archive.layer(layer) as content:
                    tree.apply(content)
            kept = _Kept(packed.digest, packed.settings, time.time())
            (beside / "image.json").write_bytes(msgspec.json.encode(kept))
            beside.rename(place)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        stored = self._read(packed.digest)
        assert stored is not None
        return stored

    def _read(self, digest: str) -> Stored | None:
        if not digest.startswith("sha256:") or "/" in digest:
            return None
        place = self._place_of(digest)
        try:
            kept = msgspec.json.decode((place / "image.json").read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        return Stored(digest=digest, root=place / "rootfs", settings=kept.settings, loaded_at=kept.loaded_at)

    def _write_name(self, name: str, digest: str) -> None:
        self._names.mkdir(parents=True, exist_ok=True)
        path = self._path_of(name)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(msgspec.json.encode(_Named(name, digest)))
        beside.replace(path)

    def _read_name(self, name: str) -> _Named | None:
        try:
            return msgspec.json.decode(self._path_of(name).read_bytes(), type=_Named)
        except FileNotFoundError:
            return None

    def _path_of(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()
        return self._names / f"{digest}.json"  # whatever a name consists of, and however long it is

    def _place_of(self, digest: str) -> Path:
        return self._unpacked / digest.removeprefix("sha256:")

    @contextmanager
    def _locked(self, digest: str) -> Iterator[None]:
        self._locks.mkdir(parents=True, exist_ok=True)
        with (self._locks / digest.removeprefix("sha256:")).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _full(name: str) -> str:
    """Say a name as it is kept: with its tag, and as short as Docker says it."""
    for prefix in (_HUB_LIBRARY, _HUB):
        name = name.removeprefix(prefix)
    has_tag = ":" in name.rpartition("/")[2] or "@" in name
    return name if has_tag else f"{name}:latest"
