"""Keys of our own: how they are made, told from anything else, and kept.

``bhk_``, 43 letters and digits that say 32 random bytes, and 6 that say a CRC-32 of what stands before.
The prefix is for scanners that look for leaked secrets, the checksum lets a mistyped key be told
without a look at the store. What is kept is SHA-256: a slow hash protects secrets that could be
guessed, which 32 random bytes cannot, and would have to be paid for at every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from typing import NamedTuple

PREFIX = "bhk_"

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET, _CHECK = 43, 6
_KEY = re.compile(rb"bhk_[0-9A-Za-z]{49}")


class NewKey(NamedTuple):
    """A key as it is shown once, and what is kept of it: the id, by which it is spoken of, and the digest."""

    key: str
    id: str
    digest: bytes


def new_key() -> NewKey:
    """Make a key."""
    body = PREFIX + _base62(int.from_bytes(secrets.token_bytes(32)), _SECRET)
    key = body + _checksum(body)
    digest = digest_of(key.encode())
    return NewKey(key, digest.hex()[:12], digest)


def is_key(credential: bytes) -> bool:
    """Whether this has the form of a key, checksum included."""
    if not _KEY.fullmatch(credential):
        return False
    text = credential.decode()
    return _checksum(text[:-_CHECK]) == text[-_CHECK:]


def looks_like_key(credential: bytes) -> bool:
    """Whether this was meant to be a key of ours, perhaps mistyped."""
    return credential.startswith(PREFIX.encode())


def digest_of(credential: bytes) -> bytes:
    """Return the digest under which a credential is kept or remembered."""
    return hashlib.sha256(credential).digest()


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
