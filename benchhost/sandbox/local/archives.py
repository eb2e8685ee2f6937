"""Images in files: what ``docker save`` writes, and the layout of OCI's image specification, as an archive or a folder.

Everything that is read is compared with its digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import msgspec

from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local.kernel import MACHINE
from benchhost.sandbox.local.layers import MOST_BYTES

MOST_ENTRIES = 100_000
"""Entries of the archive that an image lies in, all of which are held in memory: some for each of its layers."""

_MOST_OF_JSON = 16 * 1024 * 1024
_MOST_AT_ONCE = 64 * 1024 * 1024
_DEEPEST_INDEX = 4
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(MACHINE, MACHINE)

T = TypeVar("T")


class Settings(msgspec.Struct, frozen=True):
    """What an image says of the processes in it."""

    env: list[str] | None = msgspec.field(name="Env", default=None)
    cwd: str | None = msgspec.field(name="WorkingDir", default=None)
    user: str | None = msgspec.field(name="User", default=None)


class _RootFS(msgspec.Struct):
    diff_ids: list[str] | None = None


class _Config(msgspec.Struct):
    rootfs: _RootFS
    config: Settings | None = None
    architecture: str = ""
    os: str = ""


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    platform: _Platform | None = None
    annotations: dict[str, str] = {}


class _Manifest(msgspec.Struct):
    """A manifest, or an index of manifests."""

    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None


class _Saved(msgspec.Struct, rename="pascal"):
    """An image as ``docker save`` lists it; ``layers`` are paths."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class Layer(msgspec.Struct, frozen=True):
    """A layer: where it lies, the digest of what lies there, where it is known, and that of what it unpacks to."""

    place: str
    stored: str | None
    unpacked: str


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """An image that lies in a file. ``digest`` is that of its manifest, or of its configuration where there is none."""

    digest: str
    names: tuple[str, ...]
    settings: Settings
    layers: tuple[Layer, ...]


class Archive:
    """An image in a file or a folder; made by :func:`opened`."""

    def __init__(self, place: _Place) -> None:
        self._place = place

    def image(self) -> Packed:
        """Read what the image consists of, without its layers.

        Raises :class:`~benchhost.errors.ImageUnavailable` unless there is exactly one for this machine.
        """
        if self._place.has("oci-layout"):
            return self._of_layout()
        if self._place.has("manifest.json"):
            return self._of_docker()
        raise ImageUnavailable("it is neither an OCI layout nor what `docker save` writes")

    @contextmanager
    def layer(self, layer: Layer) -> Iterator[IO[bytes]]:
        """Open what a layer unpacks to. At the end it must have been read to its end, and is compared with its digests.

        Raises :class:`~benchhost.errors.ImageUnavailable`.
        """
        with self._place.open(layer.place) as file:
            stored = _Digested(file)
            unpacked = _Digested(_decompressed(io.BufferedReader(stored, 1024 * 1024)))
            try:
                yield cast("IO[bytes]", unpacked)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ImageUnavailable(f"a layer is damaged: {error}") from error
            unpacked.compare(layer.unpacked)
            if layer.stored is not None:
                stored.compare(layer.stored)

    def _of_layout(self) -> Packed:
        index = _decoded(self._place.read("index.json"), _Manifest)
        chosen = self._chosen(index.manifests or [])
        names = tuple(filter(None, [chosen.annotations.get("org.opencontainers.image.ref.name")]))
        named = chosen.annotations.get("io.containerd.image.name")
        manifest = _decoded(self._blob(chosen.digest), _Manifest)
        for _ in range(_DEEPEST_INDEX):
            if manifest.manifests is None:
                break
            chosen = self._chosen(manifest.manifests)
            manifest = _decoded(self._blob(chosen.digest), _Manifest)
        if manifest.config is None:
            raise ImageUnavailable("its manifest names no configuration")
        layers = manifest.layers or []
        config, unpacked = _config(self._blob(manifest.config.digest), len(layers))
        return Packed(
            digest=chosen.digest,
            names=(named,) if named else names,
            settings=config.config or Settings(),
            layers=tuple(
                Layer(_blob_path(layer.digest), layer.digest, digest)
                for layer, digest in zip(layers, unpacked, strict=True)
            ),
        )

    def _of_docker(self) -> Packed:
        saved = _decoded(self._place.read("manifest.json"), list[_Saved])
        if len(saved) != 1:
            names = ", ".join(name for each in saved for name in each.repo_tags or ["one without a name"])
            raise ImageUnavailable(f"it holds {len(saved)} images ({names}): save one at a time")
        [one] = saved
        encoded = self._place.read(one.config)
        digest = hashlib.sha256(encoded).hexdigest()
        said = Path(one.config).name.removesuffix(".json")
        if said != digest:
            raise ImageUnavailable(f"its configuration is not what its name says: expected the digest {said}")
        places = one.layers or []
        config, unpacked = _config(encoded, len(places))
        return Packed(
            digest=f"sha256:{digest}",
            names=tuple(one.repo_tags or ()),
            settings=config.config or Settings(),
            layers=tuple(Layer(place, None, digest) for place, digest in zip(places, unpacked, strict=True)),
        )

    def _chosen(self, manifests: list[_Descriptor]) -> _Descriptor:
        """Choose the manifest for this machine. Those of the platform "unknown" attest others."""
        there = [each for each in manifests if each.platform is None or each.platform.os != "unknown"]
        fitting = [
            each
            for each in there
            if each.platform is None or (each.platform.os, each.platform.architecture) == ("linux", _ARCHITECTURE)
        ]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise ImageUnavailable(f"it holds {len(fitting)} images: save one at a time")
        others = ", ".join(f"{each.platform.os}/{each.platform.architecture}" for each in there if each.platform)
        raise ImageUnavailable(f"it has no image for linux/{_ARCHITECTURE}, but for: {others or 'nothing'}")

    def _blob(self, digest: str) -> bytes:
        data = self._place.read(_blob_path(digest))
        _compare(digest, hashlib.sha256(data).hexdigest())
        return data


@contextmanager
def opened(path: Path, scratch: Path, *, most_bytes: int = MOST_BYTES) -> Iterator[Archive]:
    """Open an image: a folder, or an archive, which may be compressed as a whole.

    ``scratch`` is a folder for what is decompressed meanwhile. Raises
    :class:`~benchhost.errors.ImageUnavailable`, and ``OSError``.
    """
    with ExitStack() as stack:
        if path.is_dir():
            yield Archive(_Folder(path))
            return
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        if file.peek(2)[:2] == _GZIP:  # type: ignore[attr-defined]
            whole = stack.enter_context(tempfile.TemporaryFile(dir=scratch))
            with gzip.open(file) as unzipped:
                while data := unzipped.read(1024 * 1024):
                    if (most_bytes := most_bytes - len(data)) < 0:
                        raise ImageUnavailable("it is larger, uncompressed, than an image may be")
                    whole.write(data)
            whole.seek(0)
            file = whole
        try:
            archive = stack.enter_context(tarfile.TarFile(fileobj=cast("Any", _Careful(file))))
            yield Archive(_Tar(archive))
        except (tarfile.TarError, MemoryError, RecursionError) as error:
            raise ImageUnavailable(f"it is no archive that can be read: {error}") from error


class _Place:
    """Where the files of an image lie."""

    def has(self, name: str) -> bool:
        raise NotImplementedError

    def open(self, name: str) -> IO[bytes]:
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            data = file.read(_MOST_OF_JSON)
            if file.read(1):
                raise ImageUnavailable(f"its {name} is too large to be what it should be")
        return data


class _Folder(_Place):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        return (self._folder / name).is_file()

    def open(self, name: str) -> IO[bytes]:
        path = self._folder / name
        if not path.is_file() or not path.resolve().is_relative_to(self._folder.resolve()):
            raise ImageUnavailable(f"it names {name}, which it does not have")
        return path.open("rb")


class _Tar(_Place):
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        for number, entry in enumerate(archive):
            if number == MOST_ENTRIES:
                raise ImageUnavailable(f"it is an archive of more than {MOST_ENTRIES} entries")
            self._members[entry.name.removeprefix("./")] = entry

    def has(self, name: str) -> bool:
        return name in self._members

    def open(self, name: str) -> IO[bytes]:
        entry = self._members.get(name)
        try:
            file = None if entry is None else self._archive.extractfile(entry)  # links stay in the archive
        except KeyError:
            file = None
        if file is None:
            raise ImageUnavailable(f"it names {name}, which it does not have")
        return file


class _Careful(io.RawIOBase):
    """A file that is not read in pieces of any size that an archive asks for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MOST_AT_ONCE:
            raise ImageUnavailable("it has an entry whose headers are too large")
        return self._file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class _Digested(io.RawIOBase):
    """A file whose digest is made while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._digest.update(data)
        return len(data)

    def compare(self, expected: str) -> None:
        """Compare the digest of what is left, and of what was read, with what it should be."""
        while self.read(1024 * 1024):
            pass
        _compare(expected, self._digest.hexdigest())


def _decompressed(file: io.BufferedReader) -> IO[bytes]:
    """Decompress a layer. What it says of itself does not matter, only how it begins."""
    beginning = file.peek(4)
    if beginning.startswith(_GZIP):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if beginning.startswith(_ZSTD):
        raise ImageUnavailable(
            "its layers are compressed with zstd, which is not read here: save it with gzip, or as it is"
        )
    return file


def _config(encoded: bytes, layers: int) -> tuple[_Config, list[str]]:
    config = _decoded(encoded, _Config)
    if config.os not in ("", "linux") or config.architecture not in ("", _ARCHITECTURE):
        raise ImageUnavailable(
            f"it is made for {config.os or 'linux'}/{config.architecture}, and this is linux/{_ARCHITECTURE}"
        )
    unpacked = config.rootfs.diff_ids or []
    if len(unpacked) != layers:
        raise ImageUnavailable(f"it has {layers} layers, and its configuration names {len(unpacked)}")
    return config, unpacked


def _decoded(encoded: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(encoded, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageUnavailable(f"it cannot be read: {error}") from error


def _blob_path(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise ImageUnavailable(f"it names something by {digest[:100]!r}, which is no digest of the kind sha256")
    return digest.replace("sha256:", "blobs/sha256/")


def _compare(expected: str, found: str) -> None:
    if expected != f"sha256:{found}":
        raise ImageUnavailable(
            f"a part of it is not what its digest says: expected {expected[:100]}, found sha256:{found}"
        )
