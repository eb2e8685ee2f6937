"""The operations that score results, of which there may be a hundred thousand."""

from __future__ import annotations

import abc
import itertools
from typing import Any

import msgspec

from benchhost.contract import Benchmark, FinalScore
from benchhost.errors import HookReturned, UnknownTask
from benchhost.evaluation.frames import Answer
from benchhost.evaluation.operation import Operation
from benchhost.scoring import final_score, summarise
from benchhost.wire.results import Given, of_final_score, of_score, whole
from benchhost.wire.vals import FinalScoreAnswer, ScoreAnswer


class _Scoring(Operation):
    """Score results; the body is that of the HTTP request, since decoding a large one would hold up the host.

    The dataset is the one that the call names, if the host has looked, and else the one that the body does.
    """

    hook = "calculate_final_score"
    _given: Given

    def end(self, value: Any) -> Answer:
        if value is None:
            value = final_score(summarise(self._given.results))
        if not isinstance(value, FinalScore):
            raise self.wrong(value, "a benchhost.FinalScore or None")
        try:
            value.__post_init__()  # the score may have been changed since it was made
            return Answer(self.number, msgspec.json.encode(self._answer(float(value.score), value.metadata)))
        except Exception as error:  # it may hold anything, and encoding it run any code of the author's
            raise HookReturned(
                f"{self._loaded.name}: {self.hook} returned a FinalScore that cannot be sent: {error}"
            ) from error

    def _score(self, given: Given) -> Any:
        named = (given.dataset or "").replace("\n", " ")  # a key of ours is not for callers to make
        dataset = self.dataset(self._dataset or named)
        ids, tasks = given.task_ids, dataset.tasks
        if len(ids) != len(tasks) or ids != [*tasks]:  # that these are all is quicker to see than that each is one
            unknown = next(itertools.filterfalse(tasks.__contains__, ids), None)
            if unknown is not None:
                raise UnknownTask(f"Task ID not found: {unknown[:200]}")
        self._given = given
        if type(self._loaded.benchmark).calculate_final_score is Benchmark.calculate_final_score:
            return None  # nobody needs the results as a hook would be given them
        results = [None if result is None else whole(result) for result in given.results]
        return self.ask(dict(zip(given.task_ids, results, strict=True)), dataset.name)

    @abc.abstractmethod
    def _answer(self, score: float, metadata: dict[str, Any]) -> msgspec.Struct: ...


class FinalScoreOf(_Scoring):
    """Score bare results: ``POST /final-score/``."""

    def begin(self) -> Any:
        return self._score(of_final_score(self._body))

    def _answer(self, score: float, metadata: dict[str, Any]) -> FinalScoreAnswer:
        return FinalScoreAnswer(self._given.task_ids, score, metadata)


class ScoreOf(_Scoring):
    """Score the verdicts of a run: ``POST /v1/score``. The hook is given the same shape as by the other route."""

    def begin(self) -> Any:
        return self._score(of_score(self._body))

    def _answer(self, score: float, metadata: dict[str, Any]) -> ScoreAnswer:
        return ScoreAnswer(self._given.run_id, self._given.task_ids, score, metadata)
