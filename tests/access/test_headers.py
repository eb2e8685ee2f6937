"""The credential in the headers of a request."""

from __future__ import annotations

import pytest

from benchhost.access.headers import LONGEST, Credentials, credentials_of

A, D = b"authorization", b"x-descope-api-key"


@pytest.mark.parametrize(
    "headers, shown",
    [
        ([], Credentials()),
        ([(A, b"Bearer t")], Credentials(b"t")),
        ([(A, b"bearer t")], Credentials(b"t")),
        ([(D, b"k")], Credentials(b"", b"k")),
        ([(A, b"Bearer t"), (D, b"k")], Credentials(b"t", b"k")),
        ([(A, b"Basic t")], Credentials()),
        ([(A, b"t")], Credentials()),
        ([(A, b"Bearer")], Credentials()),
        ([(A, b"Bearer " + b"x" * LONGEST)], Credentials(b"x" * LONGEST)),
        ([(A, b"Bearer " + b"x" * (LONGEST + 1))], Credentials()),
        ([(D, b"x" * (LONGEST + 1))], Credentials()),
        ([(b"cookie", b"authorization=Bearer t")], Credentials()),
    ],
    ids=str,
)
def test_a_credential_is_read_off_its_header(headers, shown):
    assert credentials_of(headers) == shown


@pytest.mark.parametrize("name", [A, D])
def test_a_header_that_comes_twice_is_not_believed(name):
    assert credentials_of([(name, b"Bearer t"), (name, b"Bearer t")]) is None
