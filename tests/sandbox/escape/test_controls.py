"""The attacks themselves are tried: each succeeds where nothing confines it, so that one that is kept was kept."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from benchhost.sandbox.escape.scene import Scene
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


def test_what_an_attack_has_left_on_this_machine_is_deleted(tmp_path) -> None:
    scene = Scene(tmp_path, (), None)
    left = Path(f"/tmp/{scene.mark}"), Path(f"/tmp/out-{scene.mark}/deeper"), Path(f"/tmp/link-{scene.mark}")
    left[1].mkdir(parents=True)
    left[0].write_text("a secret")
    left[2].symlink_to(tmp_path)
    scene.end_leftovers()
    assert not any(os.path.lexists(path) for path in left)
    assert tmp_path.is_dir()
