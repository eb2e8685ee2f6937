"""Uploads in a bucket of Amazon S3, or of what speaks its protocol: signed there, put there, and read from there.

An object has the key below the name of its benchmark. How long it is kept is a rule of the bucket's. What a URL of
AWS Signature Version 4 cannot say, the size and the digest of what is put, the bucket does not look at.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from benchhost.errors import BenchhostError, SettingsError, UploadsFailed
from benchhost.uploads.protocol import EXPIRES_IN, Announced, must_fit

AT_ONCE = 1024 * 1024
"""Bytes that are held of an object while it is digested."""

CONNECT_WITHIN, ANSWER_WITHIN = "5s", "120s"
"""How long a connection, and a request, may take."""


class Bucket:
    """Keeps uploads of at most ``largest`` bytes in a bucket.

    The credentials are those of the environment: AWS's variables, a web identity, or what the machine or container has.
    """

    def __init__(self, name: str, region: str, endpoint: str | None, *, largest: int) -> None:
        self.largest = largest
        self._name = name
        self._region = region
        self._endpoint = endpoint

    async def url(self, announced: Announced, base: str) -> str:
        from obstore import sign_async

        if announced.size is not None:
            must_fit(announced.size, self.largest)
        path = _path(announced.benchmark, announced.key)
        try:
            return await sign_async(self._store, "PUT", path, timedelta(seconds=EXPIRES_IN))
        except Exception as error:  # it has many, and each says that the bucket cannot be used
            raise UploadsFailed(f"the bucket {self._name} cannot be signed for: {error}") from error

    async def digest(self, benchmark: str, key: str) -> str | None:
        digest = hashlib.sha256()
        async with self._found(benchmark, key) as found:
            if found is None:
                return None
            async for part in found.stream(min_chunk_size=AT_ONCE):
                digest.update(part)
        return digest.hexdigest()

    async def read(self, benchmark: str, key: str) -> bytes | None:
        async with self._found(benchmark, key) as found:
            return None if found is None else bytes(await found.bytes_async())

    @asynccontextmanager
    async def _found(self, benchmark: str, key: str) -> AsyncIterator[Any]:
        """Find an object of a size that may be read, or ``None``; say of what fails meanwhile what it means."""
        from obstore import get_async
        from obstore.exceptions import NotFoundError

        try:
            try:
                found: Any = await get_async(self._store, _path(benchmark, key))
            except (FileNotFoundError, NotFoundError):
                found = None
            else:
                must_fit(found.meta["size"], self.largest)
            yield found
        except BenchhostError:
            raise
        except Exception as error:  # likewise
            raise UploadsFailed(f"the bucket {self._name} cannot be read: {error}") from error

    @cached_property
    def _store(self) -> Any:
        """Open it in the process that uses it: its threads would not outlive a fork."""
        from obstore.store import S3Store

        where: dict[str, Any] = {} if self._endpoint is None else {"endpoint": self._endpoint}
        return S3Store(
            self._name,
            region=self._region,
            # A name with dots fits no certificate as part of a host name; and other services take paths alone.
            virtual_hosted_style_request=self._endpoint is None and "." not in self._name,
            client_options={
                "connect_timeout": CONNECT_WITHIN,
                "timeout": ANSWER_WITHIN,
                "allow_http": (self._endpoint or "").startswith("http://"),
            },
            **where,
        )


def _path(benchmark: str, key: str) -> str:
    return f"{benchmark}/{key}"


def check_obstore_is_installed() -> None:
    """Make sure that a bucket can be spoken to.

    Raises :class:`~benchhost.errors.SettingsError`.
    """
    if find_spec("obstore") is None:
        raise SettingsError("upload_bucket needs a package that speaks S3: pip install 'benchhost[s3]'")
