"""Why a host that was asked did not do what it was asked for."""

from __future__ import annotations

from benchhost.errors.base import BenchhostError


class ClientError(BenchhostError):
    """A host that was asked did not do what it was asked for. The message says what to try; it never holds a token.

    ``status`` is the HTTP status, if there was an answer, and ``detail`` what the host said. ``problem``
    is the slug of the host's own error, if the host is a benchhost. ``retriable`` says whether the same
    request may succeed later; ``retry_after`` is in how many seconds, if the host said so.
    """

    slug = "client"
    title = "The host did not do what it was asked for"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        detail: str = "",
        problem: str | None = None,
        retriable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.problem = problem
        self.retriable = retriable
        self.retry_after = retry_after


class HostUnreachable(ClientError):
    """The host cannot be reached, or hung up, or kept silent. ``sent`` says whether it may have got the request."""

    slug = "host-unreachable"
    title = "The host cannot be reached"

    def __init__(self, message: str, *, sent: bool, retriable: bool = True) -> None:
        super().__init__(message, retriable=retriable)
        self.sent = sent


class TokenRefused(ClientError):
    """The host wants a token, or another one."""

    slug = "token-refused"
    title = "The host refuses the token"


class HostBusy(ClientError):
    """The host is at a limit, or not ready, and asks to come back later."""

    slug = "host-busy"
    title = "The host is busy"
