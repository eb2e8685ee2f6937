"""What the name of an image means here: what a sandbox's root is made of, and how processes begin in it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local.image_store import ImageStore, Stored

HOST = "host"
"""The image that is meant where none is named: the programs of this machine, and nothing else of it."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What a sandbox is made of.

    ``root`` is the folder of its files, to be used and never changed; ``None`` means the programs of this machine.
    ``env``, ``cwd`` and ``user`` (a name or number, with or without a group) are what processes begin with unless
    something else is asked for.
    """

    name: str
    root: Path | None = None
    env: dict[str, str] = {}
    cwd: str | None = None
    user: str | None = None
    digest: str | None = None


def is_path(image: str | None) -> bool:
    """Say whether an image is named by where it lies on this machine, which only who runs the host may decide."""
    return image is not None and image.startswith(("dir:", "oci:"))


def resolve_image(image: str | None, store: ImageStore) -> Image:
    """Find what an image means, and unpack it where it is not yet; this may take seconds.

    ``None``, the empty name and ``host`` are the programs of this machine; ``dir:/path`` is a folder that is a
    root already; ``oci:/path`` is what ``docker save`` writes, or an OCI layout. Any other name is looked for
    in the store.

    Raises :class:`~benchhost.errors.ImageUnavailable`.
    """
    if not image or image == HOST:
        return Image(name=HOST)
    if not is_path(image):
        found = store.find(image)
        if found is None:
            raise ImageUnavailable(
                f"the image {image!r} is not in the local image store. Load it (benchhost sandbox image load FILE "
                f"--as {image!r}), or use a provider that has it, such as daytona"
            )
        return _of_store(image, found)
    kind, _, place = image.partition(":")
    path = Path(place)
    if not path.is_absolute():
        raise ImageUnavailable(f"the image {image!r} is to be named by an absolute path, such as {kind}:/path/to/it")
    if kind == "dir":
        if not path.is_dir():
            raise ImageUnavailable(f"the image {image!r} is no folder that can be read")
        return Image(name=image, root=path)
    if not path.exists():
        raise ImageUnavailable(f"the image {image!r} is not there")
    try:
        return _of_store(image, store.unpack(path))
    except ImageUnavailable as error:
        raise ImageUnavailable(f"the image {image!r} cannot be used: {error}") from error


def _of_store(name: str, stored: Stored) -> Image:
    settings = stored.settings
    return Image(
        name=name,
        root=stored.root,
        env=_variables(settings.env or ()),
        cwd=settings.cwd or None,
        user=settings.user or None,
        digest=stored.digest,
    )


def _variables(lines: Iterable[str]) -> dict[str, str]:
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals and name}
