"""What is read of an agent's contract.yaml, in both its forms."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import UsageError
from benchhost.runner.agent import AgentContract, agent_runner, read_contract

SHORT = """
name: tiny
run_cmd: python agent.py {problem_statement_path} {task_id} --model {model}
install_cmd: pip install .
final_output: /tmp/results
secrets:
  TINY_KEY: prod/tiny-key
defaults:
  temperature: 0.1
"""

LONG = """
name: long-agent
install_cmd: ./install.sh
run_cmd: ./run.sh {problem_statement_path} --turns {turns} --mode {mode} ${HOME} {print}
final_output: /out
output_artifacts:
  - trajectory.json
  - {path: patches, source: "/out/*.patch", required: true}
egress_allowlist: [api.example.com]
secrets: {KEY: name}
defaults:
  model: {type: str, required: true, choices: [openai/good, openai/better]}
kwargs:
  turns: {type: int, default: 5}
  mode: {type: str, required: true, choices: [fast, slow]}
ingest_lambda: some-name
"""


def contract(tmp_path, text):
    path = tmp_path / "contract.yaml"
    path.write_text(text)
    return read_contract(path)


def minimal(**fields):
    return AgentContract(**{"name": "a", "run_cmd": "run {problem_statement_path}", **fields})


def test_the_short_form_is_read(tmp_path):
    read = contract(tmp_path, SHORT)
    assert (read.name, read.final_output, read.install_cmd) == ("tiny", "/tmp/results", "pip install .")
    assert list(read.secrets) == ["TINY_KEY"]


def test_the_long_form_is_read(tmp_path):
    read = contract(tmp_path, LONG)
    assert read.params({"mode": "fast"}) == {"turns": 5, "mode": "fast"}
    assert [(each.path, each.source, each.required) for each in read.artifacts] == [
        ("trajectory.json", "/tmp/valkyrie/trajectory.json", False),
        ("patches", "/out/*.patch", True),
    ]


def test_a_folder_stands_for_the_contract_in_it(tmp_path):
    assert contract(tmp_path, SHORT) == read_contract(tmp_path)


@pytest.mark.parametrize(
    "text, said",
    [
        ("name: a\nrun_cmd: run it", "must contain {problem_statement_path}"),
        ("run_cmd: run {problem_statement_path}", "`name`"),
        ("name: ../a\nrun_cmd: run {problem_statement_path}", "name is '../a'"),
        ("name: a\nrun_cmd: run {problem_statement_path}\nrun_command: x", "run_command"),
        ("name: a\nrun_cmd: run {problem_statement_path}\ntimeout: 0", "more than 0 seconds"),
        ("name: a\nrun_cmd: run {problem_statement_path}\nkwargs: {n: {type: int, default: many}}", "must be int"),
        (
            "name: a\nrun_cmd: run {problem_statement_path}\nkwargs: {__init__: {}}",
            "'__init__' is no name of a parameter",
        ),
        ("name: a\nrun_cmd: run {problem_statement_path}\nfinal_output: /a b", "expected one path"),
        ("name: a\nrun_cmd: run {problem_statement_path}\nfinal_output: '\"'", "expected one path"),
        ("name: [", "no YAML"),
        pytest.param("[" * 3000, "nested too deeply", id="deep"),
        ("- 1", "Expected `object`"),
    ],
)
def test_what_is_wrong_with_a_contract_is_said(tmp_path, text, said):
    with pytest.raises(UsageError) as refused:
        contract(tmp_path, text)
    assert said in str(refused.value)
    assert "contract.yaml" in str(refused.value)


def test_a_contract_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_contract(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    "given, said",
    [
        ({}, "needs -k mode=VALUE"),
        ({"mode": "fast", "depth": "3"}, "has no parameter depth; it has: turns, mode"),
        ({"mode": "sideways"}, "one of fast, slow"),
        ({"mode": "fast", "turns": "many"}, "turns must be int"),
    ],
)
def test_parameters_are_checked_before_anything_is_run(tmp_path, given, said):
    with pytest.raises(UsageError, match=said):
        contract(tmp_path, LONG).params(given)


def test_a_model_that_the_agent_does_not_take_is_refused(tmp_path):
    with pytest.raises(UsageError, match="takes the models openai/good, openai/better, not openai/bad"):
        contract(tmp_path, LONG).allows("openai/bad")


def test_only_known_names_in_braces_are_replaced(tmp_path):
    read = contract(tmp_path, LONG)
    command = read.command(read.run_cmd, {"problem_statement_path": "/p", "turns": 5, "mode": "fast", "model": None})
    assert command == "./run.sh /p --turns 5 --mode fast ${HOME} {print}"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_whatever_a_value_is_it_is_one_word_to_the_shell(value):
    command = minimal().command("run {problem_statement_path}", {"problem_statement_path": value})
    assert shlex.split(command) == ["run", value]


def test_an_injection_stays_inert(tmp_path):
    hostile = f"x; touch {tmp_path}/pwned; $(touch {tmp_path}/pwned) `touch {tmp_path}/pwned`"
    command = minimal(run_cmd="printf %s {problem_statement_path}").command("printf %s {task_id}", {"task_id": hostile})
    assert subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True).stdout == hostile
    assert not (tmp_path / "pwned").exists()


def test_a_secret_that_is_not_in_the_environment_stops_everything(tmp_path, monkeypatch):
    contract(tmp_path, SHORT)
    monkeypatch.delenv("TINY_KEY", raising=False)
    with pytest.raises(UsageError, match="needs the variables TINY_KEY, which are not set"):
        agent_runner(read_contract(tmp_path), tmp_path, {}, "openai/any", makes_text=True)


def test_where_a_text_is_judged_the_agent_must_say_where_it_leaves_one(tmp_path):
    contract(tmp_path, "name: a\nrun_cmd: run {problem_statement_path}")
    with pytest.raises(UsageError, match="says no final_output"):
        agent_runner(read_contract(tmp_path), tmp_path, {}, "openai/any", makes_text=True)


def test_the_version_of_an_agent_is_another_when_a_file_of_it_is(tmp_path):
    contract(tmp_path, "name: a\nrun_cmd: run {problem_statement_path}")
    versions = set()
    for code in ("print(1)", "print(2)"):
        (tmp_path / "agent.py").write_text(code)
        (tmp_path / "__pycache__").mkdir(exist_ok=True)
        (tmp_path / "__pycache__" / "x.pyc").write_text(code)
        versions.add(agent_runner(read_contract(tmp_path), tmp_path, {}, "m/m", makes_text=False).version)
    (tmp_path / "__pycache__" / "x.pyc").write_text("something else")
    versions.add(agent_runner(read_contract(tmp_path), tmp_path, {}, "m/m", makes_text=False).version)
    assert len(versions) == 2
