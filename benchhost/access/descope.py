"""Keys of Descope, exchanged for the tenant that they belong to.

The SDK makes the call and verifies the signature of the answer. It blocks, so it is called in threads.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import re
import time
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from benchhost.access.callers import is_tenant
from benchhost.access.keys import digest_of
from benchhost.access.remembered import Remembered
from benchhost.errors import Busy, IdentityUnavailable, SettingsError
from benchhost.log import get_logger

_log = get_logger()

_SENDABLE = re.compile(r"[!-~]+")
"""What a key may look like: the SDK sends it on in a header."""

AT_ONCE = 8
"""Exchanges under way at once, in each worker."""

WAITING = 256
"""The most keys that wait to be exchanged: a flood of wrong ones is not to keep everybody else out for long."""

TIMEOUT = 10.0
"""Seconds that one call of Descope may take. The SDK calls again when it is told 503."""

PATIENCE = 15.0
"""Seconds that a caller waits for all calls together."""


class DescopeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The project, where Descope is (``None``: at its own address), and for how many seconds an answer is believed."""

    project_id: str | None
    base_uri: str | None = None
    believed_for: float = 300.0


class Descope:
    """Exchanges keys; what succeeded is believed for a while, what failed is asked again."""

    def __init__(self, options: DescopeOptions) -> None:
        self._options = options
        self._client: Any = None
        self._tenants: Remembered[str] = Remembered()
        self._exchanging: dict[bytes, asyncio.Task[str | None]] = {}
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def open(self) -> None:
        """Load the SDK."""
        if self._options.project_id is not None:
            self._client = await anyio.to_thread.run_sync(self._make_client)

    async def tenant(self, key: bytes) -> str | None:
        """Return the one tenant that a key belongs to; ``None`` when the key is refused, or is not of one tenant.

        Raises :class:`~benchhost.errors.IdentityUnavailable` when Descope cannot be asked, and
        :class:`~benchhost.errors.Busy` when too many keys wait to be exchanged.
        """
        if self._client is None:  # no project is set, which lets nobody in
            return None
        digest = digest_of(key)
        tenant = self._tenants.get(digest)
        if tenant is not None:
            return tenant
        exchange = self._exchanging.get(digest)
        if exchange is None:
            if len(self._exchanging) >= WAITING:
                raise Busy("Too many credentials are being looked up; come back later.", 1.0)
            exchange = self._exchanging[digest] = asyncio.create_task(self._exchange(key, digest))
            exchange.add_done_callback(lambda _: self._exchanging.pop(digest, None))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(exchange)
        except TimeoutError:
            raise IdentityUnavailable("Descope does not answer") from None

    async def _exchange(self, key: bytes, digest: bytes) -> str | None:
        text = key.decode("latin-1")
        if not _SENDABLE.fullmatch(text):
            return None
        answer = await anyio.to_thread.run_sync(self._ask, text, limiter=self._limiter)
        if answer is None:
            return None
        tenants = answer.get("tenants")
        if not isinstance(tenants, dict) or len(tenants) != 1:
            return None
        [tenant] = tenants
        if not is_tenant(tenant):
            return None
        until = answer.get("sessionToken", {}).get("exp")
        seconds = self._options.believed_for
        if isinstance(until, int | float):
            seconds = min(seconds, until - time.time())
        self._tenants.put(digest, tenant, seconds)
        return str(tenant)

    def _ask(self, key: str) -> dict[str, Any] | None:
        """Call Descope. What goes wrong is told without its text, which may quote what was sent."""
        from descope import AuthException, RateLimitException
        from jwt import PyJWTError

        try:
            answer: dict[str, Any] = self._client.exchange_access_key(key)
        except AuthException as error:
            if error.error_type == "server error" and int(error.status_code or 500) >= 500:
                raise IdentityUnavailable(f"Descope answers with {error.status_code}") from None
            _log.debug("Descope refuses a key", status=error.status_code, error=error.error_type)
            return None
        except PyJWTError as error:  # of the session that Descope gave
            _log.warning("a session of Descope cannot be believed", error=type(error).__name__)
            return None
        except RateLimitException as error:
            raise IdentityUnavailable(f"Descope asks for fewer calls ({error.status_code})") from None
        except Exception as error:
            raise IdentityUnavailable(f"Descope cannot be asked: {type(error).__name__}") from None
        return answer

    def _make_client(self) -> Any:
        from descope import DescopeClient

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every call
        return DescopeClient(
            project_id=str(self._options.project_id), base_url=self._options.base_uri, timeout_seconds=TIMEOUT
        )


def check_descope_is_installed() -> None:
    """Raise :class:`~benchhost.errors.SettingsError` when the SDK is not there."""
    if importlib.util.find_spec("descope") is None:
        raise SettingsError("callers with keys of Descope take the package descope: pip install 'benchhost[descope]'")
