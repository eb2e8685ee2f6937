"""Finds hidden values, and copies that are almost them, in whatever a caller could see.

A copy is found whatever became of its case, spaces and punctuation, reversed, behind escapes of JSON,
URLs and HTML, in base64 and hexadecimal; a number in other spellings; a long text also by a fragment.
A value that is short, or stands in what callers may see anyway, could be there by chance or by right:
nothing can be proved of it, and :attr:`Scanner.unprovable` counts such values.
"""

from __future__ import annotations

import base64
import binascii
import html
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from urllib.parse import unquote_plus

import msgspec

from benchhost.integrity.values import Leaf, squeezed

SHORTEST = 8
"""Letters and digits that a text must have to stand nowhere by chance."""

DIGITS = 6
"""Digits that a number must have, leading and trailing zeros aside, to stand nowhere by chance."""

FRAGMENT = 32
"""Letters and digits in a row of a longer text that stand nowhere by chance."""

_NUMBER = re.compile(r"\d[\d,_]*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?")
_JSON_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(["\\/bfnrt]))')
_PLAIN_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{11,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){6,}")


class Secret(msgspec.Struct, frozen=True):
    """A hidden value and whose it is. ``field`` is the path to it in the task."""

    dataset: str
    task: str
    field: str
    value: Leaf


class Sighting(msgspec.Struct, frozen=True):
    """A secret that was seen, and in which form: ``text``, ``reversed``, ``number`` or ``fragment``."""

    secret: Secret
    form: str


class Scanner:
    """Looks for ``secrets`` in texts; ``public`` are the texts that callers may see."""

    def __init__(self, secrets: Iterable[Secret], public: Iterable[str] = ()) -> None:
        self.provable: Counter[str] = Counter()
        """How many values of each field can be told from chance."""
        self.unprovable: Counter[str] = Counter()
        """How many cannot."""
        self._texts: dict[str, Sighting] = {}
        self._fragments: dict[str, Sighting] = {}
        self._numbers: dict[float, Sighting] = {}
        self._seen: dict[str, frozenset[Sighting]] = {}
        views = [view for text in public for view in _views(text)]
        self._public = "\n".join(map(squeezed, views))
        self._public_numbers = {number for view in views for number in _numbers(view)}
        for secret in secrets:
            found = self._add_number(secret) if not isinstance(secret.value, str) else self._add_text(secret)
            (self.provable if found else self.unprovable)[secret.field] += 1

    def _add_number(self, secret: Secret) -> bool:
        number = abs(float(secret.value))
        if _digits(number) < DIGITS or number in self._public_numbers:
            return False
        self._numbers.setdefault(number, Sighting(secret, "number"))
        if isinstance(secret.value, int):
            self._add(str(abs(secret.value)), secret)
        return True

    def _add_text(self, secret: Secret) -> bool:
        text = str(secret.value)
        forms = [text, *_decoded(text)]  # what was bytes is base64 by now
        return sum(self._add(squeezed(form), secret) for form in forms) > 0

    def _add(self, text: str, secret: Secret) -> bool:
        added = False
        if len(text) >= SHORTEST and text not in self._public:
            self._texts.setdefault(text, Sighting(secret, "text"))
            if text[::-1] not in self._public and text[::-1] != text:
                self._texts.setdefault(text[::-1], Sighting(secret, "reversed"))
            added = True
        for start in range(len(text) - FRAGMENT + 1):
            fragment = text[start : start + FRAGMENT]
            if fragment not in self._public:
                self._fragments.setdefault(fragment, Sighting(secret, "fragment"))
                added = True
        return added

    def scan(self, text: str) -> frozenset[Sighting]:
        """Find the secrets in a text, each in one form."""
        if text not in self._seen:  # most answers come again and again
            self._seen[text] = self._scan(text)
        return self._seen[text]

    def _scan(self, text: str) -> frozenset[Sighting]:
        found: dict[Secret, Sighting] = {}
        for view in _views(text):
            plain = squeezed(view)
            sightings = [sighting for needle, sighting in self._texts.items() if needle in plain]
            if self._numbers:
                sightings += [self._numbers[number] for number in _numbers(view) if number in self._numbers]
            if self._fragments:
                pieces = (plain[start : start + FRAGMENT] for start in range(len(plain) - FRAGMENT + 1))
                sightings += [self._fragments[piece] for piece in pieces if piece in self._fragments]
            for sighting in sightings:
                found.setdefault(sighting.secret, sighting)
        return frozenset(found.values())


def _views(text: str) -> list[str]:
    """Return a text as it is, and what it says behind escapes and encodings, two of them deep."""
    seen = [text]
    fresh = [text]
    for _ in range(2):
        fresh = [view for each in fresh for view in _decoded(each) if view not in seen]
        seen += fresh
    return seen


def _decoded(text: str) -> Iterator[str]:
    if "\\" in text:
        yield _JSON_ESCAPE.sub(_unescaped, text)
    if "%" in text or "+" in text:
        yield unquote_plus(text)
    if "&" in text:
        yield html.unescape(text)
    for run in _BASE64.findall(text):
        body = run.rstrip("=").replace("-", "+").replace("_", "/")
        yield from _as_text(partial(base64.b64decode, body + "=" * (-len(body) % 4)))
    for run in _HEX.findall(text):
        yield from _as_text(partial(binascii.unhexlify, run))


def _as_text(decode: Callable[[], bytes]) -> Iterator[str]:
    try:
        yield decode().decode()
    except ValueError:  # it only looked as if it were encoded
        return


def _unescaped(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2]
    return chr(int(digits, 16)) if digits else _PLAIN_ESCAPES.get(escape[3], escape[3])


def _numbers(text: str) -> Iterator[float]:
    for spelt in _NUMBER.findall(text):
        number = float(spelt.replace(",", "").replace("_", ""))
        if math.isfinite(number):
            yield number


def _digits(number: float) -> int:
    """Count the digits of a number that say something."""
    spelt = f"{number:.17g}".partition("e")[0].replace(".", "")
    return len(spelt.strip("0"))
