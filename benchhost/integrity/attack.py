"""What an attacker finds out of hidden answers by trying: with the policy of a dataset, and without one.

The attacker is a tenant of the real application and uses its routes alone. It knows which answers there are, as
an attacker knows the letters of a choice, or small numbers; not which is whose. It tries one after the other at a
task, and looks for what tells it that it was right: a score, or a sum that is larger than others.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import Probing
from benchhost.errors import NotOffered, UsageError
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.integrity.caller import Caller
from benchhost.integrity.tenants import key_of
from benchhost.server.app import App
from benchhost.server.host import Host
from benchhost.settings import Settings
from benchhost.tasks import sample

STRATEGIES = {"enumerate": "try every answer that occurs in the dataset, at one task after the other"}
"""How an attacker goes about it."""

TENANT = "attacker"

_JSON = {"content-type": "application/json"}
_text = msgspec.json.Decoder(str | None)


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attack under one policy.

    Of ``tasks`` that were attacked, ``recovered`` are those whose answer the attacker was told, ``claimed`` those
    of which it believed so. ``by_chance`` is how many one would hit by a single guess at each. ``guesses`` were
    submitted, ``refused`` of them not judged.
    """

    policy: Probing
    tasks: int
    candidates: int
    by_chance: float
    recovered: int
    claimed: int
    guesses: int
    refused: int


class AttackReport(msgspec.Struct, frozen=True, kw_only=True):
    """An attack without any policy, and the same with the one that is in force or was asked for."""

    benchmark: str
    dataset: str
    strategy: str
    off: Attack
    on: Attack


async def attack(
    settings: Settings,
    name: str,
    dataset: str,
    policy: Probing | None,
    *,
    most: int = 20,
    guesses: int = 100,
    seed: int = 0,
) -> AttackReport:
    """Attack a dataset, first without a policy and then with ``policy``, or the one in force when there is none.

    ``most`` tasks are attacked, with at most ``guesses`` at each. Raises :class:`~benchhost.errors.NotOffered` when
    the benchmark has no text responses and references, by which the attack is measured, and
    :class:`~benchhost.errors.UsageError` when no policy is in force.
    """
    off = await _attacked(settings, name, dataset, Probing(), most, guesses, seed)
    on = await _attacked(settings, name, dataset, policy, most, guesses, seed)
    return AttackReport(benchmark=name, dataset=dataset, strategy="enumerate", off=off, on=on)


async def _attacked(
    settings: Settings, name: str, dataset: str, policy: Probing | None, most: int, guesses: int, seed: int
) -> Attack:
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        given = settings.probing
        if policy is not None:
            given = Path(folder) / "probing.toml"
            given.write_text(_toml(f"{name}/{dataset}", policy))
        host = Host(
            Settings(
                auth=("keys",),
                state=Path(folder) / "state",
                only=(name,),
                benchmarks=settings.benchmarks,
                load_timeout=settings.load_timeout,
                probing=given,
                sandbox=None,
                drain_timeout=0.0,
            )
        )
        caller = Caller(App(host))
        async with caller.life():
            await host.plugins_found()
            benchmark = host.roster.get(name)
            await benchmark.ready()
            held = host.evaluator.policies.of(benchmark, benchmark.catalogue(dataset).name, TENANT)
            if policy is None and not held.limits:
                raise UsageError(
                    f"no policy is in force for {name}/{dataset}: declare one (Benchmark.probing), set one (the "
                    "setting `probing`), or say which to try, such as --attempts 3"
                )
            attacker = _Attacker(caller, await key_of(host, TENANT), name, dataset, held)
            answers = await _answers(benchmark, dataset, most, seed)
            rest = [task for task in benchmark.catalogue(dataset).ids if task not in answers]
            return await attacker.carry_out(answers, rest, guesses, random.Random(seed))


async def _answers(benchmark: HostedBenchmark, dataset: str, most: int, seed: int) -> dict[str, str]:
    """Find the answers to the tasks that are attacked."""
    if not (benchmark.offers("reference_response") and benchmark.offers("evaluate_response")):
        raise NotOffered(
            f"the benchmark {benchmark.name} has no reference_response and evaluate_response: it cannot be said what "
            "an attacker would find out"
        )
    found = {}
    for task in sample(benchmark.catalogue(dataset).ids, most, seed):
        answer = await benchmark.call("reference_response", dataset=dataset, task=task)
        if (text := _text.decode(answer.data)) is not None:
            found[task] = text
    return found


class _Attacker:
    """``policy`` is what it knows of the rules: they are published."""

    def __init__(self, caller: Caller, headers: Mapping[str, str], name: str, dataset: str, policy: Probing) -> None:
        self._caller = caller
        self._headers = {**headers, **_JSON}
        self._path = f"/b/{name}/v1"
        self._dataset = dataset
        self._policy = policy
        self._guesses = self._refused = 0

    async def carry_out(
        self, answers: Mapping[str, str], rest: Sequence[str], guesses: int, chance: random.Random
    ) -> Attack:
        """Attack tasks, whose answers are known here to say whether the attacker is right; not the ``rest``."""
        known = sorted(set(answers.values()))
        recovered = claimed = 0
        for task, answer in answers.items():
            candidates = chance.sample(known, len(known))[:guesses]
            others = [*rest, *(other for other in answers if other != task)]
            found = await self._enumerate(task, candidates, others)
            claimed += found is not None
            recovered += found == answer
        return Attack(
            policy=self._policy,
            tasks=len(answers),
            candidates=len(known),
            by_chance=len(answers) / len(known) if known else 0.0,
            recovered=recovered,
            claimed=claimed,
            guesses=self._guesses,
            refused=self._refused,
        )

    async def _enumerate(self, task: str, candidates: Sequence[str], others: Sequence[str]) -> str | None:
        """Try answers until one is told to be right; where sums alone are told, compare them."""
        sums: dict[str, float] = {}
        for number, candidate in enumerate(candidates):
            run = f"{task}-{number}"
            judged, score = await self._submit(run, task, candidate)
            self._guesses += 1
            if not judged:
                self._refused += 1
                return None
            if score is not None and score >= 1.0:
                return candidate
            if score is None and (total := await self._sum(run, others)) is not None:
                sums[candidate] = total
                if max(sums.values()) > min(sums.values()):
                    return max(sums, key=lambda each: sums[each])
        return None

    async def _submit(self, run: str, task: str, response: str) -> tuple[bool, float | None]:
        """Submit a guess; say whether it was judged, and the score if that is told."""
        payload = {"type": "text", "schema": "text", "data": response}
        status, answer = await self._post(
            "/evaluate", {"run_id": run, "dataset": self._dataset, "task_id": task, "payload": payload}
        )
        result = answer.get("result")
        return status == 200, None if result is None else float(result["score"])

    async def _sum(self, run: str, others: Sequence[str]) -> float | None:
        """Have the score of a run told in which all but the guess is the same as before."""
        for other in others[: self._policy.least - 1]:
            await self._submit(run, other, "-")
        status, answer = await self._post("/receipts", {"run_id": run, "dataset": self._dataset})
        return float(answer["statement"]["score"]) if status == 200 else None

    async def _post(self, path: str, body: Mapping[str, object]) -> tuple[int, dict[str, Any]]:
        seen = await self._caller.request("POST", f"{self._path}{path}", "", self._headers, msgspec.json.encode(body))
        return seen.status, msgspec.json.decode(seen.body)


def _toml(name: str, policy: Probing) -> str:
    """Write a policy as the setting `probing` reads it."""
    fields = {key: value for key, value in msgspec.structs.asdict(policy).items() if value is not None}
    return f'["{name}"]\n' + "".join(
        f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in fields.items()
    )
