"""A hidden value is found whatever was made of it, and nothing is said of what may be there by chance."""

from __future__ import annotations

import base64
import html
import json
import string
import textwrap
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.integrity.caller import Seen
from benchhost.integrity.rounds import _place
from benchhost.integrity.scanner import FRAGMENT, SHORTEST, Scanner, Secret

LONG = "The treasure lies under the third oak, forty-two steps north of the old mill's wheel; dig at dawn."

DISGUISES = {
    "nothing": lambda text: text,
    "case": str.upper,
    "no spaces": lambda text: text.replace(" ", ""),
    "line breaks": lambda text: textwrap.fill(text, 10),
    "dashes": "-".join,
    "reversed": lambda text: text[::-1],
    "reversed words of letters": lambda text: text[::-1].upper(),
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "unicode escapes": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "hex escapes": lambda text: "".join(f"\\x{ord(letter):02x}" for letter in text),
    "URL": urllib.parse.quote,
    "HTML": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "HTML by name": html.escape,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "hex": lambda text: text.encode().hex(),
    "base64 of hex": lambda text: base64.b64encode(text.encode().hex().encode()).decode(),
    "fullwidth": lambda text: text.translate({n: n + 0xFEE0 for n in range(0x21, 0x7F)}),
}


def secret(value):
    return Secret("default", "a", "answer", value)


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("value", ["Rosebud1941", LONG])
def test_a_disguised_value_is_found(value, disguise):
    said = f'{{"detail": "It is {DISGUISES[disguise](value)} indeed"}}'
    assert [each.secret for each in Scanner([secret(value)]).scan(said)] == [secret(value)]


@given(
    st.text(string.ascii_letters + string.digits + " .,:-é", min_size=SHORTEST).filter(
        lambda text: sum(map(str.isalnum, text)) >= SHORTEST
    ),
    st.sampled_from(sorted(DISGUISES)),
)
def test_any_value_that_is_long_enough_is_found_as_it_is_or_disguised(value, disguise):
    if disguise in ("hex escapes", "fullwidth"):
        value = value.replace("é", "e")
    assert Scanner([secret(value)]).scan(f'"{DISGUISES[disguise](value)}"')


@pytest.mark.parametrize("start", [0, 13, 40])
def test_a_fragment_of_a_long_value_is_found(start):
    piece = LONG[start : start + FRAGMENT + 12]
    [sighting] = Scanner([secret(LONG)]).scan(f"why: {piece}")
    assert sighting.form == "fragment"


@pytest.mark.parametrize("said", ["1234567", "1,234,567", "1_234_567", "1.234567e6", "-1234567.0", "it is 1234567!"])
def test_a_number_is_found_in_any_spelling(said):
    assert Scanner([secret(1234567)]).scan(said)


@pytest.mark.parametrize("value", ["B", "7", "Paris", 42, 1.5, 100000000, "yes", ""])
def test_nothing_is_said_of_what_may_stand_anywhere_and_it_is_counted(value):
    scanner = Scanner([secret(value)])
    assert scanner.unprovable == {"answer": 1}
    assert not scanner.provable
    assert not scanner.scan(f"the answer is {value}")


def test_nothing_is_said_of_what_callers_may_see_anyway():
    scanner = Scanner([secret("Rosebud1941"), secret(1234567)], ["Is it rosebud 1941 or 1234567?"])
    assert not scanner.provable
    assert not scanner.scan("Rosebud1941 1234567")


def test_an_answer_without_anything_hidden_is_clean():
    scanner = Scanner([secret("Rosebud1941"), secret(LONG), secret(1234567)])
    assert not scanner.scan('{"score": 0.5, "evaluation_id": "1f2e3d4c5b6a79881f2e3d4c5b6a7988", "at": 1764120000.25}')


@pytest.mark.parametrize(
    "body, place",
    [
        (b'{"told": {"by": "%s"}}', "told.by"),
        (b'"\xff %s"', "body"),
        (b"[" * 3000 + b"%s", "body"),
    ],
    ids=["json", "not UTF-8", "deep"],
)
def test_where_a_leak_stands_is_said_whatever_the_answer_is(body, place):
    scanner = Scanner([Secret("d", "t", "answer", "quetzalcoatl")])
    seen = Seen(200, [(b"content-type", b"application/json")], body % b"quetzalcoatl")
    [sighting] = scanner.scan(seen.text)
    assert _place(seen, scanner, sighting) == place
