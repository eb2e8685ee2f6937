"""What a ``contract.yaml`` says of an agent.

Both forms in which Vals AI's runners read it are read as they are: the short one of create-benchmark-runner, and the
long one of Valkyrie, with typed parameters and artifacts.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchhost.errors import UsageError

PROBLEM = "problem_statement_path"
"""The placeholder of the file that holds the problem. Every ``run_cmd`` must use it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_TYPES: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "dict": dict[str, Any]}


class Kwarg(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter of an agent, which is set with ``-k NAME=VALUE`` and stands as ``{NAME}`` in its commands."""

    type: Literal["str", "int", "float", "bool", "dict"] = "str"
    required: bool = False
    default: Any = None
    choices: list[Any] | None = None
    description: str = ""


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files that are kept of each attempt: ``source``, a path or pattern in the sandbox, as ``path`` in the logs."""

    path: str
    source: str
    required: bool = False


class ModelDefault(msgspec.Struct, frozen=True):
    """What the long form says of the model."""

    choices: list[str] | None = None


class AgentContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an agent is installed and run, and where it leaves what it has made.

    In ``install_cmd`` and ``run_cmd``, ``{problem_statement_path}``, ``{task_id}``, ``{model}`` and the name of any
    parameter stand for their values, quoted for the shell; everything else in braces is left as it is.

    ``final_output`` is a file, or a folder in which the agent writes ``<task_id>/generation.json``. ``secrets`` names
    the variables of the environment that the agent is given: the keys are taken from that of whoever runs it.
    ``timeout`` is in seconds, and ours: the others leave it to the task. ``egress_allowlist`` and ``ingest_lambda``
    are read, and left to the service that they are meant for.

    Raises ``ValueError`` when the agent could not be run.
    """

    name: str
    run_cmd: str
    install_cmd: str | None = None
    final_output: str | None = None
    output_artifacts: list[str | Artifact] = []
    secrets: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    kwargs: dict[str, Kwarg] = {}
    timeout: float | None = None
    egress_allowlist: list[str] = []
    ingest_lambda: Any = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ValueError(f"name is {self.name!r}; expected up to 64 letters, digits, '.', '_' and '-'")
        if f"{{{PROBLEM}}}" not in self.run_cmd:
            raise ValueError(f"run_cmd never says where the problem is: it must contain {{{PROBLEM}}}")
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {self.timeout!r}")
        if self.final_output is not None and not _is_one_word(self.final_output):
            raise ValueError(f"final_output is {self.final_output!r}; expected one path, quoted if it has spaces")
        for name, kwarg in self.kwargs.items():
            if not name.isidentifier() or name.startswith("__"):
                raise ValueError(f"kwargs: {name!r} is no name of a parameter")
            if kwarg.default is not None:
                self._checked(name, kwarg.default)

    @property
    def artifacts(self) -> list[Artifact]:
        """What is kept of each attempt, in the long form; the short form is a path under ``/tmp/valkyrie``."""
        return [
            each if isinstance(each, Artifact) else Artifact(each, f"/tmp/valkyrie/{each}")  # noqa: S108 - in a sandbox
            for each in self.output_artifacts
        ]

    def params(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of every parameter: what was given, else its default.

        Raises :class:`~benchhost.errors.UsageError` when one is missing, unknown or of the wrong type.
        """
        if unknown := sorted(set(given) - set(self.kwargs)):
            known = ", ".join(self.kwargs) or "none"
            raise UsageError(f"the agent {self.name} has no parameter {', '.join(unknown)}; it has: {known}")
        values: dict[str, Any] = {}
        for name, kwarg in self.kwargs.items():
            default = kwarg.default if kwarg.default is not None else self.defaults.get(name)
            value = given.get(name, default)
            if value is None and kwarg.required:
                raise UsageError(f"the agent {self.name} needs -k {name}=VALUE")
            try:
                values[name] = None if value is None else self._checked(name, value)
            except ValueError as error:
                raise UsageError(f"the agent {self.name}: {error}") from None
        return values

    def allows(self, model: str) -> None:
        """Make sure that the agent takes a model.

        Raises :class:`~benchhost.errors.UsageError`.
        """
        said = self.defaults.get("model")
        try:
            choices = msgspec.convert(said, ModelDefault).choices if isinstance(said, dict) else None
        except msgspec.ValidationError as error:
            raise UsageError(f"the agent {self.name}: its defaults for the model: {error}") from None
        if choices is not None and model not in choices:
            raise UsageError(f"the agent {self.name} takes the models {', '.join(choices)}, not {model}")

    def command(self, template: str, values: Mapping[str, Any]) -> str:
        """Put values in the place of their names, so that none of them can be more than one word to the shell."""
        told = {name: _text(value) for name, value in values.items() if value is not None}
        return re.sub(
            r"\{(\w+)\}", lambda match: shlex.quote(told[match[1]]) if match[1] in told else match[0], template
        )

    def _checked(self, name: str, value: Any) -> Any:
        kwarg = self.kwargs[name]
        try:
            if kwarg.type == "dict" and isinstance(value, str):
                value = msgspec.json.decode(value)
            value = msgspec.convert(value, _TYPES[kwarg.type], strict=False)
        except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"{name} must be {kwarg.type}, not {_short(value)} ({error})") from None
        if kwarg.choices is not None and value not in kwarg.choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, kwarg.choices))}, not {_short(value)}")
        return value


def read_contract(path: Path) -> AgentContract:
    """Read the contract of an agent: the file, or the ``contract.yaml`` of a folder.

    Raises :class:`~benchhost.errors.UsageError` when it cannot be read, or is none.
    """
    import yaml

    file = path / "contract.yaml" if path.is_dir() else path
    try:
        return msgspec.convert(yaml.safe_load(file.read_bytes()), AgentContract)
    except OSError as error:
        raise UsageError(f"the agent's contract {file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"the agent's contract {file} is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise UsageError(f"the agent's contract {file} is nested too deeply") from None
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"the agent's contract {file}: {error}") from error


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 200 else f"{said[:200]}…"


def _is_one_word(path: str) -> bool:
    try:
        return len(shlex.split(path)) == 1
    except ValueError:
        return False


def _text(value: Any) -> str:
    if isinstance(value, dict | bool):
        return msgspec.json.encode(value).decode()
    return str(value)
