"""Bytes into structs, with errors that name the field and repeat nothing of the caller's input."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from benchhost.contract import Result
from benchhost.errors import Malformed

T = TypeVar("T")

_PATH = re.compile(r" - at `\$?(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?P<index>[^\]]*)\]")
_MISSING = re.compile(r"required field `(?P<field>[^`]+)`")


def decode(decoder: msgspec.json.Decoder[T], body: bytes | memoryview) -> T:
    """Decode a JSON body.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise malformed(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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
    missing = _MISSING.search(message)
    if missing:
        location.append(missing["field"])
    return Malformed(message, tuple(location))


def result_of(value: object, task_id: str) -> Result | None:
    """Read what a caller gives as the result of a task: an object with a ``score``, or null.

    create-benchmark-runner submits the whole envelope of a verdict (``status``, ``result``, ``error``)
    in the place of its result; the result is taken out of it, and is none unless the status is
    ``evaluated``.

    Raises :class:`~benchhost.errors.Malformed`.
    """
    if isinstance(value, dict) and "status" in value and "score" not in value:
        value = value.get("result") if value["status"] == "evaluated" else None
    if value is None:
        return None
    try:
        result = msgspec.convert(value, Result)
    except (msgspec.ValidationError, ValueError) as error:
        problem = malformed(str(error))
        path = ("body", "evaluation_results", task_id, *problem.location[1:])
        raise Malformed(str(problem), path) from None
    result.private = None
    return result
