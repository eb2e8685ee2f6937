"""``benchhost keys``: ``create``, ``list`` and ``revoke``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from benchhost.cli.commands import Commands
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json

KEYS = {
    "create": ("benchhost.cli.keys", "Make a key for a tenant, and show it once."),
    "list": ("benchhost.cli.keys", "List the keys: of whom, for what, until when, and when last used."),
    "revoke": ("benchhost.cli.keys", "Revoke keys."),
}
"""Where each command is, and its help in the list."""


@click.group(cls=Commands, table=KEYS)
def keys() -> None:
    """Make, list and revoke keys of tenants."""


@click.command()
@click.option("--tenant", required=True, metavar="NAME", help="The tenant that the key is for.")
@click.option(
    "--datasets",
    metavar="NAMES",
    help="Only these datasets, as BENCHMARK/DATASET, separated by commas; the tenant is granted them too.  "
    "[default: all that the tenant is granted]",
)
@click.option(
    "--expires",
    metavar="WHEN",
    help="When the key ends: a time from now (90d, 12h, 30m) or a date (2027-01-31, UTC).  [default: never]",
)
@click.option("--label", metavar="TEXT", help="A name of your own for the key.")
@as_json
@settings_options("state")
def create(
    tenant: str,
    datasets: str | None,
    expires: str | None,
    label: str | None,
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Make a key for a tenant, and show it once.

    Only its digest is kept, so it cannot be shown again. Servers know it within a second.
    """
    from benchhost.cli.granting import created_key, moment_or_never, when, where_keys_count

    settings = read(config, flags)
    names = [name.strip() for name in (datasets or "").split(",") if name.strip()]
    made = asyncio.run(created_key(settings, tenant, names, None if expires is None else when(expires), label or ""))
    if as_json:
        print_json({"key": made.key} | made.told)
    else:
        click.echo(made.key)
        click.echo(
            f"The key {made.told['id']} is for {tenant}: {', '.join(names) or 'all that it is granted'}, "
            f"until {moment_or_never(made.told['expires_at'])}. It is not shown again.",
            err=True,
        )
        if not made.grants:
            click.echo(
                f"Warning: {tenant} is granted nothing yet: benchhost grant {tenant} BENCHMARK/DATASET", err=True
            )
    if warning := where_keys_count(settings):
        click.echo(f"Warning: {warning}", err=True)


@click.command("list")
@click.option("--tenant", metavar="NAME", help="Only the keys of this tenant.  [default: all]")
@as_json
@settings_options("state")
def list_(tenant: str | None, as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the keys: of whom, for what, until when, and when last used."""
    from benchhost.cli.granting import key_line, told_keys

    told = asyncio.run(told_keys(read(config, flags), tenant))
    if as_json:
        print_json({"keys": told})
        return
    if not told:
        click.echo("There are no keys. Try: benchhost keys create --tenant NAME")
    for key in told:
        click.echo(f"{key['id']}  {key['tenant']}  {key_line(key)}")


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@settings_options("state")
def revoke(ids: tuple[str, ...], config: Path | None, **flags: Any) -> None:
    """Revoke keys.

    IDs are those of `benchhost keys list`. No server lets them in any more within a second.
    """
    from benchhost.cli.granting import revoked_keys

    asyncio.run(revoked_keys(read(config, flags), ids))
    click.echo(f"{len(ids)} {'key is' if len(ids) == 1 else 'keys are'} revoked")
