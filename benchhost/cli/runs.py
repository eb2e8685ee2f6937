"""``benchhost runs``: the commands about recorded runs."""

from __future__ import annotations

import click

from benchhost.cli.commands import Commands

RUNS = {
    "list": ("benchhost.cli.runs_shown", "List the newest runs."),
    "show": ("benchhost.cli.runs_shown", "Show a run: its score, slices, errors and cost."),
    "errors": ("benchhost.cli.runs_shown", "Show the errors of a run by class, with their tasks."),
    "resume": ("benchhost.cli.runs_again", "Carry on a run that was stopped or killed."),
    "retry": ("benchhost.cli.runs_again", "Attempt again what failed in a run."),
    "eval": ("benchhost.cli.runs_again", "Judge responses of a run without asking the model."),
    "score": ("benchhost.cli.runs_again", "Score a run anew, without asking model or judge."),
    "compare": ("benchhost.cli.runs_compared", "Compare two runs task by task."),
    "seal": ("benchhost.cli.runs_sealed", "Seal a run that has ended in a signed receipt."),
    "export": ("benchhost.cli.runs_moved", "Write a run into files."),
    "import": ("benchhost.cli.runs_moved", "Read a folder of the Vals runner, or of an export, as a run."),
    "rm": ("benchhost.cli.runs_moved", "Delete runs."),
}
"""Where each command is, and its help in the list."""


@click.group(cls=Commands, table=RUNS)
def runs() -> None:
    """Look at recorded runs, carry them on, compare them."""
