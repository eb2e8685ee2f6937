"""From a claim to a recorded outcome."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from benchhost.errors import BenchhostError, StoreFailed
from benchhost.evaluation.claims import Claims
from benchhost.evaluation.events import Events
from benchhost.evaluation.frames import Answer, Item, Note, Resumed, State
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.limits import Gate
from benchhost.evaluation.outcomes import Declined
from benchhost.evaluation.work import Work
from benchhost.log import get_logger
from benchhost.store import Evaluation, Store, running
from benchhost.tasks import key_of

_log = get_logger()

TOGETHER = 0.02
"""Seconds for which the outcomes of a batch wait for each other, so that one commit keeps them."""

Outcomes = list[tuple[Evaluation, Answer | Exception]]
"""Attempts with what came of them."""

Tell = Callable[[list[Evaluation]], None]
"""What is given the evaluations that have ended, when they are on disk."""


class Judging:
    """Has responses judged, and records what comes of it; what hooks say meanwhile goes to ``events``."""

    def __init__(self, store: Store, claims: Claims, events: Events) -> None:
        self._store = store
        self._claims = claims
        self._events = events
        self._keeping: dict[str, asyncio.Task[None]] = {}

    async def judge(self, benchmark: HostedBenchmark, claim: Evaluation, what: bytes | Work, gate: Gate) -> Evaluation:
        """Judge one response, or other work, when it is granted to us; or wait for whoever judges it."""
        evaluation = await self._claims.granted(claim)
        if evaluation.status != "running":
            return evaluation
        await gate.wait()
        self._claims.begin([claim.id])
        started = time.monotonic()
        outcome: Answer | Exception
        try:
            outcome = await self._asked(benchmark, evaluation, what)
        except Exception as error:  # nothing that goes wrong may leave an evaluation running for ever
            outcome = error
        finally:
            gate.give_back()
            gate.took(time.monotonic() - started)
        finished, taken = await self._record([(evaluation, outcome)])
        return finished[0] if finished else await self._settled(taken[0])

    async def judge_many(
        self,
        benchmark: HostedBenchmark,
        claims: Mapping[str, Evaluation],
        responses: Mapping[str, bytes],
        gate: Gate,
        tell: Tell,
    ) -> None:
        """Judge many responses of one context, which are given by the ids of their claims."""
        claimed = await self._claims.take(list(claims.values()))
        mine = [each.evaluation for each in claimed if each.mine]
        others = [each.evaluation for each in claimed if not each.mine]
        if done := [evaluation for evaluation in others if evaluation.status == "scored"]:
            tell(done)
        lost: list[Evaluation] = []
        if mine:
            outcomes: asyncio.Queue[Outcomes] = asyncio.Queue()
            recording = asyncio.create_task(self._record_all(outcomes, tell))
            try:
                await self._ask_all(benchmark, mine, responses, gate, outcomes, recording)
                lost = await recording
            finally:
                recording.cancel()

        async def join(id_: str) -> None:
            tell([await self.judge(benchmark, claims[id_], responses[id_], gate)])

        async def settle(ended: Evaluation) -> None:
            tell([await self._settled(ended)])

        waiting: list[Coroutine[Any, Any, None]] = [settle(each) for each in lost]
        waiting += [join(evaluation.id) for evaluation in others if evaluation.status != "scored"]
        for failure in await asyncio.gather(*waiting, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _ask_all(
        self,
        benchmark: HostedBenchmark,
        mine: Sequence[Evaluation],
        responses: Mapping[str, bytes],
        gate: Gate,
        outcomes: asyncio.Queue[Outcomes],
        recording: asyncio.Task[list[Evaluation]],
    ) -> None:
        """Have responses judged, as long as what comes of them can be recorded."""
        items = [Item(each.task, responses[each.id]) for each in mine]
        pieces = benchmark.call_each(
            "evaluate_response",
            dataset=key_of(mine[0].dataset, mine[0].dataset_version),
            items=items,
            allowed=gate,
            on_begin=lambda start, stop: self._claims.begin([each.id for each in mine[start:stop]]),
        )
        async with aclosing(pieces):
            async for ended in pieces:
                if recording.done():
                    return
                outcomes.put_nowait([(mine[position], outcome) for position, outcome in ended])
        outcomes.put_nowait([])

    async def _record_all(self, outcomes: asyncio.Queue[Outcomes], tell: Tell) -> list[Evaluation]:
        """Keep outcomes as they come, until none come; return what was taken from us.

        Those that come within :data:`TOGETHER` are kept together: the disk takes as long for one as for all of them.
        """
        loop = asyncio.get_running_loop()
        lost: list[Evaluation] = []
        more = True
        while more:
            together: Outcomes = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None) as patience:
                    while more := bool(group := await outcomes.get()):
                        if not together:
                            patience.reschedule(loop.time() + TOGETHER)
                        together += group
            if together:
                recorded, taken = await self._record(together)
                lost += taken
                tell(recorded)
        return lost

    async def _asked(self, benchmark: HostedBenchmark, evaluation: Evaluation, what: bytes | Work) -> Answer:
        """Have the benchmark judge something, from where an interrupted attempt had come to, if it said so."""

        def tell(said: Note | State) -> None:
            self._events.tell(evaluation.id, said)
            if isinstance(said, State):
                self._keep(evaluation, said.data)

        state = await self._store.resume_state(evaluation.id) if evaluation.attempt > 1 else None
        dataset = key_of(evaluation.dataset, evaluation.dataset_version)
        try:
            if not isinstance(what, bytes):
                return await what.judge(benchmark, dataset, tell, state)
            operation, body = "evaluate_response", what
            if state is not None:
                operation, body = "resume_response", msgspec.msgpack.encode(Resumed(what.decode(), state))
            return await benchmark.call(operation, dataset=dataset, task=evaluation.task, body=body, tell=tell)
        finally:
            if state is not None or evaluation.id in self._keeping:
                self._keep(evaluation, None)  # an attempt that has come to its end is not resumed
                await self._keeping.pop(evaluation.id)

    def _keep(self, evaluation: Evaluation, state: bytes | None) -> None:
        """Begin to keep a state, after those before it."""
        before = self._keeping.get(evaluation.id)

        async def keep() -> None:
            if before is not None:
                await before
            try:
                await self._claims.record_now(evaluation.id)
                await self._store.keep_resume_state(evaluation, state)
            except StoreFailed as error:  # whether the outcome can be kept is what matters
                _log.warning("a resume state was not kept", evaluation=evaluation.id, cause=str(error))

        self._keeping[evaluation.id] = asyncio.create_task(keep())

    async def _record(self, outcomes: Outcomes) -> tuple[list[Evaluation], list[Evaluation]]:
        """Keep outcomes; return the evaluations that are on disk now, and those that were taken from us meanwhile.

        Another process takes what is running under one that it thinks dead, or what it did not know of.
        """
        self._claims.end([evaluation.id for evaluation, outcome in outcomes if isinstance(outcome, Exception)])
        now = time.time()
        ended = [_ended(evaluation, outcome, now) for evaluation, outcome in outcomes]
        kept = await self._store.finish(ended)
        self._claims.recorded([evaluation.id for evaluation in ended])
        if all(kept):
            return ended, []
        taken = [evaluation for evaluation, recorded in zip(ended, kept, strict=True) if not recorded]
        for evaluation in taken:
            _log.warning("an evaluation was taken by another process", evaluation=evaluation.id)
        return [evaluation for evaluation, recorded in zip(ended, kept, strict=True) if recorded], taken

    async def _settled(self, ended: Evaluation) -> Evaluation:
        """Wait for what becomes of an evaluation that was taken from us; our outcome counts if nobody else has one."""
        claim = running(ended, 1)
        while True:
            evaluation = await self._claims.granted(claim)
            if evaluation.status != "running":
                return evaluation
            ended = msgspec.structs.replace(ended, attempt=evaluation.attempt)
            [recorded] = await self._store.finish([ended])
            if recorded:
                return ended


def _ended(evaluation: Evaluation, outcome: Answer | Exception, now: float) -> Evaluation:
    """Say what came of an attempt."""
    if isinstance(outcome, Answer):
        return msgspec.structs.replace(
            evaluation, status="scored", result=outcome.data, private=outcome.private, finished_at=now
        )
    cause: str | None = None
    if isinstance(outcome, Declined):
        errors = (str(outcome),)
    else:
        cause = str(outcome)
        title = outcome.title if isinstance(outcome, BenchhostError) else BenchhostError.title
        errors = (f"{title}. The response was not scored. Quote evaluation {evaluation.id} to the operator.",)
        _log.error(
            "evaluation failed",
            evaluation=evaluation.id,
            benchmark=evaluation.benchmark,
            task=evaluation.task,
            attempt=evaluation.attempt,
            error=type(outcome).__name__,
            cause=cause,
        )
    return msgspec.structs.replace(evaluation, status="error", errors=errors, cause=cause, finished_at=now)
