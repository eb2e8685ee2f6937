"""The one module that imports Daytona's SDK."""

from __future__ import annotations

import warnings
from typing import Any

import anyio.to_thread

from benchhost.errors import SandboxUnavailable

MISSING = "Daytona's SDK is not installed where the host runs: pip install 'benchhost[daytona]'"


async def load() -> Any:
    """Return the SDK, loaded apart from the event loop: the first time takes seconds.

    Raises :class:`~benchhost.errors.SandboxUnavailable` when it is not installed.
    """
    return await anyio.to_thread.run_sync(_load)


def _load() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # one of its two names is said to be old
        try:
            import daytona as sdk  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            try:
                import daytona_sdk as sdk
            except ImportError:
                raise SandboxUnavailable(MISSING) from None
        _ = sdk.AsyncDaytona  # the package is lazy, and this is what takes its time
    return sdk
