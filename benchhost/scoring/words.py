"""Numbers written as English words."""

from __future__ import annotations

import re

_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = {"billion": 10**9, "million": 10**6, "thousand": 10**3}

_LONGEST = 200
"""Characters beyond which a text is no number in words: the longest below a trillion has about 120."""


def _spelled(number: int) -> str:
    """Spell a number below 1,000, with neither ``and`` nor hyphens."""
    if number >= 100:
        hundreds = f"{_SMALL[number // 100]} hundred"
        return f"{hundreds} {_spelled(number % 100)}" if number % 100 else hundreds
    if number >= 20:
        tens = _TENS[number // 10 - 2]
        return f"{tens} {_SMALL[number % 10]}" if number % 10 else tens
    return _SMALL[number]


_BELOW_THOUSAND = {_spelled(number): number for number in range(1000)}


def number_in_words(text: str) -> int | None:
    """Return the whole number, below a trillion, that a text spells out, like ``"minus twenty-one"``.

    ``None`` when the text says anything else besides. ``and`` is allowed where the British say it.
    """
    if len(text) > _LONGEST:
        return None
    rest = " ".join(re.findall(r"[^\W\d_]+", text.casefold()))
    rest = re.sub(r"\b(hundred|thousand|million|billion) and (?=\w)", r"\1 ", rest)
    unsigned = rest.removeprefix("minus ").removeprefix("negative ")
    sign, rest = (-1 if unsigned != rest else 1), unsigned
    total = 0
    for scale, worth in _SCALES.items():
        before, found, behind = rest.partition(f" {scale}")
        if found:
            if not _BELOW_THOUSAND.get(before):  # neither "zero thousand" nor anything unknown
                return None
            total, rest = total + _BELOW_THOUSAND[before] * worth, behind.removeprefix(" ")
            if not rest:
                return sign * total
    if rest not in _BELOW_THOUSAND or (total and rest == "zero"):
        return None
    return sign * (total + _BELOW_THOUSAND[rest])
