"""Where sandboxes come from: the providers of the house, and those that plugins bring; and the judge of code.

Importing this loads neither a provider nor the judge.
"""

from typing import TYPE_CHECKING, Any

from benchhost.sandbox.opening import open_provider, provider_class, provider_names
from benchhost.sandbox.streaming import stream_command

if TYPE_CHECKING:
    from benchhost.sandbox.judge import Candidate, CodeJudge, Limits, Verdict

__all__ = [
    "Candidate",
    "CodeJudge",
    "Limits",
    "Verdict",
    "open_provider",
    "provider_class",
    "provider_names",
    "stream_command",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from benchhost.sandbox import judge  # only who judges code needs it

    return getattr(judge, name)
