"""Benchmarks by name, and what is wrong with those that cannot be served.

A faulty plugin never stops the others: its fault is data. Loading a plugin runs its author's code, so
the host does it in a process beside its own (:mod:`benchhost.evaluation.zygote`).
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import Benchmark, Probing, Task, Versions
from benchhost.discovery import Entry, Lacking, object_of
from benchhost.errors import BenchhostError, PluginFault
from benchhost.tasks import Catalogue, Dataset, catalogue, index, keyed_digest

REASONS: dict[str, str] = {
    "invalid-name": "its name is not one to four dozen letters, digits, '-', '_' or '.', a letter or digit first",
    "duplicate-name": "two installed plugins have this name",
    "import-failed": "its module or object could not be imported",
    "not-a-benchmark": "its object is not a subclass of benchhost.Benchmark that can judge anything",
    "not-a-runner": "its object is not a concrete subclass of benchhost.Runner",
    "wrong-settings": "its settings are missing or wrong",
    "wrong-attribute": "its version, a timeout, listed, probing or accepted_submission_schemas is not what it must be",
    "datasets-failed": "its load_datasets raised an exception or returned something else than datasets",
    "invalid-task": "one of its tasks is not a usable task",
    "duplicate-task-id": "two tasks of one dataset have the same id",
    "unserialisable-task": "one of its tasks cannot be encoded",
    "load-timeout": "it did not finish loading in time",
    "load-died": "its process ended while it was loading",
}
"""Every reason for a fault, with the sentence that may be shown to anybody."""

_LABEL = re.compile(r"[!-~]{1,256}\Z")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}\Z")


class Fault(msgspec.Struct, frozen=True):
    """Why a plugin is not served. ``reason`` is for anybody; ``cause`` may quote the plugin and is for the operator."""

    entry: Entry
    reason: str
    cause: str


class Description(msgspec.Struct, frozen=True):
    """What the host knows of a loaded benchmark. It holds nothing that is hidden.

    ``catalogues`` are those of the current versions, and ``others`` those of all other versions, by dataset.
    """

    version: str
    evaluation_timeout: float
    setup_timeout: float
    accepted: dict[str, list[str]]
    listed: bool
    probing: dict[str, Probing]
    hooks: frozenset[str]
    catalogues: dict[str, Catalogue]
    others: dict[str, list[Catalogue]] = {}


class LoadedBenchmark(msgspec.Struct, frozen=True):
    """A benchmark with its datasets, answers included. Lives where the author's code runs.

    ``datasets`` are in their current versions, ``others`` in all other ones.
    """

    name: str
    benchmark: Benchmark[Any]
    datasets: dict[str, Dataset[Any]]
    others: dict[str, list[Dataset[Any]]] = {}

    def dataset(self, key: str) -> Dataset[Any] | None:
        """Find a dataset by the key of its catalogue, or by its name; an empty one means the default one."""
        name, _, version = key.partition("\n")
        current = self.datasets.get(name or "default")
        if current is None or version in ("", current.version):
            return current
        return next((each for each in self.others.get(current.name, ()) if each.version == version), None)


HOOKS = (
    "evaluate_response",
    "retrieve_task",
    "setup_task",
    "evaluate_instance",
    "place_submission",
    "evaluation_environment",
    "calculate_final_score",
    "prompt",
    "reference_response",
    "check_auth",
    "resolve_tenant",
    "check_dataset_access",
    "project_trial_result",
)
"""The hooks that an author may leave out."""

JUDGING = frozenset({"evaluate_response", "evaluate_instance", "retrieve_task"})
"""The hooks of which a benchmark has at least one."""


def sort_out(entries: Iterable[Entry]) -> tuple[dict[str, Entry], list[Fault]]:
    """Part the plugins that can be loaded, by name, from those whose names forbid it."""
    entries = list(entries)
    times = Counter(entry.name for entry in entries)
    good: dict[str, Entry] = {}
    faults: list[Fault] = []
    for entry in entries:
        if not _NAME.match(entry.name):
            faults.append(Fault(entry, "invalid-name", f"{entry.name!r}: {REASONS['invalid-name']}"))
        elif times[entry.name] > 1:
            others = [str(other) for other in entries if other.name == entry.name and other is not entry]
            faults.append(Fault(entry, "duplicate-name", f"the name is also taken by {', '.join(others)}"))
        else:
            good[entry.name] = entry
    return good, faults


async def load(entry: Entry, settings: Mapping[str, Any], key: bytes = b"") -> LoadedBenchmark:
    """Import a plugin, make its benchmark with the operator's settings, and index its datasets.

    ``key`` is the secret that digests of tasks are keyed with. Raises :class:`~benchhost.errors.PluginFault`.
    """
    return await _open(entry.name, _class_of(entry), settings, key)


async def of(**classes: type[Benchmark[Any]]) -> dict[str, LoadedBenchmark]:
    """Load benchmark classes that are at hand, by name: for tests and for use without a server.

    Raises :class:`~benchhost.errors.PluginFault`.
    """
    return {name: await _open(name, cls, {}) for name, cls in classes.items()}


def describe(loaded: LoadedBenchmark) -> Description:
    """Make the description that the host keeps of a loaded benchmark."""
    cls = type(loaded.benchmark)
    return Description(
        version=cls.version,
        evaluation_timeout=float(cls.evaluation_timeout),
        setup_timeout=float(cls.setup_timeout),
        accepted={kind: sorted(schemas) for kind, schemas in cls.accepted_submission_schemas.items()},
        listed=cls.listed,
        probing=dict(cls.probing),
        hooks=_written(cls),
        catalogues={name: catalogue(dataset) for name, dataset in loaded.datasets.items()},
        others={name: [catalogue(each) for each in others] for name, others in loaded.others.items()},
    )


def _class_of(entry: Entry) -> type[Benchmark[Any]]:
    try:
        target = object_of(entry)
    except Lacking as error:
        raise PluginFault("import-failed", f"the entry point names {entry.object}, and {error}") from None
    except BaseException as error:  # a module may do anything while it is imported, exit included
        raise PluginFault("import-failed", _told(error)) from error
    if not (isinstance(target, type) and issubclass(target, Benchmark)):
        raise PluginFault("not-a-benchmark", f"{entry.object} is {target!r}, not a subclass of benchhost.Benchmark")
    if inspect.isabstract(target):
        missing = ", ".join(sorted(target.__abstractmethods__))
        raise PluginFault("not-a-benchmark", f"{entry.object} is abstract: it does not define {missing}")
    if not (JUDGING & _written(target)):
        names = [(name, difflib.get_close_matches(name, HOOKS, 1)) for name in vars(target)]
        meant = "".join(f"; {name} may be meant to be {hook[0]}" for name, hook in names if hook and name not in HOOKS)
        neither = f"{entry.object} defines neither evaluate_response nor evaluate_instance nor retrieve_task{meant}"
        raise PluginFault("not-a-benchmark", neither)
    return target


async def _open(name: str, cls: type[Benchmark[Any]], settings: Mapping[str, Any], key: bytes = b"") -> LoadedBenchmark:
    _check_attributes(cls)
    try:
        given = msgspec.convert(dict(settings), cls.Settings, strict=False, dec_hook=_of_text)
        digest = keyed_digest(given, key)
        benchmark = cls(given)
    except msgspec.ValidationError as error:
        raise PluginFault("wrong-settings", _about_settings(name, cls, error)) from error
    except BaseException as error:  # its __init__ may do anything, exit included
        raise PluginFault("wrong-settings", _told(error)) from error
    try:
        found = benchmark.load_datasets()
        if inspect.isawaitable(found):
            found = await found
        if not isinstance(found, Mapping):
            raise PluginFault("datasets-failed", f"load_datasets returned {type(found).__name__}, expected a mapping")
        names: list[Any] = list(found)
        if unusable := [name for name in names if not _is_dataset_name(name)]:
            expected = "a text without '/', since it is a part of paths"
            raise PluginFault("datasets-failed", f"load_datasets names a dataset {unusable[0]!r}; expected {expected}")
        datasets: dict[str, Dataset[Any]] = {}
        others: dict[str, list[Dataset[Any]]] = {}
        for dataset, tasks in found.items():
            if isinstance(tasks, Versions):
                datasets[dataset], others[dataset] = _versions(dataset, tasks, key, digest)
            else:
                datasets[dataset] = index(dataset, tasks, key, digest)
    except PluginFault:
        raise
    except BenchhostError as error:
        raise PluginFault("datasets-failed", str(error)) from error
    except BaseException as error:  # an author's code may do anything, exit included
        raise PluginFault("datasets-failed", _told(error)) from error
    return LoadedBenchmark(name=name, benchmark=benchmark, datasets=datasets, others=others)


def _versions(
    name: str, versions: Versions[Task], key: bytes, digest: str
) -> tuple[Dataset[Task], list[Dataset[Task]]]:
    """Index every version of a dataset; return the current one, and the others."""
    labels: list[Any] = list(versions.tasks)
    current = versions.label or ""
    wrong = [label for label in labels if not (isinstance(label, str) and _LABEL.match(label))]
    if wrong:
        problem = f"a version is called {wrong[0]!r}; expected 1 to 256 visible characters of ASCII, such as '1.1'"
    elif current not in labels:
        problem = f"its current version is {current!r}; expected one of: {', '.join(labels) or '(there is none)'}"
    else:
        found = {label: index(name, tasks, key, digest, label) for label, tasks in versions.tasks.items()}
        return found.pop(current), list(found.values())
    raise PluginFault("datasets-failed", f"dataset {name!r}: {problem}")


def _check_attributes(cls: type[Benchmark[Any]]) -> None:
    version: Any = cls.version  # an author may have assigned anything
    timeouts: dict[str, Any] = {name: getattr(cls, name) for name in ("evaluation_timeout", "setup_timeout")}
    wrong = [name for name, seconds in timeouts.items() if not _is_time(seconds)]
    listed: Any = cls.listed
    accepted: Any = cls.accepted_submission_schemas
    probing: Any = cls.probing
    if not (isinstance(version, str) and version.isprintable() and version):
        problem = f"version is {version!r}; expected a text, such as '1.0'"
    elif wrong:
        problem = f"{wrong[0]} is {timeouts[wrong[0]]!r}; expected a number of seconds, more than 0"
    elif not isinstance(listed, bool):
        problem = f"listed is {listed!r}; expected True or False"
    elif not _are_schemas(accepted):
        problem = f'accepted_submission_schemas is {accepted!r}; expected the like of {{"text": {{"patch"}}}}'
    elif not _are_policies(probing):
        problem = f'probing is {probing!r}; expected the like of {{"validation": benchhost.Probing(attempts=3)}}'
    elif accepted and "place_submission" not in _written(cls):
        problem = "accepted_submission_schemas names shapes of submissions, and no place_submission places them"
    else:
        return
    raise PluginFault("wrong-attribute", f"{cls.__qualname__}.{problem}")


def _is_time(seconds: Any) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < math.inf


def _is_dataset_name(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and name != "" and "/" not in name


def _are_schemas(accepted: Any) -> bool:
    return isinstance(accepted, Mapping) and all(
        kind in ("text", "artifact")
        and isinstance(schemas, Collection)
        and not isinstance(schemas, str)
        and all(isinstance(schema, str) for schema in schemas)
        for kind, schemas in accepted.items()
    )


def _are_policies(probing: Any) -> bool:
    if not isinstance(probing, Mapping) or not all(isinstance(name, str) for name in probing):
        return False
    try:
        msgspec.convert([msgspec.to_builtins(policy) for policy in probing.values()], list[Probing])
    except (msgspec.ValidationError, TypeError):
        return False
    return all(isinstance(policy, Probing) for policy in probing.values())


def takes_resume_state(cls: type[Benchmark[Any]], hook: str) -> bool:
    """Say whether a hook can be told how far it had come: whether it has a parameter for that."""
    return "resume_state" in inspect.signature(getattr(cls, hook)).parameters


def _of_text(wanted: type, value: Any) -> Any:
    """Make of a setting's text what msgspec has no rule for: paths."""
    if issubclass(wanted, Path) and isinstance(value, str):
        return wanted(value).expanduser()
    raise ValueError(f"Expected `{wanted.__name__}`, got `{type(value).__name__}`")


def _written(cls: type[Benchmark[Any]]) -> frozenset[str]:
    """Name the hooks that the author did not leave out."""
    return frozenset(hook for hook in HOOKS if is_written(cls, hook))


def is_written(cls: type[Benchmark[Any]], hook: str) -> bool:
    """Whether the author did not leave a hook out."""
    return getattr(cls, hook) is not getattr(Benchmark, hook)


_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`\Z")
_FIELD = re.compile(r"Object (?P<how>missing required|contains unknown) field `(?P<field>[^`]*)`")
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text", "null": "none"}
_KINDS |= {"array": "a list", "object": "a table"}


def _about_settings(name: str, cls: type[Benchmark[Any]], error: Exception) -> str:
    """Say which setting of a benchmark is wrong, what was expected, and how it is set."""
    wanted = [field.encode_name for field in msgspec.structs.fields(cls.Settings)]
    place = _PLACE.search(str(error))
    said, path = (str(error)[: place.start()], place["path"]) if place else (str(error), "")
    if found := _FIELD.match(said):
        path = f"{path}.{found['field']}" if path else found["field"]
    if not path:
        problem = f"the settings of the benchmark {name} are wrong: {said}"
    elif found and found["how"] == "contains unknown":
        near = difflib.get_close_matches(path, wanted, n=1)
        problem = f"the benchmark {name} has no setting {path}" + (f"; did you mean {near[0]}?" if near else "")
        path = ""
    elif found:
        problem = f"the setting {path} of the benchmark {name} is missing"
    else:
        problem = f"the setting {path} of the benchmark {name} is wrong: {_in_words(said)}"
    table = f"[benchmarks.{name}]" if "." not in name else f'[benchmarks."{name}"]'
    variable = f"BENCHHOST_BENCHMARKS__{re.sub('[^A-Z0-9]', '_', name.upper())}__"
    variable += path.partition("[")[0].upper().replace(".", "__") or "<SETTING>"
    return (
        f"{problem.removesuffix('.')}{'' if problem.endswith('?') else '.'} Its settings are: "
        f"{', '.join(wanted) or 'none'}. They are set in the table {table} of benchhost.toml, "
        f"or in variables such as {variable}; then restart the host"
    )


def _in_words(said: str) -> str:
    """Say in plain words what msgspec says of types: "Expected `bool`, got `str`"."""
    kinds = re.compile(r"`([^`]*)`")
    said = kinds.sub(lambda kind: " or ".join(_KINDS.get(each, each) for each in kind[1].split(" | ")), said)
    return said[:1].lower() + said[1:]


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()
