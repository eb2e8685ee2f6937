"""What the folder of a sandbox says about it, so that every process finds it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import SandboxInfo
from benchhost.sandbox.local.boxes import LABEL

_ID = re.compile(r"[0-9a-f]{32}")


def is_id(text: str) -> bool:
    """Say whether a sandbox may have this id; nothing else may become a path."""
    return _ID.fullmatch(text) is not None


def labelled(folder: Path) -> list[SandboxInfo]:
    """Read what is known of all sandboxes of a folder, the oldest first."""
    places = folder.iterdir() if folder.is_dir() else ()
    found = [info for info in map(read_label, places) if info is not None]
    return sorted(found, key=lambda info: info.created_at or 0)


def read_label(folder: Path) -> SandboxInfo | None:
    """Read what is known of a sandbox; ``None`` when it is gone, or not ready yet."""
    try:
        label: dict[str, Any] = msgspec.json.decode((folder / LABEL).read_bytes())
    except FileNotFoundError:
        return None
    return SandboxInfo(
        id=label["id"],
        provider="local",
        state="running",
        labels=label["labels"],
        image=label["image"],
        created_at=label["created_at"],
    )
