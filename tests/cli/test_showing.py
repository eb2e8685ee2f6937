"""`benchhost plugins` and `benchhost settings`: what is installed and what is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchhost.testing import install_plugin

SOURCE = """
from benchhost import Benchmark, Result, Task

class Plugin(Benchmark):
    def load_datasets(self):
        task = Task(id="1", question="?")
        return {"one": [task], "empty": [], "two": [task, Task(id="2", question="?")]}
    def evaluate_response(self, task, response):
        return Result(score=1.0)
"""


@pytest.fixture
def installed(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin(tmp_path / "plugins", "elements", SOURCE)
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "plugins"))


def test_the_tasks_of_each_dataset_are_counted_and_none_is_remarked_upon(installed, benchhost) -> None:
    said = benchhost("plugins", "--only", "elements")
    assert said.code == 0, said.err
    assert "\n  one: 1 task, empty: 0 tasks: is the file empty?, two: 2 tasks\n" in said.out
    assert said.err == ""


def test_of_one_plugin_that_two_distributions_bring_each_has_its_own_cause(installed, tmp_path, benchhost) -> None:
    plugins = tmp_path / "plugins"
    [found] = plugins.glob("*.dist-info")
    again = plugins / "another-2.0.dist-info"
    again.mkdir()
    (again / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 2.0\n")
    (again / "entry_points.txt").write_text((found / "entry_points.txt").read_text())
    told = benchhost("plugins", "--only", "elements", "--json").json["plugins"]
    causes = {plugin["distribution"]: plugin["cause"] for plugin in told}
    assert causes.keys() == {"another", "plugin-elements"}
    assert "from another 2.0" in causes["plugin-elements"]
    assert "from plugin-elements 1.0" in causes["another"]


def test_a_table_that_no_plugin_reads_is_named_with_what_is_installed(installed, benchhost) -> None:
    Path("benchhost.toml").write_text("[benchmarks.element]\ndata = 'SECRET'\n[benchmarks.elements]\n")
    said = benchhost("plugins", "--only", "elements", "--json")
    assert said.json["plugins"][0]["name"] == "elements"
    assert "no installed plugin is called element, so nothing reads the table [benchmarks.element]; inst" in said.err
    assert said.err.count("Warning") == 1
    assert "elements" in said.err.partition("installed are: ")[2]
    assert "SECRET" not in said.err


def test_a_setting_that_is_not_set_is_shown_as_it_is_written(benchhost, monkeypatch) -> None:
    monkeypatch.setenv("BENCHHOST_ONLY", "a,b")
    said = benchhost("settings").out.splitlines()
    assert {"max_running_per_tenant = none", "strict = false", "only = a,b", "port = 8000"} <= set(said)
    assert not any("None" in line for line in said)


def test_the_settings_of_benchmarks_are_shown_by_their_names_alone(benchhost) -> None:
    Path("benchhost.toml").write_text("[benchmarks.x]\nkey = 'SECRET'\njudge = {model = 'SECRET'}\n")
    said = benchhost("settings")
    assert said.out.endswith("[benchmarks.x]\nkey = ***\njudge = ***\n")
    as_json = benchhost("settings", "--json")
    assert as_json.json["benchmarks"] == {"x": {"key": "***", "judge": "***"}}
    assert "SECRET" not in said.out + as_json.out
