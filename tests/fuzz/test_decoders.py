"""Whatever the bytes of a stranger are, they are read, or refused with the error that says so."""

from __future__ import annotations

import json

import pytest
from decoders import SEEDS, TARGETS
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def bent(draw, seed):
    """Bytes that are almost right: a piece taken out, put in or doubled; or a field with another value."""
    if draw(st.booleans()) and seed.startswith(b"{"):
        value = json.loads(seed)
        value[draw(st.sampled_from(sorted(value)))] = draw(JSON)
        return json.dumps(value).encode()
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(seed))] * 2)))
    piece = draw(st.binary(max_size=20) | st.just(seed[start:end] * 2) | st.just(b"[" * 2000))
    return seed[:start] + piece + seed[end:]


def test_each_has_a_seed():
    assert set(SEEDS) == set(TARGETS)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_whatever_comes_is_read_or_refused(name):
    @given(st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()) | bent(SEEDS[name]))
    def holds(data):
        TARGETS[name](data)

    TARGETS[name](SEEDS[name])
    holds()
