"""What a tenant on trial is shown: enough to see that it works, and no more.

Each is made anew from what is meant to be shown, so that whatever is added to an answer later is not.
"""

from __future__ import annotations

import msgspec

from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.wire.vals import PublicResult, PublicTask, ScoreAnswer

ERROR = "error"
"""What stands in the place of each error."""

_encode = msgspec.json.Encoder().encode
_result = msgspec.json.Decoder(PublicResult)


_task = msgspec.json.Decoder(PublicTask)
_score = msgspec.json.Decoder(ScoreAnswer)


async def result_of_trial(benchmark: HostedBenchmark, result: bytes) -> bytes:
    """Make of an encoded result what the benchmark shows of it: its score and whether that passes, unless it says.

    Raises :class:`~benchhost.errors.GradingFailed` when its hook fails.
    """
    if benchmark.offers("project_trial_result"):
        return (await benchmark.call("project_trial_result", body=result)).data
    whole = _result.decode(result)
    return _encode(PublicResult(whole.score, whole.passed, {}, None))


def task_of_trial(public: bytes) -> bytes:
    """Make of an encoded task its id, question and timeout."""
    return _encode(_task.decode(public))


def score_of_trial(answer: bytes) -> bytes:
    """Make of an encoded score one without metadata."""
    whole = _score.decode(answer)
    return _encode(ScoreAnswer(whole.run_id, whole.tasks_evaluated, whole.final_score, {}))
