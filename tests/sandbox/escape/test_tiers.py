"""Nothing escapes: the whole suite, against every tier that this machine has, whoever the host is."""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path

import pytest

from benchhost.sandbox.escape.suite import ATTACKS, attack_provider
from benchhost.sandbox.local import landlock
from benchhost.sandbox.local.provider import LocalProvider

pytestmark = pytest.mark.anyio


async def attack(tier: str, folder: Path) -> dict[str, list[str]]:
    """Carry out all attacks; return what was found, by verdict."""
    config = {"folder": str(folder), "isolation": tier, "min_isolation": "landlock"}
    found: dict[str, list[str]] = {}
    async for finding in attack_provider(partial(LocalProvider.open, config), places=(folder,)):
        found.setdefault(finding.verdict, []).append(f"{finding.name}: {finding.why}")
    return found


def by_verdict(printed: str) -> dict[str, list[str]]:
    """Read what the command printed."""
    found: dict[str, list[str]] = {}
    for finding in json.loads(printed)["attacks"]:
        found.setdefault(finding["verdict"], []).append(f"{finding['name']}: {finding['why']}")
    return found


def assert_nothing_escaped(found: dict[str, list[str]]) -> None:
    assert found.get("escaped", []) == []
    assert found.get("unclear", []) == [], "attacks of which nothing is known prove nothing"
    assert len(found["stopped"]) > len(ATTACKS) * 0.9


@pytest.mark.skipif(os.geteuid() != 0, reason="the host is an ordinary user here; the next test is about that")
async def test_nothing_escapes_from_namespaces_when_the_host_is_root(tmp_path) -> None:
    assert_nothing_escaped(await attack("namespaces", tmp_path / "sandboxes"))


async def test_nothing_escapes_from_namespaces_when_the_host_is_an_ordinary_user(ordinary_user) -> None:
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory() as folder:
            assert_nothing_escaped(await attack("namespaces", Path(folder)))
        return
    done = ordinary_user("sandbox", "escape-suite", "--json", "--isolation", "namespaces")
    assert_nothing_escaped(by_verdict(done.stdout))
    assert done.returncode == 0


@pytest.mark.skipif(landlock.version() < landlock.SIGNALS_SINCE, reason="this kernel's Landlock is too old")
async def test_nothing_escapes_from_landlock_when_the_host_is_an_ordinary_user(ordinary_user) -> None:
    if os.geteuid() != 0:
        with tempfile.TemporaryDirectory() as folder:
            assert_nothing_escaped(await attack("landlock", Path(folder)))
        return
    done = ordinary_user("sandbox", "escape-suite", "--json", "--isolation", "landlock", "--min-isolation", "landlock")
    assert_nothing_escaped(by_verdict(done.stdout))
    assert done.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can give each sandbox a user of its own")
async def test_nothing_escapes_from_the_tier_uid(tmp_path) -> None:
    assert_nothing_escaped(await attack("uid", tmp_path / "sandboxes"))
