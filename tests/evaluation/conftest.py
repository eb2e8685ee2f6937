"""A hub in the process of the test, with real graders in theirs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchhost.evaluation import graders, process
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.limits import Limits
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.requests import Context, Submission
from benchhost.evaluation.roster import Hosting, Roster
from benchhost.sandbox.local.execution import children
from benchhost.store import Evaluation, open_store
from benchhost.testing import install_plugin


class Hub:
    """A roster and an evaluator with its store, and short ways to use them."""

    def __init__(self, folder: Path, hosting: dict[str, Any], limits: dict[str, Any]) -> None:
        self.owner = Owner(folder / "owners")
        self.store = open_store(folder / "hub.db")
        self.roster = Roster(Hosting(**hosting))
        self.evaluator = Evaluator(self.store, self.owner, Limits(**limits))

    async def judge(
        self, benchmark: str, response: str, *, task: str = "0", run: str = "", tenant: str = ""
    ) -> Evaluation:
        context = Context(tenant=tenant, run=run)
        return await self.evaluator.evaluate(self.roster.get(benchmark), context, Submission(task, response))

    async def judge_all(self, benchmark: str, *submissions: tuple[str, str], run: str = "") -> list[Evaluation]:
        found: dict[int, Evaluation] = {}
        async for group in self.evaluator.evaluate_many(
            self.roster.get(benchmark), Context(run=run), [Submission(*each) for each in submissions]
        ):
            found.update(group)
        return [found[position] for position in range(len(submissions))]

    def watchers(self) -> list[int]:
        """Return the process ids of the watchers of all graders that are not retired."""
        return [
            grader._pid
            for benchmark in self.roster
            for grader in benchmark._graders.processes
            if grader._pid and not grader.retired
        ]

    def graders(self) -> list[int]:
        """Return the process ids of all graders that are not retired: the only child of its watcher, each."""
        return [grader for watcher in self.watchers() for grader in children(watcher)]


OpenHub = Callable[..., AbstractAsyncContextManager[Hub]]


@asynccontextmanager
async def _open(
    folder: Path, plugins: Path, limits: dict[str, Any] | None = None, **hosting: Any
) -> AsyncIterator[Hub]:
    """Open a hub that serves what is installed in ``plugins``, unless ``only`` says otherwise."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(plugins)  # a fresh interpreter finds its plugins by it
    try:
        hub = Hub(folder, {"load_timeout": 20.0, "drain_timeout": 10.0} | hosting, limits or {})
        await hub.store.open()
        try:
            await hub.roster.open()
            yield hub
        finally:
            await hub.roster.close()
            await hub.store.close()
            hub.owner.close()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="session")
def open_hub() -> OpenHub:
    return _open


@pytest.fixture(scope="session")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins of ``misbehaving.py``."""
    folder = tmp_path_factory.mktemp("misbehaving")
    source = (Path(__file__).parent / "misbehaving.py").read_text()
    for name in KINDS:
        install_plugin(folder, name.lower(), source, attribute=name)
    return folder


KINDS = ("Plain", "Coroutine", "Generator", "AsyncGenerator", "Iterable", "Returned")


@pytest.fixture(scope="session", autouse=True)
def _soon() -> Any:
    """Notice within a second, rather than within six, that a grader is blocked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "GRACE", 1.5)
        patch.setattr(graders, "CHECK_EVERY", 0.2)
        yield
