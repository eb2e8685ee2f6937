"""What is submitted to ``/v1/evaluate``: text that is judged as it is, or something to be judged in a fresh sandbox."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchhost.errors import NotOffered, PayloadRefused, SandboxUnavailable
from benchhost.evaluation.fresh import Content, InFreshSandbox, Inline
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.limits import Gate, Limits
from benchhost.evaluation.outcomes import Declined
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.requests import Context, Submission
from benchhost.evaluation.work import Work
from benchhost.server.problems import Conflict, NotFound
from benchhost.uploads import Place, Uploads
from benchhost.wire.vals import EvaluateRequest

NO_ARTIFACT = "Submission artifact not found for this evaluation."
"""Said alike of what is not there and of what is another's."""

CHANGED = "What was uploaded was replaced or deleted before it was placed in its sandbox. Submit it again."

AT_ONCE = 4
"""How many uploads a worker holds in memory at once, each as large as one may be; tenants take turns."""

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
    turns: Gate,
    context: Context,
    request: EvaluateRequest,
) -> Submission | Work:
    """Make what is to be judged of a request. What was uploaded is read when it is its turn.

    It is the bytes that are judged and told from others, not the key: of what is put there anew, it is judged anew.

    Raises :class:`~benchhost.errors.PayloadRefused`, :class:`~benchhost.server.problems.NotFound`,
    :class:`~benchhost.server.problems.Conflict`, :class:`~benchhost.errors.SandboxUnavailable`, and what
    :meth:`~benchhost.uploads.Uploads.digest` raises.
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
    content: Content
    if data is not None:
        content = Inline(data)
    else:
        assert uploads is not None
        sha256 = await uploads.digest(benchmark.name, payload.data)
        if sha256 is None:
            raise NotFound(NO_ARTIFACT)
        content = Uploaded(uploads, turns, context.tenant, benchmark.name, payload.data, sha256)
    if payload.sha256 is not None and payload.sha256 != content.sha256:
        raise Conflict(f"What was submitted has the SHA-256 {content.sha256}, not the one that was said.")
    return InFreshSandbox(request.task_id, payload.type, schema, content, sandboxes, context.tenant)


class Uploaded:
    """An upload: what waits to be judged of it is its key and its digest, and it is in memory while it is placed."""

    def __init__(self, uploads: Uploads, turns: Gate, tenant: str, benchmark: str, key: str, sha256: str) -> None:
        self.sha256 = sha256
        self._uploads = uploads
        self._turns = turns
        self._tenant = tenant
        self._benchmark = benchmark
        self._key = key

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bytes]:
        """Wait for the tenant's turn, and read it.

        Raises :class:`~benchhost.evaluation.outcomes.Declined` when it is not there any more, and what
        :meth:`~benchhost.uploads.Uploads.read` raises.
        """
        await self._turns.wait(tenant=self._tenant)
        try:
            data = await self._uploads.read(self._benchmark, self._key)
            if data is None or await asyncio.to_thread(_sha256, data) != self.sha256:
                raise Declined(CHANGED)
            yield data
        finally:
            self._turns.give_back()


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


def turns_of_uploads() -> Gate:
    """Make what lets :data:`AT_ONCE` uploads be read at once, by turns those of each tenant."""
    return Gate("uploads", Limits(), AT_ONCE)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
