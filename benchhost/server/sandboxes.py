"""The provider of the host's own sandboxes, as the settings say it."""

from __future__ import annotations

import os

from benchhost.server.daytona import own_daytona_config
from benchhost.settings import Settings

SANDBOXES, IMAGES = "sandboxes", "images"
"""Folders in the state folder."""


def own_provider(settings: Settings) -> tuple[str | None, dict[str, str]]:
    """Return the name of the provider, or ``None`` if there are to be no sandboxes, and what it is opened with."""
    if settings.sandbox == "local":
        return "local", {
            "folder": str((settings.state / SANDBOXES).absolute()),
            "images": str((settings.state / IMAGES).absolute()),
            "min_isolation": settings.min_isolation,
            "max_sandboxes": str(settings.max_sandboxes),
        }
    if settings.sandbox == "daytona":
        return "daytona", own_daytona_config(os.environ, settings.daytona_hosts)
    return settings.sandbox, {"folder": str((settings.state / SANDBOXES).absolute())}
