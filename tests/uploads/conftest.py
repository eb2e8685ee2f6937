"""A bucket in a double of S3."""

import pytest
from s3_double import s3


@pytest.fixture(scope="session")
def double():
    with s3() as running:
        yield running
