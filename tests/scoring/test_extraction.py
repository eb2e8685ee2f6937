import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.scoring import boxed, choice_letter, code_blocks, normalised, text_behind, without_reasoning


@pytest.mark.parametrize(
    "text, marker, behind",
    [
        ("so\n#### 18", "####", "18"),
        ("#### 17\n#### 18\r\nbye", "####", "18"),
        ("####", "####", ""),
        ("####\n18", "####", ""),
        ("A: 18 A: 19", "A:", "19"),
        ("nothing", "####", None),
    ],
)
def test_the_line_behind_the_last_marker_is_found(text, marker, behind):
    assert text_behind(text, marker) == behind


def test_an_empty_marker_is_refused():
    with pytest.raises(ValueError, match="the marker is empty"):
        text_behind("text", "")


@pytest.mark.parametrize(
    "text, answer",
    [
        ("<think>17</think>18", "18"),
        ("17</think>18", "18"),
        ("<think>17", ""),
        ("18", "18"),
        ("<think>a</think>b<think>c</think>d", "d"),
    ],
)
def test_reasoning_is_left_out(text, answer):
    assert without_reasoning(text) == answer


@pytest.mark.parametrize(
    "text, content",
    [
        (r"\boxed{18}", "18"),
        (r"first \boxed{17}, then \boxed {18}", "18"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"{\boxed{18}}", "18"),
        (r"\boxed{a \boxed{b} c}", r"a \boxed{b} c"),
        (r"\boxed{18} and \boxed{19", "18"),
        (r"} \boxed{18}", "18"),
        (r"\boxed{}", ""),
        (r"\boxed 18", None),
        (r"\boxed{18", None),
        ("18", None),
    ],
)
def test_the_last_closed_box_is_found(text, content):
    assert boxed(text) == content


BALANCED = st.recursive(
    st.text(alphabet="ab1 ", max_size=5), lambda inner: st.tuples(inner, inner).map("{0[0]}{{{0[1]}}}".format)
)


@given(st.text(alphabet="ab{ "), BALANCED)
def test_a_box_is_found_whatever_its_nesting(before, content):
    assert boxed(f"{before}\\boxed{{{content}}}.") == content


@pytest.mark.parametrize(
    "text, letter",
    [
        ("B", "B"),
        ("b", "B"),
        ("(b)", "B"),
        ("B.", "B"),
        ("B) Paris", "B"),
        ("**B. Paris**", "B"),
        ("B is right", "B"),
        ("Paris is in France.\nAnswer: B", "B"),
        ("The answer is (B).", "B"),
        ("The answer is B because it is not A.", "B"),
        ("The answer is A because it fits.", "A"),
        ("The answer is A. No, the answer is C.", "C"),
        (r"\boxed{\text{D}}", "D"),
        ("**Answer:** **B**", "B"),
        ("A or B", None),
        ("The answer is (A) or (B).", None),
        ("A, B", None),
        ("The answer is A dog.", None),
        ("A dog", None),
        ("Because of B", None),
        ("E", None),
        ("BC", None),
        ("b or so", None),
        ("", None),
    ],
)
def test_the_letter_of_the_chosen_option_is_found(text, letter):
    assert choice_letter(text) == letter


def test_there_may_be_more_options():
    assert choice_letter("The answer is J", "ABCDEFGHIJ") == "J"


@pytest.mark.parametrize("letters", ["", "abcd", "A-D", "AB1"])
def test_options_are_capital_letters(letters):
    with pytest.raises(ValueError, match="capital letters"):
        choice_letter("A", letters)


@pytest.mark.parametrize(
    "text, blocks",
    [
        ("```python\nx = 1\n```", ["x = 1\n"]),
        ("a\n```\nx\n```\nb\n~~~\ny\n~~~\n", ["x\n", "y\n"]),
        ("````\n```\nx\n```\n````", ["```\nx\n```\n"]),
        ("~~~\n```\n~~~", ["```\n"]),
        ("```py\nx = 1\n", ["x = 1\n"]),
        ("```py\r\nx\r\n```\r\n", ["x\n"]),
        ("- so:\n    ```\n    if x:\n        y\n    ```", ["if x:\n    y\n"]),
        ("```\n```", [""]),
        ("```inline``` code", []),
        ("```\na\x0cb\n```", ["a\x0cb\n"]),
        ("no code", []),
    ],
)
def test_fenced_code_is_found(text, blocks):
    assert code_blocks(text) == blocks


def test_only_blocks_of_a_language_can_be_asked_for():
    text = "```bash\nls\n```\n```Python title=x\nx = 1\n```\n```\ny\n```"
    assert code_blocks(text, "python") == ["x = 1\n"]


@given(st.lists(st.text(alphabet="ab \t=:", max_size=9)), st.sampled_from(["```", "~~~~"]))
def test_code_comes_out_as_it_went_in(lines, fence):
    code = "".join(f"{line}\n" for line in lines)
    assert code_blocks(f"Here:\n{fence}python\n{code}{fence}\nDone.") == [code]


def test_normalised_texts_differ_only_in_what_matters():
    assert normalised("  The  Eiffel-Tower, a.k.a. 'La Dame' ") == normalised("eiffeltower aka la dame")
    assert normalised("Straße") == normalised("STRASSE")
    assert normalised("cat") != normalised("dog")


@given(st.text())
def test_normalising_again_changes_nothing_in_plain_text(text):
    plain = text.encode("ascii", "ignore").decode()
    assert normalised(normalised(plain)) == normalised(plain)


HOSTILE = {
    "boxes": "\\boxed{" * 50_000,
    "box and spaces": "\\boxed" + " " * 300_000,
    "braces": "{" * 300_000,
    "backslashes": "\\" * 300_000,
    "answers": "answer is " * 30_000,
    "answer and spaces": "answer" + " " * 300_000,
    "backticks": "`" * 300_000,
    "fences": "```\n" * 75_000,
    "indented": (" " * 300 + "\n") * 1000,
    "tags": "<think>" * 40_000,
    "texts": "\\text " * 50_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("find", [boxed, choice_letter, code_blocks, normalised, without_reasoning])
def test_finding_takes_linear_time(find, text):
    start = time.process_time()
    find(text)
    assert time.process_time() - start < 3
