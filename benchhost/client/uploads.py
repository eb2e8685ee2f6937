"""What is uploaded before it is judged."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchhost.client.faults import Request
from benchhost.client.routes import Routes
from benchhost.errors import UsageError
from benchhost.wire import vals


async def upload(routes: Routes, content: bytes | Path, named: Mapping[str, str]) -> tuple[str, str]:
    """Upload bytes, or a file; return the key under which they are kept for a while, and their SHA-256.

    ``named`` has what they belong to: the ``run_id``, the ``task_id``, the ``filename`` and perhaps the ``dataset``.
    """
    about = await asyncio.to_thread(_about, content)
    filename = named["filename"]
    ask = routes.post(f"Asking where to upload {filename}", "/v1/submissions/upload-url", {**named, **about})
    told = (await routes.ask(ask)).read(ask, vals.UploadUrl)
    put = Request(
        what=f"Uploading {filename}", method="PUT", url=told.url, timeout=routes.evaluation_timeout, accept="*/*"
    )
    await routes.transport.put(put, content)
    return told.key, about["sha256"]


def _about(content: bytes | Path) -> dict[str, Any]:
    """Say what is going to be uploaded: its size and its digest."""
    if isinstance(content, bytes):
        return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"size": file.tell(), "sha256": digest}
    except OSError as error:
        raise UsageError(f"{content} cannot be uploaded: {error.strerror}") from error
