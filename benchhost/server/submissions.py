"""What is submitted to ``/v1/evaluate``: text that is judged as it is, or something to be judged in a fresh sandbox."""

from __future__ import annotations

import base64
import hashlib
import re

from benchhost import contract
from benchhost.errors import NotOffered, PayloadRefused, SandboxUnavailable
from benchhost.evaluation.fresh import InFreshSandbox
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.requests import Context, Submission
from benchhost.evaluation.work import Work
from benchhost.server.bodies import Room
from benchhost.server.problems import Conflict, NotFound
from benchhost.uploads import Place, Uploads
from benchhost.wire.vals import EvaluateRequest

NO_ARTIFACT = "Submission artifact not found for this evaluation."
"""Said alike of what is not there and of what is another's."""

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


async def submitted(
    benchmark: HostedBenchmark,
    sandboxes: OwnSandboxes,
    uploads: Uploads | None,
    room: Room,
    context: Context,
    request: EvaluateRequest,
) -> Submission | Work:
    """Make what is to be judged of a request. What was uploaded is held in the ``room``.

    It is the bytes that are judged and told from others, not the key: of what is put there anew, it is judged anew.

    Raises :class:`~benchhost.errors.PayloadRefused`, :class:`~benchhost.server.problems.NotFound`,
    :class:`~benchhost.server.problems.Conflict`, :class:`~benchhost.errors.SandboxUnavailable`, and what
    :meth:`~benchhost.uploads.Uploads.read` raises.
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
    place = Place(context.tenant, context.dataset, request.run_id, request.task_id)
    if data is None and (uploads is None or not place.has(payload.data)):
        raise NotFound(NO_ARTIFACT)
    if sandboxes.name is None:
        raise SandboxUnavailable("submissions are judged in sandboxes, and the setting `sandbox` is none")
    if data is None:
        assert uploads is not None
        data = await uploads.read(benchmark.name, payload.data, room.take)
    if data is None:
        raise NotFound(NO_ARTIFACT)
    if payload.sha256 is not None and payload.sha256 != hashlib.sha256(data).hexdigest():
        raise Conflict(f"What was submitted does not have the SHA-256 that it should: it has {len(data)} bytes.")
    return InFreshSandbox(request.task_id, contract.Submission(payload.type, schema, data), sandboxes, context.tenant)


def artifact(data: str) -> bytes | None:
    """Take the bytes of an artifact out of a ``data:`` URL (RFC 2397); ``None`` for the key of an upload.

    Raises :class:`~benchhost.errors.PayloadRefused`.
    """
    if not data:
        raise PayloadRefused("An artifact submission needs data: a data: URL in Base64, or the key of an upload.")
    inline = _INLINE.match(data)
    if inline is None:
        return None
    try:
        return base64.b64decode(data[inline.end() :], validate=True)
    except ValueError:
        raise PayloadRefused("The data: URL of the artifact is not in Base64.") from None
