"""``benchhost runs export``, ``import`` and ``rm``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import FILE, as_json, print_json, remote_options


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--layout",
    type=click.Choice(["vals", "jsonl", "parquet"]),
    default="vals",
    metavar="WORD",
    help="vals: a folder as the Vals runner makes it; jsonl: a line for each attempt; parquet: a row for each, which "
    "takes benchhost[parquet].  [default: vals]",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where to.  [default: the folder results/RUN, or the file RUN.jsonl or RUN.parquet]",
)
@as_json
@settings_options("state")
def export(run_id: str, layout: str, to: Path | None, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Write a run into files."""
    from benchhost.cli.moving import exported

    path, attempts = asyncio.run(exported(read(config, flags), run_id, layout, to))
    if as_json:
        print_json({"run": run_id, "layout": layout, "path": str(path), "attempts": attempts})
    else:
        click.echo(f"{attempts:,} attempts are in {path}")


@click.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--benchmark", required=True, metavar="NAME", help="The benchmark that the run was about.")
@click.option("--dataset", metavar="NAME", help="Its dataset.  [default: default]")
@click.option("--dataset-file", type=FILE, metavar="FILE", help="Its tasks, when they came from a file.")
@click.option("--host", metavar="URL", help="The remote host that has the benchmark.  [default: this installation]")
@remote_options
@click.option("--run-id", metavar="ID", help="The id of the run here.  [default: the one that it has]")
@click.option("--label", metavar="TEXT", help="A name of your own for the run.")
@as_json
@settings_options("state", "load_timeout", "graders")
def import_(folder: Path, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Read a folder of the Vals runner, or of an export, as a run.

    It can then be shown, compared and carried on. Files that cannot be trusted are moved into the folder
    quarantine beside the others, and their tasks are owed.
    """
    from benchhost.cli.moving import imported

    settings = read(config, {name: flags.pop(name) for name in ("state", "load_timeout", "graders")})
    found = asyncio.run(imported(settings, folder, **flags))
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.attempts:,} attempts are in the run {found.run}")
    for file, why in found.quarantined.items():
        click.echo(f"  put aside: {file}: {why}")
    for task in found.unknown:
        click.echo(f"  left out, since the dataset does not have it: {task}")


@click.command()
@click.argument("run_ids", metavar="RUN...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@settings_options("state")
def rm(run_ids: tuple[str, ...], yes: bool, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Delete runs.

    Their attempts, logs and tracebacks go with them. A run that is under way is refused.
    """
    from benchhost.cli.moving import removed

    if not yes:
        click.confirm(f"Delete {', '.join(run_ids)} for good?", abort=True, err=True)
    asyncio.run(removed(read(config, flags), run_ids))
    if as_json:
        print_json({"removed": run_ids})
    else:
        click.echo(f"Deleted: {', '.join(run_ids)}")
