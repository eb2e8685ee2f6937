"""Digests of tasks and fingerprints of datasets."""

from __future__ import annotations

import hmac
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost import Task
from benchhost.tasks import dataset_fingerprint, task_digest


class Rich(Task, kw_only=True):
    answer: object = None


# No lone surrogates: they cannot be encoded at all.
text = st.text(alphabet='ab\\n"\\\\é🙂', max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=10,
)


def rich(answer):
    return Rich(id="1", question="?", answer=answer)


def turned(value):
    """The same value with every dict built in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [turned(item) for item in value]
    return value


def test_the_digest_of_a_task_is_that_of_its_ordered_json():
    content = b'{"id":"1","question":"?","timeout":null,"answer":{"a":null,"b":[1,2.5]}}'
    task = rich({"b": [1, 2.5], "a": None})
    assert task_digest(task, b"key") == hmac.new(b"key", content, "sha256").hexdigest()


def test_without_the_key_the_digest_of_a_task_cannot_be_found_by_trying_answers():
    task = rich(1)
    assert len({task_digest(task), task_digest(task, b"one"), task_digest(task, b"other")}) == 3


@given(json_values)
def test_the_order_of_a_dict_does_not_change_the_digest(value):
    assert task_digest(rich(value)) == task_digest(rich(turned(value)))


@given(json_values, json_values)
def test_tasks_have_the_same_digest_only_when_their_content_is_the_same(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (task_digest(rich(one)) == task_digest(rich(other))) == same


def test_keys_that_are_no_strings_have_a_digest_too():
    assert task_digest(rich({2: "b", 1: "a"})) == task_digest(rich({1: "a", 2: "b"}))
    assert task_digest(rich({2: "b", 1: "a"})) != task_digest(rich({2: "a", 1: "b"}))


def test_the_digest_is_the_same_in_every_process():
    program = (
        "from benchhost import Task\n"
        "from benchhost.tasks import task_digest\n"
        "class T(Task, kw_only=True):\n"
        "    accepted: set[str]\n"
        "print(task_digest(T(id='1', question='?', accepted={'a', 'b', 'c', 'd', 'e', 'f'})))\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_what_cannot_be_encoded_has_no_digest():
    @dataclass
    class Box:
        content: object

    with pytest.raises(TypeError):
        task_digest(rich(Box(object())))


pairs = st.lists(st.tuples(st.text(max_size=3), st.text(alphabet="ab", max_size=3)), max_size=4)


@given(pairs, pairs)
def test_datasets_have_the_same_fingerprint_only_when_they_are_the_same(one, other):
    assert (dataset_fingerprint(one) == dataset_fingerprint(other)) == (one == other)
