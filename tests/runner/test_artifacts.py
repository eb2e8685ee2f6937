"""Runs as folders: what is written, and what is read back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import ModelThrottled, RunRefused, StoreFailed, UnknownRun, UsageError
from benchhost.runner.artifacts import export_jsonl, export_vals
from benchhost.runner.importing import import_vals
from benchhost.runner.names import LONGEST, folder_name
from benchhost.runner.summary import RunSummary

pytestmark = pytest.mark.anyio


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")


async def test_a_run_is_written_in_the_layout_of_the_vals_runner(desk, tmp_path):
    await desk.run()
    assert await export_vals(desk.store, "first", tmp_path / "out") == 6
    config = read(tmp_path / "out" / "run_config.json")
    assert (config["run_id"], config["model"], config["tasks"]) == ("first", "script/model", desk.source.ids)
    assert (config["payload_schema"], config["payload_type"]) == ("doubling.text.v1", "text")
    assert (config["dataset_name"], config["task_source"], config["runner_version"]) == ("default", "service", "0")
    generation = read(tmp_path / "out" / "t2" / "generation.json")
    assert (generation["task_id"], generation["status"]) == ("t2", "success")
    assert (generation["data"], generation["answer"]) == ("4", "4")
    evaluation = read(tmp_path / "out" / "t2" / "eval.json")
    assert (evaluation["task_id"], evaluation["status"], evaluation["error"]) == ("t2", "evaluated", None)
    assert (evaluation["result"]["score"], evaluation["result"]["pass_percentage"]) == (1.0, 100.0)
    score = read(tmp_path / "out" / "final_score.json")
    assert (score["final_score"], score["complete"], score["tasks_evaluated"]) == (1.0, True, desk.source.ids)


@pytest.mark.parametrize(
    "source, said",
    [("benchmark", "service"), ("host", "service"), ("file", "file"), ("problem", "problem"), ("runner", "file")],
)
async def test_where_the_tasks_came_from_is_said_in_the_words_of_the_vals_runner(desk, tmp_path, source, said):
    session = desk.session()
    session.config = msgspec.structs.replace(session.config, source=source)
    await session.execute()
    await export_vals(desk.store, "first", tmp_path)
    assert read(tmp_path / "run_config.json")["task_source"] == said


async def test_the_words_of_the_vals_runner_are_kept_and_ours_stand_beside_them(desk, script, tmp_path):
    await desk.run(script(t1=ModelThrottled("slow down"), t2=ValueError("no")))
    await export_vals(desk.store, "first", tmp_path)
    generation = read(tmp_path / "t1" / "generation.json")
    assert (generation["status"], generation["benchhost_status"]) == ("error", "throttled")
    evaluation = read(tmp_path / "t2" / "eval.json")
    assert (evaluation["status"], evaluation["error"]) == ("generation_error", "ValueError: no")
    assert {task for task, _ in desk.source.judged}.isdisjoint({"t1", "t2"}), "the judge is not asked about these"
    assert read(tmp_path / "final_score.json")["complete"] is False


async def test_skipped_evaluations_leave_no_eval_files(desk, tmp_path):
    await desk.run(options={"evaluate": False})
    await export_vals(desk.store, "first", tmp_path)
    assert (tmp_path / "t0" / "generation.json").exists()
    assert list(tmp_path.rglob("eval.json")) == []


async def test_further_epochs_have_folders_of_their_own(desk, tmp_path):
    await desk.run(epochs=2)
    await export_vals(desk.store, "first", tmp_path)
    assert read(tmp_path / "t1" / "epoch-2" / "generation.json")["data"] == "2"


async def test_an_export_replaces_what_is_torn_and_leaves_no_half_written_file(desk, tmp_path):
    await desk.run()
    write(tmp_path / "t1" / "generation.json", '{"task_id": "t1", "da')
    await export_vals(desk.store, "first", tmp_path)
    assert read(tmp_path / "t1" / "generation.json")["data"] == "2"
    assert [path for path in tmp_path.rglob(".*") if path.is_file()] == []


async def test_json_lines_hold_every_attempt_and_no_digest_of_a_task(desk, script, tmp_path):
    await desk.run(script(t1=ValueError("no")))
    await desk.run()
    assert await export_jsonl(desk.store, "first", tmp_path / "run.jsonl") == 7
    lines = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [(line["number"], line["status"]) for line in lines if line["task"] == "t1"] == [
        (1, "error"),
        (2, "success"),
    ]
    assert lines[0]["generation"]["data"] == "0"
    assert not any("task_digest" in line for line in lines)


async def test_a_run_that_is_not_recorded_cannot_be_exported(desk, tmp_path):
    with pytest.raises(UnknownRun):
        await export_vals(desk.store, "unheard", tmp_path)
    with pytest.raises(UnknownRun):
        await export_jsonl(desk.store, "unheard", tmp_path / "x")


async def test_what_was_exported_and_imported_is_the_same_run_and_needs_nothing_more(desk, script, tmp_path):
    await desk.run(script(t1="wrong"))
    await export_vals(desk.store, "first", tmp_path)
    imported = await import_vals(desk.store, desk.source, tmp_path, run_id="second")
    assert (imported.attempts, imported.quarantined, imported.unknown) == (6, {}, [])
    assert await desk.finals("second") == await desk.finals("first")
    model = script()
    assert (await desk.run(model, run="second")).status == "complete"
    assert (model.asked, len(desk.source.judged)) == ([], 6)


async def test_what_a_run_cost_goes_with_it(desk, script, tmp_path):
    first = await desk.run()
    await export_vals(desk.store, "first", tmp_path)
    await import_vals(desk.store, desk.source, tmp_path, run_id="second")
    recorded = await desk.store.run("second")
    summary = msgspec.json.decode(recorded.summary, type=RunSummary)
    assert (recorded.status, summary.score, summary.spend) == ("complete", 1.0, first.summary.spend)


async def test_an_import_that_fails_leaves_no_run_behind_and_can_be_tried_again(desk, tmp_path, monkeypatch):
    await desk.run()
    await export_vals(desk.store, "first", tmp_path)

    async def full(attempts):
        raise StoreFailed("the disk is full")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(desk.store, "keep_attempts", full)
        with pytest.raises(StoreFailed):
            await import_vals(desk.store, desk.source, tmp_path, run_id="second")
    assert await desk.store.run("second") is None
    assert (await import_vals(desk.store, desk.source, tmp_path, run_id="second")).attempts == 6


async def test_a_run_that_was_exported_half_way_owes_the_other_half_when_it_is_imported(desk, script, tmp_path):
    await desk.run(options={"only": {"t1", "t2"}})
    await export_vals(desk.store, "first", tmp_path)
    await import_vals(desk.store, desk.source, tmp_path, run_id="second")
    recorded = await desk.store.run("second")
    assert (recorded.status, msgspec.json.decode(recorded.summary)["coverage"]) == ("incomplete", 2 / 6)
    model = script()
    assert (await desk.run(model, run="second")).status == "complete"
    assert sorted(model.asked) == ["t0", "t3", "t4", "t5"]


def legacy(folder: Path) -> None:
    """A folder as an old Vals runner leaves it: ``answer`` for ``data``, and no version of the judge."""
    write(folder / "run_config.json", {"run_id": "old", "model": "openai/gpt-4", "tasks": ["t1", "t2", "t9"]})
    write(folder / "t1" / "generation.json", {"task_id": "t1", "status": "success", "answer": "2"})
    write(
        folder / "t1" / "eval.json",
        {"task_id": "t1", "status": "evaluated", "result": {"pass_percentage": 100.0}, "error": None},
    )
    write(folder / "t2" / "generation.json", {"task_id": "t2", "status": "max_time", "data": "", "error": "late"})


async def test_a_folder_of_the_vals_runner_is_read_with_its_older_names(desk, tmp_path):
    legacy(tmp_path)
    imported = await import_vals(desk.store, desk.source, tmp_path)
    assert (imported.run, imported.attempts, imported.unknown) == ("old", 2, ["t9"])
    assert await desk.finals("old") == {
        ("t1", 1): ("success", "2", "evaluated", 1.0),
        ("t2", 1): ("max_time", "", "did_not_complete", None),
    }
    assert (await desk.store.run("old")).model == "openai/gpt-4"


@pytest.mark.parametrize(
    "name, content, owed",
    [
        ("generation.json", '{"task_id": "t1", "status": "suc', ["t1"]),
        ("generation.json", "", ["t1"]),
        ("generation.json", {"task_id": "t3", "status": "success", "data": "2"}, ["t1"]),
        ("generation.json", {"task_id": "t1", "status": "success", "data": "2", "answer": "3"}, ["t1"]),
        ("generation.json", {"task_id": "t1", "status": "fine", "data": "2"}, ["t1"]),
        ("generation.json", {"task_id": "t1", "status": "success", "data": "3", "generation_digest": "ab"}, ["t1"]),
        ("eval.json", '{"task_id": "t1", "sta', []),
        ("eval.json", {"task_id": "t1", "status": "evaluated", "result": {}}, []),
        ("eval.json", {"task_id": "t1", "status": "evaluated", "result": {"score": 1}, "generation_digest": "ab"}, []),
        ("eval.json", {"task_id": "t1", "status": "evaluated", "result": {"score": 1e999}}, []),
    ],
)
async def test_a_file_that_cannot_be_trusted_is_quarantined_and_owed_again(desk, script, tmp_path, name, content, owed):
    await desk.run()
    await export_vals(desk.store, "first", tmp_path)
    write(tmp_path / "t1" / name, content)
    imported = await import_vals(desk.store, desk.source, tmp_path, run_id="second")
    assert list(imported.quarantined) == [f"t1/{name}"]
    assert (tmp_path / "quarantine" / "t1" / name).exists()
    assert not (tmp_path / "t1" / name).exists()
    desk.source.judged.clear()
    model = script()
    outcome = await desk.run(model, run="second")
    assert outcome.status == "complete"
    assert model.asked == owed
    assert desk.source.judged == [("t1", "2")]


async def test_a_folder_without_a_run_is_refused_and_so_is_an_id_that_is_taken(desk, tmp_path):
    with pytest.raises(UsageError, match=r"run_config\.json"):
        await import_vals(desk.store, desk.source, tmp_path)
    legacy(tmp_path)
    await import_vals(desk.store, desk.source, tmp_path)
    with pytest.raises(RunRefused, match="choose another id"):
        await import_vals(desk.store, desk.source, tmp_path)
    with pytest.raises(UsageError):
        await import_vals(desk.store, desk.source, tmp_path, run_id="../escape")


@pytest.mark.parametrize(
    "task_id", ["../escape", "nested/task", "nested\\task", "..", ".", "a%2Fb", "a/b", "x" * 500, " "]
)
def test_no_id_of_a_task_leads_out_of_its_folder(task_id, tmp_path):
    name = folder_name(task_id)
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert len(name) <= LONGEST
    (tmp_path / name).mkdir()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300), max_size=20, unique=True))
def test_no_two_ids_have_one_folder(ids):
    assert len({folder_name(task_id) for task_id in ids}) == len(ids)


def test_a_plain_id_is_its_own_folder():
    assert folder_name("test-0001") == "test-0001"


async def test_exporting_does_not_hold_up_the_loop(desk, doubling, tmp_path):
    desk.source = doubling(400)
    await desk.run()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await export_vals(desk.store, "first", tmp_path)
    ticking.cancel()
    assert ticks > 3
