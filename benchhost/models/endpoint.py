"""A model behind HTTP: one dialect over one transport, one exchange per call."""

from __future__ import annotations

import msgspec

from benchhost.contract import Call, Completion, Prompt, Sampling
from benchhost.contract.model import NO_CALL, conversation_of
from benchhost.errors import ModelError, ModelReplyMalformed, ModelRequestRefused
from benchhost.models.dialect import Dialect
from benchhost.models.failures import failure, scrub
from benchhost.models.retry import retry_after
from benchhost.models.transport import Reply, Transport

_DEFAULTS = Sampling()


class Endpoint:
    """Asks once per call. What to do about failures is decided around it, by :class:`~.resilient.Resilient`."""

    def __init__(self, name: str, dialect: Dialect, transport: Transport, key: str | None = None) -> None:
        self.name = name
        self._dialect = dialect
        self._transport = transport
        self._key = key

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Make one exchange. Raises :class:`~benchhost.errors.ModelError` for every way in which it can fail."""
        body = self._dialect.encode(conversation_of(prompt), _DEFAULTS if sampling is None else sampling)
        reply = await self._transport.post(body)
        if reply.status != 200:
            raise self._refusal(reply)
        try:
            completion = self._dialect.decode(reply.body)
        except msgspec.DecodeError as error:
            said = scrub(reply.body[:2000].decode("utf-8", "replace"), self._key)
            raise ModelReplyMalformed(f"{error}; the answer began: {said[:200]!r}", status=200) from error
        completion.latency = reply.seconds
        return completion

    def _refusal(self, reply: Reply) -> ModelError:
        if 300 <= reply.status < 400:
            return ModelRequestRefused(
                f"the provider answered {reply.status}, a redirect to {reply.headers.get('location', 'nowhere')}: set "
                "the base URL to the right address itself, since a key does not follow redirects",
                status=reply.status,
            )
        error = failure(reply.status, reply.body, retry_after=retry_after(reply.headers), key=self._key)
        if (hint := reply.headers.get("x-should-retry")) in ("true", "false"):
            error.retriable = hint == "true"
        return error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()
