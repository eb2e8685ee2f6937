"""Which plugins are installed, read from the metadata of distributions; nothing is imported before it is asked for."""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import importlib_metadata
import msgspec

BENCHMARKS = "benchhost.benchmarks"
"""The entry-point group of benchmarks."""


class Entry(msgspec.Struct, frozen=True):
    """One installed plugin: its name, the ``module:object`` it is made of, and the distribution it came with."""

    name: str
    object: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.object}, from {self.distribution} {self.version})"


class Lacking(Exception):
    """There is no such object as an entry names; the message says where, and what is there."""


def object_of(entry: Entry) -> Any:
    """Import what an entry names. A module may raise anything meanwhile.

    Raises :class:`Lacking`.
    """
    module, _, path = entry.object.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split(".") if path else ():
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            holder = getattr(found, "__name__", module)
            raise Lacking(f"{holder} has no {part}" + (f"; did you mean {near[0]}?" if near else ""))
        found = getattr(found, part)
    return found


def entries(group: str = BENCHMARKS) -> list[Entry]:
    """List the installed plugins of a group, by name. Two of one name are both listed."""
    found = []
    for point in _points(group):
        name, version = _said_by(point.dist)
        found.append(Entry(name=point.name, object=point.value, distribution=name, version=version))
    return sorted(found, key=lambda entry: (entry.name, entry.distribution, entry.object))


def _points(group: str) -> list[importlib_metadata.EntryPoint]:
    """Find the entry points of a group, also when some installed distribution is damaged."""
    try:
        return list(importlib_metadata.entry_points(group=group))
    except Exception:  # what a damaged file makes of the parser is not documented; which one it is, is found below
        points: dict[str, list[importlib_metadata.EntryPoint]] = {}
        for distribution in importlib_metadata.distributions():
            name, _ = _said_by(distribution)
            try:
                points.setdefault(name, list(distribution.entry_points.select(group=group)))  # the first one wins
            except Exception as error:
                warnings.warn(f"the entry points of {name} cannot be read: {error!r}", stacklevel=2)
        return [point for of_one in points.values() for point in of_one]


def _said_by(distribution: Any) -> tuple[str, str]:
    """Read the name and version of a distribution, if it says them."""
    try:
        metadata: Mapping[str, Any] = distribution.metadata if distribution is not None else {}
    except Exception:  # as above
        metadata = {}
    return str(metadata.get("Name") or "unknown"), str(metadata.get("Version") or "unknown")
