"""What the authors of plugins implement or receive. Promised to them; knows nothing of the host."""

from benchhost.contract.benchmark import Benchmark, NoSettings
from benchhost.contract.chunk import Chunk, Error, Message, Ready, ResumeState
from benchhost.contract.environment import Environment, Resources
from benchhost.contract.model import Call, ChatMessage, Completion, Model, Prompt, Sampling, Usage
from benchhost.contract.probing import Probing
from benchhost.contract.result import FinalScore, Response, Result, Submission
from benchhost.contract.runner import (
    Context,
    EvaluationStatus,
    GenerationResult,
    GenerationStatus,
    NoParams,
    Runner,
)
from benchhost.contract.sandbox import (
    Capabilities,
    Command,
    Completed,
    Exited,
    ExitReason,
    Network,
    Output,
    Process,
    Provider,
    Sandbox,
    SandboxInfo,
    SandboxSpec,
    SandboxState,
    Stderr,
    Stdout,
)
from benchhost.contract.task import Placed, Public, Task, placed_fields, public, public_fields
from benchhost.contract.versions import Versions

__all__ = [
    "Benchmark",
    "Call",
    "Capabilities",
    "ChatMessage",
    "Chunk",
    "Command",
    "Completed",
    "Completion",
    "Context",
    "Environment",
    "Error",
    "EvaluationStatus",
    "ExitReason",
    "Exited",
    "FinalScore",
    "GenerationResult",
    "GenerationStatus",
    "Message",
    "Model",
    "Network",
    "NoParams",
    "NoSettings",
    "Output",
    "Placed",
    "Probing",
    "Process",
    "Prompt",
    "Provider",
    "Public",
    "Ready",
    "Resources",
    "Response",
    "Result",
    "ResumeState",
    "Runner",
    "Sampling",
    "Sandbox",
    "SandboxInfo",
    "SandboxSpec",
    "SandboxState",
    "Stderr",
    "Stdout",
    "Submission",
    "Task",
    "Usage",
    "Versions",
    "placed_fields",
    "public",
    "public_fields",
]
