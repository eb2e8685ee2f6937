"""Attacks on processes: those of the host, and those that keep the sandbox."""

from __future__ import annotations

import asyncio
import os
import resource
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchhost.errors import SandboxError
from benchhost.sandbox.escape.attack import Attack, Heard, NotApplicable, Trap
from benchhost.sandbox.escape.scene import Scene, Watch, until_gone
from benchhost.sandbox.escape.traps import secret_file, told

_EXIT_CODE = 7
"""With which a program ends that tries to have another told."""

_PATIENCE = 5.0
"""Seconds in which everything that is to be ended has ended."""


@asynccontextmanager
async def _bystander(scene: Scene) -> AsyncIterator[Trap]:
    with scene.bystander() as bystander:
        before = _treatment(bystander.pid)

        async def evidence(heard: Heard) -> str | None:
            if not bystander.lives():
                return "it ended a process of the host"
            if _treatment(bystander.pid) != before:
                return "it changed the priority or the limits of a process of the host"
            return await told(scene.secret, "a process of the host")(heard)

        places = {"PID": bystander.pid, "ADDRESS": bystander.address, "FILE": bystander.file}
        yield Trap(evidence, {name: str(value) for name, value in places.items()})


def _treatment(pid: int) -> object:
    return os.getpriority(os.PRIO_PROCESS, pid), resource.prlimit(pid, resource.RLIMIT_NOFILE)


@asynccontextmanager
async def _setuid(scene: Scene) -> AsyncIterator[Trap]:
    try:
        setuid = Path("/usr/bin/su").stat().st_mode & stat.S_ISUID
    except FileNotFoundError:
        setuid = 0
    if not setuid:
        raise NotApplicable("this machine has no su")
    with Watch(scene.mark) as watch:

        async def evidence(_: Heard) -> str | None:
            return "a program became the superuser of the host" if watch.privileged else None

        yield Trap(evidence, {"MARK": scene.mark})


@asynccontextmanager
async def _sandbox_that_answers(scene: Scene) -> AsyncIterator[Trap]:
    """Have another command run meanwhile, and look whether what is heard of all of them is true."""
    other = asyncio.create_task(scene.sandbox.run(f"sleep 0.7; echo {scene.mark}; exit {_EXIT_CODE}", timeout=10))

    async def evidence(heard: Heard) -> str | None:
        if heard.exited.reason == "exited" and heard.exited.code != _EXIT_CODE:
            return f"it was believed to have ended with the code {heard.exited.code}"
        try:
            meanwhile = await other
            after = await scene.sandbox.run(f"echo {scene.mark}; exit {_EXIT_CODE}", timeout=10)
        except SandboxError as error:
            return f"it broke its sandbox: {error}"
        # Commands of one sandbox may end each other, and speak into each other's output: nothing keeps those apart.
        if meanwhile.exited.code != _EXIT_CODE and meanwhile.exited.reason != "signal":
            return f"it falsified how another command ended: {meanwhile.exited}"
        if after.exited.code != _EXIT_CODE or after.text.strip() != scene.mark:
            return f"it falsified what was heard of a later command: {after.exited}"
        return None

    try:
        yield Trap(evidence, {"MARK": scene.mark})
    finally:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)


@asynccontextmanager
async def _host_goes_on(scene: Scene) -> AsyncIterator[Trap]:
    """Look whether the host's process, and the sandbox itself, go on."""
    with scene.bystander() as bystander:

        async def evidence(_: Heard) -> str | None:
            if not bystander.lives():
                return "it ended a process of the host"
            try:
                after = await scene.sandbox.run(["echo", scene.mark], timeout=10)
            except SandboxError as error:
                return f"it ended what keeps its sandbox: {error}"
            return None if after.text.strip() == scene.mark else f"its sandbox answers no more: {after.exited}"

        yield Trap(evidence)


@asynccontextmanager
async def _deadline(scene: Scene) -> AsyncIterator[Trap]:
    async def evidence(heard: Heard) -> str | None:
        left = await asyncio.to_thread(until_gone, scene.mark, _PATIENCE)
        if left:
            return f"{len(left)} of its processes went on after the deadline"
        return None if heard.exited.reason == "timeout" else f"it ended otherwise: {heard.exited}"

    yield Trap(evidence)


@asynccontextmanager
async def _deletion(scene: Scene) -> AsyncIterator[Trap]:
    async def evidence(_: Heard) -> str | None:
        await scene.provider.delete(scene.sandbox.id)
        left = await asyncio.to_thread(until_gone, scene.mark, _PATIENCE)
        return f"{len(left)} of its processes went on when it was deleted" if left else None

    yield Trap(evidence)


ATTACKS = (
    Attack(
        name="see-processes",
        tries="finds processes of the host",
        kept_by="processes of its own, or Landlock",
        lay=secret_file,
        program="""
for path in glob.glob("/proc/[0-9]*/cmdline") + ["/proc/" + E["PID"] + "/cmdline"]:
    attempt(tell, path)
""",
    ),
    Attack(
        name="signals",
        tries="ends a process of the host",
        kept_by="processes of its own, a user of its own",
        lay=_bystander,
        program="""
pid = int(E["PID"])
attempt(os.kill, pid, signal.SIGKILL)
attempt(call, 234, 131, pid, pid, 9)  # tgkill
attempt(lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGKILL))
""",
    ),
    Attack(
        name="priorities",
        tries="slows a process of the host down, and takes its limits away",
        kept_by="processes of its own, a user of its own",
        lay=_bystander,
        program="""
attempt(os.setpriority, os.PRIO_PROCESS, int(E["PID"]), 7)
attempt(resource.prlimit, int(E["PID"]), resource.RLIMIT_NOFILE, (64, 64))
""",
    ),
    Attack(
        name="read-memory",
        tries="reads the memory of a process of the host",
        kept_by="processes of its own, a user of its own, the filter of system calls",
        lay=_bystander,
        program="""
pid, address = int(E["PID"]), int(E["ADDRESS"])
def by_vector():
    here = ctypes.create_string_buffer(64)
    mine = (ctypes.c_ulong * 2)(ctypes.addressof(here), 64)
    theirs = (ctypes.c_ulong * 2)(address, 64)
    call(310, 270, pid, mine, 1, theirs, 1, 0)
    say("found", here.value.decode())
def by_file():
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        say("found", memory.read(64).decode("latin-1"))
def by_tracing():
    call(101, 117, 0x4206, pid, 0, 0)  # PTRACE_SEIZE
    by_file()
for do in (by_vector, by_file, by_tracing):
    attempt(do)
""",
    ),
    Attack(
        name="steal-descriptor",
        tries="takes an open file out of a process of the host",
        kept_by="processes of its own, the filter of system calls",
        lay=_bystander,
        program="""
process = call(434, 434, int(E["PID"]), 0)
say("found", os.pread(call(438, 438, process, int(E["FILE"]), 0), 100, 0).decode())
""",
    ),
    Attack(
        name="setuid",
        tries="becomes the superuser by a setuid program of the host",
        kept_by="no new privileges; mounts without setuid",
        lay=_setuid,
        program="""
import subprocess
if os.geteuid() == 0:
    attempt(os.setgroups, [])
    attempt(os.setresgid, 65534, 65534, 65534)
    attempt(os.setresuid, 65534, 65534, 65534)
null = os.open("/dev/null", os.O_RDWR)
running = subprocess.Popen(["/usr/bin/su", "-c", E["MARK"], "root"], stdin=subprocess.PIPE, stdout=null, stderr=null)
time.sleep(0.2)  # in which it waits for a password, as whom it has become
attempt(running.kill)
running.stdin.close()
running.wait()
""",
    ),
    Attack(
        name="kill-everything",
        tries="ends every process that it can, the holder of its sandbox among them",
        kept_by="processes of its own; a holder that takes no signals",
        lay=_host_goes_on,
        needs="harm",
        violent=True,
        program="""
def by_having_it_told(pid, number, having_told):
    here, there = socket.socketpair()
    having_told(here, pid)
    fcntl.fcntl(here, 10, number)  # F_SETSIG
    fcntl.fcntl(here, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    there.send(b"news")
WAYS = (
    lambda file, pid: fcntl.fcntl(file, fcntl.F_SETOWN, pid),
    lambda file, pid: fcntl.fcntl(file, 15, struct.pack("=ii", 1, pid)),  # F_SETOWN_EX
    lambda file, pid: fcntl.ioctl(file, 0x8901, struct.pack("=i", pid)),  # FIOSETOWN
    lambda file, pid: fcntl.ioctl(file, 0x8902, struct.pack("=i", pid)),  # SIOCSPGRP
)
above = os.getppid()
keepers = [pid for pid in (1, above, attempt(os.getsid, above), attempt(os.getpgid, above)) if pid]
for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
    for pid in keepers:
        attempt(os.kill, pid, number)
        for way in WAYS:
            attempt(by_having_it_told, pid, number, way)
attempt(os.kill, -1, signal.SIGKILL)
""",
    ),
    Attack(
        name="forged-replies",
        tries="speaks to the host in the name of the holder, and says that everything ended well",
        kept_by="descriptors that are not reachable; a holder that cannot be traced",
        lay=_sandbox_that_answers,
        needs="harm",
        program=f"""
lies = [b'{{"exit": 0}}', b'{{"code": 0, "reason": "exited", "pid": 2}}\\n', bytes(8)]
def lie(path):
    file = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for each in lies:
        os.write(file, each)
def connect(path):
    for kind in (socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
        with socket.socket(socket.AF_UNIX, kind) as speaking:
            speaking.connect(path)
            for each in lies:
                speaking.send(each)
for path in glob.glob("/proc/[0-9]*/fd/*"):
    if not path.startswith(f"/proc/{{os.getpid()}}/"):
        attempt(lie, path)
for folder in ("/", "/run", "/tmp", "/proc/1/root", "/proc/1/cwd"):
    for path in glob.glob(folder + "/*") + glob.glob(folder + "/*/*.sock*"):
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            attempt(connect, path)
for pid in (1, os.getppid()):
    attempt(call, 101, 117, 0x4206, pid, 0, 0)
    attempt(lambda: open(f"/proc/{{pid}}/mem", "r+b").close())
for file in range(3, 256):
    for each in lies:
        try:
            os.write(file, each)
        except OSError:
            pass
for each in lies:
    os.write(1, each)
say("done")
os._exit({_EXIT_CODE})
""",
    ),
    Attack(
        name="survive-deadline",
        tries="goes on after its deadline, in processes that leave their session and take no signals",
        kept_by="a holder that ends whatever a command has started",
        lay=_deadline,
        timeout=2.0,
        violent=True,
        program="""
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 3)
            time.sleep(30)
        os._exit(0)
time.sleep(30)
""",
    ),
    Attack(
        name="survive-deletion",
        tries="goes on when its sandbox is deleted, in processes that fork again and again",
        kept_by="an end of all processes of the sandbox at once",
        lay=_deletion,
        program="""
for pace in (0.01, 0.4, 0.4):  # the slow ones can be seen
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for file in (0, 1, 2):
            os.dup2(null, file)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(pace)
            if os.fork():
                os._exit(0)
        os._exit(0)
""",
    ),
)
