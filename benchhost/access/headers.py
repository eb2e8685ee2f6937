"""The credential in the headers of a request.

It is in one of two headers, and each may come once: of two, a proxy before the host and the host might
each believe another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

AUTHORIZATION, DESCOPE = b"authorization", b"x-descope-api-key"

LONGEST = 16 * 1024
"""The most bytes of a credential that is looked at."""

Headers = Iterable[tuple[bytes, bytes]]


class Credentials(NamedTuple):
    """What a request shows: the token of ``Authorization: Bearer``, and ``X-Descope-Api-Key``; ``b""`` for neither."""

    bearer: bytes = b""
    descope: bytes = b""


def credentials_of(headers: Headers) -> Credentials | None:
    """Read the credentials off the headers of ASGI; ``None`` when one comes twice, and so cannot be believed."""
    authorization = descope = None
    for name, value in headers:
        if name == AUTHORIZATION:
            if authorization is not None:
                return None
            authorization = value
        elif name == DESCOPE:
            if descope is not None:
                return None
            descope = value
    bearer = b""
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and len(token) <= LONGEST:
            bearer = token
    if descope is None or len(descope) > LONGEST:
        descope = b""
    return Credentials(bearer, descope)
