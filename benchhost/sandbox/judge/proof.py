"""The proof that the judge of code holds on this machine: it judges a few submissions whose verdict is known."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchhost.sandbox.judge.candidate import Candidate
from benchhost.sandbox.judge.judge import CodeJudge
from benchhost.sandbox.judge.limits import Limits

LIMITS = Limits(seconds=5.0)

_RIGHT = "def add(a, b):\n    return a + b\n"
_WRONG = "def add(a, b):\n    return a - b\n"
_LEAVES = "import os\ndef add(a, b):\n    print('passed')\n    os._exit(0)\n"
_EQUALS_ALL = """
class Any(int):
    def __eq__(self, other):
        return True
def add(a, b):
    return Any()
"""
_TRIES = """
import os, socket
def tried(path, host):
    got = []
    try:
        with open(path) as file: got.append(file.read())
    except OSError: pass
    try:
        with open(path, "a") as file: file.write("written")
    except OSError: pass
    try:
        if host != os.getpid():  # in here it may be its own number
            os.kill(host, 0); got.append("a process of the host can be sent signals")
    except OSError: pass
    try:
        socket.create_server(("127.0.0.1", 0)); got.append("there is a network")
    except OSError: pass
    return got + [*os.environ.values()]
"""
_SAID = ("a process of the host can be sent signals", "there is a network")


def prove() -> list[str]:
    """Judge them in a judge of its own, within a second or so; return what is not as it has to be.

    Raises :class:`~benchhost.errors.SandboxUnavailable` where no code can be judged.
    """
    judge = CodeJudge(LIMITS, at_once=1)
    secret = secrets.token_hex(16)
    os.environ["BENCHHOST_PROOF"] = secret
    try:
        with tempfile.TemporaryDirectory(prefix="benchhost-proof-") as folder:
            place = Path(folder)
            place.chmod(0o777)  # what keeps a file from being read must not be its mode
            canary = place / "canary"
            canary.write_text(secret)
            canary.chmod(0o666)
            found = [*_verdicts(judge), *_walls(judge, canary)]
            return [each.replace(secret, "what is secret on the host can be read") for each in found]
    finally:
        del os.environ["BENCHHOST_PROOF"]
        judge.close()


def _verdicts(judge: CodeJudge) -> list[str]:
    found = []
    for what, code, passes in (
        ("a right answer", _RIGHT, True),
        ("a wrong answer", _WRONG, False),
        ("an answer that says it has passed, and leaves", _LEAVES, False),
        ("an answer that equals whatever is expected", _EQUALS_ALL, False),
    ):
        verdict = judge.judge(code, "add", _adds)
        if verdict.passed != passes:
            found.append(f"{what} is judged as {verdict.reason}")
    return found


def _walls(judge: CodeJudge, canary: Path) -> list[str]:
    found: list[str] = []
    secret = canary.read_text()

    def hear(candidate: Candidate) -> None:
        said: object = candidate(str(canary), os.getpid())
        assert isinstance(said, list)
        found.extend(str(each) for each in said if each == secret or each in _SAID)

    verdict = judge.judge(_TRIES, "tried", hear)
    if canary.read_text() != secret:
        found.append("a file of the host can be written")
    return found if verdict.passed else [f"code that tries to get out is judged as {verdict.reason}: {verdict.detail}"]


def _adds(candidate: Callable[[int, int], object]) -> None:
    assert candidate(2, 3) == 5
