"""What ``benchhost new`` writes: a plugin that works and is tested, to be changed into one's own."""

from benchhost.scaffold.names import Names
from benchhost.scaffold.writing import Kind, write_plugin

__all__ = ["Kind", "Names", "write_plugin"]
