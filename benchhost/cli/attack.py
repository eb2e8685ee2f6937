"""``benchhost attack``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from benchhost.cli.ending import ended_as_by_hand
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json
from benchhost.errors import UsageError

if TYPE_CHECKING:
    from benchhost.integrity.attack import Attack, AttackReport


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--strategy",
    type=click.Choice(["enumerate", "difference", "bisect", "sybil"]),
    default="enumerate",
    metavar="WORD",
    help="enumerate: try every answer at one task after the other. difference: compare sums of runs that differ in one "
    "response. bisect: test groups of tasks by their sums. sybil: do so as several tenants.  [default: enumerate]",
)
@click.option("--tenants", type=click.IntRange(2), metavar="N", help="Tenants that a sybil is.  [default: 10]")
@click.option("--dataset", default="default", metavar="NAME", help="The dataset.  [default: default]")
@click.option(
    "--sample", type=click.IntRange(1), default=20, metavar="N", help="Tasks that are attacked.  [default: 20]"
)
@click.option(
    "--guesses", type=click.IntRange(1), default=100, metavar="N", help="Guesses at each, on average.  [default: 100]"
)
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of the sample.  [default: 0]")
@click.option(
    "--attempts", type=click.IntRange(1), metavar="N", help="Try a policy: responses to a task that are judged."
)
@click.option("--fold", is_flag=True, help="Try a policy: responses that differ in case and spaces count as one.")
@click.option(
    "--feedback",
    type=click.Choice(["all", "score", "sum"]),
    metavar="WORD",
    help="Try a policy: what is told of a result, all, score or sum.",
)
@click.option("--digits", type=click.IntRange(0, 15), metavar="N", help="Try a policy: decimals of scores.")
@click.option("--least", type=click.IntRange(1), metavar="N", help="Try a policy: fewest tasks in a sum.")
@click.option("--sums", type=click.IntRange(1), metavar="N", help="Try a policy: different sums that are told.")
@click.option("--pooled", is_flag=True, help="Try a policy: what is counted is counted of all tenants together.")
@as_json
@settings_options("probing", "load_timeout")
def attack(
    name: str,
    dataset: str,
    strategy: str,
    tenants: int | None,
    sample: int,
    guesses: int,
    seed: int,
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Show what an attacker finds out of hidden answers, with the policy and without.

    The policy is the one in force, or the one that the flags say. A host of its own is started for each, and the
    attacker uses its routes like any tenant.
    """
    from benchhost import log
    from benchhost.integrity.attack import SYBIL, TENANTS, Plan
    from benchhost.integrity.attack import attack as attacked

    if tenants is not None and strategy != SYBIL:
        raise UsageError(f"--tenants is for --strategy {SYBIL}: who attacks by {strategy} is one tenant")
    policy = _policy({each: flags.pop(each) for each in _OF_POLICY})
    plan = Plan(strategy=strategy, most=sample, guesses=guesses, tenants=tenants or TENANTS, seed=seed)
    settings = read(config, flags)
    log.configure("critical", settings.log_format)
    with ended_as_by_hand():
        report = asyncio.run(attacked(settings, name, dataset, policy, plan))
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        show(report)


_OF_POLICY = ("attempts", "fold", "feedback", "digits", "least", "sums", "pooled")


def _policy(asked: dict[str, Any]) -> Any:
    from benchhost.contract import Probing

    given = {each: value for each, value in asked.items() if value not in (None, False)}
    try:
        return Probing(**given) if given else None
    except ValueError as error:
        raise UsageError(f"no such policy: {error}") from None


def show(report: AttackReport) -> None:
    """Print a report for a person."""
    off, on = report.off, report.on
    by = "1 tenant" if report.tenants == 1 else f"{report.tenants} tenants"
    what = f"{off.tasks} tasks, {off.candidates} answers to try"
    click.echo(f"{report.benchmark}, dataset {report.dataset}: {what}; {report.strategy} by {by}\n")
    rows = [("", "policy off", "policy on")]
    rows += [(word, str(told(off)), str(told(on))) for word, told in _ROWS.items()]
    for row in rows:
        click.echo(f"{row[0]:28}  {row[1]:>12}  {row[2]:>12}".rstrip())
    said = msgspec.structs.asdict(on.policy)
    words = ", ".join(f"{key} {str(value).lower()}" for key, value in said.items() if value is not None)
    click.echo(f"\nThe policy: {words}.")


def _recovered(attack: Attack) -> str:
    return f"{attack.recovered} of {attack.tasks}"


_ROWS: dict[str, Callable[[Attack], object]] = {
    "answers found out": _recovered,
    "believed to be found out": lambda attack: attack.claimed,
    "expected of one blind guess": lambda attack: f"{attack.by_chance:.1f}",
    "guesses": lambda attack: attack.guesses,
    "guesses not told of": lambda attack: attack.refused,
    "sums told": lambda attack: attack.sums,
    "bits that sums can tell": lambda attack: "no bound" if attack.bits is None else f"{attack.bits:.0f}",
}
