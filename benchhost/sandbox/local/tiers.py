"""How well sandboxes can be kept apart on this machine: the tiers, and the proof of one.

A tier is claimed only after a sandbox of it has been made here and tried to get out.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator

from benchhost.sandbox.local import boxes, landlock
from benchhost.sandbox.local.advice import advice
from benchhost.sandbox.local.boxes import Box
from benchhost.sandbox.local.cgroups import Groups
from benchhost.sandbox.local.execution import descendants
from benchhost.sandbox.local.messages import Message, connect, send

TIERS = ("namespaces", "uid", "landlock")
"""From the strongest to the weakest."""

PROVED_WITHIN = 20.0
"""Seconds that the proof of a tier may take."""

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")

_CANARY = "canary"
_ESCAPES = """
cat "$CANARY" > /dev/null 2>&1 && echo "a file of the host can be read"
(: >> "$CANARY") 2> /dev/null && echo "a file of the host can be written"
(: >> /proc/sys/kernel/core_pattern) 2> /dev/null && echo "a setting of the kernel can be written"
(: < /proc/1/environ) 2> /dev/null && echo "the environment of the first process can be read"
[ -e /proc/$KEEPER ] && kill -0 $KEEPER 2> /dev/null && [ "$TIER" != namespaces ] && echo "the host can be sent signals"
mkdir /usr/escaped 2> /dev/null && echo "the programs of the host can be changed"
echo tried
read end
"""


def choose(folder: str, isolation: str, weakest: str, groups: Groups | str) -> Message:
    """Choose the strongest tier that this machine has; ``isolation`` may name one instead of ``auto``.

    ``folder`` is where one is tried, ``groups`` are the cgroups that are to be had, or why there are none. The answer
    says what sandboxes of the tier are like, or has an ``error``.
    """
    wanted = TIERS[: TIERS.index(weakest) + 1] if isolation == "auto" else (isolation,)
    why: list[str] = []
    for tier in wanted:
        failure = failure_of(tier, folder)
        if failure is None:
            return {
                "tier": tier,
                "limits": limits_of(tier, in_groups=isinstance(groups, Groups)),
                "why": why,
                "cgroups": groups if isinstance(groups, str) else None,
            }
        why.append(f"no {tier}: {failure}")
    return {
        "error": "unavailable",
        "message": f"sandboxes cannot be kept apart well enough on this machine ({weakest} is the least that will do). "
        + "; ".join(why),
    }


def limits_of(tier: str, *, in_groups: bool) -> dict[str, str]:
    """Say how each limit is kept, and whether cgroups do it."""
    apart = "polled" if tier == "landlock" and not in_groups else "hard"
    return {"memory": "hard" if in_groups else "polled", "disk": "polled", "processes": apart, "vcpu": "hard"}


_failures: dict[str, str | None] = {}


def failure_of(tier: str, folder: str) -> str | None:
    """Try a tier; return why it cannot be had and what to change, or ``None``."""
    if tier not in _failures:
        _failures[tier] = _unsuitable(tier) or _tried(tier, folder)
    return _failures[tier]


def _unsuitable(tier: str) -> str | None:
    as_root = os.geteuid() == 0
    if tier == "uid" and not as_root:
        return "it needs a host that is root"
    if tier == "landlock" and as_root:
        return "it is for a host that is not root; as root, take uid"
    if tier != "namespaces" and landlock.version() < landlock.SIGNALS_SINCE:
        return f"it needs Landlock of version {landlock.SIGNALS_SINCE} (Linux 6.12), and here is {landlock.version()}"
    return None


def _tried(tier: str, folder: str) -> str | None:
    probes = os.path.join(folder, "probe")
    _clear(probes)
    os.mkdir(probes, 0o755)
    canary = os.path.join(probes, _CANARY)
    with open(canary, "w", encoding="utf-8") as file:
        file.write("readable by everybody, outside of a sandbox")
    os.chmod(canary, 0o666)  # noqa: S103 - what keeps it from being read must not be its mode
    asked: Message = {
        "root": None,
        "user": None,
        "layer": None,
        "image": None,
        "labels": {},
        "disk": 1,
        "memory": 1,
        "vcpu": 1,
    }
    asked |= {"cwd": "/work", "idle_timeout": None, "lifetime": PROVED_WITHIN, "stays": False}
    asked["env"] = {"CANARY": canary, "KEEPER": str(os.getpid()), "TIER": tier}
    box = None
    try:
        box = boxes.make(probes, asked, tier=tier)
        box.begin()
        said = _read(box.ready)
        if said:
            return advice(said)
        found = list(_found(box))
        return "what should not be possible in there is: " + "; ".join(found) if found else None
    except OSError as error:
        return advice(error.strerror or str(error))
    finally:
        if box is not None:
            box.end()
            if box.pid > 0:
                os.waitpid(box.pid, 0)
            removing = box.tidy_up()
            if removing is not None:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(removing, 0)
        _clear(probes)


def _clear(folder: str) -> None:
    with contextlib.suppress(ChildProcessError):  # it is reaped already
        os.waitpid(boxes.clear(folder), 0)


def _found(box: Box) -> Iterator[str]:
    """Run the attempts to escape in a sandbox; yield what has succeeded."""
    stdin, ours = os.pipe2(os.O_CLOEXEC)
    out, stdout = os.pipe2(os.O_CLOEXEC)
    nothing = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        with connect(box.folder) as connection:
            request: Message = {"op": "run", "command": _ESCAPES, "cwd": None, "env": {}, "timeout": PROVED_WITHIN}
            send(connection, request, (stdin, stdout, nothing))
            os.close(stdout)
            stdout = -1
            said = ""
            while not said.endswith("tried\n"):
                more = _read(out)
                if not more:
                    yield f"nothing: the attempts broke off after {said!r}"
                    return
                said += more
            yield from said.splitlines()[:-1]
            yield from _walls_missing(descendants(box.pid)[-1], box)
    finally:
        for file in (stdin, ours, out, stdout, nothing):
            if file >= 0:
                os.close(file)


def _walls_missing(pid: int, box: Box) -> Iterator[str]:
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        lines = [line.partition(":") for line in file]
    status = {name: value.strip() for name, _, value in lines}
    if any(user != str(box.plan.user) for user in status["Uid"].split()) or box.plan.user == 0:
        yield f"a process is the user {status['Uid']} of this machine"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        if int(status[kind], 16):
            yield f"a process has capabilities ({kind} {status[kind]})"
    if status["NoNewPrivs"] != "1":
        yield "privileges can be gained"
    if status["Seccomp"] != "2":
        yield "system calls are not filtered"
    if box.tier == "namespaces":
        for kind in NAMESPACES:
            if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}"):
                yield f"the namespace {kind} is the host's"


def _read(file: int) -> str:
    """Read what there is to be read, waiting for it."""
    if not select.select([file], [], [], PROVED_WITHIN)[0]:
        return ""
    return os.read(file, 65536).decode(errors="replace")
