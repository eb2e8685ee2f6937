"""What is wrong with a plugin or its files."""

from __future__ import annotations

from benchhost.errors.base import BenchhostError


class PluginFault(BenchhostError):
    """A plugin that cannot be served.

    ``reason`` is one of the words in :data:`benchhost.registry.REASONS` and may be shown to anybody;
    the message is for the operator, since it may quote the plugin.
    """

    slug = "plugin-fault"
    title = "The benchmark's plugin is faulty"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DatasetError(PluginFault):
    """A file of tasks is missing, damaged or not of the expected shape.

    The message names the file, the line and the field, and never quotes the content, which may be hidden.
    """

    slug = "dataset"
    title = "A dataset cannot be read"

    def __init__(self, message: str) -> None:
        super().__init__("datasets-failed", message)
