"""What is sealed can be verified, and whatever was changed of it is named."""

from __future__ import annotations

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from benchhost.receipts import Outcome, Receipt, SigningKey, Statement, encoded, prove, seal, verify

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
ANOTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))

OUTCOMES = st.builds(
    Outcome,
    task=st.text(min_size=1, max_size=12),
    epoch=st.integers(1, 5),
    status=st.sampled_from(["evaluated", "error"]),
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    result=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    response=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    responses=st.integers(1, 9),
)


def outcome(task, score=1.0, **changes):
    fields = {"epoch": 1, "status": "evaluated", "result": "ab" * 32, "response": "cd" * 32, "responses": 1}
    return Outcome(task=task, score=score, **fields | changes)


def statement(**changes):
    fields = {
        "kind": "score",
        "run_id": "first",
        "tenant": "acme",
        "benchmark": "sums",
        "dataset": "default",
        "dataset_version": "f" * 64,
        "evaluator_version": "1.0",
        "judged_by": "",
        "model": "",
        "score": 0.125,
        "tasks": 4,
        "given": 3,
        "scored": 2,
        "coverage": 0.5,
        "responses": 5,
        "results": 0,
        "results_root": "",
        "sealed_at": 1764120000.25,
    }
    return Statement(**fields | changes)


THREE = [outcome("äpfel/1", 1e-07), outcome("b", 0.25, responses=3), outcome("c", None, status="error", result=None)]
RECEIPT = seal(statement(), THREE, KEY)


def places(data, key=KEY):
    return [fault.place for fault in verify(data, key.public).faults]


@given(st.lists(OUTCOMES, max_size=9))
def test_what_was_sealed_is_genuine_and_so_is_the_proof_of_each_of_its_tasks(outcomes):
    receipt = seal(statement(), outcomes, KEY)
    assert verify(encoded(receipt), KEY.public).ok
    assert receipt.statement.results == len(outcomes)
    for index in range(len(outcomes)):
        assert verify(encoded(prove(receipt, index)), KEY.public).ok


def test_it_is_genuine_for_the_key_of_the_host_alone():
    assert places(encoded(RECEIPT)) == []
    assert places(encoded(RECEIPT), ANOTHER) == ["key"]


@pytest.mark.parametrize("mask", [0x01, 0x20])
def test_one_changed_byte_of_a_receipt_is_found_and_named(mask):
    data = encoded(RECEIPT).rstrip()
    spans = [
        (data.index(b'{"task":"' + each.task.encode()), data.index(each.digest.encode()) + 64, each.task)
        for each in RECEIPT.entries
    ]
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
        faults = verify(changed, KEY.public).faults
        assert faults, (place, changed)
        said = f"{faults[0].place}: {faults[0].said}"
        for number, (start, end, task) in enumerate(spans):
            if start + len('{"task":"') + len(task.encode()) <= place < end:
                assert f"entries[{number}]" in said or f"({task})" in said, (said, changed)


@pytest.mark.parametrize("field", Statement.__struct_fields__)
def test_a_field_of_the_statement_that_was_changed_is_named(field):
    value = getattr(RECEIPT.statement, field)
    other = "run" if field == "kind" else f"{value}x" if isinstance(value, str) else value + 1
    forged = msgspec.structs.replace(
        RECEIPT, statement=msgspec.structs.replace(RECEIPT.statement, **{field: other}), entries=None
    )
    assert places(encoded(forged)) == [f"statement.{field}"]


@pytest.mark.parametrize("field", RECEIPT.digests)
def test_a_digest_of_the_statement_that_was_changed_is_named(field):
    forged = msgspec.structs.replace(RECEIPT, digests=RECEIPT.digests | {field: "0" * 64})
    assert places(encoded(forged)) == [f"digests.{field}"]


@pytest.mark.parametrize("index", range(3))
def test_an_outcome_that_was_changed_is_named_with_its_task_and_so_is_its_digest(index):
    entries = list(RECEIPT.entries)
    entries[index] = msgspec.structs.replace(entries[index], score=0.9)
    forged = encoded(msgspec.structs.replace(RECEIPT, entries=entries))
    assert places(forged) == [f"entries[{index}] ({THREE[index].task})"]
    entries[index] = msgspec.structs.replace(RECEIPT.entries[index], digest="0" * 64)
    forged = encoded(msgspec.structs.replace(RECEIPT, entries=entries))
    assert places(forged) == [f"entries[{index}].digest ({THREE[index].task})"]


def test_an_outcome_with_a_fitting_digest_does_not_belong_to_the_receipt_all_the_same():
    entries = [*RECEIPT.entries[:2], seal(statement(), [outcome("c", 1.0)], KEY).entries[0]]
    assert places(encoded(msgspec.structs.replace(RECEIPT, entries=entries))) == ["entries"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0, 2), (0, 1, 2, 2)])
def test_outcomes_left_out_reordered_or_doubled_are_found(order):
    forged = msgspec.structs.replace(RECEIPT, entries=[RECEIPT.entries[place] for place in order])
    assert places(encoded(forged)) == ["entries"]


def test_a_signature_of_something_else_is_named():
    other = seal(statement(score=1.0), THREE, KEY)
    assert places(encoded(msgspec.structs.replace(RECEIPT, signature=other.signature))) == ["signature"]
    assert places(encoded(msgspec.structs.replace(RECEIPT, signature=RECEIPT.signature.upper()))) == ["signature"]


def test_whoever_seals_with_a_key_of_their_own_is_found_out():
    forged = seal(statement(score=1.0), THREE, ANOTHER)
    assert places(encoded(forged)) == ["key"]
    assert places(encoded(msgspec.structs.replace(forged, key=KEY.public.id))) == ["signature"]


def test_a_receipt_without_outcomes_has_the_same_statement_and_no_task_in_it():
    receipt = seal(statement(), THREE, KEY, entries=False)
    assert receipt.entries is None
    assert receipt.statement.results == 3
    assert verify(encoded(receipt), KEY.public).ok
    assert "äpfel" not in encoded(receipt).decode()


def test_two_seals_of_the_same_outcomes_hide_that_they_are_the_same():
    again = seal(statement(), THREE, KEY)
    assert {each.digest for each in again.entries}.isdisjoint(each.digest for each in RECEIPT.entries)


def test_a_document_that_says_the_same_in_other_bytes_is_told():
    pretty = msgspec.json.format(encoded(RECEIPT), indent=2)
    [fault] = verify(pretty, KEY.public).faults
    assert "not spelled as it was" in fault.said


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff", b'{"format":"benchhost-proof-1"}'])
def test_what_is_no_receipt_is_told(data):
    assert not verify(data, KEY.public).ok


@pytest.mark.parametrize("mask", [0x01])
def test_one_changed_byte_of_a_proof_is_found(mask):
    data = encoded(prove(RECEIPT, 1)).rstrip()
    for place in range(len(data)):
        assert verify(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :], KEY.public).faults, place


def test_what_was_changed_of_a_proof_is_named():
    proof = prove(RECEIPT, 1)

    def told(**changes):
        return places(encoded(msgspec.structs.replace(proof, **changes)))

    assert told(entry=msgspec.structs.replace(proof.entry, score=1.0)) == ["entry (b)"]
    assert told(entry=msgspec.structs.replace(proof.entry, digest="0" * 64)) == ["entry.digest (b)"]
    assert told(path=proof.path[:-1]) == ["path"]
    assert told(index=0) == ["path"]
    assert told(statement=msgspec.structs.replace(proof.statement, tasks=2)) == ["statement.tasks"]


def test_a_proof_says_nothing_of_other_tasks():
    said = encoded(prove(RECEIPT, 1)).decode()
    assert "äpfel" not in said
    assert all(each.salt not in said for each in RECEIPT.entries if each.task != "b")


def test_a_receipt_can_be_read_by_its_struct():
    assert msgspec.json.decode(encoded(RECEIPT), type=Receipt) == RECEIPT
