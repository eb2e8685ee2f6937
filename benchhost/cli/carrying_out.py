"""Carrying out a session for a command: with the display, the report at its end, and the exit code."""

from __future__ import annotations

import asyncio
import signal

import click
import msgspec
import uvloop

from benchhost.cli.display import tell, warnings_told, watch
from benchhost.cli.ending import ended_as_by_hand
from benchhost.cli.run_options import print_json
from benchhost.cli.session import Session
from benchhost.cli.stored import opened_store
from benchhost.contract import EvaluationStatus, GenerationStatus
from benchhost.runner.account import BUDGET
from benchhost.runner.config import RunOptions
from benchhost.runner.exits import ExitCode
from benchhost.runner.run import Outcome, stored_config
from benchhost.runner.summary import RunSummary
from benchhost.settings import Settings
from benchhost.store import RunRecord

LOOK_BACK = 50
"""Among how many newer runs one to compare with is looked for."""


class _Covered(msgspec.Struct, frozen=True):
    """What a comparison must know of a summary beforehand."""

    coverage: float | None = None


def carry_out(session: Session, *, as_json: bool, state: str) -> int:
    """Carry out a session, say how it ended, and return the exit code.

    ``state`` are the flags by which another command finds the same state folder.
    """
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        with ended_as_by_hand():  # until the run itself listens
            # A sixth less CPU than the loop of the standard library, for a run that mostly waits for a model.
            with warnings_told(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcome, other = runner.run(_carry_out(session))
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing left to be stopped
            _show(outcome, other, session.options, as_json=as_json, state=state)
    except KeyboardInterrupt:
        tell("Stopped before the first task.")
        return ExitCode.INCOMPLETE
    finally:
        signal.signal(signal.SIGINT, interrupts)
    return outcome.exit_code


def _show(outcome: Outcome, other: RunRecord | None, options: RunOptions, *, as_json: bool, state: str) -> None:
    if as_json:
        print_json(outcome)
        return
    from benchhost.cli.report import show_summary

    show_summary(outcome.summary, outcome.status, outcome.reason)
    click.echo(f"\n{_next(outcome, other, options)}{state}")


async def _carry_out(session: Session) -> tuple[Outcome, RunRecord | None]:
    outcome = await session.carry_out(watch, tell)
    return outcome, await _comparable(session.settings, outcome.run)


async def _comparable(settings: Settings, run_id: str) -> RunRecord | None:
    """Find the newest other run of the same tasks that surely has a score in common with this one."""
    async with opened_store(settings) as store:
        record = await store.run(run_id)
        if record is None:
            return None
        mine, covered = stored_config(record), _coverage(record)
        for other in await store.runs(tenant=record.tenant, benchmark=record.benchmark, limit=LOOK_BACK):
            theirs = stored_config(other)
            alike = (theirs.dataset_version, theirs.tasks) == (mine.dataset_version, mine.tasks)
            ended = other.id != run_id and other.status in ("complete", "errors")
            if ended and alike and covered + _coverage(other) > 1:
                return other
    return None


def _coverage(record: RunRecord) -> float:
    return 0.0 if record.summary is None else msgspec.json.decode(record.summary, type=_Covered).coverage or 0.0


def _given_up(summary: RunSummary) -> str:
    """Return the flags by which every attempt is made again that the model, or the judge of its response, gave up."""
    statuses = {
        EvaluationStatus.DID_NOT_COMPLETE if status == GenerationStatus.SUCCESS else status
        for status in summary.statuses
    }
    return "".join(f" --status {status}" for status in sorted(statuses))


def _next(outcome: Outcome, other: RunRecord | None, options: RunOptions) -> str:
    """Say which command comes next. A run whose budget is spent goes no further without more."""
    if outcome.status in ("incomplete", "failed"):
        more = ""
        if outcome.reason.startswith(BUDGET):
            more += " --max-cost USD" if options.max_cost is not None else ""
            more += " --max-tokens-total N" if options.max_tokens_total is not None else ""
        return f"Carry it on{' with a larger budget' if more else ''}: benchhost runs resume {outcome.run}{more}"
    if outcome.status == "generated":
        return f"Have it judged: benchhost runs eval {outcome.run}"
    if outcome.status == "errors":
        if outcome.summary.failures:
            return f"Try the errors again: benchhost runs retry {outcome.run}"
        return f"Attempt again what was given up: benchhost runs retry {outcome.run}{_given_up(outcome.summary)}"
    if other is not None:
        return f"Compare it: benchhost runs compare {other.id} {outcome.run}"
    return f"Look at it again: benchhost runs show {outcome.run}"
