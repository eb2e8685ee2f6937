"""The provider of the host's own sandboxes, as the settings say it."""

from __future__ import annotations

import os

from benchhost.errors import SettingsError
from benchhost.sandbox import provider_names
from benchhost.server.daytona import own_daytona_config
from benchhost.settings import Settings

SANDBOXES, IMAGES = "sandboxes", "images"
"""Folders in the state folder."""


def own_provider(settings: Settings) -> tuple[str | None, dict[str, str]]:
    """Return the name of the provider, or ``None`` if there are to be no sandboxes, and what it is opened with.

    Raises :class:`~benchhost.errors.SettingsError` when no installed provider has the name.
    """
    if settings.sandbox == "local":
        return "local", {
            "folder": str((settings.state / SANDBOXES).absolute()),
            "images": str((settings.state / IMAGES).absolute()),
            "min_isolation": settings.min_isolation,
            "max_sandboxes": str(settings.max_sandboxes),
        }
    if settings.sandbox == "daytona":
        return "daytona", own_daytona_config(os.environ, settings.daytona_hosts)
    if settings.sandbox is not None and settings.sandbox not in (installed := provider_names()):
        raise SettingsError(
            f"the setting sandbox is {settings.sandbox!r}, and no installed provider of sandboxes is called so; "
            f"installed are: {', '.join(installed)}. With none there are no sandboxes"
        )
    return settings.sandbox, {"folder": str((settings.state / SANDBOXES).absolute())}
