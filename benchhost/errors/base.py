"""What every error has."""

from __future__ import annotations

from typing import ClassVar


class BenchhostError(Exception):
    """Root of the tree. ``slug`` is the name of the error in answers, logs and the documentation."""

    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal server error"
