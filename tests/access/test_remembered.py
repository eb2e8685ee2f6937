"""What is remembered of credentials."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchhost.access.remembered import Remembered


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_remembered_until_its_time_is_over():
    clock = Clock()
    remembered: Remembered[str] = Remembered(clock=clock)
    remembered.put(b"a", "acme", 10)
    clock.now = 9.9
    assert remembered.get(b"a") == "acme"
    clock.now = 10.0
    assert remembered.get(b"a") is None
    assert len(remembered) == 0


def test_what_lasts_no_time_is_not_remembered():
    remembered: Remembered[str] = Remembered()
    remembered.put(b"a", "acme", 0)
    remembered.put(b"b", "acme", -1)
    assert len(remembered) == 0


@given(st.lists(st.integers(0, 20), max_size=60))
def test_no_more_is_remembered_than_may_be_and_what_was_used_longest_ago_is_forgotten(used):
    remembered: Remembered[int] = Remembered(most=5)
    for each in used:
        if remembered.get(bytes([each])) is None:
            remembered.put(bytes([each]), each, 100)
    newest = list(dict.fromkeys(reversed(used)))[:5]
    assert len(remembered) == len(newest)
    assert all(remembered.get(bytes([each])) == each for each in newest)
