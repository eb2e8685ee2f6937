"""Files of sandboxes that are kept, to make others from.

::

    <folder>/snapshots/<name>/snapshot.json    which image they lie over
    <folder>/snapshots/<name>/layer/           the files

They are copied while everything in the sandbox stands still: nothing changes under the hands of who copies.
"""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from pathlib import Path

import msgspec

from benchhost.errors import SandboxError, SandboxUnsupported

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Snapshot(msgspec.Struct, frozen=True):
    """What a snapshot lies over: the name of an image, and which part of a sandbox's space it is."""

    image: str
    layer: Path


def keep(place: Path, layer: int, image: str) -> None:
    """Copy the files of a layer, an open directory, to a place; what was there before is gone then.

    Raises :class:`~benchhost.errors.SandboxError`.
    """
    new = place.parent / f".{secrets.token_hex(8)}"
    try:
        new.mkdir(parents=True, mode=0o700)
        copied = subprocess.run(
            [
                shutil.which("cp") or "/bin/cp",
                "--archive",
                "--reflink=auto",
                "--",
                f"/proc/self/fd/{layer}/.",
                str(new / "layer"),
            ],
            check=False,
            env={"LC_ALL": "C"},
            pass_fds=[layer],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        if copied.returncode:
            raise SandboxError("the files of the sandbox cannot be kept: " + _last_of(copied.stderr))
        (new / "snapshot.json").write_bytes(msgspec.json.encode({"image": image}))
        shutil.rmtree(place, ignore_errors=True)
        new.rename(place)
    except OSError as error:
        raise SandboxError(f"the files of the sandbox cannot be kept: {error.strerror}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def find(folder: Path, name: str) -> Snapshot:
    """Find a snapshot.

    Raises :class:`~benchhost.errors.SandboxUnsupported` when there is none of that name.
    """
    place = place_of(folder, name)
    try:
        kept = msgspec.json.decode((place / "snapshot.json").read_bytes())
    except FileNotFoundError:
        raise SandboxUnsupported(f"no snapshot on this machine is called {name!r}") from None
    return Snapshot(kept["image"], place / "layer")


def place_of(folder: Path, name: str) -> Path:
    """Say where a snapshot of a name lies.

    Raises :class:`~benchhost.errors.SandboxUnsupported` for what can be no name.
    """
    if not _NAME.fullmatch(name):
        raise SandboxUnsupported(
            f"the name of a snapshot has letters, digits, points and dashes, up to a hundred; {name!r} has others"
        )
    return folder / name


def _last_of(said: bytes) -> str:
    return (said.decode(errors="replace").strip().splitlines() or ["cp failed"])[-1].rpartition(": ")[2]
