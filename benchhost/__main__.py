"""``python -m benchhost`` is ``benchhost``."""

from benchhost.cli import main

main()
