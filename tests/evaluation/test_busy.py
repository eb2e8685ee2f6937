"""At a limit: what is refused all the same, what is not, and when to come back."""

from __future__ import annotations

import pytest

from benchhost.errors import Busy

pytestmark = pytest.mark.anyio


async def test_when_to_come_back_is_reckoned_from_the_evaluations_of_batches_too(open_hub, misbehaving, tmp_path):
    async with open_hub(tmp_path, misbehaving, {"running": 4, "queued": 100}, only=["plain"]) as hub:
        await hub.roster.loaded()
        await hub.judge_all("plain", *((str(n), "slow") for n in range(40)))  # 0.3 s each
        [gate] = {hub.evaluator._gate(hub.roster.get("plain"), "")}
        gate.enter(104)
        with pytest.raises(Busy) as refused:
            await hub.judge("plain", "good")
        gate.leave(104)
        assert refused.value.retry_after > 0.28 * 101 / 4
