"""When to try a failed call again."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

from benchhost.errors import ModelError, ModelThrottled


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often, and after how long.

    A retriable failure is tried again up to ``retries`` times, throttling up to ``throttle_retries``
    times. The wait before the nth retry is drawn evenly from the upper half of ``first * 2**n`` seconds
    ("equal jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter), at most
    ``longest``. A ``Retry-After`` is honoured instead, with jitter on top; when it exceeds ``patience``
    seconds the call is given up at once.
    """

    retries: int = 8
    throttle_retries: int = 30
    first: float = 1.0
    longest: float = 60.0
    patience: float = 900.0

    def allows(self, error: ModelError, retries: int, throttles: int) -> bool:
        """Say whether a call that failed with ``error`` may be tried again after so many retries."""
        if not error.retriable or (error.retry_after or 0) > self.patience:
            return False
        if isinstance(error, ModelThrottled):
            return throttles < self.throttle_retries
        return retries < self.retries

    def delay(self, n: int, asked: float | None = None, draw: float | None = None) -> float:
        """Return the seconds to wait before retry ``n`` (from 0); ``draw`` replaces the random number in [0, 1)."""
        draw = random.random() if draw is None else draw  # jitter is no secret
        if asked:  # a provider that asks for 0 seconds says nothing useful
            return asked + draw * self.first
        whole = min(self.longest, self.first * 2.0 ** min(n, 60))
        return whole * (1 + draw) / 2


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a provider asks to wait: milliseconds, seconds or a date (RFC 9110, 10.2.3)."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return _sane(float(milliseconds) / 1000)
        if (value := headers.get("retry-after")) is None:
            return None
        try:
            return _sane(float(value))
        except ValueError:
            return _sane(parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None  # not one of the three: as good as absent


def _sane(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds < float("inf") else None
