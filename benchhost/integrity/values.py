"""The values of a task, one by one, and texts in forms in which copies of them can be found."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any

Leaf = str | int | float


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield every text and number in a value that JSON can say, with the path to it: ``steps[2].text``.

    The keys of dicts count too. Truth values and nulls do not: nothing could tell them from others.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}".lstrip("."), str(key)
            yield from leaves(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{place}]")
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, value


def fields(value: dict[str, Any]) -> Iterator[tuple[str, Leaf]]:
    """Yield every text and number of the fields of a task; the names of the fields are no secret."""
    for name, inner in value.items():
        yield from leaves(inner, name)


def squeezed(text: str) -> str:
    """Return the letters and digits of a text alone, without case and in one form of Unicode."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def words(text: str) -> list[str]:
    """Return the words and numbers of a text, likewise."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character if character.isalnum() else " " for character in plain).split()
