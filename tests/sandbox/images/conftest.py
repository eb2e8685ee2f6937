"""Images that are made on the spot, entry by entry, also such as no tool would make."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

import pytest

from benchhost.sandbox.local.image_store import ImageStore

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def entry(name, kind=tarfile.REGTYPE, data=b"", **attributes):
    """An entry of a layer: its header and its content."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    info.size = len(data)
    info.mtime = 1_700_000_000
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info, data


def file(name, data=b"", **attributes):
    return entry(name, data=data, **attributes)


def directory(name, **attributes):
    return entry(name, tarfile.DIRTYPE, **attributes)


def symlink(name, target):
    return entry(name, tarfile.SYMTYPE, linkname=target)


def link(name, target):
    return entry(name, tarfile.LNKTYPE, linkname=target)


def layer(*entries):
    """A layer as the bytes of a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def configuration(layers, **settings):
    return {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [digest_of(each) for each in layers]},
    }


class Files(dict):
    """The files of an image by their paths, to be written as a folder or as an archive."""

    def as_folder(self, folder: Path) -> Path:
        for path, data in self.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    def as_archive(self, path: Path) -> Path:
        path.write_bytes(layer(*(file(name, data) for name, data in self.items())))
        return path


def oci(*layers, name=None, compress=gzip.compress, config=None, descriptor=None, **settings) -> Files:
    """An OCI layout. ``config`` and ``descriptor`` overlay what is said of the image, of its first layer."""
    files = Files({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'})

    def blob(data):
        digest = digest_of(data)
        files[digest.replace(":", "/").join(["blobs/", ""])] = data
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}

    said = json.dumps(configuration(layers, **settings) | (config or {})).encode()
    descriptors = [blob(compress(each)) for each in layers]
    if descriptor:
        descriptors[0] |= descriptor
    manifest = blob(json.dumps({"schemaVersion": 2, "config": blob(said), "layers": descriptors}).encode())
    if name:
        manifest["annotations"] = {"org.opencontainers.image.ref.name": name}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()
    return files


def docker(*layers, tags=(), config=None, **settings) -> Files:
    """What ``docker save`` wrote before it wrote OCI layouts."""
    said = json.dumps(configuration(layers, **settings) | (config or {})).encode()
    named = f"{digest_of(said).removeprefix('sha256:')}.json"
    files = Files({named: said})
    places = [f"{digest_of(each)[7:19]}/layer.tar" for each in layers]
    files.update(zip(places, layers, strict=True))
    saved = [{"Config": named, "RepoTags": list(tags) or None, "Layers": places}]
    files["manifest.json"] = json.dumps(saved).encode()
    return files


class Making:
    """The makers of this module, for tests, which are no package and cannot import it."""

    entry = staticmethod(entry)
    file = staticmethod(file)
    directory = staticmethod(directory)
    symlink = staticmethod(symlink)
    link = staticmethod(link)
    layer = staticmethod(layer)
    digest_of = staticmethod(digest_of)
    oci = staticmethod(oci)
    docker = staticmethod(docker)
    Files = Files


@pytest.fixture(scope="session")
def make():
    return Making


@pytest.fixture
def store(tmp_path) -> ImageStore:
    return ImageStore(tmp_path / "images")
