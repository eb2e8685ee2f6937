"""What is wrong with a command, a setting, or what is named in one."""

from benchhost.errors.base import BenchhostError


class UsageError(BenchhostError):
    """A command was called with something it cannot use; the message says what to write instead."""

    slug = "usage"
    title = "The command was called wrongly"


class SettingsError(UsageError):
    """A setting has a wrong value or name; the message names the setting and where it came from."""

    slug = "settings"
    title = "A setting is wrong"


class UnknownModel(UsageError):
    """A model's name leads nowhere; the message lists what would, and the variables that define a provider."""

    slug = "unknown-model"
    title = "Unknown model"
