r"""Reading numbers out of answers. Every function takes time in proportion to the length of its text.

A number is an ``int`` when it is whole and the nearest ``float`` otherwise, so that ``==`` with what
the JSON of a task says does what it looks like. (Beyond 2**53, where floats have gaps, a whole number
with a point or an exponent is the nearest float, as it is in JSON.) What no float can hold (1,000
digits, ``1e999``) is not read: it is ``None``, like a text without a number, and never an exception or
an infinity.

Read are thousands commas (``1,234``), decimals, a sign (``-``, ``−``), currency signs, ``1e5``, ``12/4``,
``\frac{12}{4}``, ``5 million``, and digits of other scripts. A dot is always a decimal point.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from benchhost.scoring.words import number_in_words

Number = int | float

# All quantifiers that could compete for the same characters are possessive: nothing backtracks.
_SPACES = "\u00a0\u2009\u202f"
_RUN = rf"\d++(?:[.,{_SPACES}]\d++)*+"
_NUMBER = re.compile(
    rf"""
    (?<![^\W_]) (?<![^\W_]_)                                # the 2 of H2O and of x_2 is no number
    (?: (?P<outer>(?<![\w)\]])[-+\u2212\u2013\uff0d])? (?P<currency>[$€£¥₹])\s?+ )?
    (?P<sign>(?<![\w)\]])[-+\u2212\u2013\uff0d])?
    (?P<runs> {_RUN} (?:/{_RUN})*+ | (?<![\w.])\.\d++ )
    (?P<exponent> [eE][-+\u2212]?+\d++ )?
    (?: \s?+ (?P<scale> thousand | million | billion | trillion )\b )?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PLAIN = re.compile(rf"\d++(?:\.\d++)?|\.\d++|\d{{1,3}}(?:[,{_SPACES}]\d{{3}})++(?:\.\d++)?")
_SEPARATORS = re.compile(rf"[,{_SPACES}]")
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*+)\}\{([^{}]*+)\}")

_GROUPED_BY_SPACES = re.compile(r"\D*+(\d{1,3}(?: \d{3})++(?:\.\d++)?)\D*+")
_WORKING = re.compile(r"[\d\s.,=+\-\u2212*/×÷()$€£%x]*+")
_RESTATED = re.compile(r"([^()]++)\(([^()]++)\)[\W_]*+")
_UNIT = re.compile(r"[\s*_]*+((?:[^\W\d_]|[%°])[^\s(),;]*+)")
_OPERATORS = frozenset("!^²³¹⁰⁴⁵⁶⁷⁸⁹⁻")

_LARGEST_POWER = 307
"""Numbers from 1e-307 to below 1e308 are read: all of them have a float, and so have their differences."""

_LAST_WITHOUT_GAPS = 2**53
"""Up to here every whole number is a float."""


class _Found(NamedTuple):
    """A number in a text: ``text[start:end]``; ``value`` is ``None`` when no float can hold it."""

    value: Number | None
    start: int
    end: int
    currency: str


def last_number(text: str) -> Number | None:
    """Return the last number in a free text, or ``None`` when there is none or no float can hold it."""
    last = deque(_NUMBER.finditer(_tidy(text)), maxlen=1)
    return _value(last[0], _parts(last[0])[-1]) if last else None


def number_in(text: str) -> Number | None:
    """Return the one number that a short answer states, or ``None`` when it states none or hedges between several.

    ``"$5.00"``, ``"x = 5"``, ``"**5** apples"``, ``"5."``, ``"2 + 3 = 5"``, ``"five"`` and ``"10/2"`` all state 5, and
    ``"120 minutes (2 hours)"`` states 120. ``"20 or 21"``, ``"20!"`` and ``"between 20 and 30"`` state no number.
    """
    tidy = _answer(text)
    found = _only(tidy)
    if found is not None:
        return found.value
    return None if any(map(str.isdigit, tidy)) else number_in_words(tidy)


def quantity_in(text: str, units: Mapping[str, Number]) -> Number | None:
    """Return the one number that a short answer states, times the worth of the unit that stands with it.

    ``quantity_in("1.5 km", {"m": 1, "km": 1000})`` is 1500. The unit is a currency sign, the word behind
    the number, or the word before it (``USD 5``). A number without any counts only when ``units`` names
    the unit ``""``. ``None`` when there is no number, several, or the unit is another.
    """
    tidy = _answer(text)
    found = _only(tidy)
    if found is None or found.value is None:
        return None
    behind = _unit_behind(tidy, found)
    before = tidy[: found.start].split()[-1:]
    named = next((unit for unit in (found.currency, behind, *before) if unit and unit in units), None)
    if named is None and not found.currency and not behind and "" in units:
        named = ""
    return None if named is None else _number(_exact(found.value) * _exact(units[named]))


def same_number(answer: Number | None, expected: Number, *, absolute: Number = 0.0, relative: Number = 0.0) -> bool:
    """Say whether a number is the expected one, give or take ``absolute`` or the share ``relative`` of it.

    The larger of the two tolerances counts, and its edge is included. All numbers are taken as the
    decimals that they are written as: 1.1 is within 0.1 of 1. ``None`` is never the expected number.

    Raises ``ValueError`` when a tolerance is negative, or a number is not finite.
    """
    if absolute < 0 or relative < 0:
        raise ValueError(f"a tolerance is 0 or more, not {min(absolute, relative)!r}")
    for number in (answer, expected, absolute, relative):
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"only finite numbers can be compared, not {number!r}")
    if answer is None:
        return False
    if answer == expected:
        return True
    wanted = _exact(expected)
    return abs(_exact(answer) - wanted) <= max(_exact(absolute), _exact(relative) * abs(wanted))


def _exact(number: Number) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(float(number)))


def _tidy(text: str) -> str:
    """Write LaTeX's ways of setting a number as plain text."""
    if "\\" in text or "{,}" in text:
        text = text.replace("{,}", ",").replace("\\!", "").replace("\\,", "\u2009").replace("\\$", "$")
        text = text.replace("\\%", "%")
        text = _LATEX_FRACTION.sub(r"\1/\2", text)
    return text


def _answer(text: str) -> str:
    """Leave of a short answer what states its number: no working before ``=``, no second unit in brackets."""
    text = _tidy(text)
    working, equals, outcome = text.rpartition("=")
    if equals and _WORKING.fullmatch(working):
        text = outcome
    if (restated := _RESTATED.fullmatch(text)) and _two_units(restated[1], restated[2]):
        text = restated[1]
    if grouped := _GROUPED_BY_SPACES.fullmatch(text):
        text = text[: grouped.start(1)] + grouped[1].replace(" ", "\u2009") + text[grouped.end(1) :]
    return text


def _two_units(outer: str, inner: str) -> bool:
    """Whether the inner text is nothing but a number with a unit, and the outer one has a number with another."""
    inner = inner.strip()
    number, remark = _only(outer), _only(inner)
    if number is None or remark is None or remark.start or not _UNIT.fullmatch(inner, remark.end):
        return False
    return _unit_behind(outer, number) not in (None, _unit_behind(inner, remark))


def _unit_behind(text: str, found: _Found) -> str | None:
    match = _UNIT.match(text, found.end)
    return match[1].rstrip(".!?:*_$") if match else None


def _only(text: str) -> _Found | None:
    """The number of a text that has exactly one and does not go on to compute with it."""
    matches = _NUMBER.finditer(text)
    match = next(matches, None)
    if match is None or next(matches, None) is not None or text[match.end() : match.end() + 1] in _OPERATORS:
        return None
    parts = _parts(match)
    if len(parts) > 1:
        return None
    return _Found(_value(match, parts[0]), match.start(), match.end(), match["currency"] or "")


def _parts(match: re.Match[str]) -> list[str]:
    """The numbers of a match: mostly one; several of a chain like ``1/2/2020`` or ``1,2,3``."""
    runs = match["runs"].split("/")
    if len(runs) == 2 and all(map(_PLAIN.fullmatch, runs)):
        return [match["runs"]]
    return [part for run in runs for part in ([run] if _PLAIN.fullmatch(run) else _SEPARATORS.split(run))]


def _value(match: re.Match[str], part: str) -> Number | None:
    negative = (match["outer"] or match["sign"] or "+") != "+"
    power = _power(match["exponent"]) + _SCALES.get((match["scale"] or "").lower(), 0)
    numerator, slash, denominator = part.partition("/")
    if slash:
        above, below = _number(_decimal(numerator, power, negative)), _number(_decimal(denominator, 0, False))
        return None if above is None or not below else _number(_exact(above) / _exact(below))
    return _number(_decimal(part, power, negative)) if _PLAIN.fullmatch(part) else None  # 1.2.3 cannot be read


def _power(exponent: str | None) -> int:
    """The power of ten that ``e5`` means; of one too long to matter, a power that no float can hold."""
    if exponent is None:
        return 0
    digits = exponent[1:].replace("\u2212", "-")
    return int(digits) if len(digits) <= 6 else 10**6


def _decimal(plain: str, power: int, negative: bool) -> Decimal:
    # Made from text, a Decimal is exact at any length; arithmetic would round it to the context's digits.
    return Decimal(f"{'-' if negative else ''}{_SEPARATORS.sub('', plain)}e{power}")


def _number(value: Decimal | Fraction) -> Number | None:
    """Give an exact value as an int when it is whole, else as the nearest float; ``None`` beyond the range."""
    if not value:
        return 0
    if isinstance(value, Decimal):
        if not -_LARGEST_POWER <= value.adjusted() <= _LARGEST_POWER:
            return None
        exact = value.copy_abs() <= _LAST_WITHOUT_GAPS or value.same_quantum(Decimal(1))
        return int(value) if exact and value == value.to_integral_value() else float(value)
    if not Fraction(10) ** -_LARGEST_POWER <= abs(value) < Fraction(10) ** (_LARGEST_POWER + 1):
        return None
    return int(value) if value.denominator == 1 else float(value)
