"""What the host says to its operator: on stderr, as lines for a person or as JSON, without credentials.

Records of the standard library's ``logging``, which granian and the plugins use, come out of the same
renderer.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

from benchhost.absent import absent

# structlog loads rich wherever it is installed, and litestar brings it: 0.18 of 0.25 s of CPU in every
# process. It would serve to show tracebacks with the values of variables, which must not be in a log.
with absent("rich"):
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error", "critical"]
Format = Literal["auto", "json", "console"]

MASK = "***"

GRANIAN: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {name: {"handlers": [], "level": "INFO", "propagate": True} for name in ("_granian", "granian.access")},
}
"""The ``log_dictconfig`` that makes granian leave its records to this module."""

_CREDENTIAL = re.compile(
    r"(?:^|_)(?:authorization|cookie|credentials?|passw(?:or)?d|secret|token)(?:_|$)|api_?key|private_key"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BEARER = re.compile(r"\b(Bearer)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
_BY_FORM = re.compile(r"\bbhk_[0-9A-Za-z]{8,}|\beyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]*")  # a key; a JWT
_SHORTEST_INSIDE = 6  # a shorter secret is masked where it is a whole value, since it may be part of many words

_secrets: set[str] = set()


class _Stderr:
    """Where the log goes. A reader that has gone, or a full disk, fails nobody who has something to say."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure(level: Level, format: Format) -> None:  # noqa: A002 - it is the name of the setting
    """Set how this process logs from now on; ``auto`` is console when stderr is a terminal, else JSON."""
    terminal = sys.stderr.isatty()
    renderer: Processor
    if format == "json" or (format == "auto" and not terminal):
        tail: list[Processor] = [structlog.processors.format_exc_info]
        renderer = structlog.processors.JSONRenderer(default=_shown)
    else:
        tail = [_cause_below]
        renderer = structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)
    head: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    tail += [structlog.processors.StackInfoRenderer(), _mask_event, _masked_line(renderer)]
    least = getattr(logging, level.upper())
    stderr: Any = _Stderr()

    structlog.configure(
        processors=[*head, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: structlog.WriteLogger(stderr),
        cache_logger_on_first_use=False,  # so that what modules hold follows a later configure
    )

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*head, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )
    handler = logging.StreamHandler(stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(least)


def get_logger(**context: Any) -> Any:
    """Return a logger: ``log.info("what happened", name=value)``. ``context`` is part of each of its lines."""
    return structlog.get_logger(**context)


def register_secret(*secrets: str | None) -> None:
    """Have these values masked wherever they would be logged by this process. ``None`` and ``""`` are no secrets."""
    _secrets.update(secret for secret in secrets if secret)


def mask(value: Any, name: str = "") -> Any:
    """Return a value as it may be logged under a name: credentials are replaced by ``***``.

    A credential is whatever has the name of one (``authorization``, ``x-api-key``, ``password``, …), at
    any depth, and in any text a registered secret, what follows ``Bearer``, a key of ours or a JWT.
    """
    if name and value is not None and _CREDENTIAL.search(_CAMEL.sub("_", name).lower().replace("-", "_")):
        return MASK
    if isinstance(value, str):
        return MASK if value in _secrets else _mask_text(value)
    if isinstance(value, bytes):
        return mask(value.decode(errors="backslashreplace"))
    if isinstance(value, Mapping):
        return {mask(key): mask(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(inner) for inner in value]
    return value


def _mask_text(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):  # the longest first, in case it contains another
        if len(secret) >= _SHORTEST_INSIDE:
            # As it is, and as a renderer quotes it; the longest form first, since it may contain the others.
            for form in sorted({secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}, key=len, reverse=True):
                text = text.replace(form, MASK)
    return _BY_FORM.sub(MASK, _BEARER.sub(rf"\1 {MASK}", text))


def _shown(value: object) -> str:
    """Say of an object what JSON has no way to say."""
    return _mask_text(repr(value))


def _cause_below(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Show a person what an author's code raised as it was raised, with its lines below each other."""
    if "\n" in str(event.get("cause", "")) and "exception" not in event and "exc_info" not in event:
        event["exception"] = event.pop("cause")
    return event


def _mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # What belongs to structlog is not for the line, and the renderer still needs it as it is.
    return {key: value if key in ("exc_info", "_record") else mask(value, key) for key, value in event.items()}


def _masked_line(renderer: Processor) -> Processor:
    """Mask the finished line too: objects and tracebacks become text only there."""

    def render(logger: WrappedLogger, method: str, event: EventDict) -> str:
        line = renderer(logger, method, event)
        return _mask_text(str(line))

    return render
