"""``benchhost sandbox escape-suite``."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from benchhost.cli.ending import ended_as_by_hand
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json
from benchhost.errors import UsageError

if TYPE_CHECKING:
    from benchhost.contract import Provider
    from benchhost.sandbox.escape.attack import Finding
    from benchhost.settings import Settings


@click.command("escape-suite")
@click.option("--only", multiple=True, metavar="NAME", help="Only this attack; may be repeated.")
@click.option(
    "--isolation",
    type=click.Choice(["namespaces", "uid", "landlock"]),
    metavar="WORD",
    help="The isolation to attack, on this machine.  [default: the strongest there is]",
)
@as_json
@settings_options("sandbox", "min_isolation")
def escape_suite(
    only: tuple[str, ...], isolation: str | None, as_json: bool, config: Path | None, **flags: Any
) -> None:
    """Try to get out of a sandbox in many ways, and say what came of it.

    Each attack is a program in a fresh sandbox; whether it got out is seen on the host. With one that got
    out, or of which nothing is known, the exit code is 1.
    """
    settings = read(config, flags)
    with ended_as_by_hand():
        described, findings = asyncio.run(_attack(settings, only, isolation, quiet=as_json))
    if as_json:
        print_json({"isolation": described, "attacks": msgspec.to_builtins(findings)})
    else:
        from benchhost.cli.attacks_shown import show_attacks

        show_attacks(described, findings)
    sys.exit(1 if any(finding.verdict in ("escaped", "unclear") for finding in findings) else 0)


async def _attack(
    settings: Settings, only: tuple[str, ...], isolation: str | None, *, quiet: bool
) -> tuple[str, list[Finding]]:
    from benchhost.sandbox import open_provider
    from benchhost.sandbox.escape.suite import ATTACKS, attack_provider
    from benchhost.server.sandboxes import own_provider

    known = {attack.name: attack for attack in ATTACKS}
    if unknown := [name for name in only if name not in known]:
        raise UsageError(f"no attack is called {unknown[0]!r}; there are: {', '.join(known)}")
    provider_name, config = own_provider(settings)
    if provider_name is None:
        raise UsageError("there are to be no sandboxes: the setting sandbox is none")
    described: list[str] = []
    findings = []
    with tempfile.TemporaryDirectory(prefix="benchhost-sandboxes-") as folder:
        if provider_name == "local":  # with a keeper of its own, which is started where a secret lies in wait
            config |= {"folder": folder} | ({"isolation": isolation} if isolation else {})

        async def opening() -> Provider:
            provider = await open_provider(provider_name, config)
            described.append(f"{provider_name}, isolation {(await provider.capabilities()).isolation}")
            return provider

        attacks = [known[name] for name in only] or list(ATTACKS)
        async for finding in attack_provider(opening, attacks, places=(Path(folder),)):
            findings.append(finding)
            if not quiet and sys.stderr.isatty():
                click.echo(f"\r{len(findings)} of {len(attacks)} ", err=True, nl=False)
    if not quiet and sys.stderr.isatty():
        click.echo("\r\033[K", err=True, nl=False)
    return described[0], findings
