"""What the authors of plugins implement or receive. Promised to them; knows nothing of the host."""

from benchhost.contract.benchmark import Benchmark, NoSettings
from benchhost.contract.chunk import Chunk, Error, Message
from benchhost.contract.environment import Environment, Resources
from benchhost.contract.result import FinalScore, Response, Result
from benchhost.contract.task import Public, Task, public, public_fields

__all__ = [
    "Benchmark",
    "Chunk",
    "Environment",
    "Error",
    "FinalScore",
    "Message",
    "NoSettings",
    "Public",
    "Resources",
    "Response",
    "Result",
    "Task",
    "public",
    "public_fields",
]
