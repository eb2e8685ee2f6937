"""Files of an attempt that are kept, out of a real sandbox."""

from __future__ import annotations

import pytest

from benchhost.contract import SandboxSpec
from benchhost.runner.agent import kept
from benchhost.runner.agent.contract import Artifact
from benchhost.sandbox import open_provider

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sandbox(tmp_path):
    provider = await open_provider("local", {"folder": str(tmp_path / "sandboxes")})
    made = await provider.create(SandboxSpec(cwd="/tmp"))
    yield made
    await provider.delete(made.id)
    await provider.aclose()


async def test_all_artifacts_of_an_attempt_together_have_no_more_bytes_than_are_kept(sandbox, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "LARGEST", 5000)
    await sandbox.run("mkdir d; for each in d/a b c; do head -c 2000 /dev/zero > $each; done; echo small > e")
    wanted = [Artifact(name, f"/tmp/{name}", required=True) for name in ("d", "b", "c", "e")]
    said = await kept.fetch_artifacts(sandbox, wanted, "t", tmp_path / "kept")
    assert said is not None
    assert said.startswith("the artifact c is missing: ")
    assert "; the artifact" not in said
    assert sorted(path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()) == ["a", "b", "e"]
