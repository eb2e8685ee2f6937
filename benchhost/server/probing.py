"""How much submitters are told, as the operator has written it down.

::

    ["my-bench/validation"]
    attempts = 3
    feedback = "score"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from benchhost.access.datasets import pattern
from benchhost.contract import Probing
from benchhost.errors import SettingsError, UsageError


def read_probing(path: Path | None) -> dict[str, Probing]:
    """Read the policies of datasets from a file of TOML; without one, there are none.

    Raises :class:`~benchhost.errors.SettingsError` when it is malformed.
    """
    if path is None:
        return {}
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"probing: the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"probing: the file {path} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"probing: the file {path} is no TOML: {error}") from None
    policies = {}
    for name, table in content.items():
        try:
            policies[pattern(name)] = msgspec.convert(table, Probing)
        except (UsageError, msgspec.ValidationError) as error:
            raise SettingsError(f"probing: the file {path}, table {name!r}: {error}") from None
    return policies
