"""Attacks on the kernel: on the parts of it that all sandboxes share, and on what it lets the superuser set."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchhost.sandbox.escape.attack import Attack, Heard, NotApplicable, Trap
from benchhost.sandbox.escape.scene import Scene
from benchhost.sandbox.escape.traps import nothing, secret_file, told
from benchhost.sandbox.local.kernel import MACHINE, syscall

_ADD_KEY, _KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(MACHINE, (0, 0))
_USER_KEYRING, _UNLINK = -4, 9
_BLOCK = 4096


@asynccontextmanager
async def _key(scene: Scene) -> AsyncIterator[Trap]:
    """Keep a secret in the keyring of the host's user."""
    secret = scene.secret.encode()
    try:
        key = syscall(_ADD_KEY, b"user", scene.mark.encode(), secret, len(secret), _USER_KEYRING)
    except OSError as error:
        raise NotApplicable(f"this machine has no keyrings: {error.strerror}") from error
    try:
        yield Trap(told(scene.secret, "the keyring of the host"), {"NAME": scene.mark})
    finally:
        syscall(_KEYCTL, _UNLINK, key, _USER_KEYRING)


@asynccontextmanager
async def _shared_memory(scene: Scene) -> AsyncIterator[Trap]:
    """Keep a secret in memory that all processes of the host may share: of System V, and of POSIX."""
    library = ctypes.CDLL(None, use_errno=True)
    library.shmat.restype = ctypes.c_void_p
    key = random.randrange(1, 2**31)
    number = library.shmget(key, _BLOCK, 0o1666)
    if number < 0:
        raise NotApplicable("this machine has no memory of System V to share")
    place = library.shmat(number, None, 0)
    ctypes.memmove(place, scene.secret.encode(), len(scene.secret))
    file = Path("/dev/shm", scene.mark)
    try:
        file.write_text(scene.secret)
        yield Trap(told(scene.secret, "memory that the host shares"), {"KEY": str(key), "FILE": str(file)})
    finally:
        library.shmdt(ctypes.c_void_p(place))
        library.shmctl(number, 0, None)
        file.unlink(missing_ok=True)


@asynccontextmanager
async def _disk(scene: Scene) -> AsyncIterator[Trap]:
    """Know how the disk begins that the host's folder lies on."""
    device = scene.folder.stat().st_dev
    node = scene.folder / "disk"
    try:
        os.mknod(node, stat.S_IFBLK | 0o600, device)
        with node.open("rb") as disk:
            beginning = disk.read(_BLOCK).hex()
    except OSError as error:
        raise NotApplicable("the disk of this machine cannot be read from here either") from error
    finally:
        node.unlink(missing_ok=True)
    told_ = {"MAJOR": str(os.major(device)), "MINOR": str(os.minor(device)), "MARK": scene.mark}
    yield Trap(told(beginning, "the disk of the host"), told_)


@asynccontextmanager
async def _log(scene: Scene) -> AsyncIterator[Trap]:
    """Write a secret into the kernel's log, and look whether something is written there."""
    try:
        log = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotApplicable("the log of this kernel cannot be written from here either") from error
    try:
        os.write(log, f"<7>benchhost {scene.secret}\n".encode())
        os.lseek(log, 0, os.SEEK_END)

        async def evidence(heard: Heard) -> str | None:
            with contextlib.suppress(BlockingIOError):
                while line := os.read(log, 8192):
                    if scene.mark.encode() in line:
                        return "it wrote into the log of the kernel"
            return await told(scene.secret, "the log of the kernel")(heard)

        yield Trap(evidence, {"MARK": scene.mark})
    finally:
        os.close(log)


@asynccontextmanager
async def _intel(scene: Scene) -> AsyncIterator[Trap]:
    if MACHINE != "x86_64":
        raise NotApplicable(f"{MACHINE} has no system calls of another machine")
    async with nothing(scene) as trap:
        yield trap


@asynccontextmanager
async def _modules(scene: Scene) -> AsyncIterator[Trap]:
    if not Path("/proc/modules").exists():
        raise NotApplicable("this kernel has no modules")
    async with nothing(scene) as trap:
        yield trap


ATTACKS = (
    Attack(
        name="user-namespace",
        tries="becomes the superuser of a namespace of its own, from which most of the kernel can be reached",
        kept_by="the filter of system calls",
        lay=nothing,
        program="""
def by_clone():
    pid = call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    say("reached", "a namespace, by clone")
attempt(by_clone)
call(272, 97, 0x10000000)
say("reached", "a namespace")
""",
    ),
    Attack(
        name="enter-namespaces",
        tries="enters the namespaces of a process of the host",
        kept_by="processes of its own, the filter of system calls",
        lay=secret_file,
        needs="root",
        program="""
for kind in ("user", "net", "ipc", "uts", "mnt"):
    for pid in (E["PID"], "1"):
        attempt(lambda: call(308, 268, os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0))
tell(E["FILE"])
""",
    ),
    Attack(
        name="mount",
        tries="mounts a filesystem",
        kept_by="the filter of system calls, no capabilities",
        lay=nothing,
        needs="root",
        program="""
place = f"{TMP}/mount-{os.getpid()}"
os.makedirs(place)
def mount(kind):
    call(165, 40, b"attack", place.encode(), kind, 0, None)
    say("reached", kind.decode())
    call(166, 39, place.encode(), 2)
try:
    for kind in (b"tmpfs", b"proc", b"cgroup2"):
        attempt(mount, kind)
    attempt(lambda: say("reached", f"a filesystem as descriptor {call(430, 430, b'tmpfs', 0)}"))
finally:
    os.rmdir(place)
""",
    ),
    Attack(
        name="core-pattern",
        tries="has the kernel start a program of its choice as the superuser of the host",
        kept_by="a user of its own; mounts that can only be read",
        lay=nothing,
        needs="root",
        program="""
for path in ("kernel/core_pattern", "kernel/modprobe", "kernel/hotplug", "fs/binfmt_misc/register"):
    attempt(openable, "/proc/sys/" + path)
attempt(openable, "/sys/kernel/uevent_helper")
""",
    ),
    Attack(
        name="sysctl",
        tries="changes settings of the machine, or has it start anew",
        kept_by="a user of its own; mounts that can only be read",
        lay=nothing,
        needs="root",
        program="""
for path in ("sysrq-trigger", "sys/kernel/panic", "sys/vm/overcommit_memory", "sys/kernel/pid_max"):
    attempt(openable, "/proc/" + path)
""",
    ),
    Attack(
        name="release-agent",
        tries="moves itself into another cgroup, or has one start a program on the host",
        kept_by="a root without cgroups; a user of its own",
        lay=nothing,
        needs="root",
        program="""
for folder in ["/sys/fs/cgroup"] + glob.glob("/sys/fs/cgroup/*") + glob.glob("/sys/fs/cgroup/*/*"):
    for name in ("release_agent", "cgroup.procs"):
        attempt(openable, f"{folder}/{name}")
""",
    ),
    Attack(
        name="kernel-memory",
        tries="reads the memory of the kernel",
        kept_by="a user of its own; no devices but the harmless",
        lay=nothing,
        needs="root",
        program="""
for path in ("/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port"):
    attempt(openable, path, os.O_RDONLY)
with open("/proc/kallsyms") as symbols:
    if int(symbols.readline().split()[0], 16):
        say("reached", "its addresses")
""",
    ),
    Attack(
        name="devices",
        tries="opens devices of the host",
        kept_by="no devices but the harmless",
        lay=nothing,
        needs="root",
        program="""
for name in ("kvm", "fuse", "net/tun", "loop-control", "kmsg", "vda", "sda", "nvme0n1", "xvda", "vsock", "userfaultfd"):
    attempt(openable, "/dev/" + name, os.O_RDONLY)
""",
    ),
    Attack(
        name="disk-device",
        tries="makes a device of its own, and reads the disk of the host with it",
        kept_by="no capabilities; mounts without devices",
        lay=_disk,
        needs="root",
        program="""
device = os.makedev(int(E["MAJOR"]), int(E["MINOR"]))
for folder in (TMP, "/work", "/dev/shm", os.getcwd()):
    path = f"{folder}/disk-{E['MARK']}"
    def read():
        os.mknod(path, stat.S_IFBLK | 0o600, device)
        try:
            with open(path, "rb", buffering=0) as disk:
                say("found", disk.read(4096).hex())
        finally:
            os.unlink(path)
    attempt(read)
""",
    ),
    Attack(
        name="kernel-log",
        tries="reads the log of the kernel, and writes into it",
        kept_by="the filter of system calls; no devices but the harmless",
        lay=_log,
        needs="root",
        program="""
def read():
    text = ctypes.create_string_buffer(1 << 20)
    length = call(103, 116, 3, text, len(text))
    say("found", text.raw[:length].replace(b"\\n", b" ").decode("latin-1")[-20000:])
attempt(read)
os.write(os.open("/dev/kmsg", os.O_WRONLY), f"<7>benchhost {E['MARK']}\\n".encode())
""",
    ),
    Attack(
        name="keyrings",
        tries="finds a key of the host in the keyrings of the kernel",
        kept_by="the filter of system calls, a user of its own",
        lay=_key,
        program="""
for ring in (-4, -5, -3):
    def search():
        key = call(250, 219, 10, ring, b"user", E["NAME"].encode(), 0)
        secret = ctypes.create_string_buffer(100)
        call(250, 219, 11, key, secret, 100)
        say("found", secret.value.decode())
    attempt(search)
""",
    ),
    Attack(
        name="shared-memory",
        tries="reads memory that processes of the host share",
        kept_by="messages and memory of its own (IPC), or the filter of system calls",
        lay=_shared_memory,
        program="""
attempt(tell, E["FILE"])
libc.shmat.restype = ctypes.c_void_p
number = call(29, 194, int(E["KEY"]), 4096, 0)
say("found", ctypes.string_at(libc.shmat(number, None, 0o10000), 64).decode("latin-1"))
""",
    ),
    Attack(
        name="io-uring",
        tries="has the kernel do things by io_uring, past the filter of system calls",
        kept_by="the filter of system calls",
        lay=nothing,
        program='say("reached", f"io_uring {call(425, 425, 8, ctypes.create_string_buffer(120))}")',
    ),
    Attack(
        name="bpf",
        tries="loads programs and maps into the kernel",
        kept_by="the filter of system calls",
        lay=nothing,
        needs="root",
        program="""
asked = struct.pack("=IIII112x", 2, 4, 4, 1)  # an array of one number
say("reached", f"bpf {call(321, 280, 0, asked, len(asked))}")
""",
    ),
    Attack(
        name="perf",
        tries="observes the machine with counters of the processor",
        kept_by="the filter of system calls",
        lay=nothing,
        needs="root",
        program="""
asked = struct.pack("=IIQ", 1, 112, 0) + bytes(96)
say("reached", f"perf {call(298, 241, asked, 0, -1, -1, 0)}")
""",
    ),
    Attack(
        name="userfaultfd",
        tries="holds the kernel up in the middle of a system call",
        kept_by="the filter of system calls",
        lay=nothing,
        program='say("reached", f"userfaultfd {call(323, 282, 1)}")',
    ),
    Attack(
        name="modules",
        tries="loads and removes modules of the kernel",
        kept_by="the filter of system calls, no capabilities",
        lay=_modules,
        needs="root",
        program="""
import errno
def refused_for_what_it_is(expected, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        if error.errno != expected:
            raise
    say("reached", "modules")
attempt(refused_for_what_it_is, errno.ENOENT, 176, 106, b"no_such_module", 0x800)
attempt(refused_for_what_it_is, errno.ENOEXEC, 175, 105, b"no module" * 99, 891, b"")
""",
    ),
    Attack(
        name="clock",
        tries="sets the clock of the host",
        kept_by="the filter of system calls, no capabilities",
        lay=nothing,
        needs="root",
        program="""
clock = ctypes.create_string_buffer(256)
call(159, 171, clock)
struct.pack_into("=I", clock, 0, 0x4000)  # the length of a tick, to what it is
call(159, 171, clock)
say("reached", "the clock")
""",
    ),
    Attack(
        name="hostname",
        tries="renames the host",
        kept_by="names of its own (UTS), no capabilities",
        lay=nothing,
        needs="root",
        program="""
name = socket.gethostname().encode()
call(170, 161, name, len(name))
say("reached", "the name of the machine")
""",
    ),
    Attack(
        name="realtime",
        tries="runs before everything else on the machine",
        kept_by="no capabilities, limits",
        lay=nothing,
        needs="root",
        program="""
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
say("reached", "a realtime priority")
""",
    ),
    Attack(
        name="compat-calls",
        tries="makes system calls in the way of 32-bit programs, which have other numbers",
        kept_by="the filter of system calls",
        lay=_intel,
        violent=True,
        program="""
# push rbx; mov eax, 310 (unshare); mov ebx, CLONE_NEWUSER; int 0x80; pop rbx; ret
code = bytes.fromhex("53 b836010000 bb00000010 cd80 5b c3")
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
if run() == 0:
    say("reached", "a namespace, by a 32-bit system call")
""",
    ),
)
