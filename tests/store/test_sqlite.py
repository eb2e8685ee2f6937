"""What only a store in a file promises: it outlives kills, is shared by processes, and fails without harm."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from benchhost.errors import StoreFailed
from benchhost.store import Evaluation, SQLiteStore, Try, commits, running

pytestmark = pytest.mark.anyio

PROCESSES = Path(__file__).with_name("processes.py")


def claim_of(number: int, **changes: Any) -> Evaluation:
    text = dict.fromkeys(
        ("tenant", "benchmark", "dataset", "fingerprint", "run", "task", "response_digest", "evaluator_version"), "x"
    )
    return Evaluation(**{**text, "id": f"{number:032x}", "owner": "here", "started_at": 1.0, **changes})


def finish_of(number: int, **changes: Any) -> Evaluation:
    return msgspec.structs.replace(running(claim_of(number), 1), **{"status": "scored", "finished_at": 2.0, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    async with SQLiteStore(path, busy_timeout=0.2) as store:
        yield store


def locked(path: Path) -> closing[sqlite3.Connection]:
    """Hold the lock that a writing process holds, until the connection is closed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)


def start(what: str, path: Path, owner: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, PROCESSES, what, path, owner], stdout=subprocess.PIPE, text=True)


async def test_outcomes_that_arrive_together_share_a_commit(path):
    async with SQLiteStore(path) as store:
        await store.claim([claim_of(n) for n in range(200)])
        before = store._commits.transactions
        with locked(path):
            finishing = [asyncio.create_task(store.finish([finish_of(n)])) for n in range(200)]
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*finishing) == [[True]] * 200
        # What the writer had taken when it met the lock, and everything that came meanwhile.
        assert store._commits.transactions - before <= 2


async def test_where_several_were_committed_together_the_next_waits_a_moment_for_those_that_follow(path, monkeypatch):
    monkeypatch.setattr(commits, "MOMENT", 0.3)
    async with SQLiteStore(path, busy_timeout=5) as store:
        await store.claim([claim_of(n) for n in range(20)])
        with locked(path):
            finishing = [asyncio.create_task(store.finish([finish_of(n)])) for n in range(15)]
            await asyncio.sleep(0.05)
        await asyncio.gather(*finishing)
        before = store._commits.transactions
        for n in range(15, 20):
            finishing.append(asyncio.create_task(store.finish([finish_of(n)])))
            await asyncio.sleep(0.02)
        assert await asyncio.gather(*finishing) == [[True]] * 20
        assert store._commits.transactions - before == 1


async def test_a_write_that_comes_alone_waits_for_none(store, monkeypatch):
    monkeypatch.setattr(commits, "MOMENT", 60)
    for n in range(5):
        await store.claim([claim_of(n)])
        assert await store.finish([finish_of(n)]) == [True]


async def test_a_transaction_with_an_outcome_waits_for_the_disk_and_one_of_claims_alone_does_not(store):
    seen: list[str] = []
    store._commits._connection.set_trace_callback(seen.append)
    await store.claim([claim_of(1)])
    await store.finish([finish_of(1)])
    await store.claim([claim_of(2)])
    settings = [statement for statement in seen if "synchronous" in statement or statement == "COMMIT"]
    assert settings == [
        *("PRAGMA synchronous = NORMAL", "COMMIT"),
        *("PRAGMA synchronous = FULL", "COMMIT"),
        *("PRAGMA synchronous = NORMAL", "COMMIT"),
    ]


async def test_a_try_waits_for_the_disk_if_it_is_to_outlive_a_power_cut(store):
    seen: list[str] = []
    store._commits._connection.set_trace_callback(seen.append)
    wanted = Try(tenant="lab", benchmark="sums", dataset="d", task="", response_digest="1", evaluation="e")
    await store.try_response(wanted, 1)
    await store.try_response(msgspec.structs.replace(wanted, task="a"), 1, durable=True)
    assert [statement for statement in seen if "synchronous" in statement] == [
        "PRAGMA synchronous = NORMAL",
        "PRAGMA synchronous = FULL",
    ]


async def test_reads_do_not_wait_for_a_writer(store, path):
    await store.claim([claim_of(1)])
    with locked(path), anyio.fail_after(0.15):
        assert await store.evaluation(claim_of(1).id) is not None
        assert await store.counts() == {("x", "running"): 1}


async def test_a_lasting_lock_fails_the_writes_that_met_it_and_the_store_goes_on(store, path):
    with locked(path):
        answers = await asyncio.gather(*(store.claim([claim_of(n)]) for n in range(5)), return_exceptions=True)
        assert all(isinstance(answer, StoreFailed) and "locked" in str(answer) for answer in answers)
    assert (await store.claim([claim_of(1)]))[0].mine


async def test_a_full_disk_fails_the_write_that_met_it_and_the_store_goes_on(store):
    await store.claim([claim_of(1)])
    connection = store._commits._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFailed, match="full"):
        await store.finish([finish_of(1, result=bytes(100_000))])
    assert await store.finish([finish_of(1, result=b"{}")]) == [True]


async def test_a_record_that_cannot_be_kept_fails_alone(store, path):
    with locked(path):
        claims = [claim_of(n, tenant="\ud800" if n == 7 else "lab") for n in range(20)]
        claiming = [asyncio.create_task(store.claim([claim])) for claim in claims]
        await asyncio.sleep(0.05)
    answers = await asyncio.gather(*claiming, return_exceptions=True)
    assert isinstance(answers.pop(7), StoreFailed)
    assert all(answer[0].mine for answer in answers)
    assert await store.counts() == {("x", "running"): 19}


async def test_the_records_of_one_call_are_kept_together_or_not_at_all(store):
    with pytest.raises(StoreFailed):
        await store.claim([claim_of(1), claim_of(2, tenant="\ud800"), claim_of(3)])
    assert await store.counts() == {}


async def test_half_a_character_in_a_traceback_does_not_stop_the_record(store):
    await store.claim([claim_of(1)])
    assert await store.finish([finish_of(1, status="error", errors=("\udcff!",), cause="in \udcff.py")]) == [True]
    evaluation = await store.evaluation(claim_of(1).id)
    assert (evaluation.errors, evaluation.cause) == (("?!",), "in ?.py")


async def test_closing_commits_what_waits(path):
    async with SQLiteStore(path) as store:
        claiming = [asyncio.create_task(store.claim([claim_of(n)])) for n in range(100)]
        await asyncio.sleep(0)
    assert all(claimed.mine for (claimed,) in await asyncio.gather(*claiming))
    async with SQLiteStore(path) as store:
        assert await store.counts() == {("x", "running"): 100}


async def test_a_cancelled_call_leaves_the_others_alone(store, path):
    with locked(path):
        claiming = [asyncio.create_task(store.claim([claim_of(n)])) for n in range(10)]
        await asyncio.sleep(0.05)
        claiming[3].cancel()
    answers = await asyncio.gather(*claiming, return_exceptions=True)
    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert all(answer[0].mine for answer in answers)


@pytest.mark.parametrize("earliest, latest", [(1, 1), (2, 200), (200, 2000)])
async def test_a_killed_process_loses_no_outcome_that_it_acknowledged(path, earliest, latest):
    acknowledged = random.randint(earliest, latest)
    with start("judge", path, "killed") as process:
        said = [process.stdout.readline().strip() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    assert len(set(said)) == len(said)
    async with SQLiteStore(path) as store:
        kept = await store.evaluations(said)
        assert {kept[each].status for each in said} == {"scored"}
        assert {kept[each].attempt for each in said} == {1}
        counts = await store.counts()
        # At most the 40 that were in flight are scored without an acknowledgement, or unfinished.
        scored, unfinished = counts[("sums", "scored")], counts.get(("sums", "running"), 0)
        assert len(said) <= scored <= scored + unfinished <= len(said) + 40
        assert await store.interrupt("killed") == unfinished
        again = await store.claim([claim_of(int(each, 16)) for each in said])
        assert not any(answer.mine for answer in again)


def test_processes_that_claim_the_same_ids_are_granted_each_id_once(path):
    # They also all make the file: none of them finds it there.
    processes = [start("claim", path, f"worker-{n}") for n in range(4)]
    granted = [line for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert Counter(granted) == {f"{number:032x}": 1 for number in range(300)}


async def test_the_file_and_its_folders_are_made_on_first_use_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "a" / "b c?#%" / "store.db"
    async with SQLiteStore(path) as store:
        await store.claim([claim_of(1)])
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert [file.name for file in path.parent.iterdir()] == ["store.db"]


async def test_a_store_that_cannot_be_opened_names_the_file_and_the_reason(tmp_path):
    (tmp_path / "notes.txt").write_text("This is no database, however long one looks at it." * 100)
    for path, reason in (
        (tmp_path, "directory"),
        (tmp_path / "notes.txt" / "a.db", "exists|Not a directory"),
        (tmp_path / "notes.txt", "not a database"),
    ):
        with pytest.raises(StoreFailed, match=reason) as refusal:
            await SQLiteStore(path).open()
        assert str(path) in str(refusal.value)


async def test_a_second_store_of_the_same_file_in_one_process_takes_no_lock_from_the_first(path: Path, store) -> None:
    await store.claim([claim_of(1)])
    log = path.with_name(f"{path.name}-wal")
    async with SQLiteStore(path):
        last = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM evaluation').fetchone()"
        await anyio.run_process([sys.executable, "-c", last, str(path)])
        assert log.exists()  # which whoever is the last to close the file moves into it, and deletes
    assert (await store.claim([claim_of(1), claim_of(2)]))[1].mine
