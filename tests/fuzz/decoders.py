"""What reads bytes of strangers, and the errors by which each may refuse them: anything else is a hole."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import msgspec

from benchhost.access.allowlist import read_allowlist
from benchhost.access.headers import credentials_of
from benchhost.access.keys import is_key
from benchhost.errors import InvalidSlice, Malformed, PayloadRefused, SettingsError
from benchhost.receipts import PublicKey, verify
from benchhost.sandbox.judge.values import NotPlain, read
from benchhost.server.heads import is_address, name_in
from benchhost.server.submissions import artifact
from benchhost.tasks.slices import parse_slice
from benchhost.uploads import Place
from benchhost.wire import native, results, runs, sandboxes, sockets, vals
from benchhost.wire.bodies import decode

BODIES = [
    vals.EvaluateResponseRequest,
    vals.EvaluateRequest,
    vals.UploadRequest,
    native.BatchRequest,
    native.SealRequest,
    runs.RunRequest,
    sandboxes.SandboxRequest,
    sandboxes.CommandRequest,
    sockets.InstanceFrame,
    sockets.ResponseFrame,
]


def _body(kind: type) -> Callable[[bytes], None]:
    decoder = msgspec.json.Decoder(kind)

    def fuzzed(data: bytes) -> None:
        with contextlib.suppress(Malformed):
            msgspec.json.encode(decode(decoder, data))

    return fuzzed


def _final_score(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        _whole(results.of_final_score(data))


def _score(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        _whole(results.of_score(data))


def _whole(given: results.Given) -> None:
    for each in given.results:
        if each is not None:
            results.whole(each)


def _slice(data: bytes) -> None:
    with contextlib.suppress(InvalidSlice):
        range(100)[parse_slice(data.decode(errors="replace"))]


def _head(data: bytes) -> None:
    credentials_of([(b"authorization", data)])
    is_key(data)
    is_address(name_in(data))


def _artifact(data: bytes) -> None:
    with contextlib.suppress(PayloadRefused):
        artifact(data.decode(errors="replace"))


def _upload_key(data: bytes) -> None:
    key, place = data.decode(errors="replace"), Place("acme", "default", "r", "q1")
    assert not place.has(key) or key == place.key(key.rpartition("/")[2])


def _allowlist(data: bytes) -> None:
    with contextlib.suppress(SettingsError):
        read_allowlist(data.decode(errors="replace"), None)


def _value(data: bytes) -> None:
    with contextlib.suppress(NotPlain):
        read(data)


@functools.cache
def _key() -> PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return PublicKey(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())


def _receipt(data: bytes) -> None:
    assert not verify(data, _key()).ok


TARGETS: dict[str, Callable[[bytes], None]] = {
    **{kind.__name__: _body(kind) for kind in BODIES},
    "final-score": _final_score,
    "score": _score,
    "slice": _slice,
    "head": _head,
    "artifact": _artifact,
    "upload-key": _upload_key,
    "allowlist": _allowlist,
    "value": _value,
    "receipt": _receipt,
}

SEEDS: dict[str, bytes] = {
    "EvaluateResponseRequest": b'{"task_id":"q1","response":"2"}',
    "EvaluateRequest": b'{"run_id":"r","task_id":"q1","payload":{"type":"text","schema":"","data":"2"}}',
    "UploadRequest": b'{"run_id":"r","task_id":"q1","filename":"a.zip","size":5,"sha256":"%s"}' % (b"0" * 64),
    "BatchRequest": b'{"submissions":[{"task_id":"q1","response":"2"}]}',
    "SealRequest": b'{"run_id":"r"}',
    "RunRequest": b'{"model":"scripted/echo","run_id":"a-b.c"}',
    "SandboxRequest": b'{"image":"python:3.12"}',
    "CommandRequest": b'{"command":["ls","-l"],"env":{"A":"b"},"timeout":1.5}',
    "InstanceFrame": b'{"task_id":"q1","instance_id":"local:1","sandbox_provider":{"type":"local"}}',
    "ResponseFrame": b'{"task_id":"q1","eval_resume_state":{"count":1}}',
    "final-score": b'{"evaluation_results":{"q1":{"score":1.0,"metrics":{"m":1}},"q2":null}}',
    "score": b'{"run_id":"r","evaluation_results":{"q1":{"status":"evaluated","result":{"score":1}}}}',
    "slice": b"-1:10:2",
    "head": b"Bearer bhk_0000",
    "artifact": b"data:text/plain;base64,aGk=",
    "upload-key": b"submission-artifacts/acme/default/r/q1/a.zip",
    "allowlist": b'{"tenants":{"acme":{"datasets":["a/b"],"trial_mode":true}}}',
    "value": b'[1,"a",null,true,1.5]',
    "receipt": b'{"format":"benchhost-receipt-1","statement":{},"signature":"00"}',
}
"""For each, bytes that are almost right, from which others are made."""
