"""Bytes into structs, with errors that name the field and repeat nothing of the caller's input."""

from __future__ import annotations

import re
from typing import TypeVar, get_args

import msgspec

from benchhost.contract import Result
from benchhost.errors import Malformed
from benchhost.wire.vals import Status

T = TypeVar("T")

_RESULTS = ("body", "evaluation_results")
_STATUSES: tuple[str, ...] = get_args(Status)

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
    if _QUOTING.match(message):  # the one kind of message that repeats the value
        message = "not one of the values that are allowed here"
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
    inside: tuple[str, ...] = ()
    if isinstance(value, dict) and "status" in value and "score" not in value:
        if value["status"] not in _STATUSES:
            raise Malformed(f"expected one of {', '.join(_STATUSES)}", (*_RESULTS, task_id, "status"))
        inside = ("result",)
        value = value.get("result") if value["status"] == "evaluated" else None
    if value is None:
        return None
    if isinstance(value, dict):
        value.pop("private", None)  # only a hook may say what is private
    try:
        return msgspec.convert(value, Result)
    except (msgspec.ValidationError, ValueError) as error:
        problem = malformed(str(error))
        raise Malformed(str(problem), (*_RESULTS, task_id, *inside, *problem.location[1:])) from None
