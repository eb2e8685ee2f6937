"""The rounds that a search for leaks makes: of every route, as every kind of caller, whatever the hooks do."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from benchhost.errors import BenchhostError
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.roster import Roster
from benchhost.integrity.caller import Caller, Seen
from benchhost.integrity.requests import Tried, bodies, frames, queries, run_of_engine
from benchhost.integrity.saboteur import IN_SANDBOXES, WAYS
from benchhost.integrity.scanner import Scanner, Secret, Sighting
from benchhost.integrity.values import fields, leaves
from benchhost.integrity.visits import Visit, spec_of

TRIED_WHEN_FAILING = 2
"""Tasks that are tried of a copy whose hooks fail: they fail alike for all."""

LOOKED_UP = 5
"""Evaluations of each copy that are looked up again."""

AS_IT_IS = "as it is"
"""What the benchmark itself does, unlike its copies."""

SLOW = frozenset({"hangs", "exits"})
"""What hooks do that takes long to try, and is tried by the first caller alone."""

_JSON = {"content-type": "application/json"}
_revealed = msgspec.json.Decoder(dict[str, dict[str, Any]])
_text = msgspec.json.Decoder(str | None)
_PARAMETER = re.compile(r"\{(\w+)[^}]*\}")


class Leak(msgspec.Struct, frozen=True):
    """A hidden value that a caller could see.

    ``act`` is what the hooks did, ``at`` where in the answer it stands, and ``form`` that of a
    :class:`~benchhost.integrity.scanner.Sighting`.
    """

    route: str
    status: int
    caller: str
    act: str
    at: str
    dataset: str
    task: str
    field: str
    form: str


class Told(msgspec.Struct):
    """How many values of a hidden field there were, and how many of them could be told from chance."""

    values: int = 0
    as_they_are: int = 0
    as_canaries: int = 0


class LeakReport(msgspec.Struct, kw_only=True):
    """What came of a search: ``routes`` are those that were called, with how often each status came of it.

    ``sandboxes`` is whether hooks were tried in sandboxes, if there are such hooks; ``not_searched`` says of what
    nothing is known, and why.
    """

    benchmark: str
    clean: bool
    requests: int
    leaks: list[Leak]
    fields: dict[str, Told]
    routes: dict[str, dict[int, int]]
    sandboxes: bool
    not_searched: list[str]


class _Round(msgspec.Struct):
    """One benchmark, doing one thing, seen by one caller.

    ``made`` are the evaluations that were made in it, each with the secrets that were sent for it.
    """

    name: str
    act: str
    scanner: Scanner
    who: str
    headers: Mapping[str, str]
    made: dict[str, set[Secret]] = {}


class _Scanners(msgspec.Struct, frozen=True):
    """What looks for the secrets of a benchmark: in answers, and in sandboxes, where some of it lies by right."""

    anywhere: Scanner
    inside: Scanner


class Rounds:
    """Calls the ``routes`` as each of the ``callers``, who are given by their headers.

    ``chosen`` are the tasks of each dataset whose hidden values are looked for. ``sandboxes`` is whether the host has
    any.
    """

    def __init__(
        self,
        roster: Roster,
        caller: Caller,
        routes: Sequence[tuple[str, str]],
        chosen: Mapping[str, Sequence[str]],
        callers: Mapping[str, Mapping[str, str]],
        *,
        sandboxes: bool = False,
    ) -> None:
        self._roster = roster
        self._caller = caller
        self._routes = sorted(routes, key=_turn)
        self._chosen = chosen
        self._callers = callers
        self._sandboxes = sandboxes
        self._unsearched: dict[str, None] = {}
        self._requests = 0
        self._leaks: list[Leak] = []
        self._called: dict[str, Counter[int]] = {f"{method} {path}": Counter() for method, path in routes}

    async def carry_out(self, name: str, copies: Mapping[str, str]) -> LeakReport:
        """Search the answers of a benchmark and of its copies, which are named by what their hooks do."""
        original, changed = self._roster.get(name), self._roster.get(copies["canaries"])
        real_ones, false_ones = await self._scanners(original), await self._scanners(changed)
        real, canaries = real_ones.anywhere, false_ones.anywhere
        if self._sandboxes:
            await self._visit(original, name, copies, real_ones, false_ones)
        for who, headers in self._callers.items():
            await self._go(_Round(name, AS_IT_IS, real, who, headers), await self._responses(original))
            for act, copy in copies.items():
                if act in IN_SANDBOXES:
                    continue
                if act not in SLOW or who == next(iter(self._callers)):
                    tried = await self._responses(changed) if act == "canaries" else self._few(act)
                    await self._go(_Round(copy, act, canaries, who, headers), tried)
            for scanner in (real, canaries):
                await self._ask_the_host(_Round("", AS_IT_IS, scanner, who, headers))
        told = {
            field: Told(real.provable[field] + real.unprovable[field], real.provable[field], canaries.provable[field])
            for field in sorted({*real.provable, *real.unprovable})
        }
        return LeakReport(
            benchmark=name,
            clean=not self._leaks,
            requests=self._requests,
            leaks=self._leaks,
            fields=told,
            routes={route: dict(sorted(statuses.items())) for route, statuses in self._called.items()},
            sandboxes=self._sandboxes,
            not_searched=list(self._unsearched),
        )

    def cannot_search(self, said: str) -> None:
        """Say of what nothing will be known."""
        self._unsearched[f"{said}."] = None

    async def _visit(
        self, original: HostedBenchmark, name: str, copies: Mapping[str, str], real: _Scanners, canaries: _Scanners
    ) -> None:
        """Have the hooks work in sandboxes, as the first of the callers."""
        first = {dataset: ids[:1] for dataset, ids in self._chosen.items()}
        await self._visit_one(original, name, AS_IT_IS, real, self._chosen)
        await self._visit_one(original, copies["canaries"], "canaries", canaries, self._chosen)
        for act, copy in copies.items():
            if act in IN_SANDBOXES:
                await self._visit_one(original, copy, act, canaries, first, times=WAYS)

    async def _visit_one(
        self,
        original: HostedBenchmark,
        name: str,
        act: str,
        scanners: _Scanners,
        chosen: Mapping[str, Sequence[str]],
        *,
        times: int = 1,
    ) -> None:
        who, headers = next(iter(self._callers.items()))
        own = self._visitor(_Round(name, act, scanners.inside, who, headers))
        fresh = self._visitor(_Round(name, act, scanners.anywhere, who, headers))  # which nobody else gets into
        for dataset, task in ((dataset, task) for dataset, ids in chosen.items() for task in ids):
            try:
                spec = await spec_of(original, dataset, task)
            except BenchhostError as error:
                self.cannot_search(f"the sandboxes of {dataset}, {task}: of what they are made is not said ({error})")
            else:
                await own.attempt(spec, dataset, task, times=times)
            await fresh.submit(original.accepted, dataset, task, times=times)

    def _visitor(self, round_: _Round) -> Visit:
        async def call(
            method: str, route: str, path: str, query: Mapping[str, str], body: bytes | None, at: str = ""
        ) -> Seen:
            return await self._call(round_, method, route, path, urlencode(query), body, at)

        async def converse(route: str, path: str, sent: Sequence[str]) -> Seen:
            return await self._converse(round_, route, path, sent)

        return Visit(round_.name, call, converse, self.cannot_search)

    async def _scanners(self, benchmark: HostedBenchmark) -> _Scanners:
        await benchmark.ready()
        secrets: list[Secret] = []
        placed: set[tuple[str, str, str]] = set()
        texts: list[str] = []
        public: list[str] = []
        for dataset, ids in self._chosen.items():
            public += [task.decode() for task in benchmark.catalogue(dataset).public]
            for task in ids:
                revealed = _revealed.decode((await benchmark.call("reveal", dataset=dataset, task=task)).data)
                secrets += [Secret(dataset, task, path, value) for path, value in fields(revealed["hidden"])]
                placed |= {(dataset, task, path) for path, _ in fields(revealed["placed"])}
                texts += [str(value) for _, value in leaves(revealed["placed"])]
                if (reference := await _reference(benchmark, dataset, task)) is not None:
                    secrets.append(Secret(dataset, task, "reference_response", reference))
        kept = [secret for secret in secrets if (secret.dataset, secret.task, secret.field) not in placed]
        return _Scanners(Scanner(secrets, public), Scanner(kept, [*public, *texts]))

    async def _responses(self, benchmark: HostedBenchmark) -> list[tuple[str, str, str]]:
        """Make what is submitted: to every task something wrong, and to some what is right."""
        tried = []
        for dataset, ids in self._chosen.items():
            tried += [(dataset, task, "x") for task in ids]
            for task in ids[:TRIED_WHEN_FAILING]:
                if (reference := await _reference(benchmark, dataset, task)) is not None:
                    tried.append((dataset, task, reference))
        return tried

    def _few(self, act: str) -> list[tuple[str, str, str]]:
        most = 1 if act in SLOW else TRIED_WHEN_FAILING
        return [(dataset, task, "x") for dataset, ids in self._chosen.items() for task in ids[:most]]

    async def _go(self, round_: _Round, tried: Tried) -> None:
        """Call every route of a benchmark: first those that make something, then those that look it up or change it."""
        run = f"leakcheck-{round_.name}-{round_.who}"
        for method, path in self._routes:
            if "{name}" not in path:
                continue
            for filled in self._filled(
                path, round_.name, [run, run_of_engine(run), *list(round_.made)[:LOOKED_UP], "nope"]
            ):
                if method == "POST":
                    for body in bodies(tried if _turn((method, path)) == 0 else tried[:1], run):
                        await self._call(round_, method, path, filled, body=body)
                elif method == "WEBSOCKET":
                    for sent in frames(tried):
                        await self._converse(round_, path, filled, sent)
                else:
                    for query in queries(tried):
                        await self._call(round_, method, path, filled, urlencode(query))
            await self._call(round_, "DELETE", path, self._filled(path, round_.name, ["nope"])[0])

    async def _ask_the_host(self, round_: _Round) -> None:
        for method, path in self._routes:
            if "{name}" not in path:
                for query in ("", "dataset=nope"):
                    await self._call(round_, method, path, path, query)

    def _filled(self, path: str, name: str, ids: Sequence[str]) -> list[str]:
        """Fill the parameters of a path with what there is, and with what there is not."""
        start = path.replace("{name}", name)
        if "{dataset" in start:
            return [_PARAMETER.sub(dataset, start) for dataset in (*self._chosen, "nope")]
        if _PARAMETER.search(start):
            return [_PARAMETER.sub(each, start) for each in ids]
        return [start]

    async def _call(
        self,
        round_: _Round,
        method: str,
        route: str,
        path: str,
        query: str = "",
        body: bytes | None = None,
        at: str = "",
    ) -> Seen:
        headers = {**round_.headers, **(_JSON if body is not None else {})}
        seen = await self._caller.request(method, path, query, headers, body or b"")
        sent = f"{query}\n{(body or b'').decode('utf-8', 'replace')}"
        known = {sighting.secret for sighting in round_.scanner.scan(sent)}
        known |= round_.made.get(path.rpartition("/")[2], set())
        for evaluation in _evaluations(seen) if "{sandbox_id" not in route else ():
            round_.made.setdefault(evaluation, set()).update(known)
        self._look(round_, f"{method} {route}", seen, known, at)
        return seen

    async def _converse(self, round_: _Round, route: str, path: str, sent: Sequence[str | bytes]) -> Seen:
        seen = await self._caller.converse(path, round_.headers, sent)
        said = "\n".join(each if isinstance(each, str) else repr(each) for each in sent)
        known = {sighting.secret for sighting in round_.scanner.scan(said)}
        self._look(round_, f"WEBSOCKET {route}", seen, known)
        return seen

    def _look(self, round_: _Round, route: str, seen: Seen, known: set[Secret], at: str = "") -> None:
        """Search an answer for secrets that the caller has not sent itself; ``at`` is what it was asked about."""
        self._requests += 1
        if route in self._called:  # else it is a method that the path does not have
            self._called[route][seen.status] += 1
        for sighting in round_.scanner.scan(seen.text):
            secret = sighting.secret
            if secret not in known and not self._is_told(route, secret.field):
                self._leaks.append(
                    Leak(
                        route=route,
                        status=seen.status,
                        caller=round_.who,
                        act=round_.act,
                        at=at or _place(seen, round_.scanner, sighting),
                        dataset=secret.dataset,
                        task=secret.task,
                        field=secret.field,
                        form=sighting.form,
                    )
                )

    def _is_told(self, route: str, field: str) -> bool:
        """Say whether a leak of this field by this route is told of already, with another task, caller or act."""
        return any((leak.route, leak.field) == (route, field) for leak in self._leaks)


def _turn(route: tuple[str, str]) -> int:
    """Say when a route is called: what makes something first, what looks up or changes what was made later."""
    method, path = route
    ready = "{" not in path.replace("{name}", "").replace("{dataset}", "")
    return {"POST": 0 if ready else 3, "WEBSOCKET": 1}.get(method, 2)


async def _reference(benchmark: HostedBenchmark, dataset: str, task: str) -> str | None:
    if not benchmark.offers("reference_response"):
        return None
    try:
        answer = await benchmark.call("reference_response", dataset=dataset, task=task)
    except BenchhostError:  # a canary may be no answer that the hook can work with
        return None
    text: str | None = _text.decode(answer.data)
    return text


def _evaluations(seen: Seen) -> Iterator[str]:
    """Name the evaluations of which an answer tells."""
    if (told := seen.header(b"x-evaluation-id")) is not None:
        yield told
    yield from (each.decode() for each in re.findall(rb'"evaluation_id":"([0-9a-f]+)"', seen.body))


def _place(seen: Seen, scanner: Scanner, sighting: Sighting) -> str:
    """Say where in an answer a secret stands: the field of its JSON, if it is JSON."""
    if _sees(scanner, sighting, b"\n".join(b": ".join(header) for header in seen.headers).decode("latin-1")):
        return "headers"
    for line in seen.body.splitlines():
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            content = msgspec.json.decode(line.removeprefix(b"data: "))
            if isinstance(content, dict):
                for path, value in fields(content):
                    if _sees(scanner, sighting, str(value)):
                        return path
    return "body"


def _sees(scanner: Scanner, sighting: Sighting, text: str) -> bool:
    return any(each.secret == sighting.secret for each in scanner.scan(text))
