"""Benchmarks by name, without a server."""

from __future__ import annotations

import textwrap
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost import Benchmark, Public, Result, Task
from benchhost.discovery import Entry, entries
from benchhost.errors import PluginFault
from benchhost.registry import REASONS, describe, load, of, sort_out
from benchhost.testing import install_plugin

pytestmark = pytest.mark.anyio


class Sum(Task, kw_only=True):
    subject: Public[str] = ""
    total: int


class Sums(Benchmark[Sum]):
    version = "3"
    evaluation_timeout = 7

    def load_datasets(self):
        return {"default": (Sum(id=str(n), question=f"{n} + 1 = ?", total=n + 1) for n in range(3)), "none": []}

    def evaluate_response(self, task, response):
        return Result(score=float(response.text == str(task.total)))


class Slow(Sums):
    async def load_datasets(self):
        return {"default": [Sum(id="1", question="?", total=4711)]}

    async def reference_response(self, task):
        return None


async def test_classes_at_hand_are_loaded_by_name():
    loaded = await of(sums=Sums, slow=Slow)
    assert list(loaded["sums"].datasets["default"].tasks) == ["0", "1", "2"]
    assert loaded["slow"].datasets["default"].tasks["1"].total == 4711


async def test_a_description_tells_all_that_is_public():
    description = describe((await of(sums=Sums))["sums"])
    assert (description.version, description.evaluation_timeout, description.listed) == ("3", 7.0, True)
    assert description.hooks == {"evaluate_response"}
    assert {name: catalogue.ids for name, catalogue in description.catalogues.items()} == {
        "default": ["0", "1", "2"],
        "none": [],
    }


async def test_a_description_holds_nothing_hidden():
    description = describe((await of(slow=Slow))["slow"])
    assert b"4711" not in msgspec.msgpack.encode(description)
    assert description.hooks == {"evaluate_response", "reference_response"}


async def test_a_wrong_class_is_refused_with_what_is_wrong():
    class Unnamed(Sums):
        version = ""

    with pytest.raises(PluginFault, match="version is ''") as fault:
        await of(unnamed=Unnamed)
    assert fault.value.reason == "wrong-attribute"


class Choices(msgspec.Struct, forbid_unknown_fields=True):
    case_matters: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    levels: list[int] = []


class Choosy(Sums):
    Settings = Choices


@pytest.mark.parametrize(
    "values, expected",
    [
        (
            {"case_matters": "maybe"},
            "the setting case_matters of the benchmark m.x is wrong: expected true or false, got",
        ),
        ({"limit": "0"}, "the setting limit of the benchmark m.x is wrong: expected a whole number >= 1"),
        (
            {"levels": ["easy"]},
            "the setting levels[0] of the benchmark m.x is wrong: expected a whole number, got text",
        ),
        ({"case_maters": "true"}, "the benchmark m.x has no setting case_maters; did you mean case_matters?"),
        ({"xyzzy": "true"}, "the benchmark m.x has no setting xyzzy. Its settings are: case_matters, limit, levels."),
    ],
)
async def test_a_wrong_setting_of_a_benchmark_is_named_with_how_to_set_it(values, expected):
    with pytest.raises(PluginFault) as fault:
        await load(Entry("m.x", f"{__name__}:Choosy", "d", "1"), values)
    said = str(fault.value)
    assert fault.value.reason == "wrong-settings"
    assert said.startswith(expected)
    assert '[benchmarks."m.x"] of benchhost.toml' in said
    assert "BENCHHOST_BENCHMARKS__M_X__" in said
    assert said.endswith("then restart the host")
    assert "$" not in said


ODD = ["a", "b", "a.b", "-", "", "a b", "x" * 48, "x" * 49, "ä", "a\n"]
names = st.one_of(st.sampled_from(ODD), st.text(max_size=5))


@given(st.lists(names, max_size=8))
def test_every_plugin_is_either_good_or_faulty_and_good_names_are_unique(given_names):
    found = [Entry(name, "m:O", f"dist-{number}", "1") for number, name in enumerate(given_names)]
    good, faults = sort_out(found)
    assert sorted(map(str, [*good.values(), *(fault.entry for fault in faults)])) == sorted(map(str, found))
    assert all(given_names.count(name) == 1 for name in good)
    assert {fault.reason for fault in faults} <= REASONS.keys()
    assert all(name.isascii() and 0 < len(name) <= 48 for name in good)


def test_discovery_finds_a_plugin_with_its_distribution_and_imports_nothing(tmp_path, monkeypatch):
    install_plugin(tmp_path, "never-imported", "raise AssertionError", version="2.5")
    monkeypatch.syspath_prepend(tmp_path)
    [entry] = [entry for entry in entries() if entry.name == "never-imported"]
    assert entry == Entry("never-imported", "plugin_never_imported:Plugin", "plugin-never-imported", "2.5")


def test_discovery_warns_of_a_damaged_distribution_and_goes_on(tmp_path, monkeypatch):
    install_plugin(tmp_path, "whole", "")
    damaged = tmp_path / "torn-1.0.dist-info"
    damaged.mkdir()
    (damaged / "METADATA").write_text("Metadata-Version: 2.1\nName: torn\nVersion: 1.0\n")
    (damaged / "entry_points.txt").write_text("[console_scripts]\ntorn\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="the entry points of torn cannot be read"):
        found = entries()
    assert "whole" in {entry.name for entry in found}
    assert len(found) == len(set(found))


async def test_a_benchmark_that_can_judge_nothing_is_a_fault_that_names_what_may_be_meant(tmp_path, monkeypatch):
    source = "from benchhost import Benchmark\nclass Plugin(Benchmark):\n    load_datasets = evaluate_respons = None\n"
    (tmp_path / "misspelt_hook.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginFault, match="evaluate_respons may be meant to be evaluate_response") as fault:
        await load(Entry("misspelt", "misspelt_hook:Plugin", "d", "1"), {})
    assert fault.value.reason == "not-a-benchmark"


async def test_what_the_operator_has_set_is_part_of_the_fingerprint_and_paths_are_not(tmp_path, monkeypatch):
    source = """
        from pathlib import Path
        import msgspec
        from benchhost import Benchmark, Result, Task

        class Plugin(Benchmark):
            class Settings(msgspec.Struct):
                tolerance: float = 0
                data: Path = Path(".")

            def load_datasets(self):
                return {"default": [Task(id="1", question="?")]}

            def evaluate_response(self, task, response):
                return Result(score=self.settings.tolerance)
    """
    (tmp_path / "tolerant.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry("tolerant", "tolerant:Plugin", "d", "1")
    plain, moved, set_ = [
        (await load(entry, settings)).datasets["default"].fingerprint
        for settings in ({}, {"data": "elsewhere"}, {"tolerance": 1})
    ]
    assert plain == moved != set_
