"""What the provider is opened with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from benchhost.errors import SandboxUnavailable

Tier = Literal["namespaces", "uid", "landlock"]


class LocalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``folder`` in which everything lies, and what else may be said.

    ``images`` is another folder for those. ``min_isolation`` is the weakest tier that will do, and ``isolation`` a
    tier instead of the strongest one. There are at most ``max_sandboxes`` at once. Those that are made by who says
    ``stay`` are still there when nobody has the provider open any more.
    """

    folder: Annotated[str, msgspec.Meta(min_length=1)]
    images: str | None = None
    min_isolation: Tier = "uid"
    isolation: Tier | Literal["auto"] = "auto"
    max_sandboxes: Annotated[int, msgspec.Meta(ge=1)] = 256
    stay: bool = False

    @property
    def place(self) -> Path:
        """The folder, wherever this process goes."""
        return Path(self.folder).absolute()


def read_config(given: Mapping[str, str]) -> LocalConfig:
    """Read what the provider is opened with.

    Raises :class:`~benchhost.errors.SandboxUnavailable`.
    """
    try:
        return msgspec.convert(dict(given), LocalConfig, strict=False)
    except msgspec.ValidationError as error:
        raise SandboxUnavailable(f"the provider local cannot be opened like this: {error}") from None
