"""Writes the files of a new plugin from templates."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Literal

from benchhost.errors import UsageError
from benchhost.scaffold.names import Names

Kind = Literal["benchmark", "runner"]

_SUFFIX = ".template"


def write_plugin(names: Names, kind: Kind, parent: Path) -> Path:
    """Write a plugin into a new folder of its name in ``parent``, and return the folder.

    Raises :class:`~benchhost.errors.UsageError` when there is such a folder already, or it cannot be made.
    """
    folder = parent / names.plugin
    try:
        folder.mkdir()
    except FileExistsError:
        raise UsageError(f"there is {folder} already, and nothing is overwritten: choose another name") from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from None
    _copy(files("benchhost.scaffold") / "templates" / kind, folder, names)
    return folder


def _copy(template: Traversable, folder: Path, names: Names) -> None:
    for each in template.iterdir():
        place = folder / each.name.replace("package", names.package).removesuffix(_SUFFIX)
        if each.is_dir():
            place.mkdir()
            _copy(each, place, names)
        else:
            text = Template(each.read_text("utf-8"))
            place.write_text(text.substitute(plugin=names.plugin, package=names.package, Class=names.class_), "utf-8")
