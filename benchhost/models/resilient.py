"""Around a model that asks once: permits, retries, and the circuit breaker."""

from __future__ import annotations

import asyncio
import time

from benchhost.contract import Call, Completion, Model, Prompt, Sampling
from benchhost.contract.model import NO_CALL
from benchhost.errors import ModelError, ModelThrottled, ModelUnavailable
from benchhost.models.breaker import Breaker
from benchhost.models.concurrency import Limiter
from benchhost.models.retry import RetryPolicy


class Resilient:
    """A model that waits for its turn, tries again when that makes sense, and stops when nothing does.

    While a call waits, for a permit or before a retry, the clock of its attempt stands still
    (``call.waiting``). A call gives its permit back while it backs off.
    """

    def __init__(
        self,
        model: Model,
        *,
        limiter: Limiter | None = None,
        policy: RetryPolicy | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self.name = model.name
        self._model = model
        self.limiter = limiter or Limiter()
        self._policy = policy or RetryPolicy()
        self._breaker = breaker or Breaker()

    def under(self, policy: RetryPolicy) -> Resilient:
        """Make the same model under another policy, with a limit and a circuit of its own."""
        return Resilient(self._model, limiter=Limiter(), policy=policy)

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Ask until there is a completion, or until asking makes no more sense."""
        retries = throttles = 0
        waited = 0.0
        while True:
            self._breaker.check()
            if not self.limiter.try_acquire():
                waited += await self._permit(call, first=retries > 0)
                if self._breaker.open:
                    self.limiter.release()
                    continue
            try:
                completion = await self._ask(prompt, sampling, call)
            except ModelError as error:
                if not self._policy.allows(error, retries - throttles, throttles):
                    error.retries, error.waited = retries, waited
                    self._breaker.failed(error)
                    raise
                asked, throttled = error.retry_after, isinstance(error, ModelThrottled)
            else:
                self._breaker.succeeded()
                completion.retries, completion.waited = retries, waited
                return completion
            waited += await self._back_off(call, self._policy.delay(throttles if throttled else retries, asked))
            retries += 1
            throttles += throttled

    async def aclose(self) -> None:
        """Close the model."""
        await self._model.aclose()

    async def _ask(self, prompt: Prompt, sampling: Sampling | None, call: Call) -> Completion:
        """Make one exchange under a permit, and tell the limiter how it went."""
        began = self.limiter.clock()
        try:
            completion = await self._model.complete(prompt, sampling, call)
        except ModelThrottled as error:
            asked = error.retry_after or 0.0
            self.limiter.throttled(began, asked if asked <= self._policy.patience else 0.0)  # or nobody waits
            raise
        except ModelUnavailable:
            self.limiter.failed()
            raise
        except BaseException:
            self.limiter.release()
            raise
        self.limiter.succeeded()
        return completion

    async def _permit(self, call: Call, *, first: bool) -> float:
        began = time.monotonic()
        with call.waiting():
            await self.limiter.acquire(first=first)
        return time.monotonic() - began

    async def _back_off(self, call: Call, seconds: float) -> float:
        with call.waiting():
            await asyncio.sleep(seconds)
        return seconds
