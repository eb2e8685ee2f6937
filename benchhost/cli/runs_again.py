"""``benchhost runs resume``, ``retry``, ``eval`` and ``score``: another session of a recorded run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click
import msgspec

from benchhost.cli.options import given_state, read, settings_options
from benchhost.cli.run_options import as_json, given, params_option, remote_options, session_options, together

SETTINGS = ("state", "load_timeout", "graders")

_again: Callable[[Callable[..., None]], Callable[..., None]] = together(
    click.argument("run_id", metavar="RUN"),
    click.argument("task_ids", metavar="[TASK_ID]...", nargs=-1),
    params_option,
    remote_options,
    session_options,
    as_json,
    settings_options(*SETTINGS),
)


@click.command()
@_again
def resume(**flags: Any) -> None:
    """Carry on a run that was stopped or killed.

    What is owed is done: tasks without an attempt, attempts without a verdict, and failures that may
    pass. With TASK_IDs only these tasks are looked at. What the run was begun with need not be said
    again; what is said anew holds from now on.
    """
    _session(flags)


@click.command()
@click.option("--class", "classes", multiple=True, metavar="CLASS", help="Errors of this class; may be repeated.")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    metavar="STATUS",
    help="Attempts of this status, such as max_time; may be repeated.",
)
@_again
def retry(classes: tuple[str, ...], statuses: tuple[str, ...], **flags: Any) -> None:
    """Attempt again what failed in a run.

    Without --class and --status that is every error. Earlier attempts are kept; the newest counts.
    """
    from benchhost.contract import EvaluationStatus, GenerationStatus
    from benchhost.errors import UsageError

    every: list[GenerationStatus | EvaluationStatus] = [*GenerationStatus, *EvaluationStatus]
    known = {status.value for status in every}
    if unknown := sorted(set(statuses) - known):
        raise UsageError(f"no attempt has the status {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    if classes:
        _must_have(flags, classes)
    wanted = {*classes, *statuses} or {status.value for status in every if status.retriable}
    _session(flags, retry=wanted)


@click.command("eval")
@click.option("--all", "everything", is_flag=True, help="Also responses that have a verdict already.")
@_again
def eval_(everything: bool, **flags: Any) -> None:
    """Judge responses of a run without asking the model.

    These are the responses that have no verdict, or one of another version of the evaluator: then with
    --allow-drift evaluator_version.
    """
    _session(flags, generate=False, retry={"evaluated"} if everything else ())


@click.command()
@_again
def score(**flags: Any) -> None:
    """Score a run anew, without asking model or judge."""
    _session(flags, generate=False, evaluate=False)


def _must_have(flags: dict[str, Any], classes: Collection[str]) -> None:
    """Make sure that a run has failures of these classes: a misspelt one would be retried without a word."""
    from benchhost.cli.recorded import failed_tasks
    from benchhost.errors import UsageError

    settings = read(flags["config"], {"state": flags["state"]})
    found, _ = asyncio.run(failed_tasks(settings, flags["run_id"]))
    known = sorted({error.kind for error in found if error.kind})
    if unknown := sorted(set(classes) - set(known)):
        has = f"there are: {', '.join(known)}" if known else "it has no errors at all"
        raise UsageError(f"nothing in the run failed with the class {', '.join(unknown)}; {has}")


def _session(
    flags: dict[str, Any],
    *,
    generate: bool = True,
    evaluate: bool = True,
    retry: Collection[str] = (),
) -> None:
    from benchhost.cli.carrying_out import carry_out
    from benchhost.cli.ordering import options_of, ordered
    from benchhost.cli.session import Session

    config: Path | None = flags.pop("config")
    json, token, label = flags.pop("as_json"), flags.pop("token"), flags.pop("label")
    settings = read(config, {name: flags.pop(name) for name in SETTINGS})
    only, checks = flags.pop("task_ids"), not flags.pop("no_preflight")
    allow_drift, params = flags.pop("allow_drift"), dict(flags.pop("params"))
    record, order, own = ordered(settings, flags.pop("run_id"))
    order = msgspec.structs.replace(order, params=order.params | params, **given(flags))
    session = Session(
        order=order,
        settings=settings,
        options=options_of(
            order, generate=generate, evaluate=evaluate, only=only, retry=retry, allow_drift=allow_drift
        ),
        selection=None,
        run_id=record.id,
        recorded=record,
        label=label or "",
        token=token,
        checks=checks,
        asks_model=generate,
        trusted=own,
    )
    ctx = click.get_current_context()
    ctx.exit(carry_out(session, as_json=json, state=given_state(ctx)))
