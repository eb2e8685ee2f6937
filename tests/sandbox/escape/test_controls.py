"""The attacks themselves are tried: each succeeds where nothing confines it, so that one that is kept was kept."""

from __future__ import annotations

import os
from functools import partial

import pytest

from benchhost.sandbox.escape.suite import ATTACKS, attack_provider

pytestmark = pytest.mark.anyio

HARMLESS = [attack for attack in ATTACKS if attack.needs != "harm"]


@pytest.mark.parametrize("attack", HARMLESS, ids=lambda attack: attack.name)
async def test_an_attack_succeeds_where_nothing_confines_it(attack, unconfined, tmp_path) -> None:
    if attack.needs == "root" and os.geteuid() != 0:
        pytest.skip("only the superuser can do that, confined or not")
    state = tmp_path / "state"
    opening = partial(unconfined.open, {"folder": str(state)})
    [finding] = [each async for each in attack_provider(opening, [attack], places=(state,))]
    if finding.verdict == "not applicable":
        pytest.skip(f"this machine has none of what is attacked: {finding.why}")
    assert (finding.verdict, finding.name) == ("escaped", attack.name), finding.why
