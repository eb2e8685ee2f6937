"""The algebra of the trees, and that they are those of RFC 6962."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.receipts.merkle import Tree, leaf_hash, node_hash, root_of_path

INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The test vectors of Certificate Transparency, for one to eight leaves."""

LEAVES = st.lists(st.binary(max_size=8).map(leaf_hash), min_size=1, max_size=40)


@st.composite
def places(draw):
    """Leaves, and the index of one of them."""
    leaves = draw(LEAVES)
    return leaves, draw(st.integers(0, len(leaves) - 1))


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_certificate_transparency(size):
    leaves = [leaf_hash(bytes.fromhex(each)) for each in INPUTS[:size]]
    assert Tree(leaves).root.hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing():
    assert Tree([]).root == hashlib.sha256(b"").digest()


def recursive(leaves):
    """The definition of RFC 6962, as it stands there."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(recursive(leaves[:split]), recursive(leaves[split:]))


@given(LEAVES)
def test_the_root_is_that_of_the_recursive_definition(leaves):
    assert Tree(leaves).root == recursive(leaves)


@given(places())
def test_the_path_of_every_leaf_leads_to_the_root(place):
    leaves, index = place
    tree = Tree(leaves)
    assert root_of_path(leaves[index], index, len(leaves), tree.path(index)) == tree.root
    assert len(tree.path(index)) <= (len(leaves) - 1).bit_length()


@given(places(), st.data())
def test_no_other_leaf_or_step_or_place_leads_there(place, data):
    leaves, index = place
    tree = Tree(leaves)
    path = tree.path(index)
    assert root_of_path(leaf_hash(b"something else!"), index, len(leaves), path) != tree.root
    other = data.draw(st.integers(-1, len(leaves)))
    if other in (-1, len(leaves)) or leaves[other] != leaves[index]:
        assert root_of_path(leaves[index], other, len(leaves), path) != tree.root
    assert root_of_path(leaves[index], index, len(leaves), [*path, path[0] if path else b"x" * 32]) is None
    if path:
        assert root_of_path(leaves[index], index, len(leaves), path[:-1]) is None
        step = data.draw(st.integers(0, len(path) - 1))
        changed = [*path[:step], leaf_hash(b"something else!"), *path[step + 1 :]]
        assert root_of_path(leaves[index], index, len(leaves), changed) != tree.root


@given(LEAVES, LEAVES)
def test_two_lists_have_one_root_only_if_they_are_one(some, others):
    assert (Tree(some).root == Tree(others).root) == (some == others)


@given(LEAVES)
def test_a_last_leaf_that_is_doubled_makes_another_root(leaves):
    assert Tree([*leaves, leaves[-1]]).root != Tree(leaves).root


def test_a_node_cannot_be_passed_off_as_a_leaf():
    one, other = leaf_hash(b"one"), leaf_hash(b"other")
    assert leaf_hash(one + other) != node_hash(one, other)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_path_to_a_leaf_that_is_not_there(index):
    with pytest.raises(IndexError):
        Tree([leaf_hash(b"")] * 3).path(index)
