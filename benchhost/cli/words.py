"""Numbers and texts as people read them."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # start-up: a list of runs needs none of these
    from benchhost.contract import Usage
    from benchhost.models import Spend
    from benchhost.runner.progress import Snapshot


class Interval(Protocol):
    """An interval of a score, as :class:`benchhost.scoring.Interval` has it."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def level(self) -> float: ...
    @property
    def method(self) -> str: ...


def score(value: float | None, interval: Interval | None = None) -> str:
    """Say a score with its interval: as a share of tasks when it is one, else as a number."""
    if value is None:
        return "none yet"
    if interval is None:
        return f"{value:.4g}"
    say = percent if interval.method in ("wilson", "bonett-price") else _number
    return f"{say(value)} ({interval.level:.0%} interval {say(interval.low)} to {say(interval.high)})"


def brief(value: float | None, interval: Interval | None) -> str:
    """Say a score with its interval in little room."""
    if value is None or interval is None:
        return "" if value is None else f"{value:.4g}"
    say = percent if interval.method in ("wilson", "bonett-price") else _number
    return f"{say(value)} ({say(interval.low)} to {say(interval.high)})"


def percent(share: float | None) -> str:
    """Say a share in percent, with two digits behind the point."""
    return "" if share is None else f"{100 * share:.2f}%"


def cost(spend: Spend) -> str:
    """Say what some calls cost, and of how many that is not known."""
    if not spend.calls:
        return "no call is recorded"
    if spend.unpriced == 0:
        return dollars(spend.cost)
    unknown = f"unknown for {spend.unpriced:,} calls"
    return f"{dollars(spend.cost)} and {unknown}" if spend.cost else unknown


def brief_cost(known: float | None, unpriced: int | None) -> str:
    """Say a cost in little room, of which nothing is known for some calls."""
    if known is None:
        return ""
    if not unpriced:
        return dollars(known)
    return f"{dollars(known)} and more" if known else "unknown"


def cost_so_far(snapshot: Snapshot) -> str:
    """Say what a run has cost so far, the judge apart."""
    text = dollars(snapshot.cost)
    if snapshot.unpriced:
        text += f" and {snapshot.unpriced:,} calls without a price"
    return f"{text}, judge {dollars(snapshot.judge_cost)}" if snapshot.judge_cost else text


def dollars(amount: float) -> str:
    """Say an amount of money: small ones with more digits."""
    return f"${amount:.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def tokens(usage: Usage) -> str:
    """Say tokens in and out."""
    cached = f", {usage.cached_tokens:,} of them cached" if usage.cached_tokens else ""
    reasoning = f", {usage.reasoning_tokens:,} of them reasoning" if usage.reasoning_tokens else ""
    return f"{usage.input_tokens:,} in{cached}; {usage.output_tokens:,} out{reasoning}"


def duration(seconds: float) -> str:
    """Say a time as ``h:mm:ss``, or ``m:ss`` below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(seconds: float) -> str:
    """Say a time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def line(text: str, longest: int = 200) -> str:
    """Return a text that somebody else wrote so that a terminal shows it as one line and obeys none of it."""
    one = "".join(character if character.isprintable() else "�" for character in " ".join(text.split()))
    return one if len(one) <= longest else f"{one[: longest - 1]}…"


def _number(value: float) -> str:
    return f"{value:.4g}"


def user() -> str:
    """Name whoever gives this command, for the log of what was changed."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return "unknown"
