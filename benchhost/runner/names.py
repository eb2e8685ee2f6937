"""Names of tasks as names of folders."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

LONGEST = 150


def folder_name(task_id: str) -> str:
    """Return the name of a task's folder: its id, with whatever a path could misread in percent-encoding.

    Two ids never have the same name. One that would be too long for a file system is cut and ends in a
    digest of the whole.
    """
    name = quote(task_id, safe=" !#$&'()+,;=@[]{}")
    if name.startswith("."):
        name = f"%2E{name[1:]}"  # neither "." nor "..", and not hidden
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 18]}~{hashlib.sha256(task_id.encode()).hexdigest()[:16]}"
    return name
