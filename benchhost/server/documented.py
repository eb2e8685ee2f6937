"""What the OpenAPI document says of a route and cannot be read off its signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class Documented(msgspec.Struct, frozen=True, kw_only=True):
    """``raises`` are the errors that are this route's own: what any route may answer is added to them.

    ``body`` and ``answer`` are the structs that cross the wire as JSON, where the handler deals in
    bytes; ``lines`` is the struct of each line when the caller accepts JSON lines, and ``events`` are
    the structs of server-sent events, by the name of the event. ``headers`` are those of a good answer,
    each with its description. ``takes_bytes`` and ``gives_bytes`` say that a body is a file.
    """

    raises: Sequence[type[Exception]] = ()
    body: type | None = None
    answer: type | None = None
    lines: Any = None
    events: dict[str, type] = {}
    headers: dict[str, str] = {}
    takes_bytes: bool = False
    gives_bytes: bool = False


def documented(**what: Any) -> dict[str, Any]:
    """Make the ``opt`` of a handler."""
    return {"documented": Documented(**what)}


def documented_of(opt: dict[str, Any]) -> Documented:
    """Read it again."""
    found: Documented = opt.get("documented") or Documented()
    return found
