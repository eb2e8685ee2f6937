"""A task, and the one function that shows it to the world."""

from __future__ import annotations

import functools
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T")


class _Mark:
    """What :data:`Public` and :data:`Placed` put on a field."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


_PUBLIC, _PLACED = _Mark("Public"), _Mark("Placed")

Public = Annotated[T, _PUBLIC]
"""``subject: Public[str]`` lets callers see the field. Every other field of a task is hidden."""

Placed = Annotated[T, _PLACED]
"""``files: Placed[dict[str, str]]`` is hidden, but for whoever has the sandbox in which the task is attempted."""

ALWAYS_PUBLIC = ("id", "question", "timeout")
"""The fields of :class:`Task` itself, which callers always see."""


class Task(msgspec.Struct, kw_only=True):
    """One task of a benchmark. Derive from it and add fields; they are hidden unless marked :data:`Public`.

    ``id`` is unique in its dataset. ``question`` is what a model is asked. ``timeout`` is the time, in
    seconds, that a model may take to answer; ``None`` leaves it to the runner.
    """

    id: str
    question: str
    timeout: float | None = None


@functools.cache
def public_fields(task_type: type[Task]) -> tuple[tuple[str, str], ...]:
    """Return ``(attribute, name on the wire)`` of every field that callers may see, in field order.

    Raises ``NameError`` when an annotation cannot be resolved, and ``TypeError`` when :data:`Public` marks a part of
    a field's type, which would show nothing.
    """
    return _marked(task_type, _PUBLIC, ALWAYS_PUBLIC)


@functools.cache
def placed_fields(task_type: type[Task]) -> tuple[tuple[str, str], ...]:
    """Return ``(attribute, name on the wire)`` of every field that is marked :data:`Placed`, in field order.

    Raises what :func:`public_fields` raises.
    """
    return _marked(task_type, _PLACED)


def public(task: Task) -> dict[str, Any]:
    """Make the public projection of a task: the only thing of it that ever leaves the host.

    A field that is marked :data:`Public` is shown whole, whatever it contains.
    """
    return {name: getattr(task, attribute) for attribute, name in public_fields(type(task))}


def _marked(task_type: type[Task], mark: _Mark, others: tuple[str, ...] = ()) -> tuple[tuple[str, str], ...]:
    """Find the fields of which the whole type has the mark, and the ``others``."""
    hints = get_type_hints(task_type, include_extras=True)
    found = []
    for field in msgspec.structs.fields(task_type):
        hint = hints[field.name]
        if field.name in others or _is_marked(hint, mark):
            found.append((field.name, field.encode_name))
        elif _is_marked_inside(hint, mark):
            raise TypeError(f"{field.name}: {mark} has to be around the whole type, as in {mark}[str | None]")
    return tuple(found)


def _is_marked(hint: Any, mark: _Mark) -> bool:
    return get_origin(hint) is Annotated and any(each is mark for each in get_args(hint)[1:])


def _is_marked_inside(hint: Any, mark: _Mark) -> bool:
    return any(_is_marked(part, mark) or _is_marked_inside(part, mark) for part in get_args(hint))
