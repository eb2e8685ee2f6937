"""What submitted code may use."""

from __future__ import annotations

import dataclasses
from typing import Any

MIB = 1 << 20

PATIENCE = 10
"""How many times its own seconds a submission may take at most on a machine that gives it no processor."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a submission may use while it is judged.

    ``seconds`` is the time that loading it and answering all calls may take together; time in which the machine
    gave it no processor is not counted, unless it is several processes or threads. ``memory`` is in bytes, of all its
    processes together, ``disk`` in bytes of all its files, ``processes`` the number of its processes and threads.
    ``answer`` is the most bytes that one answer may have as text. What it prints goes nowhere, so there is no limit
    to it.

    Raises ``ValueError`` when a number is not positive.
    """

    seconds: float = 10.0
    memory: int = 512 * MIB
    disk: int = 64 * MIB
    processes: int = 32
    answer: int = MIB

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ValueError(f"the limit {name!r} must be more than 0, not {value!r}")

    @property
    def lifetime(self) -> float:
        """Seconds after which a submission ends, whatever the reason."""
        return self.seconds * PATIENCE + 60

    def told(self) -> dict[str, Any]:
        """Say it to the zygote."""
        return {**dataclasses.asdict(self), "lifetime": self.lifetime}
