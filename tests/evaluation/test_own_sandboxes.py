"""No sandbox is left behind, whenever whoever wanted it stops wanting it."""

import asyncio

import pytest

from benchhost.contract import SandboxSpec
from benchhost.errors import SandboxUnavailable
from benchhost.evaluation import own_sandboxes
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.owners import Owner

pytestmark = pytest.mark.anyio


class Made:
    id = "made"


class Slow:
    """A provider that takes its time, as one at the other end of a network does."""

    def __init__(self):
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.deleted = []
        self.closed = False

    async def create(self, spec):
        self.asked.set()
        await self.go_on.wait()
        return Made()

    async def delete(self, id):
        assert not self.closed
        self.deleted.append(id)

    async def aclose(self):
        self.closed = True


@pytest.fixture
def provider(monkeypatch):
    provider = Slow()

    async def opened(name, config):
        return provider

    monkeypatch.setattr(own_sandboxes, "open_provider", opened)
    return provider


@pytest.fixture
def own(tmp_path):
    owner = Owner(tmp_path / "owners")
    yield OwnSandboxes("slow", {}, owner, tmp_path / "lent", b"key")
    owner.close()


async def interrupted(own, provider):
    """Ask for a sandbox, and want it no more while it is being made."""

    async def wanted():
        async with own.lent("tenant", SandboxSpec()):
            raise AssertionError("it is never there")

    asking = asyncio.create_task(wanted())
    await provider.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_a_sandbox_that_is_there_only_when_everything_ends_is_deleted(own, provider, tmp_path):
    await interrupted(own, provider)
    asyncio.get_running_loop().call_later(0.05, provider.go_on.set)
    await own.close()
    assert provider.deleted == ["made"]
    assert provider.closed
    assert list((tmp_path / "lent").iterdir()) == []


async def test_what_is_not_there_in_time_is_left_to_be_found_by_others(own, provider, tmp_path, monkeypatch):
    monkeypatch.setattr(own_sandboxes, "CREATES_WITHIN", 0.01)
    await interrupted(own, provider)
    await own.close()
    assert len(list((tmp_path / "lent").iterdir())) == 1
    provider.closed = False  # whatever becomes of it now is the provider's matter
    provider.go_on.set()
    await asyncio.sleep(0.01)


async def test_a_sandbox_that_is_needed_for_longer_than_it_may_be_idle_is_kept_alive():
    commands = []
    several = asyncio.Event()

    class Needed:
        async def run(self, command, **how):
            commands.append(command)
            if len(commands) == 1:
                raise SandboxUnavailable("not at the moment")
            if len(commands) == 5:
                several.set()

    async with own_sandboxes.kept_alive(Needed(), 0.03), asyncio.timeout(10):
        await several.wait()
    given = len(commands)
    await asyncio.sleep(0.05)
    assert len(commands) == given, "nobody needs it any more"
