"""Datasets: indexed, checked, and shown without what is hidden."""

from __future__ import annotations

import json
import math
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost import Public, Task
from benchhost.errors import PluginFault
from benchhost.tasks import Catalogue, catalogue, dataset_fingerprint, index, task_digest


class Problem(Task, kw_only=True):
    subject: Public[str] = ""
    level: Public[float] = 0.0
    answer: object = None


def problems(count):
    return [Problem(id=f"p{number}", question=f"{number} + 1 = ?", answer=number + 1) for number in range(count)]


def fault_of(*tasks):
    with pytest.raises(PluginFault) as caught:
        index("default", tasks)
    return caught.value


def test_a_dataset_keeps_its_tasks_by_id_and_in_order():
    tasks = problems(5)[::-1]
    dataset = index("default", iter(tasks))
    assert list(dataset.tasks.items()) == [(task.id, task) for task in tasks]
    assert dataset.digests == [task_digest(task) for task in tasks]
    assert dataset.fingerprint == dataset_fingerprint((task.id, task_digest(task)) for task in tasks)


def test_an_empty_dataset_is_a_dataset():
    assert catalogue(index("default", [])).ids == []


def test_the_order_of_the_tasks_is_part_of_the_fingerprint():
    assert index("default", problems(3)).fingerprint != index("default", problems(3)[::-1]).fingerprint


def test_a_changed_answer_changes_the_fingerprint_and_one_digest():
    before, tasks = index("default", problems(3)), problems(3)
    tasks[1].answer = "changed"
    after = index("default", tasks)
    assert before.fingerprint != after.fingerprint
    assert [a == b for a, b in zip(before.digests, after.digests, strict=True)] == [True, False, True]


def test_a_catalogue_travels_as_msgpack():
    shown = catalogue(index("default", problems(3)))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Catalogue) == shown
    assert shown.positions == {"p0": 0, "p1": 1, "p2": 2}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=Catalogue) == shown


@pytest.mark.parametrize("level", [math.nan, math.inf, -math.inf])
def test_a_public_number_that_is_not_finite_is_null_in_the_catalogue(level):
    shown = catalogue(index("default", [Problem(id="1", question="?", level=level)]))

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(shown.public[0], parse_constant=refuse)["level"] is None


@pytest.mark.parametrize(
    "task,words",
    [
        ({"id": "1"}, "task number 2 is of the type dict, not a benchhost.Task"),
        (None, "task number 2 is of the type NoneType"),
        (Problem(id="", question="?"), "task number 2 has an empty id"),
        (Problem(id=7, question="?"), "task number 2 has an id of the type int"),
        (Problem(id="x" * 513, question="?"), "task number 2 has an id of 513 characters, more than 512"),
        (Problem(id="a\nb", question="?"), r"task number 2 has the id 'a\nb', which contains a control character"),
        (Problem(id="a\x00", question="?"), "control character"),
        (Problem(id="a\x7f", question="?"), "control character"),
        (Problem(id="a\x85b", question="?"), "control character"),
        (Problem(id="a\u2028b", question="?"), "control character"),
        (Problem(id="\ud800", question="?"), "control character"),
        (Problem(id="a", question=7), "task number 2 ('a') has a question of the type int, not a str"),
        (Problem(id="a", question="?", timeout=float("inf")), "neither None nor a finite number of seconds"),
        (Problem(id="a", question="?", timeout="1"), "neither None nor a finite number of seconds"),
        (Problem(id="a", question="?", timeout=-1.0), "neither None nor a finite number of seconds"),
    ],
)
def test_what_is_no_usable_task_is_a_fault(task, words):
    fault = fault_of(Problem(id="first", question="?"), task)
    assert fault.reason == "invalid-task"
    assert "dataset 'default'" in str(fault)
    assert words in str(fault)


@pytest.mark.parametrize("task_id", ["x" * 512, "a b", "HumanEval/0", "ü", "日本", "🙂", '"', "../etc"])
def test_any_printable_id_of_up_to_512_characters_is_usable(task_id):
    assert list(index("default", [Problem(id=task_id, question="?")]).tasks) == [task_id]


def test_two_tasks_with_one_id_are_a_fault_that_names_both():
    fault = fault_of(*problems(3), Problem(id="p1", question="again"))
    assert fault.reason == "duplicate-task-id"
    assert "tasks number 2 and 4 both have the id 'p1'" in str(fault)


class Opaque:
    def __repr__(self):
        return "SECRET"


def endless():
    value: list[object] = ["SECRET"]
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value", [Opaque(), endless(), "SECRET\ud800", {("SECRET", 1): 2}, {"SECRET", 1}, {Opaque(): "SECRET"}]
)
def test_a_hidden_field_that_cannot_be_encoded_is_a_fault_that_does_not_quote_it(value):
    fault = fault_of(Problem(id="p7", question="?", answer=value))
    assert fault.reason == "unserialisable-task"
    assert "the task 'p7': its field 'answer' cannot be encoded" in str(fault)
    assert "SECRET" not in str(fault)


def test_a_public_field_that_cannot_be_encoded_is_a_fault():
    fault = fault_of(Problem(id="p7", question="?", subject=Opaque()))
    assert fault.reason == "unserialisable-task"
    assert "its field 'subject' cannot be encoded as JSON (Encoding objects of type Opaque is unsupported)" in str(
        fault
    )


def test_a_value_that_raises_while_it_is_encoded_is_a_fault_that_does_not_quote_it():
    class Hostile(dict):
        def items(self):
            raise RuntimeError("SECRET")

        __iter__ = keys = values = __getitem__ = items

    fault = fault_of(Problem(id="p7", question="?", answer=Hostile(a=object())))
    assert fault.reason == "unserialisable-task"
    assert "SECRET" not in str(fault)


def test_annotations_that_cannot_be_resolved_are_a_fault_of_the_type():
    class Missing(Task, kw_only=True):
        answer: NotImported = None  # noqa: F821

    fault = fault_of(Missing(id="1", question="?"))
    assert fault.reason == "invalid-task"
    assert "is a Missing, whose annotations cannot be used: name 'NotImported' is not defined" in str(fault)


@pytest.mark.parametrize("kind", [Public[str] | None, list[Public[str]], dict[str, tuple[Public[int] | None, ...]]])
def test_a_mark_that_is_not_around_the_whole_type_of_a_field_is_a_fault(kind):
    part = msgspec.defstruct("Part", [("clue", kind, None)], bases=(Task,), kw_only=True)
    fault = fault_of(part(id="p", question="?"))
    assert fault.reason == "invalid-task"
    assert "the task 'p' is a Part, whose annotations cannot be used: clue: Public has to be around" in str(fault)
    whole = msgspec.defstruct("Whole", [("clue", Public[kind], None)], bases=(Task,), kw_only=True)
    assert b'"clue"' in index("default", [whole(id="p", question="?")]).public[0]


def test_what_the_authors_iterable_raises_is_passed_on():
    def broken():
        yield Problem(id="1", question="?")
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        index("default", broken())


def test_large_numbers_and_dicts_of_any_key_can_be_answers():
    index("default", [Problem(id="1", question="?", answer=[2**200, {1: "a", 0: "b"}, b"bytes", {3, 1}])])


# Generated task types: each field is public or hidden, of one of these types, with values of that type.

text = st.text(alphabet='ab\n"\\é🙂', max_size=10)

KINDS = {
    "text": (str, text),
    "whole": (int, st.integers()),
    "number": (float, st.floats()),
    "flag": (bool, st.booleans()),
    "several": (list[str], st.lists(text, max_size=3)),
    "table": (dict[str, int], st.dictionaries(text, st.integers(), max_size=3)),
    "raw": (bytes, st.binary(max_size=10)),
}

renames = st.sampled_from([None, "camel", "pascal", "kebab"])


@st.composite
def task_types(draw):
    """A task type and the strategy of each field; public fields are those whose names begin with ``public``."""
    fields = draw(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(KINDS))), min_size=1, max_size=5))
    named = {f"{'public' if shown else 'hidden'}_{n}": KINDS[kind] for n, (shown, kind) in enumerate(fields)}
    annotated = [(name, Public[kind] if name.startswith("public") else kind) for name, (kind, _) in named.items()]
    cls = msgspec.defstruct("Generated", annotated, bases=(Task,), kw_only=True, rename=draw(renames))
    return cls, {name: values for name, (_, values) in named.items()}


@given(st.data())
def test_hidden_values_change_nothing_in_a_catalogue_but_its_digests(data):
    cls, values = data.draw(task_types())
    shown = {name: data.draw(strategy) for name, strategy in values.items() if name.startswith("public")}
    catalogues = []
    for _ in range(2):
        hidden = {name: data.draw(strategy) for name, strategy in values.items() if name.startswith("hidden")}
        catalogues.append(catalogue(index("d", [cls(id="1", question="?", **shown, **hidden)])))
    one, other = (msgspec.structs.replace(c, digests=[], fingerprint="") for c in catalogues)
    assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)


HIDDEN = st.text(alphabet="qxzjk", min_size=12, max_size=20).map("HIDDEN-{}".format)


@given(st.lists(HIDDEN, min_size=1, max_size=4), st.data())
def test_no_hidden_value_occurs_in_a_catalogue(secrets, data):
    shapes = [
        data.draw(st.sampled_from([lambda s: s, lambda s: [s], lambda s: {"k": s}, lambda s: {s: 1}, lambda s: (s, s)]))
        for _ in secrets
    ]
    fields = [(f"hidden_{n}", object) for n in range(len(secrets))]
    cls = msgspec.defstruct("Generated", [*fields, ("seen", Public[str])], bases=(Task,), kw_only=True)
    hidden = {f"hidden_{n}": shape(secret) for n, (shape, secret) in enumerate(zip(shapes, secrets, strict=True))}
    sent = msgspec.msgpack.encode(catalogue(index("d", [cls(id="1", question="?", seen="SEEN", **hidden)])))
    assert b"SEEN" in sent
    assert not [secret for secret in secrets if secret.encode() in sent]


def test_ten_thousand_tasks_are_indexed_in_a_fifth_of_a_second():
    tasks = [Problem(id=f"p{n}", question="q" * 300, answer={"steps": ["s" * 50] * 3}) for n in range(10_000)]
    times = []
    for _ in range(3):
        start = time.process_time()
        catalogue(index("default", tasks))
        times.append(time.process_time() - start)
    assert min(times) < 0.2
