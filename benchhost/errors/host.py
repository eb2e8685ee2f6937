"""What a host cannot do at the moment; the caller may come back."""

from __future__ import annotations

import datetime as dt

from benchhost.errors.base import BenchhostError


class Busy(BenchhostError):
    """A limit is reached. ``retry_after`` is an honest guess, in seconds, of when to come back."""

    slug = "busy"
    title = "Too many evaluations"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaReached(BenchhostError):
    """A tenant has begun as many evaluations as it may in this period of the calendar.

    ``ends`` is when the next one begins, in seconds since 1970, and ``retry_after`` in how many seconds.
    """

    slug = "quota-reached"
    title = "Quota reached"

    def __init__(self, limit: str, benchmark: str, wanted: str, ends: float, retry_after: float) -> None:
        self.until = dt.datetime.fromtimestamp(ends, dt.UTC).isoformat().replace("+00:00", "Z")
        super().__init__(
            f"Evaluation request limit of {limit} reached; try again after {self.until}. "
            f"It is the quota of this tenant at the benchmark {benchmark}.{wanted}"
        )
        self.retry_after = max(1.0, retry_after)


class Unavailable(BenchhostError):
    """The benchmark cannot be served: its plugin is faulty."""

    slug = "unavailable"
    title = "Benchmark not available"


class IdentityUnavailable(BenchhostError):
    """It cannot be found out who calls: whoever knows does not answer. The message holds no credential."""

    slug = "identity-unavailable"
    title = "Callers cannot be recognised at the moment"


class StoreFailed(BenchhostError):
    """The store could not read or keep a record (disk full, file damaged, newer schema)."""

    slug = "store-failed"
    title = "The store is not available"


class QuotaUnavailable(StoreFailed):
    """What is left of a tenant's quota cannot be known, so nothing is begun: the store does not answer."""

    slug = "quota-unavailable"
    title = "Quotas cannot be counted"

    def __init__(self) -> None:
        super().__init__("Evaluation quota enforcement is temporarily unavailable; try again later.")


class UploadsFailed(BenchhostError):
    """Uploads cannot be kept or read: a bucket does not answer or let us in, or the folder is unusable."""

    slug = "uploads-failed"
    title = "Uploads are not available at the moment"
