"""Door two: the command line. Commands are loaded when they are called, so that help comes at once."""

from benchhost.cli.main import main

__all__ = ["main"]
