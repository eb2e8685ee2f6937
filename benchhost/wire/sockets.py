"""What a client says first on a WebSocket, and how the server's chunks are spelt."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from benchhost.wire.vals import RunName

ChunkType = Literal["message", "error", "result", "eval_resume_state", "dataset_version"]
"""Every type of chunk. Older clients know not all of them, and break at one that they do not know: the last is only for
clients that have named a version."""

LARGEST_FRAME = 10 * 1024 * 1024
"""The most bytes of a frame that clients accept."""


class InstanceFrame(msgspec.Struct):
    """The first frame of ``/ws/setup-task`` and ``/ws/evaluate-instance``.

    ``instance_id`` is the id of a sandbox, and ``sandbox_provider`` says how it is reached; without it, headers do.
    """

    task_id: str
    instance_id: str
    dataset: str | None = None
    sandbox_provider: dict[str, Any] | None = None
    run_id: RunName | None = None


class ResponseFrame(msgspec.Struct):
    """The first frame of ``/ws/evaluate-response``: a response, or a state from which its judging goes on."""

    task_id: str
    response: str | None = None
    eval_resume_state: dict[str, Any] | None = None
    dataset: str | None = None
    run_id: RunName | None = None


def chunk(kind: ChunkType, data: bytes) -> str:
    """Spell a chunk; ``data`` is JSON."""
    return f'{{"type":"{kind}","data":{data.decode()}}}'
