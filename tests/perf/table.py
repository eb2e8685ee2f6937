"""What a measure found, and how it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

BEGIN, END = "<!-- perf: begin -->", "<!-- perf: end -->"
HEADING = ("what", "benchhost", "against", "there", "compared", "target", "kept")


class Row(NamedTuple):
    """One comparison; ``kept`` says whether the target is reached, if there is one."""

    what: str
    ours: str
    against: str
    theirs: str
    compared: str
    target: str = ""
    kept: bool | None = None


def number(value: float) -> str:
    """Write a number with three significant digits or more."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def more(what: str, ours: float, against: str, theirs: float, target: float | None = None) -> Row:
    """Compare where more is better: ``target`` is the least that ours may be, as a multiple of theirs."""
    ratio = ours / theirs
    wish, kept = ("", None) if target is None else (f"at least {target:g}x", ratio >= target)
    return Row(what, number(ours), against, number(theirs), f"{ratio:.2f}x", wish, kept)


def less(what: str, ours: float, against: str, theirs: float, target: float | None = None) -> Row:
    """Compare where less is better: ``target`` is the most that ours may be, as a multiple of theirs."""
    ratio = ours / theirs
    wish, kept = ("", None) if target is None else (f"at most {target:g}x", ratio <= target)
    return Row(what, number(ours), against, number(theirs), f"{ratio:.2f}x", wish, kept)


def added(what: str, ours: float, against: str, theirs: float, target: float | None = None) -> Row:
    """Compare by difference: ``target`` is the most that ours may add to theirs."""
    difference = ours - theirs
    wish, kept = ("", None) if target is None else (f"at most +{target:g}", difference <= target)
    return Row(what, number(ours), against, number(theirs), f"{difference:+.3f}", wish, kept)


def under(what: str, ours: float, against: str, theirs: float, most: float) -> Row:
    """Show the difference, where the target is the most that ours may be, whatever theirs is."""
    return Row(what, number(ours), against, number(theirs), f"{ours - theirs:+.3f}", f"at most {most:g}", ours <= most)


def markdown(rows: list[Row]) -> str:
    """Write a Markdown table."""
    kept = {None: "", True: "yes", False: "**no**"}
    lines = [HEADING, ("---", "---:", "---", "---:", "---:", "---", "---")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (*lines, *((*row[:-1], kept[row.kept]) for row in rows)))


def write(page: Path, text: str) -> None:
    """Put a text between the marks of a page. Raises ``ValueError`` when the page has no such marks."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} needs the lines {BEGIN!r} and {END!r}, between which the table goes")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
