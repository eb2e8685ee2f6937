"""Which datasets are meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.access import EVERY, Caller, Datasets, pattern
from benchhost.access.callers import is_tenant
from benchhost.access.datasets import of_service
from benchhost.errors import UsageError

NAMES = st.sampled_from(["a", "b", "validation", "test"])


@given(NAMES, NAMES, NAMES, NAMES)
def test_a_pattern_means_one_dataset_of_one_benchmark_unless_it_has_a_star(benchmark, dataset, other, another):
    meant = Datasets(frozenset([f"{benchmark}/{dataset}"]))
    assert meant.has(other, another) == ((benchmark, dataset) == (other, another))
    assert Datasets(frozenset([f"{benchmark}/*"])).has(other, another) == (benchmark == other)
    assert Datasets(frozenset([f"*/{dataset}"])).has(other, another) == (dataset == another)
    assert EVERY.has(other, another)
    assert not Datasets().has(other, another)


def test_a_dataset_whose_name_has_a_slash_or_a_star_is_not_taken_for_another():
    assert not Datasets(frozenset(["a/b"])).has("a", "b/c")
    assert Datasets(frozenset(["a/b/c"])).has("a", "b/c")
    assert not Datasets(frozenset(["a/b"])).has("a", "*")
    assert not Datasets(frozenset(["a/b"])).has("*", "b")


@pytest.mark.parametrize("text", ["a/b", "a/*", "*/b", "*/*", "a.b-c_d/odd name", "a/b/c"])
def test_these_are_patterns(text):
    assert pattern(text) == text


@pytest.mark.parametrize("text", ["", "a", "a/", "/b", "a b/c", "a/ b", "a/b ", "a/b\n", "ä/b", "a" * 49 + "/b"])
def test_these_are_none_and_the_error_says_why(text):
    with pytest.raises(UsageError, match=r"no dataset|no name"):
        pattern(text)


def test_a_bare_name_of_a_service_is_meant_of_any_benchmark():
    assert of_service("validation") == "*/validation"
    assert of_service("a/validation") == "a/validation"


@given(st.sets(st.tuples(NAMES, NAMES)), st.sets(st.tuples(NAMES, NAMES)), NAMES, NAMES)
def test_a_key_opens_what_it_is_for_and_its_tenant_was_granted(granted, scope, benchmark, dataset):
    caller = Caller(
        "acme",
        Datasets(frozenset(f"{a}/{b}" for a, b in granted)),
        Datasets(frozenset(f"{a}/{b}" for a, b in scope)),
    )
    assert caller.may_use(benchmark, dataset) == ((benchmark, dataset) in granted & scope)
    if caller.may_use(benchmark, dataset):
        assert caller.knows_of(benchmark)


@pytest.mark.parametrize(
    "name",
    ["", "_legacy", "unauthenticated", "@operator", "@everybody", " a", "a ", "a\nb", "a\x00", "a" * 129, None, 1, []],
)
def test_these_can_be_no_tenants(name):
    assert not is_tenant(name)


@pytest.mark.parametrize("name", ["acme", "Acme Labs", "T2abc", "ü", "a" * 128])
def test_these_can(name):
    assert is_tenant(name)
