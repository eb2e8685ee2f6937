"""What the operator can set: from ``benchhost.toml``, then the environment, then flags; the last one wins.

Only ``server/`` and ``cli/`` read settings. The name, default, bounds and help of a setting stand
together, in :class:`Settings`, and everything else follows from there: the variable
(``BENCHHOST_<NAME>``), the flag (``--<name>``), the errors and the documentation.
"""

from benchhost.settings.declaration import Settings
from benchhost.settings.description import SettingDoc, describe
from benchhost.settings.folder import state_folder
from benchhost.settings.reading import load
from benchhost.settings.variables import CONFIG_FILE, CONFIG_VARIABLE, TOKEN_VARIABLE

__all__ = [
    "CONFIG_FILE",
    "CONFIG_VARIABLE",
    "TOKEN_VARIABLE",
    "SettingDoc",
    "Settings",
    "describe",
    "load",
    "state_folder",
]
