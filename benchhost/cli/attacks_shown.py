"""What came of attacks on sandboxes, as a table."""

from __future__ import annotations

from collections import Counter

from rich.table import Table
from rich.text import Text

from benchhost.cli.report import console
from benchhost.sandbox.escape.attack import Finding

_STYLES = {"stopped": "green", "escaped": "bold red", "unclear": "yellow", "not applicable": "bright_black"}


def show_attacks(described: str, findings: list[Finding]) -> None:
    """Show a table of attacks on stdout, and count them by their verdict."""
    table = Table(title=f"Attacks on {described}", title_justify="left", box=None, pad_edge=False)
    for column in ("attack", "it", "verdict", "why"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        kept = "kept by " if finding.verdict == "stopped" else ""
        verdict = Text(finding.verdict, style=_STYLES[finding.verdict])
        table.add_row(finding.name, finding.tries, verdict, Text(f"{kept}{finding.why}"))
    console().print(table)
    counted = Counter[str](finding.verdict for finding in findings)
    console().print("\n" + ", ".join(f"{counted[verdict]} {verdict}" for verdict in _STYLES if counted[verdict]))
