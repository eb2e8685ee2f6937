"""What is judged, when it is more than the text of a response."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from benchhost.evaluation.frames import Answer, InSandbox, Resumed
from benchhost.store import Evaluation

if TYPE_CHECKING:
    from benchhost.evaluation.hosted import HostedBenchmark
    from benchhost.evaluation.process import Tell


class Work(abc.ABC):
    """Something to be judged about a ``task``. ``digest`` stands for it in the identity of the evaluation."""

    def __init__(self, task: str, digest: str) -> None:
        self.task = task
        self.digest = digest

    @abc.abstractmethod
    async def judge(self, benchmark: HostedBenchmark, dataset: str, tell: Tell, resume_state: bytes | None) -> Answer:
        """Have it judged; ``resume_state`` is how far an interrupted attempt had come.

        Raises what :meth:`~benchhost.evaluation.hosted.HostedBenchmark.call` raises.
        """


class Known(Work):
    """A response that counts as one with another, of which it is known what came; ``digest`` is its own."""

    def __init__(self, task: str, digest: str, first: Evaluation) -> None:
        super().__init__(task, digest)
        self._first = first

    async def judge(self, benchmark: HostedBenchmark, dataset: str, tell: Tell, resume_state: bytes | None) -> Answer:
        assert self._first.result is not None
        return Answer(0, self._first.result, self._first.private)


class Resumption(Work):
    """A response whose judging goes on from a state that its submitter was given; its text need not be known."""

    def __init__(self, task: str, resume_state: bytes, text: str = "") -> None:
        super().__init__(task, digest_of("resumption", text, resume_state))
        self._resumed = Resumed(text, resume_state)

    async def judge(self, benchmark: HostedBenchmark, dataset: str, tell: Tell, resume_state: bytes | None) -> Answer:
        resumed = self._resumed
        if resume_state is not None:
            resumed = msgspec.structs.replace(resumed, resume_state=resume_state)
        body = msgspec.msgpack.encode(resumed)
        return await benchmark.call("resume_response", dataset=dataset, task=self.task, body=body, tell=tell)


class Instance(Work):
    """What was done in a sandbox that its submitter has.

    The credentials that open it are part of the identity: whoever has not got them is not answered from the record.
    """

    def __init__(self, task: str, place: InSandbox) -> None:
        super().__init__(task, digest_of_place(place))
        self._place = place

    async def judge(self, benchmark: HostedBenchmark, dataset: str, tell: Tell, resume_state: bytes | None) -> Answer:
        body = msgspec.msgpack.encode(msgspec.structs.replace(self._place, resume_state=resume_state))
        return await benchmark.call("evaluate_instance", dataset=dataset, task=self.task, body=body, tell=tell)


def digest_of_place(place: InSandbox) -> str:
    """Digest where a sandbox is, and how it is reached."""
    return digest_of("instance", place.provider, _sorted(place.config), place.id)


def digest_of(*parts: object) -> str:
    """Digest what something is made of, to 64 hexadecimal digits; it is never that of a response's text."""
    # msgpack tells where each part ends. Its first byte is that of an array, with which no UTF-8 text begins.
    return hashlib.sha256(msgspec.msgpack.encode(parts)).hexdigest()


def _sorted(config: Mapping[str, str]) -> list[tuple[str, str]]:
    return sorted(config.items())
