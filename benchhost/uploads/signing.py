"""URLs that are good for one upload: everything that they allow is signed with a secret of the host."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlencode

import msgspec

from benchhost.errors import UploadRefused

_encode = msgspec.msgpack.Encoder().encode


class Permit(msgspec.Struct, frozen=True, array_like=True):
    """What the bearer of a URL may put, once or again: at most ``limit`` bytes, until ``expires`` (seconds since 1970).

    Where ``size`` and ``sha256`` are not ``None``, it must be exactly that.
    """

    benchmark: str
    key: str
    expires: int
    limit: int
    size: int | None = None
    sha256: str | None = None

    def query(self, secret: bytes) -> str:
        """Write it as the query of a URL, signed."""
        fields = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return urlencode(fields | {"signature": self.signature(secret)})

    def signature(self, secret: bytes) -> str:
        """Sign it: HMAC-SHA-256, in hexadecimal."""
        # msgpack tells where each field ends and which is left out, so that no two permits have one encoding.
        return hmac.new(secret, b"PUT upload\0" + _encode(self), hashlib.sha256).hexdigest()

    def check(self, secret: bytes, signature: str, now: float) -> None:
        """Make sure that this host has signed it, and that it is still good.

        Raises :class:`~benchhost.errors.UploadRefused`.
        """
        if not hmac.compare_digest(self.signature(secret).encode(), signature.encode()):
            raise UploadRefused(
                "The signature of this URL does not fit it. Use it exactly as /v1/submissions/upload-url gave it."
            )
        if now >= self.expires:
            raise UploadRefused("This URL has expired. Ask /v1/submissions/upload-url for a new one.")
