"""What a run is: its configuration, resolved to the last value, and how it differs from another."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from benchhost.contract import Sampling
from benchhost.errors import UsageError

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
"""What a run may be called: it is the name of a folder too."""

SourceKind = Literal["benchmark", "host", "file", "problem", "runner"]
"""Where tasks come from: the installed benchmark, a remote host, a file, one problem, or the runner itself."""

_canonical = msgspec.json.Encoder(order="deterministic").encode


OF_AGENT = "agent "
"""How the name of a runner begins that is an agent; no installed runner has such a name."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the results of a run depend on, and no secret. Two runs of one configuration are comparable.

    ``dataset_version`` is a label of the dataset's content. ``host`` is the address of a remote host and
    ``base_url`` that of the model, where there is one. ``params`` are those of the runner. ``timeout``
    is in seconds, for tasks that have none of their own. ``tasks`` are the ids of the selected tasks in
    the dataset's order, or ``None`` for all ``task_count`` of them.
    """

    benchmark: str
    dataset: str = "default"
    dataset_version: str
    source: SourceKind = "benchmark"
    host: str | None = None
    evaluator_version: str
    model: str
    base_url: str | None = None
    sampling: Sampling = Sampling()
    judge: str | None = None
    runner: str = "default"
    runner_version: str = "0"
    params: dict[str, Any] = {}
    epochs: int = 1
    timeout: float | None = None
    tasks: tuple[str, ...] | None = None
    task_count: int

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise UsageError(f"the number of epochs must be at least 1, not {self.epochs}")
        if self.timeout is not None and not 0 < self.timeout < math.inf:  # JSON has no infinite number
            raise UsageError(f"the timeout must be more than 0 seconds and finite, not {self.timeout:g}")

    @property
    def digest(self) -> str:
        """SHA-256 of the configuration, in hexadecimal."""
        return hashlib.sha256(_canonical(self)).hexdigest()

    def differences(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Return the fields in which ``other`` differs, each with this value and the other's."""
        return {
            name: (getattr(self, name), getattr(other, name))
            for name in self.__struct_fields__
            if getattr(self, name) != getattr(other, name)
        }


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is carried out this time; none of it changes what an attempt would give.

    ``concurrency`` is the most attempts that are generated at once, ``evaluations`` the most that are
    evaluated at once. ``max_cost`` (USD) and ``max_tokens_total`` stop the run before it takes more;
    what it took before counts. ``only`` restricts what is done now to some of the run's tasks.
    Without ``generate`` nothing is asked of the model, without ``evaluate`` nothing is judged.

    ``retry`` names what is to be attempted again although it is finished: statuses (``max_time``,
    ``judge_error``, …) and classes of errors (``context_overflow``, ``ValueError``, …).
    ``allow_drift`` names the fields of :class:`RunConfig` that may differ from those that the run
    began with.

    Raises :class:`~benchhost.errors.UsageError` for numbers that are too small.
    """

    concurrency: int = 16
    evaluations: int = 64
    max_cost: float | None = None
    max_tokens_total: int | None = None
    only: frozenset[str] | None = None
    generate: bool = True
    evaluate: bool = True
    retry: frozenset[str] = frozenset()
    allow_drift: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in ("concurrency", "evaluations", "max_cost", "max_tokens_total"):
            value = getattr(self, name)
            least = 0 if name.startswith("max_") else 1
            if value is not None and not value >= least:
                raise UsageError(f"{name} must be at least {least}, not {value!r}")
        if unknown := sorted(self.allow_drift - set(RunConfig.__struct_fields__)):
            known = ", ".join(RunConfig.__struct_fields__)
            raise UsageError(f"a run has no {', '.join(unknown)} that could drift; it has: {known}")


def new_run_id(config: RunConfig, now: datetime | None = None) -> str:
    """Make the id of a new run: ``<benchmark>-<model>-<UTC>-<six digits>``; no two are the same."""
    now = now or datetime.now(UTC)
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", config.model).strip("-.")[:50] or "model"
    tail = hashlib.sha256(f"{config.digest} {secrets.token_hex(16)}".encode()).hexdigest()[:6]
    return f"{config.benchmark}-{slug}-{now:%Y%m%dT%H%M%SZ}-{tail}"


def checked_run_id(run_id: str) -> str:
    """Return a run's id if it can be one.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    if not RUN_ID.match(run_id):
        raise UsageError(
            f"a run's id is up to 128 letters, digits, '.', '_' and '-', the first a letter or digit, not {run_id!r}"
        )
    return run_id


def frozen_selection(chosen: Iterable[str], all_ids: Iterable[str]) -> tuple[str, ...] | None:
    """Return chosen ids as :attr:`RunConfig.tasks` has them: each once, in the dataset's order, ``None`` for all."""
    wanted = set(chosen)
    ids = list(all_ids)
    picked = tuple(task_id for task_id in ids if task_id in wanted)
    return None if len(picked) == len(ids) else picked
