"""What is submitted to ``/v1/evaluate``: text that is judged as it is, or something to be judged in a fresh sandbox."""

from __future__ import annotations

import base64
import re

from benchhost import contract
from benchhost.errors import NotOffered, PayloadRefused, SandboxUnavailable
from benchhost.evaluation.evaluator import Context, Submission
from benchhost.evaluation.fresh import InFreshSandbox
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.work import Work
from benchhost.server.problems import NotFound
from benchhost.wire.vals import EvaluateRequest

_INLINE = re.compile(r"data:[\w.+/-]*;base64,")


def must_take_submissions(benchmark: HostedBenchmark) -> None:
    """Make sure that something can be submitted to a benchmark.

    Raises :class:`~benchhost.errors.NotOffered`.
    """
    if benchmark.eval_mode == "sandbox" and not benchmark.accepted:
        raise NotOffered(
            f"The benchmark {benchmark.name} takes no submissions: it judges what was done in a sandbox, "
            "by way of the WebSocket /ws/evaluate-instance."
        )


def submitted(
    benchmark: HostedBenchmark, sandboxes: OwnSandboxes, context: Context, request: EvaluateRequest
) -> Submission | Work:
    """Make what is to be judged of a request.

    Raises :class:`~benchhost.errors.PayloadRefused`, :class:`~benchhost.server.problems.NotFound` and
    :class:`~benchhost.errors.SandboxUnavailable`.
    """
    payload = request.payload
    if benchmark.eval_mode == "text":
        if payload.type != "text":
            raise PayloadRefused(f"This benchmark does not accept {payload.type} submissions.")
        return Submission(request.task_id, payload.data)
    if payload.type not in benchmark.accepted:
        raise PayloadRefused(f"This benchmark does not accept {payload.type} submissions.")
    schema = payload.schema if isinstance(payload.schema, str) else str(payload.schema_id)
    known = benchmark.accepted[payload.type]
    if schema not in known:
        shown = schema[:200]
        raise PayloadRefused(
            f"This benchmark does not accept {payload.type} schema {shown}. Use one of: {', '.join(known)}."
        )
    data = payload.data.encode() if payload.type == "text" else artifact(payload.data)
    if sandboxes.name is None:
        raise SandboxUnavailable("submissions are judged in sandboxes, and the setting `sandbox` is none")
    return InFreshSandbox(request.task_id, contract.Submission(payload.type, schema, data), sandboxes, context.tenant)


def artifact(data: str) -> bytes:
    """Take the bytes of an artifact out of a ``data:`` URL (RFC 2397).

    Anything else is the key of an upload, and this host takes none: there is nothing under any key.
    Raises :class:`~benchhost.errors.PayloadRefused` and :class:`~benchhost.server.problems.NotFound`.
    """
    if not data:
        raise PayloadRefused("An artifact submission needs data: a data: URL in Base64, or the key of an upload.")
    inline = _INLINE.match(data)
    if inline is None:
        raise NotFound("Submission artifact not found for this evaluation.")
    try:
        return base64.b64decode(data[inline.end() :], validate=True)
    except ValueError:
        raise PayloadRefused("The data: URL of the artifact is not in Base64.") from None
