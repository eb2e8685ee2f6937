"""How an attacker goes about finding hidden answers, whatever it is that it asks.

It knows which answers occur in a dataset, as one knows the letters of a choice, and not which is whose. All that it
learns comes from an :class:`Oracle`: scores of single responses, or sums over many. None of this knows of policies:
each strategy goes on until it is told nothing more.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

FILLER = "-"
"""A response that is hopefully wrong, for tasks that are to add nothing to a sum."""


class Refused(Exception):
    """A response is not judged."""


class Withheld(Exception):
    """Nothing is told of what was judged, nor of anything that will be."""


class Oracle(Protocol):
    """What an attacker asks."""

    async def score(self, task: str, response: str) -> float:
        """Have a response judged, and return its score.

        Raises :class:`Refused`, and :class:`Withheld` when no score is told.
        """

    async def total(self, responses: Mapping[str, str]) -> float:
        """Have a response to each of some tasks judged, and return the sum of their scores, however it is scaled.

        Raises :class:`Refused` and :class:`Withheld`.
        """


class Target(msgspec.Struct, frozen=True):
    """What is attacked: the answers to ``tasks``, each one of the ``candidates``.

    ``others`` are further tasks of the dataset; a sum is told over ``least`` tasks or more.
    """

    tasks: Sequence[str]
    others: Sequence[str]
    candidates: Sequence[str]
    least: int
    seed: int = 0


Strategy = Callable[[Oracle, Target], Awaitable[dict[str, str]]]
"""Returns the answers that it has found out, or believes so, by their tasks."""


async def enumerate_answers(oracle: Oracle, target: Target) -> dict[str, str]:
    """Try every answer at one task after the other, until a score says that it is right."""
    found: dict[str, str] = {}
    chance = random.Random(target.seed)
    with suppress(Withheld):
        for task in target.tasks:
            with suppress(Refused):
                for candidate in chance.sample(target.candidates, len(target.candidates)):
                    if await oracle.score(task, candidate) >= 1.0:
                        found[task] = candidate
                        break
    return found


async def compare_sums(oracle: Oracle, target: Target) -> dict[str, str]:
    """Compare the sums of runs that differ in the response to one task."""
    found: dict[str, str] = {}
    chance = random.Random(target.seed)
    known: dict[tuple[str, ...], float] = {}
    with suppress(Withheld):
        for task in target.tasks:
            others = [*target.others, *(other for other in target.tasks if other != task)]
            background = dict.fromkeys(others[: target.least], FILLER)
            with suppress(Refused):
                if tuple(background) not in known:
                    known[tuple(background)] = await oracle.total(background)
                for candidate in chance.sample(target.candidates, len(target.candidates)):
                    if await oracle.total({**background, task: candidate}) > known[tuple(background)]:
                        found[task] = candidate
                        break
    return found


async def bisect(oracle: Oracle, target: Target) -> dict[str, str]:
    """Test groups of tasks at once, from where one right answer more is seen in the sum, however it is rounded.

    One answer is given to ever more tasks, and where the sum first rises is looked for by halving: there, one right
    answer makes the difference, and all that is added to it tells of itself.
    """
    found: dict[str, str] = {}
    with suppress(Refused, Withheld):
        for order in ([*target.others, *target.tasks], [*reversed(target.tasks), *target.others]):
            await _bisect(oracle, target, order, found)
    return found


async def _bisect(oracle: Oracle, target: Target, order: Sequence[str], found: dict[str, str]) -> None:
    nothing = dict.fromkeys(order, FILLER)
    floor = await oracle.total(nothing)

    async def rises(responses: Mapping[str, str]) -> bool:
        return await oracle.total({**nothing, **responses}) > floor

    for candidate in target.candidates:
        if await rises(dict.fromkeys(order, candidate)):
            break
    else:
        return
    low, high = 0, len(order)  # with the first `low` it does not rise, and with the first `high` it does
    while high - low > 1:
        middle = (low + high) // 2
        if await rises(dict.fromkeys(order[:middle], candidate)):
            high = middle
        else:
            low = middle
    brink = dict.fromkeys(order[:low], candidate)
    wanted = set(target.tasks)
    if order[low] in wanted:
        found[order[low]] = candidate

    async def look(tasks: Sequence[str], answer: str, *, certain: bool = False) -> bool:
        """Find those of some tasks that have this answer, and say whether there is one; that may be certain before."""
        if not tasks:
            return False
        if not (certain and len(tasks) == 1) and not await rises({**brink, **dict.fromkeys(tasks, answer)}):
            return False
        if len(tasks) == 1:
            found[tasks[0]] = answer
            return True
        half = len(tasks) // 2
        first = await look(tasks[:half], answer)
        await look(tasks[half:], answer, certain=not first)
        return True

    for answer in target.candidates:
        await look([task for task in order[low:] if task in wanted and task not in found], answer)


STRATEGIES: dict[str, Strategy] = {"enumerate": enumerate_answers, "difference": compare_sums, "bisect": bisect}
"""How an attacker goes about it: the strategies of one tenant."""
