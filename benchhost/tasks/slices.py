"""Which tasks of a dataset a caller means: by their ids, or by a slice of the dataset's order."""

from __future__ import annotations

from collections.abc import Container, Sequence

from benchhost.errors import InvalidSlice, UnknownTask

_SHOWN = 64  # characters of the caller's own text that an error repeats


def parse_slice(text: str) -> slice:
    """Read ``start:stop:step``, each part a whole number or empty, as Python's own slices mean it.

    One part alone is the start: ``3`` is everything from the fourth task on. What is a number, and the
    texts of the errors, are those of Python's ``int`` and of the Vals contract, whose clients read them.

    Raises :class:`~benchhost.errors.InvalidSlice`.
    """
    parts = text.split(":")
    if len(parts) > 3:
        raise InvalidSlice("Invalid slice format")
    start, stop, step = ([_bound(part) for part in parts] + [None, None])[:3]
    if step == 0:
        raise InvalidSlice("slice step cannot be zero")
    return slice(start, stop, step)


def select(
    ids: Sequence[str],
    *,
    task_ids: Sequence[str] | None = None,
    slice_text: str | None = None,
    known: Container[str],
) -> list[str]:
    """Return the ids that a caller chose from ``ids``, a dataset's ids in its order.

    ``task_ids`` are answered in the caller's order, each once, and win over ``slice_text``. With
    neither, or with an empty slice, everything is chosen. ``known`` holds the same ids as ``ids`` and
    is asked instead, since a set or a dict answers at once.

    Raises :class:`~benchhost.errors.UnknownTask` and :class:`~benchhost.errors.InvalidSlice`.
    """
    if task_ids is not None:
        chosen = list(dict.fromkeys(task_ids))
        for task_id in chosen:
            if task_id not in known:
                raise UnknownTask(f"Task ID not found: {_shortened(task_id)}")
        return chosen
    if slice_text:
        return list(ids[parse_slice(slice_text)])
    return list(ids)


def _bound(part: str) -> int | None:
    if not part:
        return None
    try:
        return int(part)
    except ValueError:
        # Without Python's own error, which repeats the text at any length.
        raise InvalidSlice(f"invalid literal for int() with base 10: {_shortened(part)!r}") from None


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
