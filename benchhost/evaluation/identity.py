"""When two requests to judge are the same one.

Two are the same when tenant, benchmark, content of the dataset, run, task, response and evaluator
version are. The digest of these is the id of the evaluation: it is how a repeated request finds the
evaluation that is running, or the one that is finished.
"""

from __future__ import annotations

import hashlib

import msgspec

_encoder = msgspec.msgpack.Encoder()


def response_digest(response: bytes) -> str:
    """SHA-256 of a response, in hexadecimal."""
    return hashlib.sha256(response).hexdigest()


def evaluation_id(
    *, tenant: str, benchmark: str, fingerprint: str, run: str, task: str, response: str, evaluator_version: str
) -> str:
    """Digest an identity to 32 hexadecimal digits; ``response`` is the digest of the response."""
    # msgpack tells where each part ends, so that no two identities have one encoding.
    parts = _encoder.encode((tenant, benchmark, fingerprint, run, task, response, evaluator_version))
    return hashlib.sha256(parts).hexdigest()[:32]
