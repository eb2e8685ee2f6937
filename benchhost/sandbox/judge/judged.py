"""The side of the judged: loads submitted code, and calls its function with what the judge sends.

It runs in the process of that code, which may do to it whatever it likes. Nothing is believed that it says: an
answer is a value, and whether the value is right is decided on the other side.

The standard library alone: a zygote that has loaded no more is quickly forked.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Sequence
from typing import Any, NoReturn

from benchhost.sandbox.judge.values import NotPlain, read, write

LENGTH = 4
"""Bytes that say how long a frame is, big-endian; the text of a plain value follows."""

MESSAGE = 1000
"""The most characters of an exception's message that are passed on."""

_AT_ONCE = 8192

MODULE = "submission"
"""The name of the module that the code believes to be. It is not ``__main__``: the code is a library of the judge's."""


def serve(channel: int, longest: int) -> NoReturn:
    """Load the code that comes first, then answer calls until the judge hangs up.

    ``longest`` is the most bytes that an answer may have.
    """
    # What is used later is held by now: the code may exchange whatever a name stands for.
    me, same, leave, answer, receive, call = os.getpid(), os.getpid, os._exit, _answer, _receive, _call
    try:
        texts, name = receive(channel)
        function, said = _load(texts, name)
        number = 0
        answer(channel, number, said, longest)
        while function is not None:
            number, args, kwargs = receive(channel)
            said = call(function, args, kwargs)
            if same() != me:  # the function has forked, and this is the copy
                break
            answer(channel, number, said, longest)
    finally:
        leave(0)


def _load(texts: Sequence[str], name: str) -> tuple[Any, list[Any]]:
    """Run the first of the texts that is Python (the last, if none is), and find the function in it."""
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    try:
        exec(_compiled(texts), module.__dict__)  # noqa: S102 - it is what this process is for
    except BaseException as error:  # SystemExit, KeyboardInterrupt and whatever else the code raises
        return None, _raised(error)
    function = module.__dict__.get(name)
    return function, ["value", None] if callable(function) else ["missing", None]


def _compiled(texts: Sequence[str]) -> types.CodeType:
    for text in texts[:-1]:
        try:
            return compile(text, f"<{MODULE}>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
    return compile(texts[-1], f"<{MODULE}>", "exec", dont_inherit=True)


def _call(function: Any, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
    try:
        return ["value", function(*args, **kwargs)]
    except BaseException as error:  # likewise
        return _raised(error)


def _raised(error: BaseException) -> list[Any]:
    """Say which exception was raised, in words. Its own methods may do anything, raise among it."""
    names = [kind.__name__ for kind in type.mro(type(error)) if type(kind.__name__) is str]
    try:
        message = str(error)[:MESSAGE]
    except BaseException:  # likewise
        message = ""
    return ["raised", names[:20], message if type(message) is str else ""]


def _answer(channel: int, number: int, said: list[Any], longest: int) -> None:
    try:
        text = write([number, *said])
    except NotPlain as error:
        text = write([number, "other", str(error)])
    except Exception as error:  # a type may lie about everything
        text = write([number, "other", type(error).__name__])
    if len(text) > longest:
        text = write([number, "long", len(text)])
    left = memoryview(len(text).to_bytes(LENGTH, "big") + text)
    while left:
        left = left[os.write(channel, left) :]


def _receive(channel: int) -> Any:
    """Return what the judge says next. It says one thing at a time, so that nothing of the next is read."""
    data = os.read(channel, _AT_ONCE)
    while len(data) < LENGTH or len(data) < LENGTH + int.from_bytes(data[:LENGTH], "big"):
        part = os.read(channel, max(_AT_ONCE, len(data)))
        if not part:
            os._exit(0)  # the judge has hung up
        data += part
    return read(data[LENGTH:])
