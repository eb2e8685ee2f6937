"""Help: of every command, complete."""

from __future__ import annotations

import signal

import click
import pytest

from benchhost.cli.commands import Commands
from benchhost.cli.keys import KEYS
from benchhost.cli.main import COMMANDS, cli
from benchhost.cli.options import NOT_FLAGS
from benchhost.cli.quota import QUOTAS
from benchhost.cli.runs import RUNS
from benchhost.cli.sandbox import IMAGE, SANDBOX
from benchhost.settings import describe

GROUPS = {"runs": RUNS, "keys": KEYS, "quota": QUOTAS, "sandbox": SANDBOX, "sandbox image": IMAGE}
EVERY = [*COMMANDS, *(f"{group} {name}" for group, table in GROUPS.items() for name in table)]


def command_of(name: str) -> click.Command:
    command: click.Command | None = cli
    for word in name.split():
        assert isinstance(command, Commands)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


@pytest.mark.parametrize("name", EVERY)
def test_every_option_of_a_command_has_help_and_the_help_is_shown(name: str, benchhost) -> None:
    said = benchhost(*name.split(), "--help")
    assert (said.code, said.err) == (0, "")
    for parameter in command_of(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"
            assert parameter.opts[0] in said.out


@pytest.mark.parametrize("name", [name for name in EVERY if name not in GROUPS])
def test_an_option_that_has_a_default_says_it(name: str) -> None:
    optional = [option for option in command_of(name).params if isinstance(option, click.Option)]
    for option in optional:
        if isinstance(option.default, str | int) and not option.is_flag:
            assert f"default: {option.default}" in (option.help or ""), f"{name} {option.opts}"


@pytest.mark.parametrize("name", [f"{group} {name}" for group, table in GROUPS.items() for name in table])
def test_the_list_of_a_group_says_of_a_command_what_its_help_says(name: str) -> None:
    group, _, command = name.rpartition(" ")
    assert (command_of(name).help or "").startswith(GROUPS[group][command][1])


@pytest.mark.parametrize("name", ["serve", "doctor"])
def test_where_every_setting_is_an_option_each_is_told_briefly_after_the_commands_own(name: str, benchhost) -> None:
    own, settings = benchhost(name, "--help").out.split("\nSettings:\n")
    assert "--config" in own
    assert "--help" in own
    lines = [line for line in settings.splitlines() if line.startswith("  --")]
    flags = [f"--{doc.name.replace('_', '-')}" for doc in describe() if doc.name not in NOT_FLAGS]
    assert [line.split()[0] for line in lines] == flags
    assert all("  " in line.strip() for line in lines), "what it is for stands in the same line"
    assert settings.count("\n") < 2 * len(flags)


def test_the_token_and_the_state_folder_say_their_variables(benchhost) -> None:
    said = benchhost("run", "--help").out
    assert "BENCHHOST_TOKEN" in said
    assert "BENCHHOST_STATE" in said


def test_loading_a_command_leaves_signals_as_they_are() -> None:
    for name in EVERY:
        command_of(name)
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN, "else a peer that hangs up would end the process"
