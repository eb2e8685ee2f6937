"""Which number a response to a word problem ends with. The README says why each case is decided as it is."""

from __future__ import annotations

import re
from collections import deque

from benchhost.scoring import Number, boxed, number_in, without_reasoning

# "####" is the marker of the dataset, a line that begins with "A:" that of the authors' own models.
_MARKER = re.compile(r"####|^A:", re.MULTILINE)
_NEXT_QUESTION = re.compile(r"^(?:Question|Q):", re.MULTILINE)
_ANNOUNCEMENT = re.compile(r"\banswer(?: is\b|:)", re.IGNORECASE)


def final_number(text: str) -> Number | None:
    """Return the number that a response gives as its answer, or ``None`` when it gives none, or more than one."""
    text = _own_part(without_reasoning(text))
    if (marked := _line_behind_last(_MARKER, text)) is not None:
        return number_in(marked)
    if (box := boxed(text)) is not None:
        return number_in(box)
    if (announced := _line_behind_last(_ANNOUNCEMENT, text)) is not None:
        return number_in(announced.partition(". ")[0])
    # Without any of these, only a response that is nothing but a number is sure to mean it as the answer.
    return None if re.search(r"[^\W\d_]", text) else number_in(text)


def _own_part(text: str) -> str:
    """Cut off what a model that was not stopped in time invents: the next question and its answer."""
    first = _MARKER.search(text)
    invented = first and _NEXT_QUESTION.search(text, first.end())
    return text[: invented.start()] if invented else text


def _line_behind_last(pattern: re.Pattern[str], text: str) -> str | None:
    last = deque(pattern.finditer(text), maxlen=1)
    return text[last[0].end() :].partition("\n")[0] if last else None
