"""Runners by name, and their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from benchhost.contract import Runner
from benchhost.discovery import Entry, entries, object_of
from benchhost.errors import PluginFault, UsageError
from benchhost.log import register_secret
from benchhost.runner.default import DefaultRunner

RUNNERS = "benchhost.runners"
"""The entry-point group of runners. One that has the name of a benchmark is used for it."""

DEFAULT = "default"


class RunnerPlugin(msgspec.Struct, frozen=True):
    """A runner that can be used, by its name."""

    name: str
    cls: type[Runner[Any]]


def find_runner(benchmark: str, named: str | None = None) -> RunnerPlugin:
    """Find the runner that is named, else that of the benchmark, else the one that asks the model once.

    Raises :class:`~benchhost.errors.UsageError` when there is none of that name, and
    :class:`~benchhost.errors.PluginFault` when it cannot be loaded.
    """
    found = entries(RUNNERS)
    wanted = named or benchmark
    matching = [entry for entry in found if entry.name == wanted]
    if len(matching) > 1:
        raise PluginFault("duplicate-name", f"{' and '.join(map(str, matching))} are both called {wanted}")
    if matching:
        return RunnerPlugin(wanted, _load(matching[0]))
    if named not in (None, DEFAULT):
        installed = ", ".join(sorted({DEFAULT, *(entry.name for entry in found)}))
        raise UsageError(f"no runner is named {named!r}; installed are: {installed}")
    return RunnerPlugin(DEFAULT, DefaultRunner)


def runner_of(cls: type[Runner[Any]], given: Mapping[str, Any]) -> Runner[Any]:
    """Make a runner with the parameters that somebody gave, which may be text.

    Secret ones are masked from now on in whatever is logged or recorded.

    Raises :class:`~benchhost.errors.UsageError` when they are not those that it declares.
    """
    fields = msgspec.structs.fields(cls.Params)
    names = {field.encode_name for field in fields}
    if unknown := sorted(set(given) - names):
        raise UsageError(
            f"the runner has no parameter {', '.join(unknown)}; it has: {', '.join(sorted(names)) or 'none'}"
        )
    for name in _secrets(cls.Params):
        register_secret(*_texts(given.get(name)))
    try:
        return cls(msgspec.convert(dict(given), cls.Params, strict=False, dec_hook=_of_text))
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"a parameter of the runner is wrong: {error}") from error


def recorded_params(runner: Runner[Any]) -> dict[str, Any]:
    """Return a runner's parameters as they may be recorded: whole, defaults included, without the secret ones."""
    params = msgspec.to_builtins(runner.params, enc_hook=str)
    for name in _secrets(type(runner.params)):
        params.pop(name, None)
    return dict(params)


def _secrets(params: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(params) if _is_secret(field.type)]


def _is_secret(kind: Any) -> bool:
    """Say whether a type is marked as a secret, or holds one that is: ``Annotated[str, …] | None``, a list of such."""
    extras = [meta.extra for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return any((extra or {}).get("secret") for extra in extras) or any(map(_is_secret, get_args(kind)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _texts(each)


def _of_text(wanted: type, value: Any) -> Any:
    if issubclass(wanted, Path) and isinstance(value, str):
        return wanted(value).expanduser()
    raise ValueError(f"Expected `{wanted.__name__}`, got `{type(value).__name__}`")


def _load(entry: Entry) -> type[Runner[Any]]:
    try:
        target = object_of(entry)
    except Exception as error:
        raise PluginFault("import-failed", f"the runner {entry} failed: {type(error).__name__}: {error}") from error
    if not (isinstance(target, type) and issubclass(target, Runner)):
        raise PluginFault("not-a-runner", f"{entry.object} is {target!r}, not a subclass of benchhost.Runner")
    if inspect.isabstract(target):
        missing = ", ".join(sorted(target.__abstractmethods__))
        raise PluginFault("not-a-runner", f"{entry.object} is abstract: it does not define {missing}")
    return target
