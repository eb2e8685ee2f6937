"""What an attacker finds out of hidden answers by trying: with the policy of a dataset, and without one.

The attacker is a tenant of the real application, or several, and uses its routes alone. It knows which answers there
are, as an attacker knows the letters of a choice, or small numbers; not which is whose. How it goes about it is its
strategy (:mod:`benchhost.integrity.strategies`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from benchhost.contract import Probing
from benchhost.errors import NotOffered, UsageError
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.probing import bits_of
from benchhost.integrity.attacker import Attacker
from benchhost.integrity.caller import Caller
from benchhost.integrity.strategies import STRATEGIES, Strategy, Target
from benchhost.integrity.tenants import key_of
from benchhost.server.app import App
from benchhost.server.host import Host
from benchhost.server.probing import read_probing
from benchhost.settings import Settings
from benchhost.tasks import sample

TENANT = "attacker"

SYBIL = "sybil"
"""The strategy of one who is many tenants: another one, of those by which single scores or sums are attacked."""

OTHERS = 200
"""Tasks that are not attacked, and are there to be summed up with those that are."""

TENANTS = 10
"""How many tenants a `sybil` is, unless it is said."""

_text = msgspec.json.Decoder(str | None)


class Attack(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attack under one policy.

    Of ``tasks`` that were attacked, ``recovered`` are those whose answer the attacker was told, ``claimed`` those
    of which it believed so. ``by_chance`` is how many one would hit by a single guess at each. ``guesses``, each a
    response or a run of them, were submitted, and nothing was told of ``refused`` of them. ``sums`` were told, and
    ``bits`` is how many bits of all answers they can say at most, if that is bounded.
    """

    policy: Probing
    tasks: int
    candidates: int
    by_chance: float
    recovered: int
    claimed: int
    guesses: int
    refused: int
    sums: int
    bits: float | None


class AttackReport(msgspec.Struct, frozen=True, kw_only=True):
    """An attack without any policy, and the same with the one that is in force or was asked for."""

    benchmark: str
    dataset: str
    strategy: str
    tenants: int
    off: Attack
    on: Attack


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a dataset is attacked: ``most`` tasks of it, with at most ``guesses`` at each on average.

    The ``strategy`` is one of :data:`STRATEGIES`; that of a sybil is carried out by as many ``tenants``.
    """

    strategy: str = "enumerate"
    most: int = 20
    guesses: int = 100
    tenants: int = TENANTS
    seed: int = 0

    @property
    def attackers(self) -> int:
        """How many tenants attack."""
        return self.tenants if self.strategy == SYBIL else 1

    def under(self, policy: Probing) -> Strategy:
        """Say what to do under a policy: a sybil does what promises most."""
        name = self.strategy
        if name == SYBIL:
            name = "bisect" if policy.feedback == "sum" else "enumerate"
        return STRATEGIES[name]


async def attack(
    settings: Settings, name: str, dataset: str, policy: Probing | None, plan: Plan | None = None
) -> AttackReport:
    """Attack a dataset, first without a policy and then with ``policy``, or the one in force when there is none.

    Raises :class:`~benchhost.errors.NotOffered` when the benchmark has no text responses and references, by which
    the attack is measured, :class:`~benchhost.errors.UsageError` when no policy is in force or no task has a
    reference, and :class:`~benchhost.errors.SettingsError` when that of the settings cannot be read.
    """
    read_probing(settings.probing)  # what is wrong with it is told before the attack that goes without
    plan = plan or Plan()
    off = await _attacked(settings, name, dataset, Probing(), plan)
    on = await _attacked(settings, name, dataset, policy, plan)
    return AttackReport(benchmark=name, dataset=dataset, strategy=plan.strategy, tenants=plan.attackers, off=off, on=on)


async def _attacked(settings: Settings, name: str, dataset: str, policy: Probing | None, plan: Plan) -> Attack:
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
            answers = await _answers(benchmark, dataset, plan.most, plan.seed)
            if not answers:
                raise UsageError(f"no task of {name}/{dataset} that would be attacked has a reference response")
            known = sorted(set(answers.values()))
            keys = [await key_of(host, f"{TENANT}-{number}") for number in range(plan.attackers)]
            attacker = Attacker(caller, keys, name, dataset, held, plan.guesses * len(answers))
            others = [task for task in benchmark.catalogue(dataset).ids if task not in answers][:OTHERS]
            found = await plan.under(held)(attacker, Target(list(answers), others, known, held.least, plan.seed))
            return Attack(
                policy=held,
                tasks=len(answers),
                candidates=len(known),
                by_chance=len(answers) / len(known) if known else 0.0,
                recovered=sum(answers[task] == answer for task, answer in found.items()),
                claimed=len(found),
                guesses=attacker.guesses,
                refused=attacker.refused,
                sums=attacker.sums,
                bits=bits_of(held, plan.attackers),
            )


async def _answers(benchmark: HostedBenchmark, dataset: str, most: int, seed: int) -> dict[str, str]:
    """Find the answers to the tasks that are attacked."""
    if not (benchmark.offers("reference_response") and benchmark.offers("evaluate_response")):
        raise NotOffered(
            f"the benchmark {benchmark.name} needs both reference_response and evaluate_response: else it cannot be "
            "said what an attacker would find out"
        )
    found = {}
    for task in sample(benchmark.catalogue(dataset).ids, most, seed):
        answer = await benchmark.call("reference_response", dataset=dataset, task=task)
        if (text := _text.decode(answer.data)) is not None:
            found[task] = text
    return found


def _toml(name: str, policy: Probing) -> str:
    """Write a policy as the setting `probing` reads it."""
    fields = {key: value for key, value in msgspec.structs.asdict(policy).items() if value is not None}
    return f"[{msgspec.json.encode(name).decode()}]\n" + "".join(
        f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in fields.items()
    )
