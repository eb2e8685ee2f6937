"""What every store promises."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from benchhost.store.access_protocol import AccessStore
from benchhost.store.quota_protocol import QuotaStore
from benchhost.store.records import Claimed, Evaluation, Tried, Try
from benchhost.store.run_protocol import RunStore


class Store(RunStore, AccessStore, QuotaStore):
    """Keeps evaluations, runs and access.

    It is used from one event loop; several processes may have the same store open.

    Every method but :meth:`close` raises :class:`~benchhost.errors.StoreFailed` when the store cannot
    read or keep a record, or is not open. The records of one call are kept together or not at all. A
    call that is cancelled may still be carried out.
    """

    @abc.abstractmethod
    async def open(self) -> None:
        """Make the store ready for use. What does not exist yet is created."""

    @abc.abstractmethod
    async def close(self) -> None:
        """Keep what was asked to be kept before this call, then let go of everything."""

    @abc.abstractmethod
    async def claim(self, claims: Sequence[Evaluation]) -> list[Claimed]:
        """Ask to judge responses; the answers come in the order of the claims, of which an outcome is not looked at.

        A claim is granted (``mine``) when its evaluation is new, or when its last attempt ended in
        ``error`` or was ``interrupted``: it is then ``running``, and this is the next attempt. It is
        not granted when the evaluation is ``scored`` or ``running``, so of several claims of one id
        one is granted. A granted claim outlives a killed process, but perhaps not a power cut.
        """

    @abc.abstractmethod
    async def finish(self, evaluations: Sequence[Evaluation]) -> list[bool]:
        """Record what came of evaluations, and say of each whether it was recorded; when this returns, it is on disk.

        It is recorded when nobody has claimed the evaluation, or while it is running under the same
        owner, in the same attempt.
        """

    @abc.abstractmethod
    async def evaluation(self, evaluation_id: str) -> Evaluation | None:
        """Return the evaluation of that id, or ``None``. Reads never wait for writes."""

    @abc.abstractmethod
    async def evaluations(self, ids: Sequence[str]) -> dict[str, Evaluation]:
        """Return the evaluations of those ids that are recorded, by id."""

    @abc.abstractmethod
    async def evaluations_under(self, prefix: str) -> list[Evaluation]:
        """Return the evaluations whose ids begin with ``prefix`` (hexadecimal digits), in the order of their ids."""

    @abc.abstractmethod
    async def any_under(self, prefix: str) -> bool:
        """Say whether there is an evaluation whose id begins with ``prefix``, without waiting for anything."""

    @abc.abstractmethod
    async def try_response(self, wanted: Try, most: int | None, *, durable: bool = False) -> Tried:
        """Count a response of a tenant to a task, of which ``most`` different ones are allowed in all.

        One that was counted before is allowed, and not counted again. Of several processes that ask at once, no
        more are allowed than that. What was allowed outlives a killed process, but perhaps not a power cut, unless
        it is to be ``durable`` or an outcome was recorded after it.
        """

    @abc.abstractmethod
    async def keep_resume_state(self, evaluation: Evaluation, state: bytes | None) -> None:
        """Keep how far a running evaluation has come, in the place of what was kept before; ``None`` forgets it.

        It is kept only while the evaluation is running under its owner, in its attempt. It outlives a killed
        process, but perhaps not a power cut.
        """

    @abc.abstractmethod
    async def resume_state(self, evaluation_id: str) -> bytes | None:
        """Return how far an evaluation had come when it was last said."""

    @abc.abstractmethod
    async def owners(self) -> set[str]:
        """Return the owners of running evaluations."""

    @abc.abstractmethod
    async def interrupt(self, owner: str, evaluation_id: str | None = None) -> int:
        """Mark the running evaluations of an owner that is gone, or one of them, as interrupted.

        Returns how many there were.
        """

    @abc.abstractmethod
    async def counts(self) -> dict[tuple[str, str], int]:
        """Count the evaluations of each benchmark and status: ``{(benchmark, status): number}``.

        Reads every record, so it is for an operator's question rather than for every request.
        """

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
