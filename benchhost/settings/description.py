"""Every setting in words, for the help, the errors and the documentation."""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from benchhost.settings.declaration import HINTS, SECRET, Settings, meta_of
from benchhost.settings.variables import PREFIX


class SettingDoc(msgspec.Struct, frozen=True):
    """A setting as the documentation shows it; ``expected`` says in words what it may be."""

    name: str
    variable: str
    default: Any
    help: str
    expected: str
    secret: bool


def describe() -> list[SettingDoc]:
    """Return every setting, in the order in which they are declared."""
    return list(DOCS.values())


def _expected(hint: Any) -> str:
    """Say in words what a setting may be."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, meta = arguments[0], arguments[1]
        return _expected(kind) + _bounds(meta)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, UnionType):
        return f"{_expected(arguments[0])}, or none"
    return _WORDS[origin or hint]


def _bounds(meta: Meta) -> str:
    if meta.min_length is not None:
        return " that is not empty"
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.ge is not None:
        return f" of {meta.ge} or more"
    return f" above {meta.gt}" if meta.gt is not None else ""


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    tuple: "names separated by commas",
}

DOCS = {
    field.name: SettingDoc(
        name=field.name,
        variable=PREFIX + field.name.upper(),
        default=field.default,
        help=meta_of(field.name).description or "",
        expected=_expected(HINTS[field.name]),
        secret=meta_of(field.name).extra == SECRET,
    )
    for field in msgspec.structs.fields(Settings)
    if field.name != "benchmarks"
}
"""Every setting by its name."""
