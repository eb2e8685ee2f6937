"""Makes settings of what was given, and says what is wrong with it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchhost.errors import SettingsError
from benchhost.settings.declaration import HINTS, Settings
from benchhost.settings.description import DOCS, SettingDoc
from benchhost.settings.origins import Given, from_environment, from_file, from_flags
from benchhost.settings.variables import CONFIG_VARIABLE, plain


def load(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Read the settings file, then the environment, then the flags, each winning over those before.

    The file is ``config``, else the one that ``BENCHHOST_CONFIG`` names, else ``benchhost.toml`` in the
    working directory if it is there. An empty variable counts as not set; a flag counts as not given
    when it is ``None`` or an empty tuple. ``flags`` are by the name of the setting.

    Raises :class:`~benchhost.errors.SettingsError`; its message holds no secret.
    """
    path = config or (Path(environ[CONFIG_VARIABLE]) if environ.get(CONFIG_VARIABLE) else None)
    values: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    for given in (*from_file(path), *from_environment(environ), *from_flags(flags)):
        name, *inner = given.path
        if name == "benchmarks":
            _put(tables, inner, given)
        elif inner or name not in DOCS:
            raise _unknown(given)
        else:
            values[name] = _converted(DOCS[name], given)
    return Settings(**values, benchmarks=tables)


def _converted(doc: SettingDoc, given: Given) -> Any:
    """Make a given value what its setting is."""
    value = given.value
    if given.text and isinstance(value, str):
        if doc.expected.startswith("names"):
            value = [name.strip() for name in value.split(",") if name.strip()]
        elif doc.expected.startswith("one of"):
            value = value.lower()
        elif doc.expected.endswith("or none") and not doc.secret and value.lower() == "none":
            value = None
    try:
        converted = msgspec.convert(value, HINTS[doc.name], strict=not given.text, dec_hook=_path)
        if isinstance(converted, float) and not math.isfinite(converted):  # which no bound excludes
            raise msgspec.ValidationError
    except msgspec.ValidationError:
        of_secret = f"a value of the type {type(value).__name__}" if value != "" else "empty text"
        got = of_secret if doc.secret else repr(given.value)
        raise SettingsError(f"{doc.name}: expected {doc.expected}, got {got} ({given.origin})") from None
    return converted


def _path(kind: type, value: object) -> Path:
    if kind is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    raise ValueError("not a path")


def _put(tables: dict[str, dict[str, Any]], inner: list[str], given: Given) -> None:
    """Put what was given into the benchmarks' tables: a whole table, or one value of one."""
    whole = isinstance(given.value, Mapping)
    if not inner or (len(inner) == 1 and not whole):
        expected = "a table for each benchmark, and in it a value for each of its settings"
        raise SettingsError(f"{'.'.join(given.path)}: expected {expected} ({given.origin})")
    name = next((known for known in tables if known == inner[0] or plain(known) == plain(inner[0])), inner[0])
    table = tables.setdefault(name, {})
    if whole:
        table.update(given.value)
        return
    for step in inner[1:-1]:
        table = table.setdefault(step, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{'.'.join(given.path)}: {step!r} is set to a value already ({given.origin})")
    table[inner[-1]] = _list_or_text(given.value)


def _list_or_text(text: str) -> Any:
    """Read a variable of a benchmark as JSON when it is a list or an object, since text cannot say one."""
    if text.startswith(("[", "{")):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:  # a template, for instance
            return text
    return text


def _unknown(given: Given) -> SettingsError:
    name = "__".join(given.path)
    names = [*DOCS, "benchmarks"]
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(given.path[0], names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(DOCS)} and the tables of benchmarks"
    return SettingsError(f"no setting is called {name!r} ({given.origin}){hint}")
