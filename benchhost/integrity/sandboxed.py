"""Whether tasks can be set up and judged in sandboxes, and that nothing is to be had there for nothing.

Each attempt has a fresh sandbox, as a submission has on a host. A reference says what a model would answer, and the
runner of the benchmark makes of that what is done in a sandbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from benchhost.contract import Submission
from benchhost.errors import BenchhostError, PluginFault, SandboxError, UsageError
from benchhost.evaluation.frames import Answer
from benchhost.evaluation.fresh import fresh_sandbox
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.integrity.checks import Checked, Finding
from benchhost.integrity.marks import is_full, marks, noise
from benchhost.integrity.references import attempted_by_references
from benchhost.store import OPERATOR
from benchhost.wire.vals import PublicResult

AT_ONCE = 4
"""Sandboxes that there are at the same time."""

_result = msgspec.json.Decoder(PublicResult)
_encode = msgspec.msgpack.Encoder().encode


class Ask(Protocol):
    """Call a hook; ``None`` when there is no answer, which is then told of."""

    def __call__(
        self, hook: str, dataset: str = "", task: str = "", body: bytes = b"", *, said_of: str = ""
    ) -> Awaitable[Answer | None]: ...


class Sandboxed:
    """The sandbox hooks of a benchmark, which are called by ``ask``; what is found goes to the ``checks``."""

    def __init__(
        self,
        benchmark: HostedBenchmark,
        sandboxes: OwnSandboxes,
        checks: Mapping[str, Checked],
        ask: Ask,
        repeats: int,
    ) -> None:
        self._benchmark = benchmark
        self._sandboxes = sandboxes
        self._checks = checks
        self._ask = ask
        self._repeats = repeats

    async def examine(self, dataset: str, tasks: Sequence[str]) -> None:
        """Have each task attempted in every way that deserves nothing."""
        queue = iter(tasks)

        async def work() -> None:
            for task in queue:
                await self._examine_task(dataset, task)

        await asyncio.gather(*[work() for _ in range(min(AT_ONCE, len(tasks)))])
        if self._benchmark.offers("reference_response") and not self._checks["sandbox-grading"].found:
            await self._attempt_with_references(dataset, tasks)

    async def _attempt_with_references(self, dataset: str, tasks: Sequence[str]) -> None:
        check = self._checks["reference-full-marks"]
        try:
            results = await attempted_by_references(self._benchmark, self._sandboxes, dataset, tasks, AT_ONCE)
        except (UsageError, PluginFault) as error:
            check.note = f"not tried in sandboxes: {error}"
            return
        for task, result in results.items():
            came = f"came to nothing: {result}" if isinstance(result, str) else marks(result)
            bad = isinstance(result, str) or not is_full(result)
            check.look(Finding(f"an attempt with the reference response {came}", dataset, task) if bad else None)

    async def _examine_task(self, dataset: str, task: str) -> None:
        try:
            for check, kind, submission in self._worthless(task):
                await self._examine_attempts(dataset, task, check, kind, submission)
        except SandboxError as error:
            said = f"there is no sandbox for it here: {error.title}: {error}"
            self._checks["sandbox-grading"].find(Finding(said, dataset, task), "warned")
        except BenchhostError as error:
            why = (str(error) or error.title).splitlines()[-1]
            said = f"evaluation_environment: {error.title}: {why}"
            self._checks["hooks-answer"].look(Finding(said, dataset, task, str(error)))

    def _worthless(self, task: str) -> Iterator[tuple[str, str, Submission | None]]:
        """Yield what deserves nothing, with the check that says so and what it is called."""
        yield "silence-not-full-marks", "a sandbox in which nothing was done", None
        for kind, schemas in sorted(self._benchmark.accepted.items()):
            for schema in sorted(schemas):
                of = f"as {kind} of the schema {schema}"
                if kind == "text":  # an empty artifact is refused before
                    yield "silence-not-full-marks", f"an empty submission {of}", Submission("text", schema, b"")
                rubbish = Submission("text" if kind == "text" else "artifact", schema, noise(task).encode())
                yield "noise-not-full-marks", f"a submission of noise {of}", rubbish

    async def _examine_attempts(
        self, dataset: str, task: str, check: str, kind: str, submission: Submission | None
    ) -> None:
        told: list[bytes] = []
        for _ in range(self._repeats):
            if (answer := await self._attempted(dataset, task, kind, submission)) is None:
                break
            told.append(answer.data)
        results = [_result.decode(data) for data in told]
        if len(told) == self._repeats > 1:
            said = (
                f"{kind} {' and '.join(sorted({marks(each) for each in results}))}, or differs in metrics or feedback"
            )
            self._checks["grading-deterministic"].look(Finding(said, dataset, task) if len(set(told)) > 1 else None)
        for result in results[:1]:
            self._checks[check].look(Finding(f"{kind} {marks(result)}", dataset, task) if is_full(result) else None)

    async def _attempted(self, dataset: str, task: str, kind: str, submission: Submission | None) -> Answer | None:
        """Have an attempt judged in a fresh sandbox, and return the verdict, if there is one."""
        self._checks["sandbox-grading"].look()
        steps: list[tuple[str, Submission | None]] = [("evaluate_instance", None)]
        if submission is not None:
            steps.insert(0, ("place_submission", submission))
        if self._benchmark.offers("setup_task"):
            steps.insert(0, ("setup_task", None))
        answer = None
        async with fresh_sandbox(self._benchmark, dataset, task, self._sandboxes, OPERATOR) as place:
            for hook, given in steps:
                body = _encode(msgspec.structs.replace(place, submission=given))
                answer = await self._ask(hook, dataset, task, body, said_of=kind)
                if answer is None:
                    break
        return answer
