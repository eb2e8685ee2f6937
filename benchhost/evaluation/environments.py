"""The sandbox that a task is attempted or judged in: out of what was said of it, what it is made of."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from benchhost.contract import Environment, Resources, SandboxSpec
from benchhost.contract.sandbox import Network
from benchhost.wire.vals import ImageSource, RetrievedTask


def environment_of(told: RetrievedTask) -> Environment:
    """Read an environment from what was said of it on the wire."""
    source = told.source
    return Environment(
        image=source.image if isinstance(source, ImageSource) else None,
        snapshot=None if isinstance(source, ImageSource) else source.snapshot,
        problem_path=told.problem_path,
        cwd=told.cwd,
        agent_timeout=told.agent_timeout,
        resources=msgspec.convert(told.resources, Resources, from_attributes=True),
    )


def spec_of(environment: Environment, labels: Mapping[str, str], network: Network = "none") -> SandboxSpec:
    """Say what a sandbox for an environment is made of."""
    return SandboxSpec(
        image=environment.image,
        snapshot=environment.snapshot,
        resources=environment.resources,
        cwd=environment.cwd,
        labels=dict(labels),
        network=network,
    )
