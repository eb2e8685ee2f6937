"""Slices and filters, as section 3 of the Vals contract measured them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import InvalidSlice, UnknownTask
from benchhost.tasks import parse_slice, select

IDS = [f"t{number}" for number in range(12)]


@pytest.mark.parametrize(
    "text,expected",
    [
        ("0:3", IDS[0:3]),
        ("3:10:2", IDS[3:10:2]),
        ("-2:", IDS[-2:]),
        ("::-1", IDS[::-1]),
        (":", IDS),
        ("::", IDS),
        ("", IDS),
        ("3", IDS[3:]),
        ("-3", IDS[-3:]),
        ("0:0", []),
        ("5:2", []),
        ("100:200", []),
        ("10:200", IDS[10:]),
        ("-100:2", IDS[:2]),
        ("0: 2", IDS[:2]),
        ("1_0:", IDS[10:]),
        ("+1:2", IDS[1:2]),
        ("0:99999999999999999999999", IDS),
    ],
)
def test_a_slice_means_what_the_contract_says(text, expected):
    assert select(IDS, slice_text=text, known=set(IDS)) == expected


@pytest.mark.parametrize(
    "text,message",
    [
        ("::0", "slice step cannot be zero"),
        ("1:2:3:4", "Invalid slice format"),
        ("a:b:c:d", "Invalid slice format"),
        ("a:b", "invalid literal for int() with base 10: 'a'"),
        ("1:b", "invalid literal for int() with base 10: 'b'"),
        ("1.5", "invalid literal for int() with base 10: '1.5'"),
        (" ", "invalid literal for int() with base 10: ' '"),
        ("a\nb", "invalid literal for int() with base 10: 'a\\nb'"),
    ],
)
def test_a_wrong_slice_is_refused_in_the_words_of_the_contract(text, message):
    with pytest.raises(InvalidSlice) as caught:
        parse_slice(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["x" * 10_000, "9" * 10_000])
def test_the_error_of_an_endless_slice_is_short(text):
    with pytest.raises(InvalidSlice) as caught:
        parse_slice(text)
    assert str(caught.value).startswith("invalid literal for int() with base 10: '")
    assert len(str(caught.value)) < 150


bounds = st.none() | st.integers(-20, 20)


@given(start=bounds, stop=bounds, step=bounds.filter(lambda step: step != 0))
def test_any_slice_is_the_slice_of_python(start, stop, step):
    text = ":".join("" if part is None else str(part) for part in (start, stop, step))
    assert select(IDS, slice_text=text, known=set(IDS)) == IDS[start:stop:step]


@given(st.text(alphabet="0123456789:-_ a.", max_size=12))
def test_any_text_is_a_slice_or_an_invalid_slice(text):
    try:
        chosen = select(IDS, slice_text=text, known=set(IDS))
    except InvalidSlice:
        return
    assert set(chosen) <= set(IDS)


def test_without_a_filter_every_task_is_chosen():
    assert select(IDS, known=set(IDS)) == IDS


def test_task_ids_keep_the_callers_order_and_come_once():
    assert select(IDS, task_ids=["t3", "t1", "t3"], known=set(IDS)) == ["t3", "t1"]


def test_task_ids_win_over_a_slice():
    assert select(IDS, task_ids=["t3"], slice_text="nonsense", known=set(IDS)) == ["t3"]


def test_an_empty_list_of_task_ids_chooses_none():
    assert select(IDS, task_ids=[], known=set(IDS)) == []


@pytest.mark.parametrize("unknown", ["", "t99", "T1"])
def test_an_unknown_task_id_is_named(unknown):
    with pytest.raises(UnknownTask) as caught:
        select(IDS, task_ids=["t1", unknown], known=set(IDS))
    assert str(caught.value) == f"Task ID not found: {unknown}"


def test_an_endless_unknown_task_id_is_named_in_short():
    with pytest.raises(UnknownTask) as caught:
        select(IDS, task_ids=["t" * 100_000], known=set(IDS))
    assert len(str(caught.value)) < 150
