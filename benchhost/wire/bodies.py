"""Bytes into structs, with errors that name the field and repeat nothing of the caller's input."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from benchhost.errors import Malformed

T = TypeVar("T")

TOO_DEEP = "is nested too deeply"
"""What is said of JSON that has more levels than are read, valid or not: a thousand or, by Python, some thousands."""

_PATH = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>[^\]]*)\]")
_MISSING = re.compile(r"required field `(?P<field>[^`]+)`")
_QUOTING = re.compile(r"Invalid (?:enum )?value ")


def decode(decoder: msgspec.json.Decoder[T], body: bytes | memoryview) -> T:
    """Decode a JSON body.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise malformed(str(error)) from None
    except RecursionError:
        raise Malformed(f"the body {TOO_DEEP}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("the body is not valid JSON") from None


def malformed(message: str, root: str = "body") -> Malformed:
    """Make the error of a msgspec validation message, with the path that the message names."""
    location: list[str | int] = [root]
    found = _PATH.search(message)
    if found:
        message = message[: found.start()]
        for step in _STEP.finditer(found["path"]):
            if step["field"] is not None:
                location.append(step["field"])
            elif step["index"].isdigit():
                location.append(int(step["index"]))
    if _QUOTING.match(message):  # the one kind of message that repeats the value
        message = "not one of the values that are allowed here"
    missing = _MISSING.search(message)
    if missing:
        location.append(missing["field"])
    return Malformed(message, tuple(location))
