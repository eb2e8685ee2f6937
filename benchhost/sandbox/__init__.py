"""Where sandboxes come from: the providers of the house, and those that plugins bring.

Importing this loads no provider.
"""

from benchhost.sandbox.opening import open_provider, provider_class
from benchhost.sandbox.streaming import stream_command

__all__ = ["open_provider", "provider_class", "stream_command"]
