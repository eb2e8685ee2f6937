"""Copies of a benchmark whose hooks fail in every way, with what is hidden in their hands.

In a copy, the hidden texts and numbers of the tasks are canaries: values that occur nowhere else, so
that a leak is a leak also where the true answer is a ``7`` or an ``A``. It runs where the author's code
runs; a plugin of a few lines, made on the spot, names the benchmark and what its copy does.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import itertools
import pkgutil
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchhost import errors
from benchhost.contract import (
    Benchmark,
    Environment,
    Error,
    FinalScore,
    Message,
    Result,
    Task,
    Versions,
    placed_fields,
    public_fields,
)
from benchhost.integrity.values import fields
from benchhost.registry import HOOKS

ACTS = {
    "canaries": "hooks do what they do, with other hidden values",
    "raises": "hooks raise exceptions that quote hidden values",
    "refuses": "hooks raise errors of the host's own that quote hidden values",
    "nonsense": "hooks return hidden values where something else is expected",
    "private": "hooks return hidden values in the private part of a result",
    "exits": "hooks end the program with hidden values as the reason",
    "hangs": "hooks do not return",
    "closed": "check_auth raises with hidden values",
    "unloadable": "load_datasets raises with hidden values",
    "setting-up": "setup_task alone fails, in every way by turns, when it has begun to say something",
    "placing": "place_submission alone fails, likewise",
    "judging": "evaluate_instance alone fails, likewise",
}
"""What a copy does, by name."""

IN_SANDBOXES = {"setting-up": "setup_task", "placing": "place_submission", "judging": "evaluate_instance"}
"""The hook that fails in a copy, for the hooks that work in sandboxes: each is reached only if those before it work."""

WAYS = 14
"""In how many ways such a hook fails by turns."""

ABOUT_ACCESS = frozenset({"check_auth", "resolve_tenant", "check_dataset_access"})
"""Hooks that fail in one copy alone, since nobody gets past them."""

_turns = itertools.count()


PATIENCE = 0.3
"""Seconds that a hook may take which never returns."""


def install_copy(folder: Path, name: str, original: str, act: str, chosen: Mapping[str, Collection[str]]) -> None:
    """Install a copy of the benchmark at ``original`` (``module:object``) with the ``chosen`` tasks of each dataset."""
    module = f"benchhost_copy_{act}"
    (folder / f"{module}.tasks").write_bytes(msgspec.json.encode({each: list(ids) for each, ids in chosen.items()}))
    (folder / f"{module}.py").write_text(
        "from pathlib import Path\n\nfrom benchhost.integrity.saboteur import copy_of\n\n"
        f"Plugin = copy_of({original!r}, {act!r}, Path(__file__).with_suffix('.tasks'))\n"
    )
    metadata = folder / f"{module}-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[benchhost.benchmarks]\n{name} = {module}:Plugin\n")


def _current(tasks: Iterable[Task] | Versions[Task]) -> Iterable[Task]:
    return tasks.tasks[tasks.label or ""] if isinstance(tasks, Versions) else tasks


def copy_of(original: str, act: str, chosen: Path) -> type[Benchmark[Any]]:
    """Make the copy of a benchmark's class that does ``act``; the file ``chosen`` names its tasks."""
    cls: type[Benchmark[Any]] = pkgutil.resolve_name(original)
    tasks: dict[str, set[str]] = msgspec.json.decode(chosen.read_bytes(), type=dict[str, set[str]])

    async def load_datasets(self: Benchmark[Any]) -> dict[str, list[Task]]:
        found = cls.load_datasets(self)
        if inspect.isawaitable(found):
            found = await found
        copies = {
            name: [_with_canaries(task, name) for task in _current(found[name]) if task.id in ids]
            for name, ids in tasks.items()
        }
        self.everything_hidden = " ".join(_hidden(task) for each in copies.values() for task in each)  # type: ignore[attr-defined]
        if act == "unloadable":
            raise ValueError(self.everything_hidden)  # type: ignore[attr-defined]
        return copies

    body: dict[str, Any] = {"load_datasets": load_datasets}
    if act == "closed":
        body["check_auth"] = _check_auth
    elif act in IN_SANDBOXES:
        body[IN_SANDBOXES[act]] = _failing_in_sandbox()
    elif act not in ("canaries", "unloadable"):
        written = {hook for hook in HOOKS if getattr(cls, hook) is not getattr(Benchmark, hook)} - ABOUT_ACCESS
        body |= {hook: _hook(act, hook) for hook in written | {"calculate_final_score", "prompt"}}
        if act == "hangs":
            body |= {"evaluation_timeout": PATIENCE, "setup_timeout": PATIENCE}
    return type(cls.__name__, (cls,), body)


def _hook(act: str, hook: str) -> Callable[..., Any]:
    def fail(self: Any, given: Any, *_: Any) -> Any:
        said = _hidden(given) if isinstance(given, Task) else self.everything_hidden
        return _DEEDS[act](said, hook)

    return fail


def _failing_in_sandbox() -> Callable[..., Any]:
    ways = itertools.cycle([_raise, *[_refuse] * 8, *[_talk_nonsense] * 5])

    async def fail(_: Any, task: Task, *__: Any) -> AsyncIterator[Any]:
        yield Message("at work")
        yield next(ways)(_hidden(task), "evaluate_instance")

    return fail


def _check_auth(self: Any, _: Mapping[str, str]) -> bool:
    raise PermissionError(self.everything_hidden)


class _Chatty(Exception):
    """An exception that says everything, however it is asked."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.title = self.slug = said
        self.add_note(said)


def _raise(said: str, _: str) -> Any:
    try:
        raise _Chatty(said)
    except _Chatty as error:
        raise RuntimeError(said) from error


def _refuse(said: str, _: str) -> Any:
    kinds: list[Exception] = [
        errors.UnknownTask(said),
        errors.Malformed(said, ("body", said)),
        errors.Busy(said, 1.0),
        errors.Unavailable(said),
        errors.PluginFault("invalid-task", said),
        errors.HookReturned(said),
        errors.SandboxFileError(said),
        errors.SandboxNotFound(said),
    ]
    raise kinds[next(_turns) % len(kinds)]


def _talk_nonsense(said: str, hook: str) -> Any:
    result = Result(score=1.0)
    result.score = said  # type: ignore[assignment]
    environment = {"image": "x", "problem_path": "/p", "cwd": "/", "agent_timeout": said}
    values = [
        said,
        {"score": 1.0, "feedback": said},
        result,
        Result(score=0.0, private={"unsayable": object(), "said": said}),
        Environment(**environment) if hook == "retrieve_task" else [said],  # type: ignore[arg-type]
        iter([said]),
    ]
    return values[next(_turns) % len(values)]


def _keep_private(said: str, hook: str) -> Any:
    if hook == "calculate_final_score":
        return FinalScore(score=0.5)
    if hook == "evaluate_response":
        return Result(score=0.5, private={"gold": said})
    return None


def _exit(said: str, _: str) -> Any:
    raise SystemExit(said)


def _hang(said: str, _: str) -> Any:
    time.sleep(3600)
    return Error(said)


_DEEDS = {
    "raises": _raise,
    "refuses": _refuse,
    "nonsense": _talk_nonsense,
    "private": _keep_private,
    "exits": _exit,
    "hangs": _hang,
}


def _hidden(task: Task) -> str:
    """Say everything that is hidden in a task."""
    shown = {name for _, name in public_fields(type(task))}
    content = {name: value for name, value in msgspec.to_builtins(task, str_keys=True).items() if name not in shown}
    return " ".join(str(value) for _, value in fields(content)) + repr(content)


def _with_canaries(task: Task, dataset: str) -> Task:
    """Replace the texts and numbers of a task's hidden fields, where its type takes others.

    What is placed in sandboxes stays as it is: a script could not be run.
    """
    kind = type(task)
    shown = {attribute for attribute, _ in (*public_fields(kind), *placed_fields(kind))}
    for field in msgspec.structs.fields(type(task)):
        if field.name in shown:
            continue
        canary = _canary(getattr(task, field.name), f"{dataset}/{task.id}/{field.name}")
        with contextlib.suppress(Exception):  # its __post_init__ may want values of its own kind, and raise anything
            task = msgspec.structs.replace(task, **{field.name: canary})
    return task


def _canary(value: Any, place: str) -> Any:
    digest = hashlib.sha256(place.encode()).digest()
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return "zq" + "".join("bcdfghjkmnpqrstv"[byte % 16] for byte in digest[:14])
    if isinstance(value, int | float):
        return type(value)(300_000_000 + int.from_bytes(digest[:4]) % 600_000_000)
    if isinstance(value, list | tuple | set | frozenset) and not hasattr(value, "_fields"):
        return type(value)(_canary(inner, f"{place}/{n}") for n, inner in enumerate(value))
    if isinstance(value, dict):
        return {key: _canary(inner, f"{place}/{key}") for key, inner in value.items()}
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        changes = {name: _canary(getattr(value, name), f"{place}/{name}") for name in names}
        return msgspec.structs.replace(value, **changes)
    return value
