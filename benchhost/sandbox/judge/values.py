"""Plain values as text, and back: all that passes between the judge and the judged.

JSON, in which an object is a tag for what JSON has no word for: ``{"t": […]}`` is a tuple. What is read comes from
code that nobody trusts, so reading makes nothing but ``None``, ``bool``, ``int``, ``float``, ``complex``, ``str``,
``bytes``, ``list``, ``tuple``, ``dict``, ``set`` and ``frozenset``, each of exactly that type, and takes a time that
grows with the length of the text. (``pickle`` runs what it reads, ``marshal`` may crash on it, and msgpack has
neither tuples nor large numbers.)

The standard library alone: the judged loads this, too.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from typing import Any

DEPTH = 100
"""How deeply values may be nested."""

COLLISIONS = 64
"""How many keys of a dictionary, or members of a set, may share a hash with another.

Many are never an accident, and make building the dictionary take a time that grows with the square of their number.
"""

_SMALL = 1 << 63  # beyond it, decimal digits would be read and written in quadratic time


class NotPlain(ValueError):
    """A value is not a plain one, or a text does not stand for one; the message says what it is instead."""


def write(value: object) -> bytes:
    """Return the text of a plain value.

    Dictionaries of ``collections`` (``Counter``, ``defaultdict``, ``OrderedDict``) are written as dictionaries. Raises
    :class:`NotPlain` for everything else, subclasses of plain types among it: their equality could be any.
    """
    try:
        return _text(value, 0).encode()
    except RecursionError:
        raise NotPlain(f"nested more than {DEPTH} levels deep") from None


def read(text: bytes) -> Any:
    """Return the value that a text stands for.

    Raises :class:`NotPlain` when it stands for none.
    """
    try:
        written = text.decode()
        value, end = _decoder.raw_decode(written)
    except NotPlain:
        raise
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise NotPlain(f"not the text of a plain value: {type(error).__name__}") from None
    if end != len(written):
        raise NotPlain("not the text of a plain value: more follows it")
    return value


def _text(value: Any, depth: int) -> str:
    kind = type(value)
    if kind is int:
        return repr(value) if -_SMALL < value < _SMALL else f'{{"i":"{value:x}"}}'
    if kind is str:
        if value.isascii() or _is_unicode(value):
            return encode_basestring(value)
        return f'{{"u":"{value.encode("utf-8", "surrogatepass").hex()}"}}'
    if kind is float:
        return repr(value) if value - value == 0 else _NOT_FINITE[repr(value)]
    if kind is bool or value is None:
        return _WORDS[value]
    if depth == DEPTH:
        raise NotPlain(f"nested more than {DEPTH} levels deep")
    depth += 1
    if kind is list:
        return f"[{_texts(value, depth)}]"
    if kind is tuple:
        return f'{{"t":[{_texts(value, depth)}]}}'
    if kind in _DICTIONARIES:
        return f'{{"d":[{_texts((each for item in dict.items(value) for each in item), depth)}]}}'
    if kind is set:
        return f'{{"s":[{_texts(value, depth)}]}}'
    if kind is frozenset:
        return f'{{"f":[{_texts(value, depth)}]}}'
    if kind is bytes:
        return f'{{"b":"{value.hex()}"}}'
    if kind is complex:
        return f'{{"c":[{_text(value.real, depth)},{_text(value.imag, depth)}]}}'
    raise NotPlain(f"of type {kind.__name__:.100}, which is not a plain one")


def _texts(values: Iterable[Any], depth: int) -> str:
    return ",".join([_text(value, depth) for value in values])


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a surrogate that stands alone
        return False
    return True


def _untagged(tagged: dict[str, Any]) -> Any:
    if len(tagged) != 1:
        raise NotPlain("not the text of a plain value: an object with several tags")
    ((tag, content),) = tagged.items()
    if tag not in _READ:
        raise NotPlain("not the text of a plain value: an unknown tag")
    kind, make = _READ[tag]
    if type(content) is not kind:
        raise NotPlain("not the text of a plain value: a tag on something else")
    return make(content)


def _dictionary(flat: list[Any]) -> dict[Any, Any]:
    if len(flat) % 2:
        raise NotPlain("not the text of a plain value: a key without a value")
    _refuse_collisions(flat[::2])
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _set(items: list[Any]) -> set[Any]:
    _refuse_collisions(items)
    return set(items)


def _refuse_collisions(keys: list[Any]) -> None:
    if len(keys) - len(set(map(hash, keys))) > COLLISIONS:
        raise NotPlain("a dictionary or set of too many keys with the same hash")


def _complex(parts: list[Any]) -> complex:
    real, imaginary = parts
    if type(real) is not float or type(imaginary) is not float:
        raise NotPlain("not the text of a plain value: a complex number of no floats")
    return complex(real, imaginary)


_WORDS = {None: "null", False: "false", True: "true"}
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_DICTIONARIES = frozenset((dict, Counter, defaultdict, OrderedDict))
_READ: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "t": (list, tuple),
    "d": (list, _dictionary),
    "s": (list, _set),
    "f": (list, lambda items: frozenset(_set(items))),
    "i": (str, lambda digits: int(digits, 16)),
    "u": (str, lambda digits: bytes.fromhex(digits).decode("utf-8", "surrogatepass")),
    "b": (str, bytes.fromhex),
    "c": (list, _complex),
}
_decoder = json.JSONDecoder(object_hook=_untagged)
