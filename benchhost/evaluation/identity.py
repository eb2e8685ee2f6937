"""When two requests to judge are the same one.

Two are the same when tenant, benchmark, content of the dataset, run, task, response and evaluator
version are. The digest of these is in the id of the evaluation: it is how a repeated request finds the
evaluation that is running, or the one that is finished.

What is judged at about the same time has ids that lie together: those of a run and, in it, those of
neighbouring tasks. An index over mere digests is written at random places, a page for each record; with
a hundred thousand records, that costs three times what the records themselves do.
"""

from __future__ import annotations

import zlib
from hashlib import sha256
from operator import itemgetter

import msgspec

_encoder = msgspec.msgpack.Encoder()


def response_digest(response: bytes) -> str:
    """SHA-256 of a response, in hexadecimal."""
    return sha256(response).hexdigest()


class Identities:
    """The ids of evaluations that differ in task and response alone."""

    def __init__(self, *, tenant: str, benchmark: str, fingerprint: str, run: str, evaluator_version: str) -> None:
        self._neighbours = neighbourhood(tenant=tenant, benchmark=benchmark, fingerprint=fingerprint, run=run)
        # msgpack tells where each part ends, so that no two identities have one encoding.
        self._alike = _encoder.encode((tenant, benchmark, fingerprint, run, evaluator_version))

    def of(self, task: str, position: int, response: str) -> str:
        """Make 48 hexadecimal digits of an identity: 16 by which ids are neighbours, and 32 of its digest.

        ``response`` is the digest of the response; ``position`` is that of the task in its dataset, of which it
        is no further part.
        """
        digest = sha256(self._alike + _encoder.encode((task, response))).hexdigest()
        return f"{self._neighbours}{position:08x}{digest[:32]}"


run_of = itemgetter(slice(8))
"""Takes out of an id how those of its run begin."""


def neighbourhood(*, tenant: str, benchmark: str, fingerprint: str, run: str) -> str:
    """Say how the ids of a run's evaluations begin; those of another run may begin so too."""
    return f"{zlib.crc32(_encoder.encode((tenant, benchmark, fingerprint, run))):08x}"
