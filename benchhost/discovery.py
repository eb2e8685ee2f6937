"""Which plugins are installed, read from the metadata of distributions. Nothing is imported."""

from __future__ import annotations

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


def entries(group: str = BENCHMARKS) -> list[Entry]:
    """List the installed plugins of a group, by name. Two of one name are both listed."""
    found = []
    for point in importlib_metadata.entry_points(group=group):
        distribution = point.dist
        found.append(
            Entry(
                name=point.name,
                object=point.value,
                distribution=distribution.name if distribution else "unknown",
                version=distribution.version if distribution else "unknown",
            )
        )
    return sorted(found, key=lambda entry: (entry.name, entry.distribution, entry.object))
