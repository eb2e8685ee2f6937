"""What keeps uploads."""

from __future__ import annotations

from typing import Protocol

import msgspec

from benchhost.errors import TooLarge

EXPIRES_IN = 3600
"""Seconds for which the URL of an upload is good."""


def must_fit(size: int, most: int) -> None:
    """Raise :class:`~benchhost.errors.TooLarge` when an upload has more than ``most`` bytes."""
    if size > most:
        raise TooLarge(f"An upload may have {most} bytes at most, and this one has {size}.")


class Announced(msgspec.Struct, frozen=True):
    """What is going to be uploaded, under which key of which benchmark.

    ``size`` in bytes and ``sha256`` in hexadecimal are what the uploader has said of it, if it has.
    """

    benchmark: str
    key: str
    size: int | None = None
    sha256: str | None = None


class Uploads(Protocol):
    """Keeps uploads. ``largest`` is the most bytes that one may have."""

    largest: int

    async def url(self, announced: Announced, base: str) -> str:
        """Make the URL to which the content is to be put within :data:`EXPIRES_IN` seconds.

        ``base`` is how the caller addresses this host, should that be where it goes.
        Raises :class:`~benchhost.errors.TooLarge` and :class:`~benchhost.errors.UploadsFailed`.
        """

    async def digest(self, benchmark: str, key: str) -> str | None:
        """Digest an upload as it is read, so that none of it is kept in memory; ``None`` when there is none.

        It is its SHA-256 in hexadecimal. Raises :class:`~benchhost.errors.TooLarge` and
        :class:`~benchhost.errors.UploadsFailed`.
        """

    async def read(self, benchmark: str, key: str) -> bytes | None:
        """Read an upload; ``None`` when there is none under the key.

        Raises :class:`~benchhost.errors.TooLarge` and :class:`~benchhost.errors.UploadsFailed`.
        """
