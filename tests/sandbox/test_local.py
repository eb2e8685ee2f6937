"""Sandboxes on this machine: what every provider must do, and what these promise beyond, whoever the host is."""

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import psutil
import pytest

from benchhost.contract import Resources, SandboxSpec
from benchhost.errors import (
    SandboxBusy,
    SandboxError,
    SandboxFileError,
    SandboxNotFound,
    SandboxUnavailable,
    SandboxUnsupported,
)
from benchhost.sandbox.local import keeping, landlock
from benchhost.sandbox.local.provider import LocalProvider
from benchhost.testing.sandboxes import ProviderSuite

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
PLACE = "/work"

SOMEBODY = 54_321
"""A user of this machine that nobody is."""


class TestLocal(ProviderSuite):
    @pytest.fixture
    def place(self, tmp_path):
        return LocalProvider, {"folder": str(tmp_path / "sandboxes")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
class TestLocalByUsers(ProviderSuite):
    """The tier without namespaces, for a host that is root."""

    @pytest.fixture
    def place(self, tmp_path):
        return LocalProvider, {"folder": str(tmp_path / "sandboxes"), "isolation": "uid"}


@pytest.fixture
def config(tmp_path):
    return {"folder": str(tmp_path / "sandboxes")}


@pytest.fixture
async def provider(config):
    provider = await LocalProvider.open(config)
    yield provider
    await provider.aclose()


def processes(word):
    """The processes of this machine that were started with a word."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in place.read_bytes().split(b"\0"):
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


def folders_in(config):
    return list(Path(config["folder"], "sandboxes").iterdir())


async def until(true, within=30.0):
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        await anyio.sleep(0.02)


async def settled(count):
    """What is counted, as soon as it stays the same: whoever asked the keeper for something hangs up in a moment."""
    counted = [count()]
    while len(counted) < 10 or len(set(counted[-10:])) > 1:
        await anyio.sleep(0.02)
        counted.append(count())
    return counted[-1]


def keeper_of(config):
    """The process that holds the lock of the sandboxes' folder."""
    lock = Path(config["folder"], "lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        if re.search(rf" FLOCK .* (\d+) [0-9a-f:]+:{lock} ", line):
            return int(line.split()[4])
    return None


def descriptors_of(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


# Whose they are


OPENS = """
import asyncio, sys
from benchhost.contract import SandboxSpec
from benchhost.sandbox import open_provider

async def main():
    provider = await open_provider("local", {"folder": sys.argv[1]})
    sandbox = await provider.create(SandboxSpec())
    await sandbox.run(f"setsid sleep {sys.argv[2]} > /dev/null 2>&1 &")
    print(sandbox.id, flush=True)
    await sandbox.run(f"sleep {sys.argv[2]}")

asyncio.run(main())
"""


async def test_nothing_is_left_of_a_host_that_was_killed(config):
    word = f"{10**6 + os.getpid()}"
    async with await anyio.open_process([sys.executable, "-c", OPENS, config["folder"], word], cwd=ROOT) as host:
        await until(lambda: len(processes(word)) >= 2)
        host.kill()
    await until(lambda: processes(word) == [] and keeper_of(config) is None)
    await until(lambda: folders_in(config) == [])


async def test_nothing_is_left_of_a_keeper_that_was_killed(config, provider):
    word = f"{2 * 10**6 + os.getpid()}"
    sandbox = await provider.create(SandboxSpec())
    await sandbox.run(f"setsid sleep {word} > /dev/null 2>&1 &")
    await until(lambda: processes(word))
    os.kill(keeper_of(config), signal.SIGKILL)
    await until(lambda: processes(word) == [])
    with pytest.raises(SandboxNotFound):
        await sandbox.run("true")
    with pytest.raises(SandboxUnavailable, match="gone"):
        await provider.create(SandboxSpec())
    async with await opened(config) as again:
        assert await again.list() == []
        assert (await (await again.create(SandboxSpec())).run("true")).ok


class opened:  # noqa: N801 - reads like a function
    def __init__(self, provider):
        self.provider = provider

    def __await__(self):
        async def entered():
            self.provider = await LocalProvider.open(self.provider)
            return self

        return entered().__await__()

    async def __aenter__(self):
        return self.provider

    async def __aexit__(self, *_):
        await self.provider.aclose()


async def test_sandboxes_end_with_the_last_who_has_the_provider_open(config):
    async with await opened(config) as first:
        sandbox = await first.create(SandboxSpec())
    await until(lambda: keeper_of(config) is None)
    async with await opened(config) as second:
        with pytest.raises(SandboxNotFound):
            await second.get(sandbox.id)


async def test_sandboxes_that_are_to_stay_do(config):
    async with await opened({**config, "stay": "true"}) as first:
        sandbox = await first.create(SandboxSpec())
        await sandbox.write("/tmp/note", b"here")
    async with await opened(config) as second:
        assert await (await second.get(sandbox.id)).read("/tmp/note") == b"here"
        await second.delete(sandbox.id)
    await until(lambda: keeper_of(config) is None)


@pytest.mark.parametrize("moved", [False, True])
async def test_everything_ends_when_the_folder_is_taken_away(config, tmp_path, moved):
    word = f"{5 * 10**6 + os.getpid()}"
    async with await opened({**config, "stay": "true"}) as provider:
        sandbox = await provider.create(SandboxSpec())
        await sandbox.run(f"setsid sleep {word} > /dev/null 2>&1 &")
        await until(lambda: processes(word))
        keeper = keeper_of(config)
        if moved:
            shutil.move(config["folder"], tmp_path / "elsewhere")
        else:
            shutil.rmtree(config["folder"])
        await until(lambda: processes(word) == [] and not psutil.pid_exists(keeper))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
async def test_what_is_elsewhere_ends_too_when_the_folder_is_taken_away(config):
    async with await opened({**config, "isolation": "uid"}) as provider:
        sandbox = await provider.create(SandboxSpec())
        shutil.rmtree(config["folder"])
        await until(lambda: not list(Path("/tmp").glob(f"benchhost-{sandbox.id}")))


async def test_what_cannot_be_written_about_a_sandbox_is_its_own_failure(config, provider):
    well = await provider.create(SandboxSpec())
    keeper = keeper_of(config)
    limit = resource.prlimit(keeper, resource.RLIMIT_FSIZE)
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        made = await asyncio.gather(*(provider.create(SandboxSpec()) for _ in range(12)), return_exceptions=True)
        assert {type(each) for each in made} == {SandboxUnavailable}
    finally:
        resource.prlimit(keeper, resource.RLIMIT_FSIZE, limit)
    assert (await well.run("echo well")).text == "well\n"
    assert (await (await provider.create(SandboxSpec())).run("true")).ok
    await until(lambda: len(folders_in(config)) == 2)


@pytest.mark.parametrize("room", [3, 4, 5, 6, 7, 8])
async def test_a_sandbox_for_which_there_are_no_descriptors_leaves_nothing(config, provider, room):
    well = await provider.create(SandboxSpec())
    keeper = keeper_of(config)
    before = await settled(lambda: descriptors_of(keeper))
    limit = resource.prlimit(keeper, resource.RLIMIT_NOFILE)
    resource.prlimit(keeper, resource.RLIMIT_NOFILE, (before + room, limit[1]))
    try:
        with pytest.raises(SandboxUnavailable):
            await provider.create(SandboxSpec())
    finally:
        resource.prlimit(keeper, resource.RLIMIT_NOFILE, limit)
    assert (await well.run("echo well")).text == "well\n"
    await until(lambda: descriptors_of(keeper) <= before)
    await until(lambda: len(folders_in(config)) == 1)


@pytest.mark.parametrize("room", range(7))
async def test_a_command_for_which_the_host_has_no_descriptors_leaves_none_open(provider, room):
    sandbox = await provider.create(SandboxSpec())
    assert (await sandbox.run("cat", stdin=b"well")).text == "well"
    before = descriptors_of(os.getpid())
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.open("/dev/null", os.O_RDONLY)]
    while fillers[-1] < before + 20:  # so that none below is free
        fillers.append(os.open("/dev/null", os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (fillers[-1] + 1 + room, limit[1]))
    try:
        with pytest.raises(SandboxError, match="Too many open files"):
            await sandbox.run("cat", stdin=b"well")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for each in fillers:
            os.close(each)
    assert descriptors_of(os.getpid()) == before
    assert (await sandbox.run("cat", stdin=b"well")).text == "well"


async def test_whoever_opens_it_at_the_same_time_shares_a_keeper(config):
    providers = await asyncio.gather(*(LocalProvider.open(config) for _ in range(5)))
    made = await asyncio.gather(*(each.create(SandboxSpec()) for each in providers))
    assert {info.id for info in await providers[0].list()} == {each.id for each in made}
    for each in providers:
        await each.aclose()


async def test_there_are_no_more_sandboxes_than_may_be(config):
    async with await opened({**config, "max_sandboxes": "1"}) as provider:
        first = await provider.create(SandboxSpec())
        with pytest.raises(SandboxBusy, match="max_sandboxes"):
            await provider.create(SandboxSpec())
        await provider.delete(first.id)
        await provider.create(SandboxSpec())


@pytest.mark.parametrize(
    "wrong", [{"isolation": "none"}, {"min_isolation": "x"}, {"max_sandboxes": "0"}, {"api_key": "k"}]
)
async def test_a_config_that_cannot_be_is_told(config, wrong):
    with pytest.raises(SandboxUnavailable, match=re.escape(next(iter(wrong)))):
        await LocalProvider.open({**config, **wrong})


@pytest.mark.parametrize(
    "spec, said",
    [
        (SandboxSpec(network="open"), "network"),
        (SandboxSpec(resources=Resources(gpu=1)), "GPU"),
        (SandboxSpec(resources=Resources(memory=2**70)), "1,000,000 GB of memory and of disk at most"),
        (SandboxSpec(resources=Resources(disk=2**70)), "1,000,000 GB of memory and of disk at most"),
        (SandboxSpec(resources=Resources(disk=0)), "GB"),
        (SandboxSpec(resources=Resources(memory=0)), "GB"),
    ],
)
async def test_what_cannot_be_had_here_is_told(provider, spec, said):
    with pytest.raises(SandboxUnsupported, match=said):
        await provider.create(spec)


# When they end


@pytest.mark.parametrize("times", [{"idle_timeout": 0.5}, {"lifetime": 0.5}])
async def test_a_sandbox_is_deleted_when_its_time_is_over(provider, times):
    sandbox = await provider.create(SandboxSpec(**times))
    await until(lambda: not Path(provider._folder, "sandboxes", sandbox.id).exists())
    with pytest.raises(SandboxNotFound):
        await provider.get(sandbox.id)


async def test_a_sandbox_that_is_used_is_not_idle(provider):
    sandbox = await provider.create(SandboxSpec(idle_timeout=0.6))
    assert (await sandbox.run("sleep 1.5")).ok
    assert (await sandbox.run("true")).ok


# What they may use


async def test_processes_that_use_too_much_memory_together_are_ended(provider):
    sandbox = await provider.create(SandboxSpec(resources=Resources(memory=1)))
    said = await sandbox.run(
        "for i in 1 2 3 4; do (head -c 400M /dev/zero; sleep 60) | tail -c 400M & done; wait", timeout=60
    )
    assert said.exited.reason == "memory_limit"
    assert (await sandbox.run("echo well")).text == "well\n"


async def test_a_process_gets_no_more_memory_than_the_sandbox(provider):
    sandbox = await provider.create(SandboxSpec(resources=Resources(memory=1)))
    said = await sandbox.run("head -c 1200M /dev/zero | tail -c 1200M | wc -c", timeout=60)
    assert said.text.strip() != str(1200 * 1024 * 1024)


async def test_a_process_that_a_cgroup_ends_was_ended_for_its_memory(provider):
    if provider.without_cgroups:
        pytest.skip(f"no cgroups here: {provider.without_cgroups}")
    assert (await provider.capabilities()).limits["memory"] == "hard"
    sandbox = await provider.create(SandboxSpec(resources=Resources(memory=1)))
    greedy = "for i in 1 2 3 4; do head -c 500M /dev/zero | tail -c 500M | sleep 60 & done; wait"
    said = await sandbox.run(greedy, timeout=60)
    assert said.exited.reason == "memory_limit"
    assert (await sandbox.run("echo well")).text == "well\n"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is but one core")
async def test_a_sandbox_has_as_many_cores_as_it_was_given(provider):
    sandbox = await provider.create(SandboxSpec(resources=Resources(vcpu=1)))
    busy = (
        "import os, time; os.fork(); end = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time())"
    )
    used = sum(map(float, (await sandbox.run(["python3", "-c", busy])).text.split()))
    assert 0 < used < 1.4
    if provider.without_cgroups:
        assert (await sandbox.run("nproc")).text == "1\n"
        more = await sandbox.run(["python3", "-c", "import os; os.sched_setaffinity(0, range(os.cpu_count()))"])
        assert b"PermissionError" in more.stderr


async def test_files_in_memory_may_be_as_large_as_the_disk(provider):
    sandbox = await provider.create(SandboxSpec(resources=Resources(disk=1)))
    said = await sandbox.run(f"for i in 1 2 3; do head -c 400M /dev/zero > {PLACE}/$i || exit 9; done", timeout=60)
    assert said.exited.code == 9
    assert b"No space left" in said.stderr
    assert (await sandbox.run(f"rm {PLACE}/*; echo ok > {PLACE}/a; cat {PLACE}/a")).text == "ok\n"


async def test_files_beyond_the_disk_end_what_runs(provider):
    sandbox = await provider.create(SandboxSpec(resources=Resources(disk=1000)))
    assert (await sandbox.run("true")).ok
    disk = 1 + shutil.disk_usage("/").total // 2**30 // 2  # more than may lie in memory, for sure
    sandbox = await provider.create(SandboxSpec(resources=Resources(disk=4)))
    del disk
    said = await sandbox.run(f"fallocate -l 3G {PLACE}/a && fallocate -l 3G {PLACE}/b && sleep 60", timeout=30)
    assert said.exited.reason == "disk_limit"


async def test_files_that_are_removed_and_still_open_count_too(provider):
    sandbox = await provider.create(SandboxSpec(resources=Resources(disk=4)))
    greedy = f"exec 3> {PLACE}/a; rm {PLACE}/a; fallocate -l 3G /proc/self/fd/3; fallocate -l 3G {PLACE}/b && sleep 60"
    said = await sandbox.run(greedy, timeout=30)
    assert said.exited.reason == "disk_limit", said.stderr


async def test_a_bomb_of_forks_harms_nobody(provider):
    sandbox = await provider.create(SandboxSpec())
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 60"
    said = await sandbox.run(bomb, timeout=2)
    assert said.exited.reason == "timeout"
    await anyio.sleep(0.2)
    assert int((await sandbox.run("ls -d /proc/[0-9]* | wc -l")).text) < 12


# Tiers


async def test_each_tier_is_proved_where_it_can_be_had(config):
    """In the keeper, since only a process of one thread may fork a holder."""
    as_root = os.geteuid() == 0
    scoped = landlock.version() >= landlock.SIGNALS_SINCE
    expected = {"namespaces": True, "uid": as_root and scoped, "landlock": scoped and not as_root}
    for tier, had in expected.items():
        asked = {**config, "isolation": tier, "min_isolation": "landlock"}
        if had:
            async with await opened(asked) as provider:
                assert (await provider.capabilities()).isolation == tier
        else:
            with pytest.raises(SandboxUnavailable, match=f"no {tier}: "):
                await LocalProvider.open(asked)
    assert [each.name for each in folders_in(config)] == []


async def test_what_is_not_strong_enough_is_refused_with_what_to_change(config):
    wanted = "landlock" if os.geteuid() == 0 else "uid"
    with pytest.raises(SandboxUnavailable, match="cannot be kept apart well enough on this machine") as refused:
        await LocalProvider.open({**config, "isolation": wanted})
    assert ("take uid" if os.geteuid() == 0 else "needs a host that is root") in str(refused.value)


WITHOUT_NAMESPACES = "uid" if os.geteuid() == 0 else "landlock"


@pytest.fixture
async def walled(config):
    """A provider of the strongest tier without namespaces."""
    if landlock.version() < landlock.SIGNALS_SINCE:
        pytest.skip(f"Landlock {landlock.version()} of this kernel keeps no signals in")
    async with await opened({**config, "isolation": WITHOUT_NAMESPACES, "min_isolation": "landlock"}) as provider:
        yield provider


async def test_without_namespaces_there_is_a_folder_and_nothing_else(walled, tmp_path):
    assert (await walled.capabilities()).isolation == WITHOUT_NAMESPACES
    tmp_path.chmod(0o755)
    (tmp_path / "open").write_text("to everybody")
    sandbox = await walled.create(SandboxSpec())
    said = await sandbox.run(
        "echo x > f && cat f; cat /etc/passwd; ls /; ls /proc; cat /proc/self/environ; ls /tmp /root"
    )
    assert said.stdout == b"x\n"
    assert (await sandbox.run(["cat", str(tmp_path / "open")])).stdout == b""
    assert not (await sandbox.run(f"kill -0 {os.getpid()}")).ok
    await sandbox.write(f"{PLACE}/g", b"y")
    assert (await sandbox.run("pwd; cat g", cwd=PLACE)).text.endswith("/work\ny")
    assert (await sandbox.run('echo t > "$TMPDIR/t"; echo h > "$HOME/h"')).ok
    assert await sandbox.read("/tmp/t") + await sandbox.read("/home/user/h") == b"t\nh\n"
    with pytest.raises(SandboxFileError):
        await sandbox.read("/etc/passwd")
    await sandbox.run("ln -s /etc/passwd link")
    with pytest.raises(SandboxFileError):
        await sandbox.read(f"{PLACE}/link")


def leave_behind(config, *, user):
    """What a keeper leaves that was killed, of a sandbox without namespaces."""
    name = "0" * 32
    place = Path(config["folder"], "sandboxes", name)
    place.mkdir(parents=True)
    (place / "outside.json").write_text(json.dumps({"folder": f"/tmp/benchhost-{name}", "user": user}))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users")
async def test_the_user_of_a_sandbox_whose_keeper_was_killed_may_be_anothers_by_now(config, tmp_path):
    async with await opened({"folder": str(tmp_path / "others"), "isolation": "uid"}) as others:
        sandbox = await others.create(SandboxSpec())
        user = (await sandbox.run("id -u")).text.strip()
        leave_behind(config, user=int(user))
        running = asyncio.create_task(sandbox.run("sleep 1; echo still there"))
        await sandbox.run("true")
        async with await opened(config) as mine:
            assert await mine.list() == []
        assert (await running).text == "still there\n"


@pytest.mark.parametrize("way", ["deleted", "holder", "keeper"])
async def test_without_namespaces_everything_ends_too(walled, config, way):
    word = f"{3 * 10**6 + os.getpid()}"
    sandbox = await walled.create(SandboxSpec())
    await sandbox.run(f"setsid sh -c 'setsid sleep {word} & setsid sleep {word} &' > /dev/null 2>&1 &")
    await until(lambda: len(processes(word)) == 2)
    if way == "deleted":
        await walled.delete(sandbox.id)
    elif way == "holder":
        [holder] = psutil.Process(keeper_of(config)).children()
        holder.kill()
    else:
        os.kill(keeper_of(config), signal.SIGKILL)
    await until(lambda: processes(word) == [])
    async with await opened(config):  # whoever comes next tidies up
        await until(lambda: not list(Path("/tmp").glob(f"benchhost-{sandbox.id}")))


# Whoever does harm in there


async def test_who_stops_everything_stops_no_deadline(provider):
    sandbox = await provider.create(SandboxSpec())
    assert (await sandbox.run("kill -STOP -1", timeout=0.5)).exited.reason == "timeout"
    assert (await sandbox.run("echo well")).text == "well\n"


async def test_who_kills_what_watches_over_a_command_ends_everything(provider):
    sandbox = await provider.create(SandboxSpec())
    word = f"{4 * 10**6 + os.getpid()}"
    await sandbox.run(f"setsid sleep {word} > /dev/null 2>&1 &")
    said = await sandbox.run(f"setsid sleep {word} > /dev/null 2>&1 & kill -9 $PPID; sleep {word}")
    assert not said.ok
    await until(lambda: processes(word) == [])
    assert (await sandbox.run("echo well")).text == "well\n"


@pytest.mark.parametrize(
    "harm",
    ["prlimit --pid 1 --nofile=0", "renice -n 19 -p 1", "renice -n 19 -u $(id -u)", "chrt --idle -p 0 1", "kill -9 1"],
)
async def test_nobody_in_there_reaches_the_holder(provider, harm):
    sandbox = await provider.create(SandboxSpec())
    await sandbox.run(harm)
    said = await sandbox.run("prlimit --pid 1 --nofile --noheadings; cut -d' ' -f19,41 /proc/1/stat; nice")
    ours = os.nice(0)  # whoever runs these tests may be nice
    assert said.text.endswith(f"{ours} 0\n{ours}\n")
    assert await sandbox.read("/etc/hostname") == b"sandbox\n"


async def test_whoever_is_cancelled_while_a_sandbox_is_made_leaves_none(provider):
    for wait in (0, 0.001, 0.005, 0.01, 0.02):
        making = asyncio.create_task(provider.create(SandboxSpec()))
        await asyncio.sleep(wait)
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)
        known = [] if making.cancelled() else [making.result().id]
        for each in known:
            await provider.delete(each)
    await until(lambda: folders_in({"folder": provider._folder}) == [])


async def test_a_sandbox_of_which_nobody_has_heard_ends(provider, monkeypatch):
    def cancelled(_):
        raise asyncio.CancelledError

    with monkeypatch.context() as patching:
        patching.setattr(keeping, "checked", cancelled)  # the moment in which the answer is there
        with pytest.raises(asyncio.CancelledError):
            await provider.create(SandboxSpec())
    await until(lambda: folders_in({"folder": provider._folder}) == [])


# Images


@pytest.fixture
def image(tmp_path):
    """A root with a shell and little else."""
    root = tmp_path / "rootfs"
    for program in ("sh", "cat", "id", "stat", "rm", "ls"):
        path = shutil.which(program)
        needed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for each in {path, *re.findall(r"(/\S+) \(0x", needed)}:
            target = root / each.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(each, target)
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy(shutil.which("sh"), root / "bin" / "sh")
    (root / "etc").mkdir()
    (root / "etc" / "greeting").write_text("hello\n")
    return root


async def test_a_folder_is_an_image(provider, image):
    spec = SandboxSpec(image=f"dir:{image}")
    sandbox = await provider.create(spec)
    said = await sandbox.run("cat /etc/greeting; id -u; stat -c %u /etc/greeting; pwd")
    assert (said.text, said.stderr) == ("hello\n0\n0\n/\n", b"")
    said = await sandbox.run(
        "echo changed > /etc/greeting && rm -r /usr/bin/ls && echo new > /etc/new && cat /etc/greeting"
    )
    assert (said.text, said.stderr) == ("changed\n", b"")
    assert (image / "etc" / "greeting").read_text() == "hello\n"
    assert not (image / "etc" / "new").exists()
    other = await provider.create(spec)
    assert (await other.run("cat /etc/greeting")).text == "hello\n"


async def test_a_snapshot_lies_over_its_image(provider, image):
    sandbox = await provider.create(SandboxSpec(image=f"dir:{image}", resources=Resources(disk=1)))
    assert (await sandbox.run("echo changed > /etc/greeting && rm /usr/bin/ls && echo new > /etc/new")).ok
    await sandbox.run("while :; do echo $i > /etc/new; done &")
    assert await provider.snapshot(sandbox.id, "it") == "it"
    assert (await sandbox.run("echo goes on; kill -9 -1")).text == "goes on\n"
    restored = await provider.create(SandboxSpec(snapshot="it"))
    said = await restored.run("cat /etc/greeting; ls /; echo more > /etc/greeting && stat -c %u /etc/new")
    assert (said.text, said.exited.code) == ("changed\n0\n", 0)
    assert b"not found" in said.stderr
    assert (await (await provider.create(SandboxSpec(snapshot="it"))).run("cat /etc/greeting")).text == "changed\n"
    assert (image / "etc" / "greeting").read_text() == "hello\n"


async def test_a_snapshot_is_made_again_under_its_name(provider):
    sandbox = await provider.create(SandboxSpec())
    for content in (b"first", b"second"):
        await sandbox.write(f"{PLACE}/f", content)
        await provider.snapshot(sandbox.id, "same")
    restored = await provider.create(SandboxSpec(snapshot="same"))
    assert await restored.read(f"{PLACE}/f") == b"second"
    assert (await restored.run(f"echo x >> {PLACE}/f; echo y > /tmp/y; id -u")).text == "1000\n"


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "a" * 101, "no-such"])
async def test_the_name_of_a_snapshot_is_no_path(provider, name):
    with pytest.raises(SandboxUnsupported):
        await provider.create(SandboxSpec(snapshot=name))
    if name != "no-such":
        sandbox = await provider.create(SandboxSpec())
        with pytest.raises(SandboxUnsupported):
            await provider.snapshot(sandbox.id, name)


async def test_links_in_a_snapshot_lead_no_mount_astray(provider, tmp_path):
    sandbox = await provider.create(SandboxSpec())
    outside = tmp_path / "outside"
    outside.mkdir()
    links = f"rm -rf /home /var; ln -s {outside} /home; ln -s {outside} /var; mv /etc /etc2; ln -s {outside} {PLACE}/l"
    await sandbox.run(links)
    await provider.snapshot(sandbox.id, "planted")
    restored = await provider.create(SandboxSpec(snapshot="planted"))
    assert (await restored.run("ls -d /home/user /var/tmp /usr/bin/env")).ok
    assert list(outside.iterdir()) == []


async def test_links_that_an_image_has_lead_no_mount_astray(provider, image, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("proc", "dev", "sys", "tmp"):
        (image / name).symlink_to(outside)
    sandbox = await provider.create(SandboxSpec(image=f"dir:{image}"))
    assert (await sandbox.run("cat /proc/self/comm")).text == "cat\n"
    assert list(outside.iterdir()) == []
    assert (image / "proc").is_symlink()


def python_of_everybody(environ):
    """An interpreter that an ordinary user may start, and that has what these tests need."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        try:
            tried = subprocess.run(
                [candidate, "-c", "import msgspec, pytest, sys; print(sys.version_info[:2])"],
                env=environ,
                user=SOMEBODY,
                group=SOMEBODY,
                extra_groups=[],
                capture_output=True,
                text=True,
            )
        except OSError:
            continue
        if tried.stdout.strip() == str(sys.version_info[:2]):
            return candidate
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever runs this is an ordinary user already")
def test_all_of_it_holds_for_an_ordinary_user_too():
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([*site.getsitepackages(), str(ROOT)])}
    python = python_of_everybody(environ)
    if python is None:
        pytest.skip(f"an ordinary user may start no Python {sys.version_info[:2]} that reads {ROOT}")
    home = Path(tempfile.mkdtemp())
    try:
        shutil.chown(home, SOMEBODY, SOMEBODY)
        arguments = ["-q", "-p", "no:cacheprovider", "-k", "not ordinary_user", "--basetemp", str(home / "tests")]
        ran = subprocess.run(
            [python, "-m", "pytest", *arguments, __file__],
            cwd=ROOT,
            env={**environ, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
            user=SOMEBODY,
            group=SOMEBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    finally:
        shutil.rmtree(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can cover a part of /proc, as engines of containers do")
def test_who_is_in_a_container_that_covers_parts_of_proc_is_told_what_to_change(tmp_path):
    program = "import asyncio, sys; from benchhost.sandbox import open_provider as o; "
    program += "asyncio.run(o('local', {'folder': sys.argv[1], 'min_isolation': 'namespaces'}))"
    covered = 'mount -t tmpfs none /proc/sysvipc && exec "$@"'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        covered,
        "sh",
        sys.executable,
        "-c",
        program,
        str(tmp_path / "sandboxes"),
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "no namespaces: Operation not permitted (mount proc): in a container, start it with" in said.stderr
    assert "--security-opt systempaths=unconfined" in said.stderr
