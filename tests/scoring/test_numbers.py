import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchhost.scoring import last_number, number_in, number_in_words, quantity_in, same_number

STATED = {
    "5": 5,
    "$5.00": 5,
    "\\$5": 5,
    "-$5": -5,
    "$-5": -5,
    "€ 5": 5,
    "5.": 5,
    "5.0": 5,
    "007": 7,
    "**7**": 7,
    "_7_": 7,
    "x = 20": 20,
    "x_1 = 20": 20,
    "H2O weighs 18": 18,
    "50%": 50,
    "50\\%": 50,
    "3rd": 3,
    "1,234": 1234,
    "1,234.5": 1234.5,
    "1,450,000": 1450000,
    "1{,}234": 1234,
    "1\\,234": 1234,
    "1 000": 1000,
    "about 12 000 km": 12000,
    "1\u202f234\u202f567 €": 1234567,
    "1.234": 1.234,
    ".5": 0.5,
    "-.5": -0.5,
    "so... 5": 5,
    "0.1": 0.1,
    "−10": -10,
    "–10": -10,
    "２０": 20,
    "٢٠": 20,
    "1e5": 100000,
    "1.5e-3": 0.0015,
    "12/4": 3,
    "1/4": 0.25,
    "-1/4": -0.25,
    "\\frac{12}{4}": 3,
    "\\dfrac{1}{4}": 0.25,
    "5 million dollars": 5000000,
    "1.8 Billion": 1800000000,
    "0.3 thousand": 300,
    "120 minutes (2 hours)": 120,
    "2 + 3 = 5": 5,
    "16 - 3 = $13": 13,
    "seven": 7,
    "minus twenty-one.": -21,
    "18<|endoftext|>": 18,
    "18\x00": 18,
}
NOT_STATED = [
    "",
    "I do not know",
    "20 or 21",
    "between 20 and 30",
    "20-30",
    "20 (21)",
    "20 apples (21 apples)",
    "20 apples (or 21 pears)",
    "20!",
    "20²",
    "2^3",
    "2+2",
    "1,2345",
    "1, 2, 3",
    "1/2/2020",
    "1.2.3",
    "12.05.2020",
    "5/0",
    "inf",
    "NaN",
    "H2O",
    "x1",
    "seven or eight",
    "one of them",
    "1e999",
    "1e-999",
    "1e" + "9" * 100,
    "9" * 309,
    "1/" + "9" * 400,
    "x = 20 or x = 21",
]


@pytest.mark.parametrize("text, number", STATED.items())
def test_an_answer_states_one_number(text, number):
    assert number_in(text) == number


@pytest.mark.parametrize("text", NOT_STATED, ids=lambda text: text[:30])
def test_an_answer_without_a_number_or_with_several_states_none(text):
    assert number_in(text) is None


@pytest.mark.parametrize(
    "text, number",
    [
        ("16 - 3 = 13, and 13 * 2 = 26.", 26),
        ("between 20 and 30", 30),
        ("in 2020 100 people", 100),
        ("page 3, 4 and 1,2345", 2345),
        ("the result is -4", -4),
        ("16-3", 3),
        ("(16)-3", 3),
        ("on 1/2/2020", 2020),
        ("first 18, then 1.2.3", None),
        ("first 18, then " + "9" * 5000, None),
        ("no number", None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_last_number_of_a_text_is_found(text, number):
    assert last_number(text) == number


def test_a_whole_number_is_an_int_and_any_other_the_nearest_float():
    assert [type(number_in(text)) for text in ("5.0", "10/2", "1e3", "5.5", "1/3")] == [int, int, int, float, float]
    assert number_in("9007199254740993") == 2**53 + 1
    assert isinstance(number_in("1e23"), float)


@given(st.integers(-(10**300), 10**300))
def test_every_int_is_read_as_it_is_written(number):
    assert number_in(str(number)) == number_in(f"{number:,}") == last_number(f"It is {number:,}.") == number


# What is smaller is beyond the range that is read.
@given(st.floats(-1e307, 1e307).filter(lambda number: number == 0 or abs(number) > 1e-306))
@example(0.1)
@example(1e23)  # as a whole number it would be 10**23, which is no float
def test_every_float_is_read_as_it_is_written(number):
    assert number_in(repr(number)) == number_in(f"**{number!r}**") == last_number(f"It is {number!r}") == number


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6))
def test_a_fraction_is_read_by_its_value(numerator, denominator):
    assert number_in(f"{numerator}/{denominator}") == numerator / denominator


@given(st.text(alphabet=st.sampled_from("0123456789.,/-−+$eE%()=!^ \u00a0_x\\{}٣²fractmilo\n")) | st.text())
def test_whatever_the_text_says_only_finite_numbers_come_out(text):
    for number in (number_in(text), last_number(text), quantity_in(text, {"": 1, "m": 0.1, "$": 1})):
        assert number is None or math.isfinite(number)


HOSTILE = {
    "digits": "1" * 300_000,
    "decimals": "0." + "3" * 300_000,
    "exponent": "1e" + "9" * 300_000,
    "denominator": "1/" + "7" * 300_000,
    "commas": "1," * 150_000,
    "dots": "1." * 150_000,
    "slashes": "1/" * 150_000,
    "exponents": "1e" * 150_000,
    "equations": "=1" * 150_000,
    "numbers": "1 " * 150_000,
    "groups": "1 000" * 60_000,
    "spaces": "5" + " " * 300_000,
    "signs": "-" * 300_000,
    "currencies": "$ " * 150_000,
    "underscores": "_" * 300_000,
    "brackets": "(" * 300_000,
    "fractions": "\\frac{" * 50_000,
    "letters": "a" * 300_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_reading_takes_linear_time(text):
    start = time.process_time()
    number_in(text)
    last_number(text)
    quantity_in(text, {"m": 1})
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "text, units, number",
    [
        ("1.5 km", {"m": 1, "km": 1000}, 1500),
        ("**5** m.", {"m": 1}, 5),
        ("5km/h", {"km/h": 1}, 5),
        ("USD 5", {"USD": 1}, 5),
        ("-$5", {"$": 1}, -5),
        ("12.5 %", {"%": 0.01}, 0.125),
        ("the length is 5", {"": 1}, 5),
        ("5", {"m": 1}, None),
        ("5 m", {"": 1}, None),
        ("$5", {"": 1}, None),
        ("5 miles", {"m": 1}, None),
        ("5 m or 6 m", {"m": 1}, None),
        ("about a metre", {"m": 1}, None),
        ("1e307 km", {"km": 1000}, None),
    ],
)
def test_a_quantity_is_worth_its_number_times_its_unit(text, units, number):
    assert quantity_in(text, units) == number


@pytest.mark.parametrize(
    "answer, expected, tolerances, same",
    [
        (5, 5.0, {}, True),
        (0.1, 0.1, {}, True),
        (5.01, 5, {}, False),
        (None, 0, {"absolute": 1}, False),
        (1.1, 1, {"absolute": 0.1}, True),
        (1.1000001, 1, {"absolute": 0.1}, False),
        (0.9, 1, {"relative": 0.1}, True),
        (-0.9, -1, {"relative": 0.1}, True),
        (98, 100, {"absolute": 1, "relative": 0.02}, True),
        (0.001, 0, {"relative": 0.5}, False),
        (10**400, 1.5e308, {"relative": 0.1}, False),
    ],
)
def test_numbers_are_the_same_within_a_tolerance(answer, expected, tolerances, same):
    assert same_number(answer, expected, **tolerances) is same


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.floats(0, 1e3))
def test_an_absolute_tolerance_is_the_same_from_both_sides(a, b, tolerance):
    assert same_number(a, b, absolute=tolerance) == same_number(b, a, absolute=tolerance)


@pytest.mark.parametrize("arguments", [(1, math.nan), (math.inf, 1), (None, math.inf)])
def test_only_finite_numbers_can_be_compared(arguments):
    with pytest.raises(ValueError, match="only finite numbers"):
        same_number(*arguments)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="a tolerance is 0 or more"):
        same_number(1, 1, relative=-0.1)


def test_a_tolerance_that_is_nan_is_refused():
    with pytest.raises(ValueError, match="only finite numbers"):
        same_number(1, 2, absolute=math.nan)


@pytest.mark.parametrize(
    "text, number",
    [
        ("zero", 0),
        ("Twelve", 12),
        ("one hundred", 100),
        ("three hundred and five", 305),
        ("two thousand and one", 2001),
        ("nine hundred ninety-nine million one thousand", 999_001_000),
        ("negative one billion two hundred thousand three", -1_000_200_003),
        ("", None),
        ("and", None),
        ("minus", None),
        ("hundred", None),
        ("one and two", None),
        ("twenty twenty", None),
        ("twenty zero", None),
        ("ten one", None),
        ("one thousand zero", None),
        ("zero thousand", None),
        ("one thousand two thousand", None),
        ("one million and", None),
        ("seven apples", None),
        ("one thousands", None),
        ("no one", None),
        ("one " * 1000, None),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_number_may_be_spelled_out(text, number):
    assert number_in_words(text) == number
