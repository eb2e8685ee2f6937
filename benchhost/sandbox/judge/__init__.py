"""The code judge: tests on this side of a wall, submitted code on the other.

::

    who judges, with its tests                    a process of its own   child, forked for one submission
    judge ─▶ nursery ── starts, asks for ───────▶ zygote ─────────────▶  judged ─▶ the submission
      └────▶ candidate ◀────── values ──────────────────────────────────────┘

What stands on the right (and :mod:`.values`, :mod:`.walls`) imports the standard library alone.
"""

from benchhost.sandbox.judge.candidate import Candidate
from benchhost.sandbox.judge.judge import CodeJudge, Verdict
from benchhost.sandbox.judge.limits import Limits

__all__ = ["Candidate", "CodeJudge", "Limits", "Verdict"]
