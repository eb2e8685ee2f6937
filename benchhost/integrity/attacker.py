"""An attacker of a host: some tenants of it, who use its routes alone and pool what they are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

import msgspec

from benchhost.contract import Probing
from benchhost.integrity.caller import Caller
from benchhost.integrity.strategies import Refused, Withheld

_JSON = {"content-type": "application/json"}

T = TypeVar("T")


class Attacker:
    """An :class:`~benchhost.integrity.strategies.Oracle`: what one of its tenants is not told, the next one asks.

    ``policy`` is what it knows of the rules: they are published. It asks ``most`` times. ``guesses`` are what it has
    asked, ``refused`` those of them that no tenant was told anything of, and ``sums`` are the sums that were told.
    """

    def __init__(
        self, caller: Caller, keys: Sequence[Mapping[str, str]], name: str, dataset: str, policy: Probing, most: int
    ) -> None:
        self._caller = caller
        self._keys = [{**key, **_JSON} for key in keys]
        self._path = f"/b/{name}/v1"
        self._dataset = dataset
        self._policy = policy
        self._most = most
        self._runs = count()
        self.guesses = self.refused = self.sums = 0

    async def score(self, task: str, response: str) -> float:
        """Have a response judged, and return its score."""

        async def ask(key: Mapping[str, str]) -> float:
            payload = {"type": "text", "schema": "text", "data": response}
            body = {"run_id": self._run(), "dataset": self._dataset, "task_id": task, "payload": payload}
            status, answer = await self._post("/evaluate", key, body)
            if status != 200:
                raise Refused
            if answer["result"] is None:
                raise Withheld
            return float(answer["result"]["score"])

        return await self._by_any(ask)

    async def total(self, responses: Mapping[str, str]) -> float:
        """Have a response to each of some tasks judged under a run of its own, and return what is sealed of it."""

        async def ask(key: Mapping[str, str]) -> float:
            run = self._run()
            submissions = [{"task_id": task, "response": response} for task, response in responses.items()]
            body = {"run_id": run, "dataset": self._dataset, "submissions": submissions}
            status, answer = await self._post("/evaluate-batch", key, body)
            limited = self._policy.attempts is not None
            if status != 200 or (limited and any(each["status"] == "error" for each in answer["evaluations"])):
                raise Refused
            status, answer = await self._post("/receipts", key, {"run_id": run, "dataset": self._dataset})
            if status != 200 or answer["statement"]["score"] is None:
                raise Withheld
            self.sums += 1
            return float(answer["statement"]["score"])

        return await self._by_any(ask)

    async def _by_any(self, ask: Callable[[Mapping[str, str]], Awaitable[T]]) -> T:
        """Ask as the first tenant that is told something."""
        if self.guesses >= self._most:
            raise Withheld
        self.guesses += 1
        why: Refused | Withheld = Withheld()
        for key in tuple(self._keys):
            try:
                return await ask(key)
            except Refused as refusal:  # which is about these tasks
                why = refusal
            except Withheld:
                self._keys.remove(key)
        self.refused += 1
        raise why

    def _run(self) -> str:
        return f"run-{next(self._runs)}"

    async def _post(self, path: str, key: Mapping[str, str], body: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
        seen = await self._caller.request("POST", f"{self._path}{path}", "", key, msgspec.json.encode(body))
        return seen.status, msgspec.json.decode(seen.body)
