"""Carrying out a run from the command line: what was ordered is opened, checked, run, shown and closed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from benchhost import log
from benchhost.cli.opening import opened_source
from benchhost.cli.order import Order, Selection
from benchhost.cli.preflight import preflight
from benchhost.contract import Call, Completion, Model, Prompt, Runner, Sampling
from benchhost.contract.model import NO_CALL
from benchhost.errors import BenchhostError, ModelAuthFailed, ModelRequestRefused, UsageError
from benchhost.models import Limiter, key_variables, load_prices, locate, resolve
from benchhost.runner.agent import agent_runner, read_contract
from benchhost.runner.config import OF_AGENT, RunConfig, RunOptions, frozen_selection, new_run_id
from benchhost.runner.default import DefaultRunner
from benchhost.runner.given import GivenTasks
from benchhost.runner.plugins import find_runner, recorded_params, runner_of
from benchhost.runner.progress import Progress
from benchhost.runner.run import Outcome, Run, stored_config
from benchhost.runner.source import Source
from benchhost.settings import Settings
from benchhost.store import OPERATOR, RunRecord
from benchhost.tasks import select

Watch = Callable[[Progress], Awaitable[None]]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session of a run, ordered at the command line.

    ``recorded`` is the run that is carried on, if there is one already, and ``run_id`` the id of a new one,
    ``None`` to have one made. Without a ``selection`` the tasks are those of the recorded run. Without
    ``asks_model`` the model is not even looked for. ``trusted`` is for runs that the operator began, see
    :class:`~benchhost.runner.local.LocalSource`.
    """

    order: Order
    settings: Settings
    options: RunOptions = RunOptions()
    selection: Selection | None = Selection()
    run_id: str | None = None
    recorded: RunRecord | None = None
    label: str = ""
    token: str | None = None
    checks: bool = True
    asks_model: bool = True
    trusted: bool = True

    async def carry_out(self, watch: Watch, tell: Callable[[str], None]) -> Outcome:
        """Carry the run out while ``watch`` shows its progress; ``tell`` says single lines to the person.

        Raises what :meth:`benchhost.runner.run.Run.execute` and the preflight raise.
        """
        log.configure("warning", self.settings.log_format)
        log.register_secret(self.token)
        async with AsyncExitStack() as stack:
            limiter = Limiter(self.order.max_connections)
            model = await self._model(stack, self.order.model, limiter, tell)
            judge = None if self.order.judge is None else await self._model(stack, self.order.judge, Limiter(), tell)
            tenant = OPERATOR if self.recorded is None else self.recorded.tenant
            opened = opened_source(self.order, self.settings, token=self.token, tenant=tenant, trusted=self.trusted)
            store, source = await stack.enter_async_context(opened)
            name, runner = self._runner(source, model)
            source = await _of_runner(self.order, source, runner)
            if self.asks_model:
                await self._sandboxes_ready(source)
            config = self._config(source, name, runner, asked=not isinstance(model, NotAsked))
            prices = load_prices(None if self.order.prices is None else Path(self.order.prices))
            if self.checks and not isinstance(model, NotAsked):
                asked_for = None if self.options.max_cost is None else prices
                for each in [model] if judge is None else [model, judge]:
                    try:
                        await preflight(each, source, config, tell, asked_for)
                    except ModelAuthFailed as error:
                        error.args = (f"{error}. {self._where_its_key_is(each.name)}",)
                        raise
            run = Run(
                self.run_id or new_run_id(config),
                config,
                store=store,
                source=source,
                runner=runner,
                model=model,
                judge=judge,
                state=self.settings.state,
                options=self.options,
                prices=prices,
                limiter=None if self.order.model.startswith("scripted/") else limiter,
                label=self.label,
                tenant=tenant,
                order=msgspec.structs.replace(self.order, params=config.params) if self.trusted else None,
            )
            return await _executed(run, watch, tell)

    async def _model(self, stack: AsyncExitStack, name: str, limiter: Limiter, tell: Callable[[str], None]) -> Model:
        if not self.asks_model:
            return NotAsked(name, "in a session that generates nothing")
        order = self.order
        own = name == order.model  # the address is that of the model, not of the judge
        key = _key(order.api_key_variable) if own else None
        try:
            model = resolve(
                name,
                os.environ,
                base_url=order.base_url if own else None,
                api_key=key,
                limiter=limiter,
                cache=None if order.cache is None else Path(order.cache),
            )
        except UsageError as error:
            if order.agent is None:
                raise
            tell(f"The agent must reach {name} by itself, since it cannot be lent to it: {error}")
            return NotAsked(name, f"here: {error}")
        stack.push_async_callback(model.aclose)
        located = locate(name, os.environ, base_url=order.base_url if own else None, api_key=key)
        log.register_secret(None if located is None else located[1])
        return model

    def _where_its_key_is(self, model: str) -> str:
        own = model == self.order.model
        if own and self.order.api_key_variable is not None:
            return f"Its key is read from {self.order.api_key_variable}"
        if own and self.order.base_url is not None:
            return "No key was sent: for --base-url, --api-key-variable names the variable that holds one"
        return f"Its key is read from {' or '.join(key_variables(model, os.environ))}"

    def _runner(self, source: Source, model: Model) -> tuple[str, Runner[Any]]:
        """Find the runner, or the agent, and give it its parameters.

        Raises :class:`~benchhost.errors.UsageError`, also for what cannot work with the benchmark.
        """
        order = self.order
        judged_there = source.instances is not None and source.instances.judged
        if order.agent is None and (order.runner or "").startswith(OF_AGENT):
            raise UsageError(
                f"the {order.runner} was sent to the host by a caller, and the host alone carries this run on: "
                "benchhost serve --allow-runs --allow-sandboxes --resume-runs"
            )
        if order.agent is None:
            plugin = find_runner(order.benchmark, order.runner)
            if judged_there and plugin.cls is DefaultRunner:
                raise UsageError(
                    f"{order.benchmark} judges what is done in a sandbox, and the default runner only asks the model: "
                    "choose an agent with --agent PATH, or a runner with --runner NAME"
                )
            name, runner = plugin.name, runner_of(plugin.cls, order.params)
        else:
            lends = not isinstance(model, NotAsked)
            path = Path(order.agent)
            contract, folder = read_contract(path), path if path.is_dir() else None
            makes_text = not judged_there
            agent = agent_runner(contract, folder, order.params, order.model, makes_text=makes_text, lends=lends)
            name, runner = f"{OF_AGENT}{agent.name}", agent
        if judged_there and not self.options.evaluate:
            raise UsageError(
                f"--skip-eval: {order.benchmark} judges what was done in a sandbox, and none is kept after its attempt"
            )
        return name, runner

    async def _sandboxes_ready(self, source: Source) -> None:
        """Make sure of sandboxes, where every attempt needs one: what is wrong with them all is told once.

        Raises :class:`~benchhost.errors.UsageError` and :class:`~benchhost.errors.SandboxError`.
        """
        order, instances = self.order, source.instances
        if order.agent is None and (instances is None or not instances.judged):
            return
        if instances is None:
            why = (
                f"{order.benchmark} does not say in which its tasks are attempted"
                if source.kind == "benchmark"
                else f"there are none for tasks of a {source.kind}"
            )
            raise UsageError(f"--agent: an agent works in a sandbox, and {why}")
        if order.host is None and self.settings.sandbox is None:
            raise UsageError(
                "the tasks are attempted in sandboxes, and there are to be none: the setting sandbox is none"
            )
        if self.checks:
            await instances.ready()

    def _config(self, source: Source, runner_name: str, runner: Runner[Any], *, asked: bool) -> RunConfig:
        """Resolve the configuration to the last value; ``asked`` says whether the model is."""
        order = self.order
        was = None if self.recorded is None else stored_config(self.recorded)
        if self.selection is not None:
            chosen = self.selection.of(source)
            tasks = frozen_selection(chosen, source.ids)
        else:
            assert was is not None
            tasks = was.tasks
        if self.options.only is not None:
            ids = source.ids if tasks is None else tasks
            select(ids, task_ids=sorted(self.options.only), known=frozenset(ids))
        if asked:
            key = _key(order.api_key_variable)
            located = locate(order.model, os.environ, base_url=order.base_url, api_key=key)
            base_url = None if located is None else located[0].base_url
        else:
            base_url = None if was is None else was.base_url
        return RunConfig(
            benchmark=source.benchmark,
            dataset=source.dataset,
            dataset_version=source.version,
            source=source.kind,
            host=source.host,
            evaluator_version=source.evaluator_version,
            model=order.model,
            base_url=base_url,
            sampling=order.sampling,
            judge=order.judge,
            runner=runner_name,
            runner_version=runner.version,
            params=recorded_params(runner),
            epochs=order.epochs,
            timeout=order.timeout,
            tasks=tasks,
            task_count=len(source.ids if tasks is None else tasks),
        )


class NotAsked:
    """Stands for a model of which neither key nor file is needed; ``why`` it is not asked."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Refuse."""
        raise ModelRequestRefused(f"{self.name} is not asked {self._why}")

    async def aclose(self) -> None:
        """Do nothing."""


async def _of_runner(order: Order, source: Source, runner: Runner[Any]) -> Source:
    """Take the tasks of the runner, if it has its own and no others were asked for."""
    if order.dataset is not None or order.dataset_file is not None or order.problem is not None:
        return source
    tasks = await anyio.to_thread.run_sync(lambda: None if (found := runner.load_tasks()) is None else list(found))
    return source if tasks is None else GivenTasks.from_runner(source, tasks)


async def _executed(run: Run, watch: Watch, tell: Callable[[str], None]) -> Outcome:
    watching = asyncio.ensure_future(watch(run.progress))
    try:
        _heed_signals(run, tell)
        return await run.execute()
    except BenchhostError as error:
        if run.progress.total:  # else it was not even begun
            error.args = (f"{error}. What is recorded is kept; carry it on with: benchhost runs resume {run.id}",)
        raise
    finally:
        await watching


def _heed_signals(run: Run, tell: Callable[[str], None]) -> None:
    """Have Ctrl-C, and the signal that ends a process, stop the run: once gracefully, twice at once.

    The third ends this process, whatever it is closing. That is so until the event loop ends, and not only the run.
    """
    heard = 0

    def stop(number: signal.Signals) -> None:
        nonlocal heard
        heard += 1
        if heard == 1 and run.progress.stopping is None:
            tell("Stopping: what is under way is finished. Press Ctrl-C again to stop at once.")
        elif heard <= 2:
            tell("Stopping at once. Press Ctrl-C again to leave without closing anything.")
        else:
            tell(f"Left without closing anything. What is recorded is kept: benchhost runs resume {run.id}")
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        run.stop()

    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop, each)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise UsageError(f"the variable {variable}, which is to hold the key, is not set")
    return os.environ[variable]
