"""The filter of system calls, as a BPF program that is put together here.

What a sandbox has no use for, and what makes up most of the kernel that an attack could reach, is refused: mounts and
namespaces, tracing, BPF, io_uring, keys, modules, clocks, handles of files. So is every system call that is newer than
what was looked at. The rest is as ever: programs notice nothing.

The layout of ``struct seccomp_data`` and of an instruction is in ``linux/seccomp.h`` and ``linux/filter.h``.
"""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Iterable

from benchhost.sandbox.local.kernel import MACHINE

# name: (x86_64, aarch64); None where there is no such call
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "sysfs": (139, None),
    "ustat": (136, None),
    # namespaces; clone is looked at below
    "unshare": (272, 97),
    "setns": (308, 268),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # large parts of the kernel
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "fanotify_init": (300, 262),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "remap_file_pages": (216, 234),
    "memfd_secret": (447, 447),
    "modify_ldt": (154, None),
    "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460),
    "lsm_list_modules": (461, 461),
    # the machine itself
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "uselib": (134, None),
    "_sysctl": (156, None),
    # files by handle, around every wall of paths
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}

_TO_BUILD = ("fsopen", "fsconfig", "fsmount", "move_mount")
"""What a child needs, besides ``clone``, that puts up the last of its walls itself."""

_SHARED_WITH_THE_MACHINE: dict[str, tuple[int | None, int | None]] = {  # where there is no namespace of IPC
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}

_COUNTED_BY_NOBODY: dict[str, tuple[int | None, int | None]] = {  # attributes of files, watches, asynchronous I/O
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
}

_LAST_KNOWN = 462
"""``mseal``, of Linux 6.10. What is newer is answered with ENOSYS, for which programs are prepared."""

_SPECIAL: dict[str, tuple[int, int]] = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "ioctl": (16, 29),
    "memfd_create": (319, 279),
    "mmap": (9, 222),
    "personality": (135, 92),
    "setsockopt": (54, 208),
    "socket": (41, 198),
    "socketpair": (53, 199),
}

_OF_A_PROCESS: dict[str, tuple[int, int]] = {  # whose first argument is a process
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
}
_OF_PROCESSES: dict[str, tuple[int, int]] = {"setpriority": (141, 140), "ioprio_set": (251, 30)}
_OF_A_USER = {"setpriority": 2, "ioprio_set": 3}
"""The first argument of those that would be about all processes of a user."""
_HOLDER = 1
"""The process that keeps a sandbox with namespaces: nobody in there makes it slow, or takes its descriptors."""

_ITSELF = 0

_SIGNALLING: dict[str, tuple[int, int, tuple[int, ...]]] = {  # and which arguments are processes
    "kill": (62, 129, (0,)),
    "tkill": (200, 130, (0,)),
    "tgkill": (234, 131, (0, 1)),
    "rt_sigqueueinfo": (129, 138, (0,)),
    "rt_tgsigqueueinfo": (297, 240, (0, 1)),
    "pidfd_open": (434, 434, (0,)),
}
_FCNTL = (72, 25)
_F_SETOWN, _F_SETOWN_EX = 8, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902

_ARCHITECTURES = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
_NAMESPACES = 0x7E02_0000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
_OF_DATAGRAMS = 0x2
"""The bit that the types SOCK_DGRAM and SOCK_RAW have, and those of connections have not."""
_SO_SNDBUF = 7
_MAP_SHARED, _MAP_ANONYMOUS = 0x1, 0x20
_PLAIN_PERSONALITIES = (0, 0xFFFF_FFFF)

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06  # of linux/bpf_common.h, combined
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _REFUSE, _KILL = 0x7FFF_0000, 0x0005_0000, 0x8000_0000

Instruction = tuple[int, int, int, int]


@functools.cache
def program(
    *,
    network: bool = True,
    memory_files: bool = True,
    uncounted: bool = True,
    builds: bool = False,
    cores: bool = True,
    others: bool = True,
) -> bytes:
    """Return the filter, for :class:`~benchhost.sandbox.local.kernel.Filter`.

    ``network`` says whether there is a namespace of networks (and of IPC) that sockets stay in. Without one, there
    are no sockets at all, but pairs of connected ones that stay so, and nothing of System V. ``memory_files`` are files
    that lie in memory and in no directory, which is where only a cgroup counts them. ``uncounted`` is whatever else
    takes memory that only a cgroup counts, or that all of the machine has so many of; servers have a use for it,
    functions have none. ``builds`` says that whoever loads it has yet to put up walls around children, who then load
    :func:`rest` as well. ``cores`` says whether a process may choose on which it runs, and ``others`` whether it may
    ask for priorities and limits of any process but itself: not where the host's own are of the same user. It is put
    together once, in the process that others are forked from.

    Raises ``OSError`` on a machine whose system calls are not known.
    """
    lines, column = _beginning()
    special = {name: numbers[column] for name, numbers in _SPECIAL.items()}
    tables = [_REFUSED]
    if not network:
        tables.append(_SHARED_WITH_THE_MACHINE)
    if not uncounted:
        tables.append(_COUNTED_BY_NOBODY)
        lines += _when(
            special["mmap"],
            _argument(3),
            (_ANY_BIT, 0, 2, _MAP_ANONYMOUS),
            (_ANY_BIT, 0, 1, _MAP_SHARED),  # of what is shared, the pages count that are looked at just now
            _returns(_REFUSE | errno.EPERM),
            _returns(_ALLOW),
        )
        lines += _when(
            special["setsockopt"], _argument(2), *_one_of((_SO_SNDBUF,), _REFUSE | errno.EPERM), _returns(_ALLOW)
        )
    open_yet = _TO_BUILD if builds else ()
    refused = [numbers[column] for table in tables for name, numbers in table.items() if name not in open_yet]
    lines += _one_of([each for each in refused if each is not None], _REFUSE | errno.EPERM)
    # Its arguments are in memory, where no filter can look; C libraries fall back on clone.
    lines += _one_of([special["clone3"]], _REFUSE | errno.ENOSYS)
    if not memory_files:
        lines += _one_of([special["memfd_create"]], _REFUSE | errno.ENOSYS)
    if not builds:
        lines += _no_namespaces(special["clone"])
    lines += _when(
        special["ioctl"],
        _argument(1),
        *_one_of((_TIOCSTI, _TIOCLINUX), _REFUSE | errno.EPERM),
        _returns(_ALLOW),
    )
    lines += _when(
        special["personality"],
        _argument(0),
        *_one_of(_PLAIN_PERSONALITIES, _ALLOW),
        _returns(_REFUSE | errno.EPERM),
    )
    lines += _when(
        special["socketpair"],
        _argument(0),
        (_EQUAL, 1, 0, _AF_UNIX),
        _returns(_REFUSE | errno.EAFNOSUPPORT),
        *(() if network else _no_datagrams()),
        _returns(_ALLOW),
    )
    if not cores:
        lines += _one_of([_OF_A_PROCESS["sched_setaffinity"][column]], _REFUSE | errno.EPERM)
    whose = (
        [*_one_of((_HOLDER,), _REFUSE | errno.EPERM), _returns(_ALLOW)]
        if others
        else [*_one_of((_ITSELF,), _ALLOW), _returns(_REFUSE | errno.EPERM)]
    )
    for numbers in _OF_A_PROCESS.values():
        lines += _when(numbers[column], _argument(0), *whose)
    for name, numbers in _OF_PROCESSES.items():
        of_a_user = _one_of((_OF_A_USER[name],), _REFUSE | errno.EPERM)
        lines += _when(numbers[column], _argument(0), *of_a_user, _argument(1), *whose)
    if network:
        lines += _when(
            special["socket"],
            _argument(0),
            *_one_of((_AF_UNIX, _AF_INET, _AF_INET6), _ALLOW),
            (_EQUAL, 0, 3, _AF_NETLINK),
            _argument(2),
            (_EQUAL, 0, 1, _NETLINK_ROUTE),
            _returns(_ALLOW),
            _returns(_REFUSE | errno.EAFNOSUPPORT),
        )
    else:
        lines += _one_of([special["socket"]], _REFUSE | errno.EAFNOSUPPORT)
    return _finished(lines)


def rest() -> bytes:
    """Return a filter that refuses what the one of who ``builds`` leaves open, and nothing else.

    What a process loads, it and its children keep: the long filter is loaded once, before they are forked, and each of
    them loads this short one, which takes the kernel a tenth of the time.
    """
    lines, column = _beginning()
    refused = [number for name in _TO_BUILD if (number := _REFUSED[name][column]) is not None]
    lines += _one_of(refused, _REFUSE | errno.EPERM)
    lines += _no_namespaces(_SPECIAL["clone"][column])
    return _finished(lines)


def _beginning() -> tuple[list[Instruction], int]:
    """Refuse the calls of other machines and those that are not known; say in which column those of this one are."""
    if MACHINE not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"the system calls of {MACHINE} are not known")
    lines: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[MACHINE]),
        _returns(_KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_ABOVE, 0, 1, _LAST_KNOWN),  # also those of x32, whose numbers have a high bit
        _returns(_REFUSE | errno.ENOSYS),
    ]
    return lines, 0 if MACHINE == "x86_64" else 1


def _finished(lines: Iterable[Instruction]) -> bytes:
    """Allow whatever is left."""
    return b"".join(struct.pack("=HBBI", *line) for line in (*lines, _returns(_ALLOW)))


def _no_namespaces(clone: int) -> list[Instruction]:
    refuse = _returns(_REFUSE | errno.EPERM)
    return _when(clone, _argument(0), (_ANY_BIT, 0, 1, _NAMESPACES), refuse, _returns(_ALLOW))


def guard(holder: int) -> bytes:
    """Return one more filter, for commands that are of the same user as their holder: it gets no signal from them."""
    lines, column = _beginning()
    meant = [each & 0xFFFF_FFFF for each in (holder, -holder, -1)]
    for *numbers, arguments in _SIGNALLING.values():
        then = [line for each in arguments for line in (_argument(each), *_one_of(meant, _REFUSE | errno.EPERM))]
        lines += _when(int(numbers[column]), *then, _returns(_ALLOW))
    who_hears = [_argument(1), *_one_of((_F_SETOWN, _F_SETOWN_EX), _REFUSE | errno.EPERM)]
    lines += _when(_FCNTL[column], *who_hears, _returns(_ALLOW))
    of_a_socket = [_argument(1), *_one_of((_FIOSETOWN, _SIOCSPGRP), _REFUSE | errno.EPERM)]
    lines += _when(_SPECIAL["ioctl"][column], *of_a_socket, _returns(_ALLOW))
    return _finished(lines)


def _no_datagrams() -> list[Instruction]:
    """Refuse pairs that can be parted again: each would then send to, or hear from, whatever has a name."""
    return [_argument(1), (_ANY_BIT, 0, 1, _OF_DATAGRAMS), _returns(_REFUSE | errno.EPROTONOSUPPORT)]


def _when(number: int, *then: Instruction) -> list[Instruction]:
    """Do ``then``, which must end in a return, with the system call of a number."""
    return [(_EQUAL, 0, len(then), number), *then]


def _one_of(values: Iterable[int], verdict: int) -> list[Instruction]:
    """Return a verdict when what is loaded is one of the values."""
    return [line for value in values for line in ((_EQUAL, 0, 1, value), _returns(verdict))]


def _argument(index: int) -> Instruction:
    """Load the lower half of an argument; both machines are little-endian."""
    return (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index)


def _returns(verdict: int) -> Instruction:
    return (_RETURN, 0, 0, verdict)
