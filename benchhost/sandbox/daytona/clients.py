"""Connections to Daytona: one for each access, shared while it is used, and closed when it has been idle."""

from __future__ import annotations

import asyncio
import logging
import random
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from benchhost.errors import SandboxError, SandboxUnavailable
from benchhost.sandbox.daytona import sdk
from benchhost.sandbox.daytona.access import Access
from benchhost.sandbox.daytona.failures import asked_to_wait, failure, not_done, transient

IDLE = 60.0
"""Seconds after which a client that nobody uses is closed."""

CALL_TIMEOUT = 60.0
"""Seconds that one call may take, unless it is said otherwise."""

TRIES = 5
"""How often a call is made that fails in a way that passes."""

FIRST_WAIT = 0.25
"""Seconds before the second try; they double from try to try."""

LAST_DUTIES = 10.0
"""Seconds that who closes a provider waits for what is still to be tidied up."""

_log = logging.getLogger("benchhost.sandbox.daytona")
_T = TypeVar("_T")


class Client:
    """The SDK's client for one access, and how it is asked."""

    def __init__(self, module: Any, access: Access) -> None:
        self.sdk = module
        self.access = access
        self.users = 0
        self.closing: asyncio.TimerHandle | None = None
        self._duties: set[asyncio.Task[None]] = set()
        # With all three given, no credential and no address is read from a .env file.
        self.daytona = module.AsyncDaytona(
            module.DaytonaConfig(
                api_key=access.api_key,
                api_url=access.api_url.rstrip("/"),
                target=access.target,
                organization_id=access.organization_id,
                connection_pool_maxsize=None,  # each running command holds a connection
            )
        )

    async def ask(
        self,
        doing: str,
        call: Callable[[], Awaitable[_T]],
        *,
        timeout: float = CALL_TIMEOUT,
        tries: int | None = None,
        repeatable: bool = True,
        of_file: bool = False,
    ) -> _T:
        """Make a call, and again when it fails in a way that passes. ``doing`` completes "daytona could not …".

        What has not answered within ``timeout`` seconds is asked once more at most. What is not ``repeatable`` is made
        again only when it was certainly not done. Raises the :class:`~benchhost.errors.SandboxError` that the failure
        means; the SDK's own error, which knows the key, is not among its causes.
        """
        most = TRIES if tries is None else tries
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(timeout):
                    return await call()
            except SandboxError:
                raise
            except Exception as error:
                failed = error
            attempt += 1
            if isinstance(failed, TimeoutError):
                most = min(most, 2)
            if attempt >= most or not (transient(failed) if repeatable else not_done(failed)):
                raise self.failure(failed, doing, of_file=of_file)
            await self.wait(attempt, failed)

    async def wait(self, attempt: int, failed: BaseException) -> None:
        """Wait before another try, after so many: as long as Daytona asks for, or a while that grows."""
        asked = asked_to_wait(failed)
        await asyncio.sleep(FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + random.random()) if asked is None else asked)

    def failure(self, error: BaseException, doing: str, *, of_file: bool = False) -> SandboxError:
        """Name a failure of the SDK in our own words, without the key."""
        return failure(error, doing, self.access.hide(str(error)), of_file=of_file)

    def later(self, duty: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something tidied up that nobody waits for; closing the client does."""
        task = asyncio.get_running_loop().create_task(self._do(duty))
        self._duties.add(task)
        task.add_done_callback(self._duties.discard)
        return task

    async def _do(self, duty: Coroutine[Any, Any, None]) -> None:
        try:
            await duty
        except Exception as error:
            _log.warning("something was left behind at daytona: %s", self.access.hide(str(error)))

    async def tidied_up(self) -> None:
        """Wait until everything is tidied up, for a while."""
        if self._duties:
            await asyncio.wait(tuple(self._duties), timeout=LAST_DUTIES)

    async def close(self) -> None:
        """Finish what is to be tidied up, and let go of the connections."""
        await self.tidied_up()
        await self.daytona.close()


class Clients:
    """The clients of one event loop, by what they open."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def lease(self, access: Access) -> Client:
        """Hand out the client for an access, a new one if there is none. It is to be given back."""
        module = await sdk.load()
        client = self._clients.get(access.digest)
        if client is None:
            try:
                client = self._clients[access.digest] = Client(module, access)
            except Exception as error:
                raise SandboxUnavailable(f"daytona cannot be opened: {access.hide(str(error))}") from None
        client.users += 1
        if client.closing is not None:
            client.closing.cancel()
            client.closing = None
        return client

    def give_back(self, client: Client, idle: float = IDLE) -> None:
        """Take back a client; when nobody takes it again, it is closed after a while."""
        client.users -= 1
        if client.users == 0 and self._clients.get(client.access.digest) is client:
            client.closing = asyncio.get_running_loop().call_later(idle, self._forget, client)

    def _forget(self, client: Client) -> None:
        del self._clients[client.access.digest]
        task = asyncio.get_running_loop().create_task(client.close())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Close all of them."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            if client.closing is not None:
                client.closing.cancel()
            await client.close()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))


_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Clients] = weakref.WeakKeyDictionary()


def clients() -> Clients:
    """The clients of the running event loop: their connections belong to it."""
    return _by_loop.setdefault(asyncio.get_running_loop(), Clients())


async def close_clients() -> None:
    """Close the clients of the running event loop at once, before it ends."""
    await clients().aclose()
