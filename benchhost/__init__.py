"""benchhost hosts benchmarks, grades what is submitted to them, and runs models against them.

These names are what the author of a benchmark needs. Importing them loads msgspec and the standard
library, nothing else.
"""

from benchhost.contract import (
    Benchmark,
    Chunk,
    Environment,
    Error,
    FinalScore,
    Message,
    Public,
    Resources,
    Response,
    Result,
    Task,
)

__version__ = "0.1.0"

__all__ = [
    "Benchmark",
    "Chunk",
    "Environment",
    "Error",
    "FinalScore",
    "Message",
    "Public",
    "Resources",
    "Response",
    "Result",
    "Task",
]
