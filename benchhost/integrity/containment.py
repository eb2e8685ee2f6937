"""Whether what callers see of a task contains what they are not to see."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from benchhost.integrity.checks import Checked, Finding
from benchhost.integrity.values import fields, words

LONG = 6
"""Words from which on a text stands nowhere by chance."""

OFTEN = 0.2
"""By how much more often a short value must stand in its own task than in another one to be told of."""

FEWEST = 10
"""Tasks below which nothing is said of how often."""


class Containment:
    """Looks at the tasks of one dataset, one after the other.

    A long hidden text in a public field is told of each time. A short one, such as a number, a name or
    the letter of a choice, may stand there by chance or by nature; so it is compared how often such a
    value stands in its own task, and how often in the one that was looked at before.
    """

    def __init__(self, dataset: str) -> None:
        self._dataset = dataset
        self._findings: list[Finding] = []
        self._looked = 0
        self._own: dict[str, int] = {}
        self._of_another: dict[str, int] = {}
        self._with: dict[str, int] = {}
        self._before = ""

    def look(self, task: str, public: Mapping[str, object], hidden: Mapping[str, object]) -> None:
        """Look at one task."""
        shown = {name: _worded(value) for name, value in public.items()}
        everything = " ".join(shown.values())
        self._looked += 1
        for path, value in fields(dict(hidden)):
            wanted = words(str(value))
            if not wanted:
                continue
            needle = f" {' '.join(wanted)} "
            if len(wanted) >= LONG:
                for name, text in shown.items():
                    if needle in text:
                        said = f"the hidden field {path} stands whole in the public field {name}"
                        self._findings.append(Finding(said, self._dataset, task))
            else:
                field = path.partition("[")[0].partition(".")[0]
                self._with[field] = self._with.get(field, 0) + 1
                self._own[field] = self._own.get(field, 0) + (needle in everything)
                self._of_another[field] = self._of_another.get(field, 0) + (needle in self._before)
        self._before = everything

    def judge(self, check: Checked) -> None:
        """Say what was found."""
        for finding in self._findings:
            check.find(finding, "warned")
        for field, times in self._with.items():
            own, by_chance = self._own[field] / times, self._of_another[field] / times
            if times >= FEWEST and own - by_chance > OFTEN:
                said = (
                    f"the hidden field {field} stands in what callers see in {own:.0%} of the tasks, and by "
                    f"chance in {by_chance:.0%}: fine for a choice among options, or for what is to be read off"
                )
                check.find(Finding(said, self._dataset), "warned")
        check.examined += self._looked


def _worded(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f" {' '.join(words(text))} "
