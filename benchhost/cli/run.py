"""``benchhost run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchhost.cli.options import given_state, read, settings_options
from benchhost.cli.run_options import (
    COUNT,
    as_json,
    dataset_options,
    given,
    params_option,
    remote_options,
    sampling_options,
    selection_options,
    session_options,
)


@click.command(
    epilog="Exit codes: 0 complete, 1 failure, 2 wrong call, 3 errors in tasks or no score, 4 incomplete, 5 refused."
)
@click.argument("benchmark", metavar="NAME")
@click.argument("task_ids", metavar="[TASK_ID]...", nargs=-1)
@click.option(
    "--model",
    required=True,
    metavar="PROVIDER/NAME",
    help="The model, such as openai/gpt-5.4-mini, ollama/llama3.2 or scripted/reference. A key is read from the "
    "provider's own variable.  [env: <PROVIDER>_API_KEY, <PROVIDER>_BASE_URL]",
)
@click.option(
    "--base-url", metavar="URL", help="Where the model is.  [default: <PROVIDER>_BASE_URL or the provider's own]"
)
@click.option("--api-key-variable", metavar="NAME", help="The variable that holds the key for --base-url.")
@click.option("--host", metavar="URL", help="Run against a remote host.  [default: in this process]")
@remote_options
@dataset_options
@selection_options
@click.option(
    "--run-id", metavar="ID", help="The id of the run; that of an earlier run carries it on.  [default: made]"
)
@click.option("--epochs", type=COUNT, default=1, metavar="N", help="Attempts at each task.  [default: 1]")
@click.option(
    "--timeout",
    type=float,
    metavar="SECONDS",
    help="For an attempt at a task that has no limit of its own.  [default: none]",
)
@sampling_options
@click.option("--runner", metavar="NAME", help="The runner.  [default: that of the benchmark, else default]")
@click.option(
    "--agent",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="An agent that attempts each task in a sandbox: its contract.yaml, or the folder with it and its files.",
)
@params_option
@click.option("--judge", metavar="PROVIDER/NAME", help="A model for runners that judge with one.")
@session_options
@click.option("--skip-eval", is_flag=True, help="Generate only; `benchhost runs eval` judges later.")
@as_json
@settings_options("state", "load_timeout", "graders")
def run(
    benchmark: str,
    task_ids: tuple[str, ...],
    as_json: bool,
    run_id: str | None,
    skip_eval: bool,
    no_preflight: bool,
    allow_drift: tuple[str, ...],
    token: str | None,
    label: str | None,
    config: Path | None,
    **flags: Any,
) -> None:
    """Have a model attempt the tasks of a benchmark.

    The tasks are those of the dataset, or the TASK_IDs, or what the options choose. Every attempt is
    kept in the state folder when it is finished. Ctrl-C once stops gracefully, twice at once; a run that
    was stopped, or killed, is carried on with `benchhost runs resume`.
    """
    from benchhost.cli.carrying_out import carry_out
    from benchhost.cli.order import Order, Selection
    from benchhost.cli.ordering import existing, options_of, sampling_of
    from benchhost.cli.session import Session
    from benchhost.errors import UsageError

    settings = read(config, {name: flags.pop(name) for name in ("state", "load_timeout", "graders")})
    choice = {name: flags.pop(name) for name in ("ids_file", "slice", "limit", "sample", "seed")}
    sampling = sampling_of(flags)
    params = dict(flags.pop("params"))
    order = Order(benchmark=benchmark, model=flags.pop("model"), sampling=sampling, params=params, **given(flags))
    if order.problem is not None:
        if len(task_ids) != 1:
            raise UsageError(f"--problem needs exactly one TASK_ID, that of the problem, not {len(task_ids)}")
        order = order.named(task_ids[0])
    session = Session(
        order=order,
        settings=settings,
        options=options_of(order, evaluate=not skip_eval, allow_drift=allow_drift),
        selection=Selection(task_ids=task_ids, **choice),
        run_id=run_id,
        recorded=existing(settings, run_id),
        label=label or "",
        token=token,
        checks=not no_preflight,
    )
    ctx = click.get_current_context()
    ctx.exit(carry_out(session, as_json=as_json, state=given_state(ctx)))
