"""Where the task of a sandbox benchmark is to be attempted."""

from __future__ import annotations

import math

import msgspec


class Resources(msgspec.Struct, kw_only=True, frozen=True):
    """What a sandbox is given: ``vcpu`` cores, ``memory`` and ``disk`` in GB, ``gpu`` devices of ``gpu_type``."""

    vcpu: int = 1
    memory: int = 2
    disk: int = 10
    gpu: int = 0
    gpu_type: str | None = None


class Environment(msgspec.Struct, kw_only=True, frozen=True):
    """The sandbox of one task: made from ``image`` or from ``snapshot``, never both.

    ``problem_path`` is where the problem statement lies in it, ``cwd`` the directory to work in, and
    ``agent_timeout`` the seconds that an agent may take.

    Raises ``ValueError`` unless exactly one of ``image`` and ``snapshot`` is given, and for a timeout that is no finite
    number of seconds, 0 or more.
    """

    image: str | None = None
    snapshot: str | None = None
    problem_path: str
    cwd: str
    agent_timeout: float | None = None
    resources: Resources = Resources()

    def __post_init__(self) -> None:
        if (self.image is None) == (self.snapshot is None):
            raise ValueError("an Environment is made from an image or from a snapshot: give exactly one of the two")
        if isinstance(self.agent_timeout, int | float) and not 0 <= self.agent_timeout < math.inf:
            raise ValueError(f"agent_timeout must be a finite number of seconds, 0 or more, not {self.agent_timeout!r}")
