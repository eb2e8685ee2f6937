"""``benchhost new``: what it writes works as it is, whatever it is called."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchhost.cli import main
from benchhost.errors import UsageError
from benchhost.scaffold import Names, write_plugin


@pytest.mark.parametrize(
    "name, plugin, package, class_",
    [
        ("my-bench", "my-bench", "my_bench", "MyBench"),
        ("my_bench", "my-bench", "my_bench", "MyBench"),
        ("MY-BENCH", "my-bench", "my_bench", "MyBench"),
        ("gsm8k", "gsm8k", "gsm8k", "Gsm8k"),
        ("a-2-b", "a-2-b", "a_2_b", "A2B"),
    ],
)
def test_a_name_is_spelt_as_plugin_package_and_class(name: str, plugin: str, package: str, class_: str) -> None:
    assert Names.of(name) == Names(plugin, package, class_)


@pytest.mark.parametrize(
    "name",
    ["", "my bench", "my.bench", "a/b", "../up", "2fast", "-x", "x-", "a--b", "json", "Email", "class", "benchhost",
     "tests", "größe", "x" * 49, "x\n"],
)  # fmt: skip
def test_what_can_be_no_package_is_refused_in_words(name: str) -> None:
    with pytest.raises(UsageError, match="can be no plugin"):
        Names.of(name)


def test_a_package_that_is_installed_is_not_hidden_by_another() -> None:
    with pytest.raises(UsageError, match="a package click is installed here already"):
        Names.of("Click")


@pytest.mark.parametrize("kind", ["benchmark", "runner"])
def test_no_class_takes_the_place_of_a_name_that_its_module_needs(kind, tmp_path: Path) -> None:
    folder = write_plugin(Names.of("my-bench"), kind, tmp_path)
    tree = ast.parse((folder / "my_bench" / "__init__.py").read_text("utf-8"))
    needed = {"None", "True", "False"} | {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    needed |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    words = {name for name in needed if name.isalpha() and name == name.capitalize()}
    assert {"None", "Task"} <= words
    for word in words:
        with pytest.raises(UsageError, match=f"can be no plugin: {word} is a word that its module needs"):
            Names.of(word.lower())


@pytest.mark.parametrize("kind", ["benchmark", "runner"])
def test_everything_is_written_under_its_names_and_compiles(kind, tmp_path: Path) -> None:
    folder = write_plugin(Names.of("my-bench"), kind, tmp_path)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    data = {"my_bench/tasks.jsonl"} if kind == "benchmark" else set()
    assert found == data | {
        "pyproject.toml", "README.md", ".gitignore", "my_bench/__init__.py", "tests/test_my_bench.py"
    }  # fmt: skip
    for path in folder.rglob("*.py"):
        compile(path.read_text("utf-8"), str(path), "exec")
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "my-bench"
    assert project["entry-points"] == {f"benchhost.{kind}s": {"my-bench": "my_bench:MyBench"}}
    readme = (folder / "README.md").read_text("utf-8")
    assert "$" not in readme
    if kind == "runner":
        assert "--dataset NAME" in readme
        assert "BENCHHOST_TOKEN" in readme


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "my-bench").mkdir()
    (tmp_path / "my-bench" / "mine").write_text("precious")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        write_plugin(Names.of("my-bench"), "benchmark", tmp_path)
    assert [path.name for path in (tmp_path / "my-bench").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (
            ["arithmetic"],
            "a benchmark of that name is installed already: arithmetic (benchhost_arithmetic:",
        ),
        (["terminal", "--runner"], "a runner of that name is installed already: terminal (benchhost_terminal."),
    ],
)
def test_a_plugin_of_a_name_that_is_taken_is_refused(arguments, told, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["new", *arguments])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [[], ["--runner"]], ids=["benchmark", "runner"])
def test_what_was_written_passes_its_own_tests_when_it_is_installed(flags, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["new", "my-bench", *flags])
    assert ended.value.code == 0
    assert "cd my-bench" in capsys.readouterr().out
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    _run([*pip, "--disable-pip-version-check", "--target", str(site), "./my-bench"], tmp_path)
    tested = _run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], tmp_path / "my-bench", site
    )
    assert "passed" in tested
    if not flags:
        run = [sys.executable, "-m", "benchhost", "run", "my-bench", "--model", "scripted/reference", "--json"]
        assert '"score": 1.0' in _run(run, tmp_path, site)


def _run(command: list[str], folder: Path, site: Path | None = None) -> str:
    environ = {**os.environ, "PYTHONPATH": "" if site is None else str(site)}
    done = subprocess.run(command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
