"""Whether a benchmark is fit to grade: it is asked what submitters will ask of it, and what they should not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from benchhost.errors import BenchhostError
from benchhost.evaluation.frames import Answer
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.outcomes import Declined
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.probing import Policies, left_open
from benchhost.integrity.checks import CHECKS, Checked, Extent, Finding, Report
from benchhost.integrity.containment import Containment
from benchhost.integrity.marks import is_full, marks, worthless
from benchhost.integrity.sandboxed import Sandboxed
from benchhost.tasks import sample
from benchhost.wire.vals import PublicResult

AT_ONCE = 16
"""Tasks that are examined at the same time."""

HELD = 0.1
"""Seconds for which an ``async def`` hook may keep the event loop to itself."""

OF_NOISE = 0.1
"""The share of responses of noise that must not score full marks."""

_text = msgspec.json.Decoder(str)
_result = msgspec.json.Decoder(PublicResult)
_revealed = msgspec.json.Decoder(dict[str, dict[str, object]])


async def examine(
    benchmark: HostedBenchmark,
    *,
    datasets: Sequence[str] = (),
    most: int | None = 200,
    seed: int = 0,
    repeats: int = 3,
    sandboxes: OwnSandboxes | None = None,
    sandboxed: int = 5,
) -> Report:
    """Examine a benchmark: ``most`` tasks of each dataset by a sample, or all of them.

    ``datasets`` names those that are meant, all when it is empty; ``repeats`` is how often each response
    is judged. With ``sandboxes``, ``sandboxed`` tasks of each sample are judged in some, too. A benchmark that cannot
    be loaded is a report too.

    Raises :class:`~benchhost.errors.UnknownDataset`.
    """
    return await _Examination(benchmark, seed, repeats, sandboxes, sandboxed).carry_out(datasets, most)


class _Examination:
    def __init__(
        self, benchmark: HostedBenchmark, seed: int, repeats: int, sandboxes: OwnSandboxes | None, sandboxed: int
    ) -> None:
        self._benchmark = benchmark
        self._seed = seed
        self._repeats = repeats
        self._checks = {name: Checked(check=name, promise=promise) for name, promise in CHECKS.items()}
        self._held: dict[str, list[float]] = {}
        self._extents: dict[str, Extent] = {}
        self._in_sandboxes = None
        self._most_sandboxed = sandboxed
        if sandboxes is not None and sandboxed:
            self._in_sandboxes = Sandboxed(benchmark, sandboxes, self._checks, self._ask, repeats)

    async def carry_out(self, datasets: Sequence[str], most: int | None) -> Report:
        await self._benchmark.loaded()
        fault = self._benchmark.fault
        self._checks["loads"].look(
            None if fault is None else Finding(f"it cannot be loaded: {fault.reason}", cause=fault.cause)
        )
        if fault is None:
            for name in datasets or self._benchmark.datasets:
                await self._examine_dataset(self._benchmark.catalogue(name).name, most)
            if self._benchmark.offers("check_auth"):
                await self._ask_about_strangers()
            self._weigh_the_loop()
            self._weigh_the_noise()
        self._say_what_was_skipped()
        return Report(
            benchmark=self._benchmark.name,
            version=None if fault is not None else self._benchmark.version,
            sound=not any(check.outcome == "failed" for check in self._checks.values()),
            datasets=self._extents,
            checks=list(self._checks.values()),
        )

    async def _examine_dataset(self, dataset: str, most: int | None) -> None:
        ids = self._benchmark.catalogue(dataset).ids
        chosen = ids if most is None else sample(ids, most, self._seed)
        self._extents[dataset] = Extent(len(ids), len(chosen))
        if not ids:
            self._checks["loads"].find(Finding("it has no tasks: is the file empty?", dataset), "warned")
        results: dict[str, PublicResult] = {}
        containment = Containment(dataset)
        queue = iter(chosen)

        async def work() -> None:
            for task in queue:
                await self._examine_task(dataset, task, results, containment)

        await asyncio.gather(*[work() for _ in range(min(AT_ONCE, len(chosen)))])
        containment.judge(self._checks["answers-hidden"])
        if self._in_sandboxes is not None and self._benchmark.offers("evaluate_instance"):
            await self._in_sandboxes.examine(dataset, sample(chosen, self._most_sandboxed, self._seed))
        self._weigh_the_policy(dataset, len(ids))
        await self._sum_up(dataset, chosen, results)

    async def _examine_task(
        self, dataset: str, task: str, results: dict[str, PublicResult], containment: Containment
    ) -> None:
        revealed = _revealed.decode((await self._benchmark.call("reveal", dataset=dataset, task=task)).data)
        containment.look(task, revealed["public"], revealed["hidden"])
        if (answer := await self._ask("prompt", dataset, task)) is not None:
            blank = not _text.decode(answer.data).strip()
            self._checks["prompts-render"].look(Finding("the prompt is empty", dataset, task) if blank else None)
        if self._benchmark.offers("retrieve_task"):
            answer = await self._ask("retrieve_task", dataset, task)
            self._checks["environments"].look(
                Finding("retrieve_task gave no environment; see hooks-answer", dataset, task)
                if answer is None
                else None
            )
        if not self._benchmark.offers("evaluate_response"):
            return
        reference = await self._reference(dataset, task)
        if reference is not None and (result := await self._judged(dataset, task, "the reference response", reference)):
            results[task] = result
            full = is_full(result)
            self._checks["reference-full-marks"].look(
                None if full else Finding(f"the reference response {marks(result)}", dataset, task)
            )
        for check, kind, response in worthless(task):
            result = await self._judged(dataset, task, kind, response)
            if result is not None:
                results.setdefault(task, result)
                self._checks[check].look(Finding(f"{kind} {marks(result)}", dataset, task) if is_full(result) else None)

    async def _reference(self, dataset: str, task: str) -> str | None:
        if not self._benchmark.offers("reference_response"):
            return None
        answer = await self._ask("reference_response", dataset, task)
        return None if answer is None or answer.data == b"null" else _text.decode(answer.data)

    async def _judged(self, dataset: str, task: str, kind: str, response: str) -> PublicResult | None:
        """Have a response judged several times, and return the first result, if there is one."""
        verdicts = [
            await self._ask("evaluate_response", dataset, task, response.encode(), said_of=kind)
            for _ in range(self._repeats)
        ]
        results = {verdict.data for verdict in verdicts if verdict is not None}
        if None not in verdicts and self._repeats > 1:
            shown = " and ".join(marks(_result.decode(data)) for data in sorted(results)[:2])
            self._checks["grading-deterministic"].look(
                Finding(f"{kind} {shown}, or differs in metrics or feedback", dataset, task)
                if len(results) > 1
                else None
            )
        first = next((verdict for verdict in verdicts if verdict is not None), None)
        return None if first is None else _result.decode(first.data)

    async def _ask(
        self, hook: str, dataset: str = "", task: str = "", body: bytes = b"", *, said_of: str = ""
    ) -> Answer | None:
        """Call a hook; ``None`` when there is no answer, which is then told of."""
        check = self._checks["hooks-answer"]
        of = f" of {said_of}" if said_of else ""
        try:
            answer = await self._benchmark.call(hook, dataset=dataset, task=task, body=body)
        except Declined:  # the author's own words for the submitter: there is no verdict, on purpose
            check.look()
            return None
        except BenchhostError as error:
            cause = str(error)
            why = cause.splitlines()[-1] if cause else error.title
            check.look(Finding(f"{hook}{of}: {error.title}: {why}", dataset, task, cause))
            return None
        check.look()
        self._held.setdefault(hook, []).append(answer.held)
        return answer

    async def _sum_up(self, dataset: str, tasks: Sequence[str], results: Mapping[str, PublicResult]) -> None:
        """Have final scores made of results that are there, missing, or null, by both routes."""
        check = self._checks["final-score"]
        for kind, given in _sets_of(tasks, results):
            verdicts = {
                task: None if result is None else {"status": "evaluated", "result": result}
                for task, result in given.items()
            }
            unfinished = {task: {"status": "did_not_complete"} for task in given}
            for operation, document in (
                ("final_score", {"evaluation_results": given, "dataset": dataset}),
                ("score", {"run_id": "check", "evaluation_results": verdicts, "dataset": dataset}),
                ("score", {"run_id": "check", "evaluation_results": unfinished, "dataset": dataset}),
            ):
                try:
                    await self._benchmark.call(operation, body=msgspec.json.encode(document))
                except BenchhostError as error:
                    why = (str(error) or error.title).splitlines()[-1]
                    check.look(Finding(f"calculate_final_score of {kind}: {why}", dataset, cause=str(error)))
                else:
                    check.look()

    async def _ask_about_strangers(self) -> None:
        for headers in ({}, {"authorization": "Bearer nobody"}, {"authorization": "\x00", "x": "é" * 1000}):
            await self._ask("check_auth", body=msgspec.msgpack.encode(headers), said_of="a stranger")

    def _weigh_the_loop(self) -> None:
        """Say which hooks keep the loop to themselves: time and again, since a busy machine may do it once."""
        check = self._checks["loop-free"]
        for hook, times in self._held.items():
            usual = sorted(times)[len(times) // 4]
            check.look(
                Finding(f"{hook} keeps the event loop to itself for {usual:.2g} s: make it a plain `def`, or await")
                if usual > HELD
                else None
            )

    def _weigh_the_noise(self) -> None:
        """Only warn when it is seldom: a task may ask for little, such as to be answered without commas."""
        check = self._checks["noise-not-full-marks"]
        if 0 < check.found < check.examined * OF_NOISE:
            check.outcome = "warned"

    def _weigh_the_policy(self, dataset: str, tasks: int) -> None:
        """Look whether the author's own policy for a dataset bounds what is told; an operator may set another."""
        policy = Policies().of(self._benchmark, dataset, "")
        if not policy.limits:
            return
        check = self._checks["probing-bounded"]
        check.look()
        for said in left_open(policy, tasks):
            check.find(Finding(said, dataset), "warned")

    def _say_what_was_skipped(self) -> None:
        checks = self._checks
        if checks["loads"].outcome == "failed":
            for check in checks.values():
                if check.check != "loads":
                    check.skip("the plugin cannot be loaded")
            return
        offers = self._benchmark.offers
        if not offers("evaluate_response"):
            for name in (
                "reference-full-marks",
                "silence-not-full-marks",
                "noise-not-full-marks",
                "grading-deterministic",
            ):
                if not checks[name].examined:
                    checks[name].skip(checks[name].note or "responses are not text: evaluate_response is not written")
        elif not checks["reference-full-marks"].examined:
            checks["reference-full-marks"].skip("there is no reference response: reference_response is not written")
        if not checks["probing-bounded"].examined:
            checks["probing-bounded"].skip("no policy of probing is declared")
        if self._repeats == 1:
            checks["grading-deterministic"].skip("each response was judged once")
        if not offers("retrieve_task"):
            checks["environments"].skip("its tasks are attempted in no sandbox")
        if not offers("evaluate_instance"):
            checks["sandbox-grading"].skip("its tasks are judged in no sandbox")
        elif not checks["sandbox-grading"].examined:
            checks["sandbox-grading"].skip(
                "there are to be no sandboxes: the setting `sandbox`, or --sandboxed, says so"
            )


def _sets_of(
    tasks: Sequence[str], results: Mapping[str, PublicResult]
) -> Iterator[tuple[str, Mapping[str, PublicResult | None]]]:
    yield "no results", {}
    yield "nothing but nulls", dict.fromkeys(tasks)
    yield "all results", {task: results.get(task) for task in tasks}
    if tasks:
        yield "one result", {tasks[0]: PublicResult(0.0, None, {}, None)}
        yield "every second result", {task: results.get(task) if n % 2 else None for n, task in enumerate(tasks)}
        yield "zeros", {task: PublicResult(0.0, passed=False, metrics={}, feedback=None) for task in tasks}
