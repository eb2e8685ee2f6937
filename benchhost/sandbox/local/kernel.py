"""What the kernel offers to keep processes apart, and Python does not: called by way of the C library.

Every function raises ``OSError`` as the functions of :mod:`os` do. The numbers are those of the kernel's own
headers; where they differ between machines, x86_64 and aarch64 are known.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
from collections.abc import Iterable, Iterator

MACHINE = os.uname().machine
"""The machine's name, as the kernel spells it."""

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

ALL_NAMESPACES = (
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP
)

_CLONE3 = 435
_CLONE_INTO_CGROUP = 0x2_0000_0000

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_SECCOMP_MODE_FILTER = 2
_SECUREBITS_KEPT = 0b101111
"""NOROOT and NO_SETUID_FIXUP, each with its lock, and the lock of KEEP_CAPS, which stays off."""

_LAST_CAPABILITY = 63
_CAPABILITY_VERSION = 0x2008_0522

_MOST_FILES = 1 << 20

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1

_NUMBERS = {  # syscalls that the C library may lack and whose number is not the same everywhere
    "x86_64": {"clone": 56, "pivot_root": 155},
    "aarch64": {"clone": 220, "pivot_root": 41},
}

_c = ctypes.PyDLL(None, use_errno=True)  # it keeps the interpreter's lock, which a fork within a call needs
_syscall, _capset, _of_process = _c.syscall, _c.capset, _c.prctl
_syscall.restype = ctypes.c_long
_dropped, _nothing = ctypes.c_ulong(), ctypes.c_ulong(0)
_DROP = (ctypes.c_int(_PR_CAPBSET_DROP), _dropped, _nothing, _nothing, _nothing)
_NONE_KEPT = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
_before_fork, _after_fork = ctypes.pythonapi.PyOS_BeforeFork, ctypes.pythonapi.PyOS_AfterFork_Parent
_born = ctypes.pythonapi.PyOS_AfterFork_Child

Word = ctypes.c_long
"""An argument whose value is known only when the call is made."""

Call = tuple[ctypes.c_long | bytes | None, ...]
"""A system call that is put together, and not yet made."""


def prepare(number: int, *arguments: int | bytes | ctypes.c_long | None) -> Call:
    """Put a system call together. Bytes are passed by reference.

    Who makes it later, a process that was just forked above all, has little left to do: such a process pays with a
    copied page of memory for almost everything that it does first.
    """
    return tuple(Word(each) if isinstance(each, int) else each for each in (number, *arguments))


def make(call: Call) -> int:
    """Make a system call that was put together."""
    result: int = _syscall(*call)
    return _checked(result)


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """Put a system call together and make it."""
    return make(prepare(number, *arguments))


def number(name: str) -> int:
    """Return the number of a system call that differs from machine to machine.

    Raises ``OSError`` on a machine that is not known.
    """
    try:
        return _NUMBERS[MACHINE][name]
    except KeyError:
        raise OSError(38, f"the system calls of {MACHINE} are not known") from None


def clone(namespaces: int, group: int = -1) -> int:
    """Fork, with the child in new namespaces from its first instruction; else like ``os.fork``.

    With ``CLONE_NEWPID`` the child is process 1 of its namespace. ``group`` is the open directory of a cgroup that it
    is to be in. Only a process of one thread may do this.
    """
    if group < 0:
        fork = prepare(number("clone"), namespaces | signal.SIGCHLD, None, None, None, None)
    else:
        asked = struct.pack("=11Q", namespaces | _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, *[0] * 5, group)
        fork = prepare(_CLONE3, asked, len(asked))
    _before_fork()
    pid: int = _syscall(*fork)
    if pid == 0:
        _born()
        return 0
    failure = ctypes.get_errno()
    _after_fork()
    if pid < 0:
        raise OSError(failure, os.strerror(failure))
    return pid


def unshare(namespaces: int) -> None:
    """Leave the namespaces that are shared with others for new ones. A new one for processes is the children's."""
    _checked(_c.unshare(ctypes.c_int(namespaces)))


def pivot_root_to_here() -> None:
    """Make the working directory the root, and let go of everything that was outside of it."""
    syscall(number("pivot_root"), b".", b".")  # the old root now lies over the new one
    _checked(_c.umount2(b".", ctypes.c_int(2)))  # MNT_DETACH
    os.chdir("/")


def map_ids(pid: int, inside: tuple[int, int], outside: tuple[int, int], *, privileged: bool) -> None:
    """Say which user and group of this machine (``outside``) a process in a new namespace of users is (``inside``).

    Whoever is not ``privileged`` may map their own ids only, and the process keeps its other groups.
    """
    folder = f"/proc/{pid}/"
    if not privileged:
        write(folder + "setgroups", "deny")
    write(folder + "uid_map", f"{inside[0]} {outside[0]} 1")
    write(folder + "gid_map", f"{inside[1]} {outside[1]} 1")


def become(user: int, group: int, *, forget_groups: bool) -> None:
    """Become a user for good, without losing the capabilities that a new namespace of users gives."""
    if forget_groups:
        os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def drop_capabilities() -> None:
    """Give up every capability, now and for whatever is executed later."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_LAST_CAPABILITY + 1):
        _dropped.value = capability
        if _of_process(*_DROP) < 0:
            break  # beyond the last that this kernel has; or a plain user, for whom there is nothing to give up
    _checked(_capset(_NONE_KEPT, bytes(24)))


def keep_setuid_powerless() -> None:
    """Have programs of user 0, or with the setuid bit, gain nothing by it, whatever is executed later."""
    _prctl(_PR_SET_SECUREBITS, _SECUREBITS_KEPT)


def refuse_new_privileges() -> None:
    """Have nothing that is executed from now on gain privileges. A filter or Landlock needs this."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_arguments(name: str) -> None:
    """Have this process, and whatever it forks, be listed under a name, and not with its arguments."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # the 48th and 49th; two are before the bracket
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name.encode(), min(len(name), end - start - 1))


def hide_memory() -> None:
    """Have no other process of the same user look into this one, nor trace it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """Undo :func:`hide_memory`, which a change of user does, too. Needed to have one's own children's ids mapped."""
    _prctl(_PR_SET_DUMPABLE, 1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends. A change of user undoes it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


class Filter:
    """A program (:mod:`.seccomp`) that every system call is put through by the kernel, once it is loaded, for good."""

    def __init__(self, program: bytes) -> None:
        self._program = _Program(len(program) // 8, program)
        mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
        self._load = ctypes.c_int(_PR_SET_SECCOMP), mode, ctypes.byref(self._program), None, None

    def load(self) -> None:
        """Have it stand in the way of this process, and of whatever that starts."""
        _checked(_of_process(*self._load))


def close_all_but(files: Iterable[int]) -> None:
    """Close every file of this process, except for some."""
    after = 0
    for file in sorted(files):
        if after < file:  # an empty range that begins at 0 is, to the C library, one without an end
            os.closerange(after, file)
        after = file + 1
    os.closerange(after, _MOST_FILES)


def bring_loopback_up() -> None:
    """Let a new namespace of networks talk to itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def name_machine(name: str) -> None:
    """Give a new namespace of names the name of a machine."""
    encoded = name.encode()
    _checked(_c.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def _prctl(option: int, argument: int) -> None:
    _checked(_of_process(ctypes.c_int(option), ctypes.c_ulong(argument), _nothing, _nothing, _nothing))


def _checked(result: int) -> int:
    if result < 0:
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure))
    return result


def write(path: str, text: str) -> None:
    """Write all of a text to a file of the kernel's at once. Raises ``OSError``."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


@contextlib.contextmanager
def ending_on_failure(pid: int) -> Iterator[None]:
    """Kill and reap a child, should what is done here for it fail."""
    try:
        yield
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
