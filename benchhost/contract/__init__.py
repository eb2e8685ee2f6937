"""What the authors of plugins implement or receive. Promised to them; knows nothing of the host."""

from benchhost.contract.benchmark import Benchmark, NoSettings
from benchhost.contract.chunk import Chunk, Error, Message
from benchhost.contract.environment import Environment, Resources
from benchhost.contract.model import Call, ChatMessage, Completion, Model, Prompt, Sampling, Usage
from benchhost.contract.result import FinalScore, Response, Result
from benchhost.contract.runner import (
    Context,
    EvaluationStatus,
    GenerationResult,
    GenerationStatus,
    NoParams,
    Runner,
)
from benchhost.contract.task import Public, Task, public, public_fields

__all__ = [
    "Benchmark",
    "Call",
    "ChatMessage",
    "Chunk",
    "Completion",
    "Context",
    "Environment",
    "Error",
    "EvaluationStatus",
    "FinalScore",
    "GenerationResult",
    "GenerationStatus",
    "Message",
    "Model",
    "NoParams",
    "NoSettings",
    "Prompt",
    "Public",
    "Resources",
    "Response",
    "Result",
    "Runner",
    "Sampling",
    "Task",
    "Usage",
    "public",
    "public_fields",
]
