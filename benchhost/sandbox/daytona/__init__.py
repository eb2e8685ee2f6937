"""Sandboxes at Daytona, through its own SDK (``pip install 'benchhost[daytona]'``).

Importing this does not import the SDK, which takes seconds; opening the provider does.
"""

from benchhost.sandbox.daytona.access import DEFAULT_API_URL, DEFAULT_HOSTS, DEFAULT_TARGET, Access, allowed_api_url
from benchhost.sandbox.daytona.clients import close_clients
from benchhost.sandbox.daytona.provider import DaytonaProvider

__all__ = [
    "DEFAULT_API_URL",
    "DEFAULT_HOSTS",
    "DEFAULT_TARGET",
    "Access",
    "DaytonaProvider",
    "allowed_api_url",
    "close_clients",
]
