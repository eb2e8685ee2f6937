"""Who is known to have quotas: nobody goes by what was read too long ago, also while it is being read anew."""

from __future__ import annotations

import asyncio

import pytest

from benchhost.errors import QuotaReached
from benchhost.evaluation import quotas
from benchhost.store import Evaluation, MemoryStore, Quota

pytestmark = pytest.mark.anyio


def claim(number: int) -> Evaluation:
    text = dict.fromkeys(("dataset", "fingerprint", "run", "task", "response_digest", "evaluator_version"), "x")
    return Evaluation(**text, owner="here", id=str(number), tenant="acme", benchmark="b", started_at=0.0)


class SlowStore(MemoryStore):
    """A store that takes its time to say which quotas there are."""

    async def quotas(self, tenant=None):
        await asyncio.sleep(0.01)
        return await super().quotas(tenant)


async def test_while_quotas_are_read_anew_nobody_goes_by_what_was_known_before(monkeypatch):
    monkeypatch.setattr(quotas, "BELIEVED", -1.0)
    async with SlowStore() as store:
        spender = quotas.Quotas(store)
        async with spender.spend([claim(0)]):
            pass
        await store.set_quota(Quota(tenant="acme", benchmark="b", period="month", limit=3), at=0.0, by="tester")

        async def spend(number):
            try:
                async with spender.spend([claim(number)]) as spending:
                    await asyncio.sleep(0.5)
                    return len(spending.ids)
            except QuotaReached:
                return 0

        assert sum(await asyncio.gather(*(spend(number) for number in range(1, 9)))) == 3
