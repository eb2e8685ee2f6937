"""The layers of an image, applied to a directory one over the other, as OCI's image specification says (layer.md).

An image may come from anywhere, so whatever a layer says is doubted: nothing is written outside of the directory, no
device and no setuid bit is made, and neither memory nor disk is used beyond bounds.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from tarfile import HeaderError
from typing import IO, BinaryIO, Self, cast

from benchhost.errors import ImageUnavailable

MOST_BYTES = 64 * 1024**3
"""Bytes of all layers together, uncompressed."""

MOST_FILES = 2_000_000
"""Files, directories and links of all layers together."""

_DEEPEST = 400
"""Directories in one another. The standard library removes trees by recursion."""
_TOO_DEEP = "a layer has directories that lie in one another too deeply"
_MOST_HEADERS = 1024 * 1024
"""Bytes of the headers of one entry, which are held in memory."""
_MOST_LINKS = 40
"""Symbolic links that a path may lead through, as in the kernel."""
_CHUNK = 256 * 1024

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_FOR_AUFS = ".wh..wh."
"""Begins what one storage driver has left in layers for itself."""


class Tree:
    """A directory to which layers are applied, the lowest first.

    Everything in it belongs to whoever applies them. Its owner may read and write every file, and use every
    directory, as the superuser could that the image was made for. Every method raises
    :class:`~benchhost.errors.ImageUnavailable` when a layer is damaged or is not to be trusted, and ``OSError``.
    """

    def __init__(self, root: Path, *, most_bytes: int = MOST_BYTES, most_files: int = MOST_FILES) -> None:
        self._root = root
        self._bytes_left = most_bytes
        self._files_left = most_files
        self._directories: dict[tuple[str, ...], Path] = {}
        self._of_this_layer: set[Path] = set()
        self._holding_of_this_layer: set[Path] = set()

    def apply(self, layer: IO[bytes]) -> None:
        """Apply one layer, a tar archive that is not compressed. It is read to its end, and only forwards."""
        self._of_this_layer.clear()
        self._holding_of_this_layer.clear()
        stream = _Stream(layer, self._spend)
        try:
            for entry, archive in _entries(stream):
                self._count()
                self._apply(entry, archive)
            stream.drain()
        except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError) as error:
            raise ImageUnavailable(f"a layer cannot be read: {error}") from error

    def _apply(self, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        parts = _parts(entry.name)
        if not parts:  # the root itself
            return
        *above, name = parts
        if name.startswith(_WHITEOUT):
            self._apply_whiteout(above, name)
            return
        path = self._directory(above) / name
        if entry.isdir():
            self._make_directory(path, entry)
        elif entry.isreg():
            self._make_file(path, entry, archive)
        elif entry.issym():
            self._clear(path)
            path.symlink_to(entry.linkname)
        elif entry.islnk():
            self._make_link(path, entry)
        elif entry.ischr() or entry.isblk() or entry.isfifo():
            self._clear(path)  # there is none in a sandbox, and what it replaces is not there either
            return
        else:
            raise ImageUnavailable(f"a layer has an entry of the unknown type {entry.type!r}")
        self._keep(path)

    def _apply_whiteout(self, above: list[str], name: str) -> None:
        if name == _OPAQUE:
            hidden = None
        elif name.startswith(_FOR_AUFS):
            return
        else:
            [hidden] = _parts(name.removeprefix(_WHITEOUT)) or [""]
            if not hidden:
                raise ImageUnavailable(f"a layer has a whiteout of nothing: {name!r}")
        directory = self._find(above, make=False)
        if directory is None:
            return
        for path in list(directory.iterdir()) if hidden is None else [directory / hidden]:
            self._hide(path)

    def _hide(self, path: Path) -> None:
        """Remove what lower layers have put at a path and below it. The order in one layer does not matter."""
        if path not in self._holding_of_this_layer:
            self._clear(path)
        elif _is_directory(path):
            for child in list(path.iterdir()):
                self._hide(child)
            if path not in self._of_this_layer:  # it is here only for what is in it
                path.chmod(0o755)

    def _make_directory(self, path: Path, entry: tarfile.TarInfo) -> None:
        if not _is_directory(path):
            self._clear(path)
            path.mkdir()
        path.chmod(entry.mode & 0o1777 | 0o700)

    def _make_file(self, path: Path, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        self._clear(path)
        if entry.issparse() or entry.size > self._bytes_left:  # of a sparse file less is read than is written
            self._spend(entry.size)
        content = archive.extractfile(entry)
        assert content is not None
        new = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(new, "wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
            os.fchmod(new, entry.mode & 0o1777 | 0o600)
        changed = entry.mtime if 0 <= entry.mtime < 2**33 else 0
        os.utime(path, (changed, changed))

    def _make_link(self, path: Path, entry: tarfile.TarInfo) -> None:
        *above, name = _parts(entry.linkname) or [""]
        directory = self._find(above, make=False)
        source = None if directory is None or not name else directory / name
        if source is None or not os.path.lexists(source) or _is_directory(source):
            raise ImageUnavailable(f"a layer links {entry.name!r} to {entry.linkname!r}, where there is no file")
        if source != path:
            self._clear(path)
            os.link(source, path, follow_symlinks=False)

    def _directory(self, parts: list[str]) -> Path:
        """Say where a directory of the image lies; what is missing is made."""
        found = self._find(parts, make=True)
        assert found is not None
        return found

    def _find(self, parts: list[str], *, make: bool) -> Path | None:
        """Say where a directory of the image lies. Symbolic links lead to elsewhere in the image, never out of it.

        Nobody else changes the tree meanwhile, so what was looked at is still so.
        """
        known = self._directories.get(tuple(parts))
        if known is not None:
            return known
        here: list[str] = []
        ahead = parts[::-1]
        links = 0
        while ahead:
            part = ahead.pop()
            if part == "..":  # of a symbolic link
                del here[-1:]
                continue
            path = self._root.joinpath(*here, part)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                if not make:
                    return None
                self._count()
                path.mkdir()
                path.chmod(0o755)
                mode = stat.S_IFDIR
            if stat.S_ISDIR(mode):
                here.append(part)
                if len(here) > _DEEPEST:  # by way of links
                    raise ImageUnavailable(_TOO_DEEP)
            elif stat.S_ISLNK(mode):
                links += 1
                target = str(path.readlink())
                if links > _MOST_LINKS or len(ahead) > _DEEPEST:
                    raise ImageUnavailable(f"a layer has symbolic links that lead nowhere: {'/'.join(parts)!r}")
                if target.startswith("/"):
                    here.clear()
                ahead += [part for part in reversed(target.split("/")) if part not in ("", ".")]
            elif make:
                raise ImageUnavailable(f"a layer puts something into {'/'.join(parts)!r}, which is no directory")
            else:
                return None
        found = self._root.joinpath(*here)
        self._directories[tuple(parts)] = found
        return found

    def _clear(self, path: Path) -> None:
        """Remove whatever is at a path."""
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            shutil.rmtree(path)
        else:
            path.unlink()
        if not stat.S_ISREG(mode):  # paths may have led through it
            self._directories.clear()

    def _keep(self, path: Path) -> None:
        """Note that something is of this layer, so that its whiteouts do not hide it."""
        self._of_this_layer.add(path)
        while path not in self._holding_of_this_layer and path != self._root:
            self._holding_of_this_layer.add(path)
            path = path.parent

    def _spend(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise ImageUnavailable("its layers are larger, uncompressed, than an image may be")

    def _count(self) -> None:
        self._files_left -= 1
        if self._files_left < 0:
            raise ImageUnavailable("its layers have more files than an image may have")


class _Stream:
    """What :mod:`tarfile` reads a layer from: forwards only, and with a bound on what it holds in memory."""

    def __init__(self, source: IO[bytes], spend: Callable[[int], None]) -> None:
        self._source = source
        self._spend = spend
        self._position = 0
        self.headers_left: int | None = None
        """Bytes that may still be read as headers, or ``None`` while the content of a file is read."""

    def read(self, size: int) -> bytes:
        if self.headers_left is not None:
            self.headers_left -= size
        if size < 0 or size > _MOST_HEADERS or (self.headers_left or 0) < 0:
            raise ImageUnavailable("a layer has an entry whose headers are too large")
        parts = []
        while size > 0 and (data := self._source.read(size)):  # which may return less
            parts.append(data)
            size -= len(data)
        read = b"".join(parts)
        self._position += len(read)
        self._spend(len(read))
        return read

    def seek(self, position: int) -> None:
        if position < self._position:
            raise ImageUnavailable("a layer has an entry of a negative size")
        headers, self.headers_left = self.headers_left, None
        while self._position < position and self.read(min(position - self._position, _CHUNK)):
            pass
        self.headers_left = headers

    def tell(self) -> int:
        return self._position

    def drain(self) -> None:
        self.headers_left = None
        while self.read(_CHUNK):
            pass


class _Entry(tarfile.TarInfo):
    """An entry of a layer; unlike in the standard library, one that cannot be read does not just end the archive."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as error:
            if type(error).__name__ in ("EOFHeaderError", "EmptyHeaderError"):
                raise
            raise ImageUnavailable(f"a layer is no tar archive, or a part of one only: {error}") from error


def _entries(stream: _Stream) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    with tarfile.TarFile(fileobj=cast("BinaryIO", stream), tarinfo=_Entry) as archive:
        while True:
            stream.headers_left = _MOST_HEADERS
            entry = archive.next()
            stream.headers_left = None
            if entry is None:
                return
            archive.members = []  # type: ignore[attr-defined]  # which would hold every entry
            yield entry, archive


def _parts(name: str) -> list[str]:
    """Take a path of a layer apart; it begins at the root of the image, whether it says so or not."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageUnavailable(f"a layer has an entry that leads out of the image: {name!r}")
    if len(parts) > _DEEPEST:
        raise ImageUnavailable(_TOO_DEEP)
    return parts


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
