"""The judge: runs an author's tests on submitted code, each on its side of a wall."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from benchhost.errors import CandidateFailed, SandboxError
from benchhost.sandbox.judge.candidate import Candidate
from benchhost.sandbox.judge.limits import Limits
from benchhost.sandbox.judge.nursery import Nursery


class Verdict(msgspec.Struct, frozen=True):
    """What became of a submission.

    ``reason`` is ``passed``; ``failed``, when a test says so; ``raised``, when the submission raised where no
    exception was expected; or the ``reason`` of a :class:`~benchhost.errors.CandidateFailed`.

    ``began`` says whether the code was loaded, so that the test began. From then on ``detail`` is for the owner of
    the benchmark alone: it may quote the test, or what the code was called with.
    """

    passed: bool
    reason: str
    detail: str = ""
    began: bool = True


class CodeJudge:
    """Judges Python code that nobody trusts.

    The code runs in a sandbox without network, files or other processes, forked for it alone, and ends with the
    judgement. The tests run where the judge is called, and see the code's function as a
    :class:`Candidate`. May be called from any number of threads; ``at_once`` submissions run at the same
    time, the others wait. What waits does not lose time.

    The sandbox is started when it is first needed. Everything raises
    :class:`~benchhost.errors.SandboxUnavailable` where the machine offers no isolation that holds.
    """

    def __init__(self, limits: Limits | None = None, at_once: int | None = None) -> None:
        self.limits = limits or Limits()
        self._nursery = Nursery()
        self._slots = threading.BoundedSemaphore(at_once or 2 * (os.cpu_count() or 1))

    @contextlib.contextmanager
    def candidate(
        self, source: str | Sequence[str], entry_point: str, limits: Limits | None = None
    ) -> Iterator[Candidate]:
        """Load code and hand out its function ``entry_point``, until the context is left.

        Of several texts, the first that is Python is the code. Raises
        :class:`~benchhost.errors.CandidateFailed` when it cannot be loaded, or has no such function.
        """
        texts = [source] if isinstance(source, str) else list(source)
        chosen = limits or self.limits
        with self._slots:
            fork = self._nursery.fork(chosen)
            try:
                candidate = Candidate(fork, entry_point, chosen)
                candidate.load(texts)
                yield candidate
            finally:
                fork.end()

    def judge(
        self,
        source: str | Sequence[str],
        entry_point: str,
        test: Callable[[Candidate], object],
        limits: Limits | None = None,
    ) -> Verdict:
        """Run a test on code, and say whether it passes: whether the test returns, rather than raises.

        A submission that got lost meanwhile does not pass, even if the test takes no notice of it.
        """
        began = False
        try:
            with self.candidate(source, entry_point, limits) as candidate:
                began = True
                return _verdict(test, candidate)
        except CandidateFailed as error:
            return Verdict(passed=False, reason=error.reason, detail=str(error), began=began)

    def close(self) -> None:
        """End the sandbox, and whatever still runs in it."""
        self._nursery.close()


def _verdict(test: Callable[[Candidate], object], candidate: Candidate) -> Verdict:
    try:
        test(candidate)
    except (CandidateFailed, SandboxError):
        raise
    except Exception as error:  # a test may say in any way that it is not content
        verdict = Verdict(passed=False, reason="failed", detail=f"{type(error).__name__}: {error}"[:1000])
    else:
        verdict = Verdict(passed=True, reason="passed")
    if candidate.failure is not None:
        raise candidate.failure
    return verdict
