"""The judge of code: what passes between it and the judged, what becomes of what misbehaves, and that it stays well."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import CandidateFailed, CandidateRaised
from benchhost.sandbox import CodeJudge, Limits
from benchhost.sandbox.judge import proof
from benchhost.sandbox.judge.values import NotPlain, read, write
from benchhost.sandbox.local import users

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()])}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
    | st.sets(st.integers() | st.text(), max_size=4)
    | st.frozensets(st.integers(), max_size=4),
    max_leaves=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def judge():
    judge = CodeJudge(Limits(seconds=2.0, memory=256 << 20, processes=8))
    yield judge
    judge.close()


def adds(candidate):
    assert candidate(2, 3) == 5
    assert candidate(20, 30) == 50


GOOD = "def add(a, b):\n    return a + b\n"


@given(PLAIN)
def test_a_plain_value_is_the_same_when_it_comes_back(value):
    back = read(write(value))
    assert back == value
    assert type(back) is type(value)


@given(st.binary() | st.text().map(str.encode))
def test_no_text_makes_anything_but_a_plain_value(text):
    try:
        value = read(text)
    except NotPlain:
        return
    assert write(read(write(value))) == write(value)


@pytest.mark.parametrize("value", [object(), range(3), iter([]), type("L", (list,), {})(), open, NotImplemented])
def test_what_is_no_plain_value_does_not_pass(value):
    with pytest.raises(NotPlain):
        write(value)


def test_a_function_is_called_as_if_it_were_here(judge):
    with judge.candidate("def f(*a, **k):\n    return (a, k, {1: {2.5, None}})", "f") as f:
        assert f(1, "x", y=[b"z"]) == ((1, "x"), {"y": [b"z"]}, {1: {2.5, None}})
        assert f() == ((), {}, {1: {2.5, None}})


def test_an_exception_is_of_the_same_built_in_kind_here(judge):
    with judge.candidate("def f(n):\n    return 1 // n", "f") as f:
        with pytest.raises(ZeroDivisionError, match="division"):
            f(0)
        assert f(1) == 1
        with pytest.raises(CandidateRaised) as raised:
            f("x")
        assert raised.value.names[:2] == ("TypeError", "Exception")


def test_right_code_passes_and_wrong_code_does_not(judge):
    assert judge.judge(GOOD, "add", adds).passed
    verdict = judge.judge("def add(a, b):\n    return a - b\n", "add", adds)
    assert (verdict.passed, verdict.reason) == (False, "failed")


WALKS = """
import sys
def add(a, b):
    frame = sys._getframe(1)
    while frame:
        for name in list(frame.f_locals):  # since Python 3.13 the frames' own variables, before that a copy of them
            frame.f_locals[name] = 1
        frame = frame.f_back
    return 1
"""
FORGES = """
import os
def add(a, b):
    text = b'[1,"value",5]'
    os.write(3, len(text).to_bytes(4, "big") + text)
    return 0
"""
PATCHES = """
import builtins
builtins.AssertionError = None
def add(a, b):
    builtins.all = lambda *_: True
    return 0
"""

HOSTILE = {
    "ends itself": ("import os\ndef add(a, b):\n    os._exit(0)", "ended"),
    "ends at once": ("raise SystemExit(0)", "raised"),
    "prints what a test would": ("def add(a, b):\n    print('OK 1 passed')\n    return None", "failed"),
    "lies about being equal": (
        "class Y(int):\n    __eq__ = lambda *_: True\ndef add(a, b):\n    return Y()",
        "not_plain",
    ),
    "patches what compares": (PATCHES, "failed"),
    "walks the frames": (WALKS, "ended" if sys.version_info >= (3, 13) else "failed"),  # it breaks its own process
    "forges an answer": (FORGES, "garbled"),
    "never ends": ("def add(a, b):\n    while True:\n        pass", "timeout"),
    "sleeps": ("import time\ndef add(a, b):\n    time.sleep(60)", "timeout"),
    "takes all memory": ("def add(a, b):\n    x = []\n    while True:\n        x.append(bytearray(1 << 20))", "raised"),
    "answers without end": ("def add(a, b):\n    return 'x' * (5 << 20)", "too_large"),
    "crashes the interpreter": ("import ctypes\ndef add(a, b):\n    ctypes.string_at(0)", "ended"),
    "is nested too deeply": (
        "def add(a, b):\n    x = []\n    for _ in range(500):\n        x = [x]\n    return x",
        "not_plain",
    ),
    "is not there": ("def sub(a, b):\n    return 5", "missing"),
    "is no Python": ("def add(a, b)\n    return 5", "raised"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_hostile_does_not_pass_and_is_told_from_the_rest(judge, what):
    code, reason = HOSTILE[what]
    verdict = judge.judge(code, "add", adds)
    assert (verdict.passed, verdict.reason) == (False, reason), verdict.detail


TRICKLES = """
import os, time
def f():
    os.write(3, (60000).to_bytes(4, "big"))
    while True:
        os.write(3, b"1")
        time.sleep(0.02)
"""


def test_who_answers_a_byte_at_a_time_gains_no_time_by_it(judge):
    began = time.monotonic()
    verdict = judge.judge(TRICKLES, "f", lambda f: f(), Limits(seconds=1.0))
    assert (verdict.passed, verdict.reason) == (False, "timeout")
    assert time.monotonic() - began < Limits(seconds=1.0).lifetime / 2


def test_a_submission_has_no_descriptor_of_another_however_many_there_are():
    finds = (
        "import os\n"
        "def is_open(number):\n"
        "    try:\n        os.fstat(number)\n    except OSError:\n        return False\n    return True\n"
        "def f():\n    return [number for number in range(4096) if is_open(number)]\n"
    )
    many = 140
    judge = CodeJudge(at_once=many)
    with contextlib.ExitStack() as stack:
        stack.callback(judge.close)
        functions = [stack.enter_context(judge.candidate(finds, "f")) for _ in range(many)]
        assert functions[-1]() == [0, 1, 2, 3]


def test_a_thread_that_finds_a_zygote_gone_leaves_alone_the_one_that_another_has_started(monkeypatch):
    judge, sends = CodeJudge(at_once=2), socket.send_fds
    holds_the_old, there_is_a_new = threading.Event(), threading.Event()

    def late(*args):
        if threading.current_thread() is not threading.main_thread():
            holds_the_old.set()
            assert there_is_a_new.wait(60)
        return sends(*args)

    before = _zygotes()
    assert judge.judge(GOOD, "add", adds).passed
    monkeypatch.setattr(socket, "send_fds", late)
    with ThreadPoolExecutor(1) as pool:
        verdict = pool.submit(judge.judge, GOOD, "add", adds)
        assert holds_the_old.wait(60)
        _kill(_zygotes() - before)
        with judge.candidate(GOOD, "add") as add:
            there_is_a_new.set()
            assert verdict.result().passed
            assert add(2, 3) == 5
    judge.close()


CROWDS = """
import os
def f():
    for _ in range(6):
        if os.fork() == 0:
            while True:
                pass
    while True:
        pass
"""


def test_who_takes_the_processor_from_itself_gains_no_time_by_it(judge):
    limits = Limits(seconds=1.0)
    began = time.monotonic()
    verdict = judge.judge(CROWDS, "f", lambda f: f(), limits)
    assert (verdict.passed, verdict.reason) == (False, "timeout")
    assert time.monotonic() - began < limits.lifetime / 2


def test_a_test_that_takes_no_notice_does_not_let_what_got_lost_pass(judge):
    def careless(candidate):
        try:
            candidate(1, 2)
        except CandidateFailed:
            return

    assert not judge.judge("import os\ndef add(a, b):\n    os._exit(0)", "add", careless).passed


TRIES = {
    "the network": "import socket\ndef f():\n    socket.create_connection(('127.0.0.1', 1))",
    "a file of the host": "def f():\n    return open('/etc/passwd').read()",
    "the environment": "import os\ndef f():\n    assert os.environ.get('PATH'), 'nothing'",
    "a file outside of its own folder": "def f():\n    open('/x', 'w')",
    "another process": "import os\ndef f():\n    os.kill(2, 9)",
    "a process of its own beyond the limit": (
        "import os, signal\ndef f():\n    for _ in range(40):\n        if not os.fork():\n            signal.pause()"
    ),
    "memory that is not seen": "import mmap\ndef f():\n    mmap.mmap(-1, 4096)",
    "memory in attributes of files": ("import os\ndef f():\n    os.mkdir('d')\n    os.setxattr('d', 'user.a', b'1')"),
    "larger buffers of sockets": (
        "import socket\ndef f():\n    socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)"
    ),
    "a hundred descriptors": "def f():\n    return len([open('/dev/null') for _ in range(100)])",
    "the machine's watches": "import ctypes\ndef f():\n    assert ctypes.CDLL(None).inotify_init1(0) >= 0",
    "the machine's asynchronous I/O": (
        "import ctypes, platform\ndef f():\n"
        "    setup = {'x86_64': 206}.get(platform.machine(), 0)\n"
        "    assert ctypes.CDLL(None).syscall(setup, 1000, ctypes.byref(ctypes.c_ulong())) == 0"
    ),
    "sockets that can be parted": ("import socket\ndef f():\n    socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)"),
    "the packages of the host": "def f():\n    import msgspec",
    "the benchmark's code": "def f():\n    import benchhost_humaneval",
}


@pytest.mark.parametrize("what", TRIES)
def test_a_submission_cannot_reach(judge, what):
    with judge.candidate(TRIES[what], "f") as f, pytest.raises(CandidateFailed):
        f()


NAMED = """
import ctypes, socket
def named(*name):
    one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    nobody = ctypes.create_string_buffer(16)
    ctypes.CDLL(None).connect(one.fileno(), nobody, 16)
    for each in name:
        one.bind(each)
    one.settimeout(1)
    return one
"""


def test_submissions_do_not_hear_each_other(judge):
    hears = NAMED + "one = named('\\0name')\ndef f():\n    return one.recv(9)"
    says = NAMED + "def f():\n    return named().sendto(b'a secret', '\\0name')"
    with pytest.raises(CandidateFailed), judge.candidate(hears, "f") as hear, judge.candidate(says, "f") as say:
        assert (say(), hear()) == (8, b"a secret")


def test_a_submission_is_not_told_where_packages_lie(judge):
    with judge.candidate("import sys\ndef f():\n    return sys.argv, sys.orig_argv, sys.path", "f") as f:
        argv, orig_argv, path = f()
    assert (argv, orig_argv) == ([""], [])
    assert not set(path) & set(site.getsitepackages())


USES = {
    "threads": "from concurrent.futures import ThreadPoolExecutor as P\ndef f():\n    return list(P(4).map(abs, [-1]))",
    "processes": (
        "from multiprocessing import get_context\ndef f():\n"
        "    with get_context('fork').Pool(3) as pool:\n        return pool.map(abs, [-1])"
    ),
    "shared values": "from multiprocessing import Array\ndef f():\n    return list(Array('i', [1]))",
    "an event loop": "import asyncio\nasync def g():\n    return [1]\ndef f():\n    return asyncio.run(g())",
    "a file": (
        "import tempfile\ndef f():\n    with tempfile.TemporaryFile() as file:\n"
        "        file.write(b'1')\n        file.seek(0)\n        return [int(file.read())]"
    ),
    "copies of files": (
        "import shutil\ndef f():\n    open('a', 'w').close()\n    return [int(shutil.copy2('a', 'b') == 'b')]"
    ),
    "arguments": "import argparse\ndef f():\n    return [len([argparse.ArgumentParser().prog])]",
}


@pytest.mark.parametrize("what", USES)
def test_a_submission_may_use(judge, what):
    with judge.candidate(USES[what], "f") as f:
        assert f() == [1]


def test_a_submission_finds_nothing_of_the_one_before(judge):
    leaves = (
        "import builtins, os\nbuiltins.here = 1\ndef f():\n    open('left', 'w').close()\n    return os.listdir('.')"
    )
    looks = "import builtins, os\ndef f():\n    return os.listdir('.'), hasattr(builtins, 'here')"
    with judge.candidate(leaves, "f") as f:
        assert f() == ["left"]
        with judge.candidate(looks, "f") as other:
            assert other() == ([], False)
    with judge.candidate(looks, "f") as after:
        assert after() == ([], False)


def test_a_flood_of_hostile_code_leaves_the_judge_well(judge):
    quick = [code for code, reason in HOSTILE.values() if reason != "timeout"]
    bomb = "import os\ndef add(a, b):\n    while True:\n        try: os.fork()\n        except OSError: pass"
    flood = (quick * 8) + [bomb] * 4
    with ThreadPoolExecutor(8) as pool:
        hostile = [pool.submit(judge.judge, code, "add", adds) for code in flood]
        good = [pool.submit(judge.judge, GOOD, "add", adds) for _ in range(40)]
        assert not any(each.result().passed for each in hostile)
        assert all(each.result().passed for each in good)
    assert judge.judge(GOOD, "add", adds).passed


def test_nothing_is_left_when_a_judge_is_closed():
    judge = CodeJudge()
    zygotes = _zygotes()
    stays = (
        "import os, time\ndef f():\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(600)\n    return 1"
    )
    with judge.candidate(stays, "f") as f:
        assert f() == 1
    assert _zygotes() - zygotes
    judge.close()
    until = time.monotonic() + 20
    while _zygotes() - zygotes and time.monotonic() < until:
        time.sleep(0.05)
    assert _zygotes() - zygotes == set()


def test_submitted_code_is_nobody_who_has_a_sandbox():
    for user in (users.FIRST, users.FIRST + users.COUNT - 1):
        assert users.JUDGED > users.holder_of(user) > user
    assert users.JUDGED < 1 << 16, "a container may have no higher ids"


def test_a_judge_that_has_lost_its_zygote_gets_another():
    judge = CodeJudge()
    before = _zygotes()
    assert judge.judge(GOOD, "add", adds).passed
    _kill(_zygotes() - before)
    assert judge.judge(GOOD, "add", adds).passed
    judge.close()


def test_a_host_that_is_the_first_process_is_not_taken_for_the_first_in_a_sandbox(judge):
    with judge.candidate(proof._TRIES, "tried") as tried:
        assert not set(proof._SAID) & set(tried("/nowhere", 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever runs this is an ordinary user already")
def test_an_ordinary_user_judges_too():
    python = _python_of_everybody()
    if python is None:
        pytest.skip(f"an ordinary user may start no Python {sys.version_info[:2]} that reads {ROOT}")
    said = _elsewhere([], python=python, user=54321, group=54321, extra_groups=[])
    assert said.stdout == "True\n", said.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare(1) to forbid what is to be forbidden")
def test_where_no_isolation_is_to_be_had_nothing_is_run_and_it_is_said_what_to_change():
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    said = _elsewhere(["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"])
    assert "SandboxUnavailable" in said.stderr
    assert "user.max_user_namespaces" in said.stderr
    assert said.stdout == ""


def _elsewhere(under: list[str], python: str = sys.executable, **who: object) -> subprocess.CompletedProcess[str]:
    """Judge good code in another process, of another user or under a command that changes what it may do."""
    test = "lambda add: add(1, 2)"
    code = f"from benchhost.sandbox import CodeJudge; print(CodeJudge().judge({GOOD!r}, 'add', {test}).passed)"
    command = [*under, python, "-P", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRON, cwd="/", **who)


def _python_of_everybody() -> str | None:
    """Find an interpreter that an ordinary user may start, and that has what benchhost needs."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        tries = [candidate, "-c", "import benchhost.sandbox.judge"]
        try:
            if not subprocess.run(tries, env=ENVIRON, cwd="/", user=54321, capture_output=True).returncode:
                return candidate
        except OSError:
            continue
    return None


def _zygotes() -> set[int]:
    """Find the zygotes of judges that this process has started, each two processes, and their children."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"benchhost.sandbox.judge.zygote" in status.with_name("cmdline").read_bytes():  # a zombie has none
                parents[int(status.parent.name)] = int(status.read_text().partition("\nPPid:")[2].split()[0])
        except OSError:
            continue
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _kill(pids: set[int]) -> None:
    """Kill processes, and wait until they are gone, and their sockets closed."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it has ended with another
            os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while any(map(_lives, pids)) and time.monotonic() < until:
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    """Whether a process may hold descriptors yet: one that ends lets go of its memory, and so of its name, before."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
