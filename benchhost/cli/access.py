"""``benchhost grant``, ``revoke`` and ``audit``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import COUNT, as_json, print_json


@click.command()
@click.argument("tenant")
@click.argument("datasets", metavar="[BENCHMARK/DATASET]...", nargs=-1)
@click.option("--trial/--no-trial", default=None, help="Put the tenant on trial, or end that.  [default: as it is]")
@settings_options("state")
def grant(tenant: str, datasets: tuple[str, ...], trial: bool | None, config: Path | None, **flags: Any) -> None:
    """Let a tenant use datasets.

    A star in the place of either name means any: my-bench/*. Servers know it within a second. A tenant
    that was revoked is let in again; keys that were revoked are not.
    """
    from benchhost.cli.granting import granted, where_tenants_count

    settings = read(config, flags)
    after = asyncio.run(granted(settings, tenant, datasets, trial))
    trial_said = " (on trial)" if after.trial else ""
    click.echo(f"{tenant}{trial_said} is granted here: {', '.join(after.datasets) or 'nothing'}")
    if warning := where_tenants_count(settings):
        click.echo(f"Warning: {warning}", err=True)


@click.command()
@click.argument("tenant")
@click.argument("datasets", metavar="[BENCHMARK/DATASET]...", nargs=-1)
@settings_options("state")
def revoke(tenant: str, datasets: tuple[str, ...], config: Path | None, **flags: Any) -> None:
    """Take datasets from a tenant, or without any, all access.

    A tenant that is revoked altogether is let in by no server within a second: its keys are revoked, and
    what an allowlist says of it does not count, until it is granted something again.
    """
    from benchhost.cli.granting import revoked

    taken = asyncio.run(revoked(read(config, flags), tenant, datasets))
    click.echo(f"{tenant} is revoked altogether" if not datasets else f"{tenant} loses {', '.join(taken)}")


@click.command()
@click.option("--tenant", metavar="NAME", help="Only this tenant.  [default: all]")
@click.option("--limit", type=COUNT, default=50, metavar="N", help="The most changes to show.  [default: 50]")
@as_json
@settings_options("state")
def audit(tenant: str | None, limit: int, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Show who may use what, how much, by which keys, and what was changed."""
    from benchhost.cli.granting import audited, key_line, moment_or_never
    from benchhost.cli.quotas import line_of

    told = asyncio.run(audited(read(config, flags), tenant, limit))
    if as_json:
        print_json(told)
        return
    click.echo(f"let in by: {', '.join(told['modes'])}")
    for line in told["enforced"]:
        click.echo(f"  {line}")
    for each in told["tenants"]:
        state = "revoked" if each["revoked_at"] is not None else "on trial" if each["trial"] else "let in"
        click.echo(f"{each['tenant']}  {state}: {', '.join(each['datasets']) or 'nothing'}")
        for key in each["keys"]:
            click.echo(f"  key {key['id']}  {key_line(key)}")
        for quota in each["quotas"]:
            click.echo(f"  quota {line_of(quota).partition('  ')[2]}")
    if tenant is not None and not told["tenants"]:
        click.echo(f"{tenant}  unknown here: nothing was granted, no key was made, and no allowlist has the name")
    if told["log"]:
        click.echo("changes, the newest first:")
    for event in told["log"]:
        what = " ".join(filter(None, [event["key"], ", ".join(event["datasets"]), event["quota"]]))
        click.echo(
            f"  {moment_or_never(event['at'])}  {event['by']}  {event['kind']}  {event['tenant']}  {what}".rstrip()
        )
