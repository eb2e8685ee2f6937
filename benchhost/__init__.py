"""benchhost hosts benchmarks, grades what is submitted to them, and runs models against them.

These names are what the author of a benchmark or a runner needs. Importing them loads msgspec and the standard
library, nothing else.
"""

from benchhost.contract import (
    Benchmark,
    Chunk,
    Context,
    Environment,
    Error,
    FinalScore,
    GenerationResult,
    GenerationStatus,
    Message,
    Model,
    Placed,
    Probing,
    Provider,
    Public,
    Ready,
    Resources,
    Response,
    Result,
    ResumeState,
    Runner,
    Sandbox,
    SandboxSpec,
    Submission,
    Task,
    Versions,
)

__version__ = "0.1.0"

__all__ = [
    "Benchmark",
    "Chunk",
    "Context",
    "Environment",
    "Error",
    "FinalScore",
    "GenerationResult",
    "GenerationStatus",
    "Message",
    "Model",
    "Placed",
    "Probing",
    "Provider",
    "Public",
    "Ready",
    "Resources",
    "Response",
    "Result",
    "ResumeState",
    "Runner",
    "Sandbox",
    "SandboxSpec",
    "Submission",
    "Task",
    "Versions",
]
