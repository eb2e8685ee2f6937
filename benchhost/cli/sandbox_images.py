"""``benchhost sandbox image``: ``load``, ``ls`` and ``rm``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json
from benchhost.errors import BenchhostError, ImageUnavailable

if TYPE_CHECKING:
    from benchhost.sandbox.local.image_store import ImageStore, Stored
    from benchhost.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--as", "name", metavar="NAME", help="The name that it is to have here.  [default: the names it has]")
@as_json
@settings_options("state")
def load(file: Path, name: str | None, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Keep an image from a file under a name.

    FILE is what `docker save` writes, or an OCI layout: an archive or a folder.
    """
    try:
        stored = _store(read(config, flags)).load(file, name)
    except ImageUnavailable as error:
        raise BenchhostError(f"the image in {file} cannot be loaded: {error}") from error
    if as_json:
        print_json(_told(stored))
    else:
        click.echo(f"{', '.join(stored.names)}  {stored.digest}")


@click.command()
@as_json
@settings_options("state")
def ls(as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the images that are kept here."""
    images = _store(read(config, flags)).all()
    if as_json:
        print_json({"images": [_told(stored) for stored in images]})
        return
    from benchhost.cli.words import moment

    for stored in images:
        click.echo(f"{', '.join(stored.names) or 'without a name'}  {stored.digest}  {moment(stored.loaded_at)}")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also images that sandboxes are made of, which lose their files.")
@settings_options("state")
def rm(names: tuple[str, ...], force: bool, config: Path | None, **flags: Any) -> None:
    """Remove images, or names of them.

    An image goes with the last of its names, or when it is named by its digest.
    """
    settings = read(config, flags)
    store = _store(settings)
    for name in names:
        if not force and (users := _users(settings, store, name)):
            raise BenchhostError(
                f"{name} is in use by {', '.join(users)}. Delete them first (benchhost sandbox rm), or use --force"
            )
        store.remove(name)
        click.echo(f"{name} removed")


def _users(settings: Settings, store: ImageStore, name: str) -> list[str]:
    """Name the sandboxes of this machine that are made of an image."""
    from benchhost.sandbox.local.keeper import SANDBOXES as INSIDE
    from benchhost.sandbox.local.labels import labelled
    from benchhost.server.sandboxes import SANDBOXES

    image = store.find(name)
    found = []
    for info in labelled(settings.state / SANDBOXES / INSIDE):
        made_of = store.find(info.image) if info.image else None
        if image is not None and made_of is not None and made_of.digest == image.digest:
            found.append(info.id)
    return found


def _store(settings: Settings) -> ImageStore:
    from benchhost.sandbox.local.image_store import ImageStore
    from benchhost.server.sandboxes import IMAGES

    return ImageStore(settings.state / IMAGES)


def _told(stored: Stored) -> dict[str, Any]:
    return {"names": stored.names, "digest": stored.digest, "loaded_at": stored.loaded_at}
