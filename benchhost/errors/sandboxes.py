"""Why a sandbox did not do what it was asked for."""

from __future__ import annotations

from benchhost.errors.base import BenchhostError


class SandboxError(BenchhostError):
    """A sandbox, or its provider, did not do what it was asked for."""

    slug = "sandbox"
    title = "The sandbox failed"


class SandboxNotFound(SandboxError):
    """No sandbox has that id, or it is gone."""

    slug = "sandbox-not-found"
    title = "Unknown sandbox"


class SandboxUnsupported(SandboxError):
    """The provider cannot make such a sandbox; the message says what it was asked for and where it can be had."""

    slug = "sandbox-unsupported"
    title = "No such sandbox can be made"


class ImageUnavailable(SandboxUnsupported):
    """The image of a sandbox is not here, or cannot be unpacked; the message says which it is, why, and what to do."""

    slug = "image-unavailable"
    title = "The image is not available"


class SandboxRefused(SandboxError):
    """The provider does not accept the credentials."""

    slug = "sandbox-refused"
    title = "The sandbox provider refused the credentials"


class SandboxBusy(SandboxError):
    """The provider can make no more sandboxes at the moment."""

    slug = "sandbox-busy"
    title = "No more sandboxes at the moment"


class SandboxUnavailable(SandboxError):
    """The provider failed, cannot be reached, or cannot be had here; the message says what to change."""

    slug = "sandbox-unavailable"
    title = "The sandbox provider is not available"


class SandboxFileError(SandboxError):
    """A file of a sandbox cannot be read or written; the message says which, and why."""

    slug = "sandbox-file"
    title = "A file of the sandbox cannot be used"


class CommandFailed(SandboxError):
    """A command in a sandbox did not end with the code 0. ``reason`` is an ``ExitReason``."""

    slug = "command-failed"
    title = "A command in the sandbox failed"

    def __init__(self, code: int | None, reason: str = "exited") -> None:
        why = f"exit code {code}" if reason in ("exited", "signal") else f"reason {reason}"
        super().__init__(f"Command failed with {why}")
        self.code = code
        self.reason = reason
