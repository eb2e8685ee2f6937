"""One name in the spellings that a package needs."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from typing import Self

import msgspec

from benchhost.errors import UsageError

MOST = 48
"""How long the name of a plugin may be."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_-][A-Za-z0-9]+)*\Z")


class Names(msgspec.Struct, frozen=True):
    """The name of a plugin: as it is typed (``my-bench``), as a package (``my_bench``) and as a class (``MyBench``)."""

    plugin: str
    package: str
    class_: str

    @classmethod
    def of(cls, name: str) -> Self:
        """Spell a name. ``_`` and ``-`` are the same, and so are capital letters and small ones.

        Raises :class:`~benchhost.errors.UsageError` for what can be no package beside Python's own modules and those
        that are installed, and for a class that would take the place of one that a plugin is written with.
        """
        if not _NAME.match(name) or len(name) > MOST:
            raise UsageError(
                f"{name!r} can be no plugin: a name is up to {MOST} letters and digits, the first a letter, its words "
                "parted by '-' or '_', such as my-bench"
            )
        words = name.lower().replace("_", "-").split("-")
        package = "_".join(words)
        if package in sys.stdlib_module_names or keyword.iskeyword(package) or package in _TAKEN:
            raise UsageError(f"{name!r} can be no plugin: {package} is a word or a module that Python programs need")
        if (found := find_spec(package)) is not None and found.origin is not None:  # else it is a folder without code
            raise UsageError(f"{name!r} can be no plugin: a package {package} is installed here already")
        class_ = "".join(word.capitalize() for word in words)
        if keyword.iskeyword(class_) or class_ in _NEEDED:
            raise UsageError(f"{name!r} can be no plugin: {class_} is a word that its module needs")
        return cls("-".join(words), package, class_)


_TAKEN = frozenset({"benchhost", "pytest", "tests"})
_NEEDED = frozenset(
    {
        *("Annotated", "Benchmark", "Context", "Counter", "Iterable", "Mapping", "Model", "Params", "Path", "Public"),
        *("Response", "Result", "Runner", "Task"),
    }
)
"""The names that the templates use."""
