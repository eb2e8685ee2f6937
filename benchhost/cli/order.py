"""What somebody asks for when they have a model attempt a benchmark, and which tasks they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchhost.client.address import TokenHeader
from benchhost.contract import Sampling
from benchhost.errors import InvalidSlice, UsageError
from benchhost.runner.config import RunConfig
from benchhost.runner.given import text_of
from benchhost.runner.source import Source
from benchhost.store import REQUESTED, RunEvent
from benchhost.tasks import sample, select

ORDER = "order"
"""The kind of the event that keeps an order with its run (:class:`benchhost.runner.run.Run`)."""


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for, without secrets. A run keeps it, so that whoever carries it on need not say it again.

    ``host`` is the address of a remote host; without one the benchmark is run in this process. Of
    ``dataset``, ``dataset_file`` and ``problem`` at most one is given. ``dataset_version`` is the version that was
    pinned, by its label or its fingerprint. ``problem_id`` is the task that a
    problem is. ``agent`` is the path of an agent's contract.
    ``api_key_variable`` names the environment variable that holds the key for ``base_url``.
    """

    benchmark: str
    model: str
    host: str | None = None
    token_header: TokenHeader = "authorization"  # noqa: S105 - a name
    dataset: str | None = None
    dataset_version: str | None = None
    dataset_file: str | None = None
    problem: str | None = None
    problem_id: str | None = None
    base_url: str | None = None
    api_key_variable: str | None = None
    sampling: Sampling = Sampling()
    judge: str | None = None
    runner: str | None = None
    agent: str | None = None
    params: dict[str, Any] = {}
    epochs: int = 1
    timeout: float | None = None
    max_connections: int | Literal["auto"] = "auto"
    max_cost: float | None = None
    max_tokens_total: int | None = None
    cache: str | None = None
    prices: str | None = None

    def __post_init__(self) -> None:
        sources = {"--dataset": self.dataset, "--dataset-file": self.dataset_file, "--problem": self.problem}
        exclusive({flag for flag, value in sources.items() if value is not None})
        runners = {"--runner": self.runner, "--agent": self.agent}
        exclusive({flag for flag, value in runners.items() if value is not None})
        if self.api_key_variable is not None and self.base_url is None:
            raise UsageError("--api-key-variable holds the key for --base-url, which is missing")

    def named(self, problem_id: str) -> Order:
        """Return the order with the id of its problem."""
        return msgspec.structs.replace(self, problem_id=problem_id)


class _Asked(msgspec.Struct):
    """What counts of what a caller asked for (:class:`benchhost.wire.runs.RunRequest`) that is in no configuration."""

    max_connections: int | None = None
    max_cost: float | None = None
    max_tokens_total: int | None = None


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks are meant: by id, from a file of ids, by a slice; then the first ones, or a sample, of these."""

    task_ids: Sequence[str] = ()
    ids_file: Path | None = None
    slice: str | None = None
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        ways = {"TASK_ID": self.task_ids or None, "--ids-file": self.ids_file, "--slice": self.slice}
        exclusive({flag for flag, value in ways.items() if value is not None})
        exclusive({flag for flag, value in (("--limit", self.limit), ("--sample", self.sample)) if value is not None})

    def of(self, source: Source) -> list[str]:
        """Return the chosen ids.

        Raises :class:`~benchhost.errors.UsageError` when there are none, or the file of ids cannot be
        read, and what :func:`benchhost.tasks.select` raises.
        """
        named = list(self.task_ids) or (None if self.ids_file is None else _ids_in(self.ids_file))
        try:
            chosen = select(source.ids, task_ids=named, slice_text=self.slice, known=frozenset(source.ids))
        except InvalidSlice as error:
            wanted = "A:B:C, whole numbers as in Python, such as 0:100:2"
            raise UsageError(f"--slice: expected {wanted}, not {self.slice!r} ({error})") from None
        if self.sample is not None:
            chosen = sample(chosen, self.sample, self.seed)
        chosen = chosen[: self.limit]
        if not chosen:
            raise UsageError(f"no task is chosen; the dataset {source.dataset} has {len(source.ids)} tasks")
        return chosen


def order_of(config: RunConfig, events: Sequence[RunEvent]) -> tuple[Order, bool]:
    """Return the newest order of a recorded run, and whether it has one: a run that was begun over HTTP has none.

    What the caller asked for stands for it there, so that the limits of the run stay its limits.
    """
    asked = _Asked()
    for event in reversed(events):
        if event.kind == ORDER:
            return msgspec.json.decode(event.data, type=Order), True
        if event.kind == REQUESTED:
            asked = msgspec.json.decode(event.data, type=_Asked)
    return (
        Order(
            benchmark=config.benchmark,
            model=config.model,
            host=config.host,
            dataset=None if config.source == "runner" else config.dataset,
            sampling=config.sampling,
            judge=config.judge,
            runner=config.runner,
            params=config.params,
            epochs=config.epochs,
            timeout=config.timeout,
            max_connections=asked.max_connections or "auto",
            max_cost=asked.max_cost,
            max_tokens_total=asked.max_tokens_total,
        ),
        False,
    )


def exclusive(given: set[str]) -> None:
    """Make sure that at most one of some flags is given.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    if len(given) > 1:
        raise UsageError(f"{' and '.join(sorted(given))} are mutually exclusive: give one of them")


def _ids_in(path: Path) -> list[str]:
    return [line.strip() for line in text_of(path).splitlines() if line.strip()]
