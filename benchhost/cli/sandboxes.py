"""``benchhost sandbox``: ``create``, ``exec``, ``ls`` and ``rm``."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from benchhost.cli.ending import ended_with_its_reader
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import COUNT, as_json, print_json
from benchhost.errors import SandboxNotFound, UsageError

if TYPE_CHECKING:
    from benchhost.contract import Completed, Provider, Sandbox, SandboxSpec
    from benchhost.settings import Settings

TIMED_OUT = 124
"""The exit code of a command that was ended at its deadline, as that of timeout(1)."""

ENDED = 125
"""The exit code of a command that was ended for another reason."""


class Seconds(click.FloatRange):
    """More than 0 seconds, and not without end: a range alone lets ``nan`` through, and ``inf``."""

    def __init__(self) -> None:
        super().__init__(0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number."""
        seconds = super().convert(value, param, ctx)
        return seconds if math.isfinite(seconds) else self.fail(f"{value} is no number of seconds", param, ctx)


_of_provider = settings_options("state", "sandbox", "min_isolation", "max_sandboxes")

_env = click.option(
    "--env", "-e", "env", multiple=True, metavar="NAME=VALUE", help="A variable of its commands; may be repeated."
)


def _label(help_: str) -> Callable[[Any], Any]:
    return click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help=f"{help_}; may be repeated.")


@click.command()
@click.option(
    "--image",
    metavar="NAME",
    help="What it is made of: a name, dir:PATH or oci:PATH.  [default: this machine's programs]",
)
@click.option("--snapshot", metavar="NAME", help="A snapshot to make it of, where the provider has any.")
@click.option("--vcpu", type=COUNT, default=1, metavar="N", help="Cores.  [default: 1]")
@click.option("--memory", type=COUNT, default=2, metavar="GB", help="Memory.  [default: 2]")
@click.option("--disk", type=COUNT, default=10, metavar="GB", help="Disk.  [default: 10]")
@_env
@_label("A label to find it by")
@click.option(
    "--network",
    type=click.Choice(["none", "open"]),
    default="none",
    metavar="WORD",
    help="What it may reach: none or open.  [default: none]",
)
@click.option("--cwd", metavar="PATH", help="The directory that commands start in.")
@click.option(
    "--idle-timeout",
    type=Seconds(),
    default=1800,
    metavar="SECONDS",
    help="When it is deleted after its last command.  [default: 1800]",
)
@click.option(
    "--lifetime",
    type=Seconds(),
    default=86400,
    metavar="SECONDS",
    help="When it is deleted in any case.  [default: 86400]",
)
@as_json
@_of_provider
def create(
    vcpu: int,
    memory: int,
    disk: int,
    env: tuple[str, ...],
    labels: tuple[str, ...],
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Make a sandbox, and say its id.

    It stays when the command has ended, until it is deleted or its time is over.
    """
    from benchhost.contract import Resources, SandboxSpec

    asked = {name: flags.pop(name) for name in ("image", "snapshot", "network", "cwd", "idle_timeout", "lifetime")}
    settings = read(config, flags)
    try:
        spec = SandboxSpec(
            **asked,
            resources=Resources(vcpu=vcpu, memory=memory, disk=disk),
            env=_pairs("--env", env),
            labels=_pairs("--label", labels),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    made = asyncio.run(_create(settings, spec))
    if as_json:
        print_json(made)
    else:
        click.echo(made["id"])


async def _create(settings: Settings, spec: SandboxSpec) -> dict[str, Any]:
    async with _opened(settings) as provider:
        sandbox = await provider.create(spec)
        told: dict[str, Any] = msgspec.to_builtins(await sandbox.info())
        return told | {"resources": msgspec.to_builtins(spec.resources)}


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("sandbox_id", metavar="ID")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
@click.option("--cwd", metavar="PATH", help="The directory that it starts in.")
@_env
@click.option("--stdin", "-i", is_flag=True, help="Give it what comes from standard input, once that has ended.")
@click.option(
    "--timeout",
    type=Seconds(),
    default=300,
    metavar="SECONDS",
    help="When it is ended.  [default: 300]",
)
@click.option(
    "--max-output",
    type=COUNT,
    default=10,
    metavar="MB",
    help="Output with which it is ended.  [default: 10]",
)
@as_json
@_of_provider
def exec_(sandbox_id: str, command: tuple[str, ...], as_json: bool, config: Path | None, **flags: Any) -> None:
    """Run a command in a sandbox.

    One word is a line for its shell; several are a program and its arguments. What stands behind the ID is
    the command's, so options of this one stand before it. It ends with the exit code of the command; with 128
    and more for a signal, 124 at its deadline, and 125 when it was ended for another reason, which is said on
    standard error.
    """
    names = ("cwd", "env", "timeout", "max_output", "stdin")
    asked = {name: flags.pop(name) for name in names}
    asked["env"] = _pairs("--env", asked["env"])
    asked["max_output"] *= 1024 * 1024
    if command[0] == "--":
        command = command[1:]
    elif command[0].startswith("-"):
        raise click.UsageError(f"{command[0]} stands behind the ID, and options stand before it")
    if not command:
        raise click.UsageError("say which command: there is none behind --")
    line = command[0] if len(command) == 1 else command

    async def carry_out() -> int:
        async with _opened(settings) as provider:
            sandbox = await provider.get(sandbox_id)
            if as_json:
                ran = await sandbox.run(line, **asked)
                print_json(_told(ran))
                return _code_of(ran.exited)
            return await _stream(sandbox, line, asked)

    settings = read(config, flags)
    asked["stdin"] = sys.stdin.buffer.read() if asked["stdin"] else b""  # last, since somebody may have to type it
    with ended_with_its_reader():
        sys.exit(asyncio.run(carry_out()))


async def _stream(sandbox: Sandbox, command: str | tuple[str, ...], asked: dict[str, Any]) -> int:
    from benchhost.contract import Exited, Stdout

    async with sandbox.start(command, **asked) as process:
        async for said in process:
            if isinstance(said, Exited):
                if said.reason not in ("exited", "signal"):
                    click.echo(f"Error: the command was ended: {said.reason}", err=True)
                return _code_of(said)
            stream = sys.stdout if isinstance(said, Stdout) else sys.stderr
            stream.buffer.write(said.data)
            stream.buffer.flush()
    return ENDED


def _told(ran: Completed) -> dict[str, Any]:
    return {
        "stdout": ran.stdout.decode("utf-8", "replace"),
        "stderr": ran.stderr.decode("utf-8", "replace"),
        **{name: getattr(ran.exited, name) for name in ("code", "reason", "seconds", "dropped", "peak_memory")},
    }


def _code_of(exited: Any) -> int:
    if exited.reason in ("exited", "signal") and exited.code is not None:
        return int(exited.code) if exited.code >= 0 else 128 - int(exited.code)
    return TIMED_OUT if exited.reason == "timeout" else ENDED


@click.command()
@_label("Only sandboxes with this label")
@as_json
@_of_provider
def ls(labels: tuple[str, ...], as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the sandboxes, the oldest first."""
    settings = read(config, flags)
    wanted = _pairs("--label", labels)

    async def look() -> Any:
        async with _opened(settings) as provider:
            return await provider.list(wanted)

    found = asyncio.run(look())
    if as_json:
        print_json({"sandboxes": msgspec.to_builtins(found)})
        return
    from benchhost.cli.words import line, moment

    for info in found:
        labelled = "".join(f"  {line(f'{name}={value}')}" for name, value in sorted(info.labels.items()))
        made = "" if info.created_at is None else f"  {moment(info.created_at)}"
        click.echo(f"{info.id}  {info.state}{made}  {info.image or 'host'}{labelled}")


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All sandboxes, with those that a running server uses.")
@_of_provider
def rm(ids: tuple[str, ...], everything: bool, config: Path | None, **flags: Any) -> None:
    """Delete sandboxes, with all that runs in them. One that is gone already is no error."""
    if bool(ids) == everything:
        raise UsageError("say which: the ids of sandboxes, or --all")
    settings = read(config, flags)

    async def carry_out() -> list[str]:
        async with _opened(settings) as provider:
            going = [info.id for info in await provider.list()] if everything else ids
            there = []
            for each in going:
                with suppress(SandboxNotFound):
                    await provider.get(each)
                    there.append(each)
                await provider.delete(each)
            return there

    there = asyncio.run(carry_out())
    missing = [] if everything else [each for each in ids if each not in there]
    click.echo(f"{len(there)} deleted" + (f"; not there: {', '.join(missing)}" if missing else ""))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Provider]:
    from benchhost.sandbox import open_provider
    from benchhost.server.sandboxes import own_provider
    from benchhost.settings import state_folder

    name, config = own_provider(settings)
    if name is None:
        raise UsageError("there are to be no sandboxes: the setting sandbox is none")
    if name == "local":
        state_folder(settings)
        config |= {"stay": "true"}  # a command ends, and another one comes for the same sandbox
    provider = await open_provider(name, config)
    try:
        yield provider
    finally:
        await provider.aclose()


def _pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (equals and name):
            raise UsageError(f"{option}: expected NAME=VALUE, got {each!r}")
        pairs[name] = value
    return pairs
