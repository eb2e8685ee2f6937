"""Keys of our own."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.access.keys import is_key, looks_like_key, new_key


def test_a_new_key_has_the_form_of_one_and_is_kept_as_its_digest():
    made = new_key()
    assert is_key(made.key.encode())
    assert len(made.key) == 53
    assert made.digest == hashlib.sha256(made.key.encode()).digest()
    assert made.id == made.digest.hex()[:12]
    assert made.key not in (made.id, made.digest.hex())


def test_no_two_keys_are_alike():
    assert len({new_key().key for _ in range(100)}) == 100


@given(st.integers(4, 52), st.sampled_from("0aZ9"))
def test_a_key_with_one_wrong_letter_is_none(position, letter):
    key = new_key().key
    wrong = key[:position] + letter + key[position + 1 :]
    assert is_key(wrong.encode()) == (wrong == key)
    assert looks_like_key(wrong.encode())


@given(st.binary(max_size=80))
def test_anything_else_is_no_key(credential):
    assert not is_key(credential)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(str.upper, id="in capitals"),
        pytest.param(lambda key: key + "0", id="longer"),
        pytest.param(lambda key: key[:-1], id="shorter"),
        pytest.param(lambda key: f" {key}", id="behind a space"),
        pytest.param(lambda key: f"{key}\n", id="before a line end"),
    ],
)
def test_a_key_must_be_whole(change):
    assert not is_key(change(new_key().key).encode())
