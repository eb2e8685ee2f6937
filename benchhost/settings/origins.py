"""What was given, and where: in the settings file, the environment, the flags."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchhost.errors import SettingsError
from benchhost.settings.variables import CONFIG_FILE, NO_SETTINGS, PREFIX, VALS_API_KEY_VARIABLE, VALS_VARIABLES


class Given(NamedTuple):
    """A value that somebody gave, and ``origin``, where they gave it. ``text`` may be read as a number."""

    path: tuple[str, ...]
    value: Any
    origin: str
    text: bool = False


def from_file(path: Path | None) -> Iterator[Given]:
    """Say what a file gives: the one at ``path``, which must be there, or else the usual one, if it is.

    Raises :class:`~benchhost.errors.SettingsError`.
    """
    file = path or Path(CONFIG_FILE)
    try:
        text = file.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError:
        if path is None:
            return
        raise SettingsError(f"the settings file {file} does not exist; the working directory is {Path.cwd()}") from None
    except OSError as error:
        raise SettingsError(f"the settings file {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"the settings file {file} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {file} is not TOML: {error}") from None
    for name, value in content.items():
        if name == "benchmarks" and isinstance(value, dict):
            for benchmark, table in value.items():
                yield Given((name, benchmark), table, f"{file}, table [benchmarks.{benchmark}]")
        else:
            # The parser does not say where a key stands, so it is looked for.
            found = re.search(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(name)}\b""", text, re.MULTILINE)
            line = f", line {text.count(chr(10), 0, found.start()) + 1}" if found else ""
            yield Given((name,), value, f"{file}{line}")


def from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    """Say what the environment gives; a variable of our own comes after one of Vals', so that it wins.

    Raises :class:`~benchhost.errors.SettingsError` for an API key that is empty.
    """
    for variable, name in VALS_VARIABLES.items():
        if environ.get(variable):
            value = environ[variable]
            if name == "auth_required":  # where more words are understood
                value = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower(), value)
            yield Given((name,), value, f"variable {variable}", text=True)
    for variable in (VALS_API_KEY_VARIABLE, f"{PREFIX}API_KEY"):
        if environ.get(variable) == "":  # as a deployment whose secret is missing sets it
            wanted = "expected a value, or no variable at all if everybody is to be let in, got an empty one"
            raise SettingsError(f"api_key: {wanted} (variable {variable})")
    for variable, value in sorted(environ.items()):
        if variable.startswith(PREFIX) and variable not in NO_SETTINGS and value:
            path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
            yield Given(path, value, f"variable {variable}", text=True)


def from_flags(flags: Mapping[str, Any]) -> Iterator[Given]:
    """Say what flags give, which are by the names of the settings."""
    for name, value in flags.items():
        origin = f"flag --{name.replace('_', '-')}"
        if name == "benchmarks" and isinstance(value, Mapping):
            for benchmark, table in value.items():
                yield Given((name, benchmark), table, origin, text=True)
        elif value is not None and value != ():
            yield Given((name,), value, origin, text=True)
