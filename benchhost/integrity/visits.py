"""What a tenant can see in sandboxes: what is said while they are set up and judged, and what lies in them then.

A sandbox of the host's own is made by its routes, as a caller makes one; set up and judged over the WebSockets; and
looked through, file by file, after each of the two.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.integrity.caller import Seen

MOST_FILES = 500
"""Files of a sandbox that are read, each time that it is looked through."""

LOOKS_WITHIN = 60.0
"""Seconds that a command may take which looks for something in a sandbox."""

_SANDBOXES = "/v1/sandboxes"
_ONE = f"{_SANDBOXES}/{{sandbox_id}}"
_MARK = "/tmp/.before"  # noqa: S108 (in the sandbox, which is the caller's)
_PROBE = "/tmp/.after"  # noqa: S108
_FIND = f"""
while read -r _ place kind options _; do
    case ",$options," in *,ro,*) continue ;; esac
    case $kind in proc | sysfs | devpts | mqueue | cgroup*) continue ;; esac
    find "$place" -xdev -type f -cnewer {_MARK} -print 2>/dev/null
done < /proc/self/mounts
true
"""
"""What prints the files that were made or changed since the mark: by the time that nobody can set (``ctime``)."""

_RUNNING = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true"


class Route(Protocol):
    """Call a route as the caller who is to see what it answers; what is seen is searched, ``at`` the place."""

    def __call__(
        self, method: str, route: str, path: str, query: Mapping[str, str], body: bytes | None, at: str = ""
    ) -> Awaitable[Seen]: ...


class Visit:
    """The sandboxes of one caller, for a benchmark that is called ``name`` here, whatever its hooks do.

    ``call`` and ``converse`` see and search what is answered. ``unsearched`` is told what could not be.
    """

    def __init__(
        self,
        name: str,
        call: Route,
        converse: Callable[[str, str, Sequence[str]], Awaitable[Seen]],
        unsearched: Callable[[str], None],
    ) -> None:
        self._name = name
        self._call = call
        self._converse = converse
        self._unsearched = unsearched

    async def attempt(self, spec: Mapping[str, Any], dataset: str, task: str, *, times: int = 1) -> None:
        """Have a sandbox of this kind set up for a task and judged, each so many times, and look through it."""
        made = await self._call("POST", _SANDBOXES, _SANDBOXES, {}, msgspec.json.encode(spec))
        if made.status != 201:
            self._unsearched(f"the sandboxes of {dataset}, {task}: none could be made ({said(made)})")
            return
        sandbox = msgspec.json.decode(made.body)["id"]
        try:
            await self._execute(sandbox, f": > {_MARK}; sleep 0.02; : > {_PROBE}")
            for hook, path in (("set up", "/ws/setup-task"), ("judged", "/ws/evaluate-instance")):
                for _ in range(times):
                    frame = {"task_id": task, "dataset": dataset, "instance_id": sandbox, "run_id": uuid.uuid4().hex}
                    route = f"/b/{{name}}{path}"
                    await self._converse(route, f"/b/{self._name}{path}", [msgspec.json.encode(frame).decode()])
                await self._look_through(sandbox, f"after it was {hook}", f"the sandbox of {dataset}, {task}")
        finally:
            await self._call("DELETE", _ONE, f"{_SANDBOXES}/{sandbox}", {}, None)

    async def submit(self, accepted: Mapping[str, Sequence[str]], dataset: str, task: str, *, times: int = 1) -> None:
        """Submit something of every kind that the benchmark takes, to be judged in fresh sandboxes."""
        route, path = "/b/{name}/v1/evaluate", f"/b/{self._name}/v1/evaluate"
        for kind, schemas in accepted.items():
            for schema in schemas:
                for turn in range(times):
                    text = f"true # {turn}"
                    data = text if kind == "text" else f"data:;base64,{base64.b64encode(text.encode()).decode()}"
                    body = {
                        "run_id": f"leakcheck-{self._name}",
                        "dataset": dataset,
                        "task_id": task,
                        "payload": {"type": kind, "schema": schema, "data": data},
                    }
                    await self._call("POST", route, path, {}, msgspec.json.encode(body))

    async def _look_through(self, sandbox: str, when: str, whose: str) -> None:
        """Read every file that was made or changed, and how every program was started that still runs."""
        await self._execute(sandbox, _RUNNING, f"what runs there {when}")
        listed = await self._execute(sandbox, _FIND, f"names of files {when}")
        if _PROBE not in listed:
            self._unsearched(f"files of {whose} {when}: sh and find do not list them there")
        found = [path for path in dict.fromkeys(listed) if path not in (_MARK, _PROBE, "")]
        for path in found[:MOST_FILES]:
            files = f"{_SANDBOXES}/{sandbox}/files"
            await self._call("GET", f"{_ONE}/files", files, {"path": path}, None, f"{path} {when}")
        if len(found) > MOST_FILES:
            self._unsearched(f"{len(found) - MOST_FILES} of {len(found)} files of {whose} {when}")

    async def _execute(self, sandbox: str, command: str, at: str = "") -> list[str]:
        """Run a command in the sandbox, and return the lines that it wrote."""
        body = msgspec.json.encode({"command": command, "timeout": LOOKS_WITHIN, "cwd": "/"})
        seen = await self._call("POST", f"{_ONE}/exec", f"{_SANDBOXES}/{sandbox}/exec", {}, body, at)
        return b"".join(_written(seen)).decode("utf-8", "replace").splitlines()


async def spec_of(benchmark: HostedBenchmark, dataset: str, task: str) -> dict[str, Any]:
    """Say of what a sandbox for a task is to be made, for the route that makes it.

    Raises :class:`~benchhost.errors.BenchhostError` when the benchmark does not say it.
    """
    told = msgspec.json.decode((await benchmark.call("retrieve_task", dataset=dataset, task=task)).data)
    given = {name: told["resources"][name] for name in ("vcpu", "memory", "disk")}
    source = told["source"]
    return {source["type"]: source[source["type"]], "resources": given}


def said(seen: Seen) -> str:
    """Say of a refusal what it says of itself."""
    try:
        return f"{seen.status}: {msgspec.json.decode(seen.body)['detail']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(seen.status)


def _written(seen: Seen) -> Iterator[bytes]:
    for line in seen.body.splitlines():
        try:
            told = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if told.get("type") == "stdout":
            yield base64.b64decode(told["data"])
