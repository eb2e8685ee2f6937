"""What it means for a run that a host did not judge."""

from __future__ import annotations

import asyncio

from benchhost.contract import EvaluationStatus
from benchhost.errors import ClientError, HostBusy, TokenRefused
from benchhost.runner.source import Verdict

LONGEST_WAIT = 300.0
"""The most seconds that a host may ask to wait before it is asked again; beyond that, the evaluation is given up."""

ABOUT_THE_CONTENT = frozenset({400, 404, 413, 422})
"""What a host answers when something in a batch is wrong: a task that it does not know, or too much at once."""


async def is_worth_waiting(error: ClientError) -> bool:
    """Wait as long as a host at a limit asks; the client has asked several times by then, and a long run still can."""
    at_a_limit = isinstance(error, HostBusy) and error.status in (429, None)  # a WebSocket that was closed has none
    if not at_a_limit or (error.retry_after or 0.0) > LONGEST_WAIT:
        return False
    await asyncio.sleep(error.retry_after or 1.0)
    return True


def failed(error: ClientError) -> Verdict:
    """Make the verdict on a response that the host did not judge."""
    kind = error.problem or error.slug
    ours = error.status not in ABOUT_THE_CONTENT or isinstance(error, TokenRefused)
    status = EvaluationStatus.INFRA_ERROR if ours else EvaluationStatus.ERROR
    return Verdict(status=status, kind=kind, errors=(str(error),))
