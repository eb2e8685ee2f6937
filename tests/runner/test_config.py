"""What a run is, and what it is called."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from benchhost.contract import Sampling
from benchhost.errors import RunLocked, UsageError
from benchhost.runner.config import RUN_ID, RunConfig, RunOptions, checked_run_id, frozen_selection, new_run_id
from benchhost.runner.default import DefaultRunner
from benchhost.runner.lock import RunLock, is_locked
from benchhost.runner.plugins import find_runner

CONFIG = RunConfig(benchmark="sums", dataset_version="v1", evaluator_version="1", model="openai/gpt-x", task_count=3)


def test_the_digest_is_that_of_every_field():
    changes = {
        "benchmark": "x",
        "dataset": "x",
        "dataset_version": "x",
        "source": "file",
        "host": "x",
        "evaluator_version": "x",
        "model": "x",
        "base_url": "x",
        "sampling": Sampling(temperature=0.5),
        "judge": "x",
        "runner": "x",
        "runner_version": "x",
        "params": {"a": 1},
        "epochs": 2,
        "timeout": 1.0,
        "tasks": ("a",),
        "task_count": 1,
    }
    assert set(changes) == set(RunConfig.__struct_fields__)
    others = [msgspec.structs.replace(CONFIG, **{name: value}) for name, value in changes.items()]
    assert len({CONFIG.digest, *(other.digest for other in others)}) == len(changes) + 1
    for (name, value), other in zip(changes.items(), others, strict=True):
        assert CONFIG.differences(other) == {name: (getattr(CONFIG, name), value)}


def test_the_digest_does_not_depend_on_the_order_of_parameters():
    one = msgspec.structs.replace(CONFIG, params={"a": 1, "b": 2})
    assert one.digest == msgspec.structs.replace(CONFIG, params={"b": 2, "a": 1}).digest


def test_a_configuration_that_is_written_and_read_is_the_same():
    config = msgspec.structs.replace(CONFIG, sampling=Sampling(stop=("x",)), tasks=("a", "b"), params={"k": [1]})
    again = msgspec.json.decode(msgspec.json.encode(config), type=RunConfig)
    assert (again.differences(config), again.digest) == ({}, config.digest)


def test_a_new_id_names_benchmark_model_and_time_and_is_never_the_same():
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    config = msgspec.structs.replace(CONFIG, model="openrouter/meta/llama 3:free")
    ids = {new_run_id(config, now) for _ in range(100)}
    assert len(ids) == 100
    for run_id in ids:
        assert run_id.startswith("sums-openrouter-meta-llama-3-free-20260102T030405Z-")
        assert RUN_ID.match(run_id)


def test_the_id_of_any_model_and_benchmark_can_be_one():
    for model in ("a/" + "x" * 500, "scripted/file:/data/../répônses.jsonl", "/", "…"):
        checked_run_id(new_run_id(msgspec.structs.replace(CONFIG, model=model, benchmark="b" * 48)))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "../x", "a/b", "a\\b", "-x", ".x", "x" * 129, "a b", "a\n", "ä", "a\0"]
)
def test_an_id_that_could_lead_elsewhere_is_refused(text):
    with pytest.raises(UsageError, match="a run's id is"):
        checked_run_id(text)


@pytest.mark.parametrize(
    "wrong", [{"concurrency": 0}, {"evaluations": 0}, {"max_cost": -1}, {"allow_drift": frozenset({"colour"})}]
)
def test_options_that_could_not_work_are_refused(wrong):
    with pytest.raises(UsageError):
        RunOptions(**wrong)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"timeout": 0.0}, {"timeout": float("nan")}])
def test_a_configuration_that_could_not_work_is_refused(wrong):
    with pytest.raises(UsageError):
        msgspec.structs.replace(CONFIG, **wrong)


def test_a_selection_is_frozen_in_the_order_of_the_dataset_each_task_once():
    assert frozen_selection(["c", "a", "c"], ["a", "b", "c"]) == ("a", "c")
    assert frozen_selection(["c", "b", "a"], ["a", "b", "c"]) is None


def test_a_lock_is_held_by_one_and_free_again_afterwards(tmp_path):
    assert not is_locked(tmp_path, "r")
    with RunLock(tmp_path, "r"):
        assert is_locked(tmp_path, "r")
        with pytest.raises(RunLocked), RunLock(tmp_path, "r"):
            pass
        with RunLock(tmp_path, "other"):
            pass
    assert not is_locked(tmp_path, "r")
    with RunLock(tmp_path, "r"):
        pass


def test_a_benchmark_without_a_runner_gets_the_default_one():
    assert find_runner("no-such-benchmark").cls is DefaultRunner
    assert find_runner("x", "default").cls is DefaultRunner
    with pytest.raises(UsageError, match="no runner is named 'unheard'; installed are: default"):
        find_runner("x", "unheard")
