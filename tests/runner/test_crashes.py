"""Whatever interrupts a run and whenever: carried on, it comes to what it would have come to without."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhost.store import SQLiteStore, Store, open_store

pytestmark = pytest.mark.anyio

SIZE, EPOCHS = 5, 2
STEPS = ("keep_attempts", "keep_verdicts", "update_run", "note", "run", "complete", "evaluate", "prompt", "task")


class Crash(BaseException):
    """The process is gone: nothing is caught, and nothing is tidied up."""


class Steps:
    """Counts the steps of a session and crashes at one of them, before or after it is done."""

    def __init__(self, crash_at: int, *, after: bool) -> None:
        self.left = crash_at
        self.after = after
        self.crashed = False

    def wrap(self, thing: Any, name: str) -> None:
        step = getattr(thing, name)

        def taken(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.crashed or (self.left <= 0 and not self.after):
                self.crashed = True
                raise Crash
            made = step(*arguments, **named)
            return self._awaited(made) if asyncio.iscoroutine(made) else made

        setattr(thing, name, taken)

    async def _awaited(self, made: Any) -> Any:
        value = await made
        if self.left <= 0 and self.after:
            self.crashed = True
            raise Crash
        return value


@settings(max_examples=25, deadline=None)
@given(
    crashes=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=4),
    concurrency=st.sampled_from([1, 3]),
    backend=st.sampled_from(["memory", "sqlite"]),
)
def test_a_run_that_crashes_at_any_steps_comes_to_the_same_records(
    desk_type, doubling, script, crashes, concurrency, backend
):
    def answers() -> dict[str, Any]:
        return {"t1": "wrong", "t3": lambda call: "6" if call.epoch == 1 else "none"}

    async def whole(store: Store, state: Path) -> dict[Any, Any]:
        desk = desk_type(store, state)
        desk.source = doubling(SIZE)
        await desk.run(script(**answers()), epochs=EPOCHS)
        return await desk.finals()

    async def broken(store: Store, state: Path) -> tuple[dict[Any, Any], list[Any], str]:
        for crash_at, after in crashes:
            desk = desk_type(store, state)
            desk.source = doubling(SIZE)
            model = script(**answers())
            steps = Steps(crash_at, after=after)
            wrapped = {"complete": model, "evaluate": desk.source, "prompt": desk.source, "task": desk.source}
            for name in STEPS:
                if name in wrapped:
                    steps.wrap(wrapped[name], name)
            desk.store = _Crashing(store, steps)
            try:
                await desk.run(model, epochs=EPOCHS, options={"concurrency": concurrency})
            except Crash:
                continue
        desk = desk_type(store, state)
        desk.source = doubling(SIZE)
        outcome = await desk.run(script(**answers()), epochs=EPOCHS)
        return await desk.finals(), await desk.attempts(latest=False), outcome.status

    async def both() -> None:
        with TemporaryDirectory() as folder:
            state = Path(folder)
            async with open_store("memory:") as store:
                expected = await whole(store, state / "whole")
            async with open_store("memory:" if backend == "memory" else state / "store.db") as store:
                finals, attempts, status = await broken(store, state)
        assert status == "complete"
        assert finals == expected
        assert len(attempts) == SIZE * EPOCHS, "what was generated is never generated again"

    asyncio.run(both())


class _Crashing:
    """A store in which the steps of one session may crash; the store itself lives on, as a file does."""

    def __init__(self, store: Store, steps: Steps) -> None:
        self._store = store
        for name in ("keep_attempts", "keep_verdicts", "update_run", "note", "run"):
            setattr(self, name, getattr(store, name))
            steps.wrap(self, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


CHILD = """
import asyncio, importlib.util, sys
from pathlib import Path
from benchhost.store import open_store
spec = importlib.util.spec_from_file_location("doubles", sys.argv[1])
doubles = importlib.util.module_from_spec(spec)
spec.loader.exec_module(doubles)

async def main():
    async def slow(call):
        await asyncio.sleep(0.002)
        return str(2 * int(call.task_id[1:]))
    state = Path(sys.argv[2])
    async with open_store(state / "store.db") as store:
        desk = doubles.Desk(store, state)
        desk.source = doubles.Doubling(2000)
        print("begun", flush=True)
        await desk.run(doubles.Script(otherwise=slow), options={"concurrency": 8})

asyncio.run(main())
"""


async def test_a_run_whose_process_is_killed_is_carried_on_and_nothing_is_generated_twice(
    desk_type, doubling, script, tmp_path
):
    for kill_at in (150, 500):
        child = _begin(tmp_path)
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            for _ in range(1000):
                if _kept(tmp_path / "store.db") >= kill_at or child.poll() is not None:
                    break
                await asyncio.sleep(0.01)
            assert child.poll() is None, "the run was over before it could be killed"
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
    kept = _kept(tmp_path / "store.db")
    assert 500 <= kept < 2000
    async with SQLiteStore(tmp_path / "store.db") as store:
        desk = desk_type(store, tmp_path)
        desk.source = doubling(2000)
        model = script()
        outcome = await desk.run(model)
        assert outcome.status == "complete"
        assert len(model.asked) == 2000 - kept
        attempts = await desk.attempts(latest=False)
    assert sorted(one.task for one in attempts) == sorted(desk.source.ids)
    assert {(one.number, one.status, one.score) for one in attempts} == {(1, "success", 1.0)}
    assert all(json.loads(one.generation)["data"] == str(2 * int(one.task[1:])) for one in attempts)


def _begin(folder: Path) -> subprocess.Popen[str]:
    doubles = Path(__file__).with_name("conftest.py")
    return subprocess.Popen([sys.executable, "-c", CHILD, str(doubles), str(folder)], stdout=subprocess.PIPE, text=True)


def _kept(path: Path) -> int:
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("SELECT count(*) FROM attempt").fetchone()
        connection.close()
        return int(count)
    except sqlite3.OperationalError:
        return 0
