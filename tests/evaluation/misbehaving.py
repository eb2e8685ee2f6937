"""Benchmarks whose hooks do what the response tells them to: installed as plugins by the tests."""

import asyncio
import ctypes
import faulthandler
import os
import re
import subprocess
import sys
import threading
import time

from benchhost import Benchmark, Error, Message, Result, Task

faulthandler.disable()

SECRET = "the answer is 42"
EVIL = "a" * 40 + "!"


class _Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError(SECRET)


def _exhausted():
    return _exhausted()


def _changed(result, **fields):
    for name, value in fields.items():
        setattr(result, name, value)
    return result


def _endless():
    loop = {}
    loop["self"] = loop
    return loop


class _Hidden:
    def __str__(self):
        return SECRET


def _forked():
    child = os.fork()
    if child == 0:
        time.sleep(300)
    return Result(score=1.0)


def _forked_twice():
    """Leave a child that goes on as if it were the grader."""
    os.fork()
    return Result(score=1.0)


def _threaded():
    threading.Thread(target=time.sleep, args=(300,)).start()
    return Result(score=1.0)


def _started():
    subprocess.Popen(["sleep", "300"])
    return Result(score=1.0)


def _printed():
    print("printed by a hook")
    os.write(1, b"written by a hook\n")
    return Result(score=1.0)


def _spun():
    while True:
        pass


def _raise(error):
    raise error


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


DEEDS = {
    "good": lambda: Result(score=1.0),
    "slow": lambda: time.sleep(0.3) or Result(score=1.0),
    "raise": lambda: _raise(ValueError(SECRET)),
    "exit": lambda: sys.exit(SECRET),
    "interrupt": lambda: _raise(KeyboardInterrupt(SECRET)),
    "cancel": lambda: _raise(asyncio.CancelledError(SECRET)),
    "stop": lambda: _raise(GeneratorExit(SECRET)),
    "exhaust": _exhausted,
    "half a character": lambda: _raise(ValueError("\ud800")),
    "unspeakable": lambda: _raise(_Unspeakable),
    "long": lambda: _raise(ValueError("x" * 1_000_000)),
    "end": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), 9),
    "fault": lambda: ctypes.string_at(0),
    "sleep": lambda: time.sleep(300),
    "spin": _spun,
    "block": lambda: re.match(r"(a+)+$", EVIL) or Result(score=0.0),
    "none": lambda: None,
    "dict": lambda: {"score": 1.0},
    "number": lambda: 1.0,
    "class": lambda: Result,
    "nan": lambda: _changed(Result(score=1.0), score=float("nan")),
    "text for a score": lambda: _changed(Result(score=1.0), score=SECRET),
    "infinite metric": lambda: _changed(Result(score=1.0), metrics={"m": float("inf")}),
    "list of metrics": lambda: _changed(Result(score=1.0), metrics=[1]),
    "huge metric": lambda: _changed(Result(score=1.0), metrics={"m": 10**400}),
    "unencodable private": lambda: Result(score=1.0, private={"object": object()}),
    "endless private": lambda: Result(score=1.0, private=_endless()),
    "deep private": lambda: Result(score=1.0, private={"deep": _nested(50_000)}),
    "huge private": lambda: Result(score=1.0, private={"n": 2**70}),
    "task as feedback": lambda: Result(score=1.0, feedback=_Hidden()),
    "half a character of feedback": lambda: Result(score=1.0, feedback="\ud800"),
    "close": lambda: os.closerange(0, 64) or Result(score=1.0),
    "close stdout": lambda: sys.stdout.close() or Result(score=1.0),
    "fork": _forked,
    "fork and go on": _forked_twice,
    "thread": _threaded,
    "start": _started,
    "print": _printed,
}


class _Base(Benchmark):
    version = "1"
    evaluation_timeout = 1.0

    def load_datasets(self):
        return {"default": [Task(id=str(number), question="?") for number in range(100)]}


class Plain(_Base):
    def evaluate_response(self, task, response):
        return DEEDS[response.text]()


class Coroutine(_Base):
    async def evaluate_response(self, task, response):
        if response.text == "never":
            await asyncio.Event().wait()
        if response.text == "cling":
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue
        if response.text == "exit in a task":
            await asyncio.create_task(asyncio.to_thread(lambda: None))
            asyncio.get_running_loop().call_soon(sys.exit)
            await asyncio.Event().wait()
        return DEEDS[response.text]()


class Generator(_Base):
    def evaluate_response(self, task, response):
        yield Message("first")
        if response.text == "nothing":
            return
        if response.text == "decline":
            yield Error("no compiler for that language")
        if response.text == "half a character of a message":
            yield Message("\ud800")
            yield Result(score=1.0)
        if response.text == "two":
            yield Result(score=0.5)
            raise AssertionError("nobody reads on after the first result")
        yield Message("second")
        yield DEEDS[response.text]()


class AsyncGenerator(_Base):
    async def evaluate_response(self, task, response):
        yield Message("first")
        if response.text == "nothing":
            return
        if response.text == "decline":
            yield Error("no compiler for that language")
        if response.text == "two":
            yield Result(score=0.5)
            raise AssertionError("nobody reads on after the first result")
        while response.text == "endless":
            yield Message("more")
        await asyncio.sleep(0)
        yield Message("second")
        yield DEEDS[response.text]()


class Iterable(_Base):
    """An iterator that is no generator, and so cannot be closed."""

    def evaluate_response(self, task, response):
        return iter([Message("first"), Message("second"), DEEDS[response.text]()])


class Returned(_Base):
    """A plain function that returns something to be awaited."""

    def evaluate_response(self, task, response):
        async def judge():
            await asyncio.sleep(0.01)
            return DEEDS[response.text]()

        return judge()
